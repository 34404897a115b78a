"""What is found, as values: every module that measures returns one of these, and none of these measures."""
