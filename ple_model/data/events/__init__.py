"""Event tables on disk: what they hold, and a DuckDB connection over them."""
