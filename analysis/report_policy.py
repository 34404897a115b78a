"""What a saved report may load: nothing from anywhere. It is one file with its own styles, scripts and pictures."""

from __future__ import annotations

REPORT_POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"
