"""The report of a comparison as one HTML file that opens offline."""

from scheduler.report.html.page import write_report

__all__ = ["write_report"]
