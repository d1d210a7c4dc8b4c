"""Exports a run: CSV, tables, one HTML file. Knows no model and no page; `Trace` itself writes JSON Lines."""

from decoding.export.labels import one_line, summary
from decoding.export.standalone import to_frame_html, to_html
from decoding.export.tables import to_csv, to_csv_file, to_frame, to_markdown, to_table

__all__ = [
    "one_line",
    "summary",
    "to_csv",
    "to_csv_file",
    "to_frame",
    "to_frame_html",
    "to_html",
    "to_markdown",
    "to_table",
]
