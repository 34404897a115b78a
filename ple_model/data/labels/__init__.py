"""What a task is taught and where it is defined, in SQL."""
