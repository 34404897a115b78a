"""The report for review, in batches, and the record of what was reported."""
