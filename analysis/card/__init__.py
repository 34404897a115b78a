"""What a run is, how good it is and what it may be used for, as one page for who decides about it."""
