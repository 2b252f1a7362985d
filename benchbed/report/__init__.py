"""Numbers in, one page with figures and tables out. Computes nothing and imports no torch."""

from benchbed.report.write import write_report

__all__ = ["write_report"]
