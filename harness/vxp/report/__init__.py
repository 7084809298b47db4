"""The report of a run: one self-contained HTML file, and tables for the terminal."""

from vxp.report.html import write
from vxp.report.terminal import console_tables

__all__ = ["console_tables", "write"]
