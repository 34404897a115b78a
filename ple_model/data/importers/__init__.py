"""Sources of other people as event tables: files, encodings, maps, and every guess said aloud."""
