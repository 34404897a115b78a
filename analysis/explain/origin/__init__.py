"""Where a derived input comes from, in words that can be checked: one module a kind of input."""
