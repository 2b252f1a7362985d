"""A comparison as one page with figures. Computes nothing and imports no torch."""

from benchbed.report.comparison.write import Page, write_page

__all__ = ["Page", "write_page"]
