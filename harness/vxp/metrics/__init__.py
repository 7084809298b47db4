"""The metrics: one file each, found by scanning this package and the entry points of group `vxp.metrics`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

from vxp import kinds
from vxp.catalogue import find, nearest, number, split
from vxp.core import Metric, VxpError
from vxp.documents import ALIASES
from vxp.outputs import Output

__all__ = ["ALIASES", "Bound", "bind", "bind_all", "catalogue", "of_kind", "spelled"]


@dataclass(frozen=True, eq=False)
class Bound:
    """A metric with all its parameters: one number per item, named by its signature."""

    metric: Metric
    parameters: Mapping[str, Any]

    @property
    def signature(self) -> str:
        """`id@version` and every parameter as `|name:value` in order of definition (clause 8.2.1)."""
        parts = [f"{name}:{spelled(value)}" for name, value in self.parameters.items()]
        return "|".join([self.metric.name, *parts])

    def undefined_for(self, kind: str, output: Output) -> Literal["kind", "output"] | None:
        """Why it is not defined for this kind of explanation, or for what the model says: the code of `not-run`; None where it
        is."""
        if not kinds.admits(self.metric.kinds, kind):
            return "kind"
        return None if output.admitted(self.metric.outputs) else "output"

    @property
    def fills(self) -> tuple[str, ...]:
        """The fills that its rows have."""
        own = (str(self.parameters["fill"]),) if "fill" in self.parameters else ()
        return own + self.metric.fills


def spelled(value: Any) -> str:
    """A parameter's value as a signature spells it: floats as Python's repr, the rest as str."""
    return repr(value) if isinstance(value, float) else str(value)


@cache
def catalogue() -> dict[str, Metric]:
    """Every metric by its id."""
    return find("vxp.metrics", Metric, group="vxp.metrics")


def of_kind(kind: str) -> dict[str, Metric]:
    """The metrics that are defined for a kind of explanation, by id."""
    return {id: metric for id, metric in catalogue().items() if kinds.admits(metric.kinds, kind)}


def bind(request: str | tuple[str, Mapping[str, Any]]) -> Bound:
    """The metric and parameters of `id`, `id|name:value|...` or `(id, {name: value})`; unnamed parameters keep defaults.

    Raises VxpError for an unknown metric, parameter or a value of the wrong type, with the nearest known name.
    """
    given: dict[str, Any]
    if isinstance(request, str):
        head, parameters = split(request, "metric", ", such as steps:28")
        given = dict(parameters)
    else:
        head, given = request[0], dict(request[1])
    head, at, version = head.partition("@")
    preset: Mapping[str, Any] = {}
    if head in ALIASES:
        head, preset = ALIASES[head]
    known = catalogue()
    if head not in known:
        raise VxpError(f"no metric is called {head!r}{nearest(head, [*known, *ALIASES])}; `vxp list metrics` shows all")
    metric = known[head]
    if at and version != str(metric.version):
        raise VxpError(f"metric {head!r} has version {metric.version} here, got {version!r}")
    values = dict(metric.parameters) | dict(preset)
    for name, value in given.items():
        if name not in values:
            raise VxpError(f"metric {head!r} has no parameter {name!r}{nearest(name, list(values))}; "
                           f"it has {', '.join(values) or 'none'}")
        what = f"metric {head!r}, parameter {name!r}"
        values[name] = number(value, like=metric.parameters[name], what=what)
        _within(values[name], metric.limits.get(name), what)
    return Bound(metric, values)


def _within(value: Any, limit: tuple[Any, ...] | None, what: str) -> None:
    """VxpError where the value is outside of what the metric declares."""
    if limit is None:
        return
    if isinstance(value, str):
        if value not in limit:
            raise VxpError(f"{what}: got {value!r}{nearest(value, list(limit))}; expected one of {', '.join(limit)}")
        return
    low, high = limit
    if (low is not None and value < low) or (high is not None and value > high):
        bounds = f"at least {low}" if high is None else f"at most {high}" if low is None else f"{low} to {high}"
        raise VxpError(f"{what}: got {value!r}, expected {bounds}")


def bind_all(requests: Sequence[str | tuple[str, Mapping[str, Any]]]) -> tuple[Bound, ...]:
    """The bound metrics in the order asked; a score that is asked for twice stands once."""
    found: dict[str, Bound] = {}
    for request in requests:
        bound = bind(request)
        found.setdefault(bound.signature, bound)
    return tuple(found.values())
