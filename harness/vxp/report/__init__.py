"""A run folder -> one self-contained HTML file, and tables for a terminal."""

from vxp.report.console import console_tables, heading, legend
from vxp.report.page import write

__all__ = ["console_tables", "heading", "legend", "write"]
