"""Every fault of event tables, label tables and datasets, as sentences."""
