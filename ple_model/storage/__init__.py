"""Places by URL (`s3://`, `gs://`, `abfs://`, `hdfs://`): brought to a folder of this machine, worked on, put back whole.

`url` knows what a URL is and nothing else: it is imported with every command. All other modules are imported once a command is
given one. docs/scale.md, "Storage by URL", has the design.
"""
