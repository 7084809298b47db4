"""Errors, and the status of what has a number: the part of `core` that reading files needs, which torch is not."""

from __future__ import annotations

from collections.abc import Sequence

OK = "ok"


class VxpError(Exception):
    """Any error that is the input's fault: says what was got, what was expected and what to do."""


class NotWrittenError(VxpError):
    """What could not be written, as on a full disk or in a read-only folder: nothing is wrong with the input."""


class NotInstalledError(VxpError):
    """An optional package that is asked for is not installed."""


class VxpWarning(UserWarning):
    """What is allowed and probably not meant: says what was got, what it does to the scores and what to do."""


class NotExplainedError(Exception):
    """Raised by an explainer that has no map for a class, with the code of the registry that says why: every item of the
    batch gets the status `failed:<code>`, after it was asked for alone."""

    def __init__(self, code: str, why: str) -> None:
        super().__init__(why)
        self.code = code


class ModelChangedError(NotExplainedError):
    """An explainer left the model, or what the model's numbers depend on, changed; it was undone."""

    def __init__(self, explainer: str, changed: Sequence[str]) -> None:
        named = ", ".join(changed[:5]) + (f" and {len(changed) - 5} more" if len(changed) > 5 else "")
        super().__init__("changed-model", f"explainer {explainer!r} left changed: {named}. It was undone; expected everything "
                         "as it was given, so that the next explainer sees the same model")
