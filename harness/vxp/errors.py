"""Errors, and the status of what has a number: the part of `core` that reading files needs, which torch is not."""

from __future__ import annotations

OK = "ok"


class VxpError(Exception):
    """Any error that is the input's fault: says what was got, what was expected and what to do."""


class NotWrittenError(VxpError):
    """What could not be written, as on a full disk or in a read-only folder: nothing is wrong with the input."""
