"""What `ple import` reads, one source a file: an `IMPORTER` record, found by discovery. Importing one loads no data library."""
