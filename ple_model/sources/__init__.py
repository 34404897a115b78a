"""What `ple import` reads, one source a file: a `SOURCE` record, found by discovery. Importing one loads no data library."""
