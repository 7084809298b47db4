"""Find what the modules of a package and installed plugins declare, so that adding a file is adding a thing."""

from __future__ import annotations

import json
from collections.abc import Sequence
from difflib import get_close_matches
from importlib import import_module
from pkgutil import iter_modules
from types import ModuleType
from typing import Any, Protocol, TypeVar

from vxp.errors import VxpError


class Named(Protocol):
    @property
    def id(self) -> str: ...


T = TypeVar("T", bound=Named)


def find(package: str | None, kind: type[T], *, group: str) -> dict[str, T]:
    """Every `kind` at the top of a module of `package`, or announced under an entry-point group, by its id.

    An entry point names one declaration, or a module or package whose modules are scanned likewise. Raises VxpError
    where two different things share an id.
    """
    from importlib.metadata import entry_points

    things: list[Any] = _scan(import_module(package)) if package else []
    for point in entry_points(group=group):
        loaded = point.load()
        things += _scan(loaded) if isinstance(loaded, ModuleType) else [loaded]
    found: dict[str, T] = {}
    for thing in things:
        if isinstance(thing, kind) and found.setdefault(thing.id, thing) is not thing:
            raise VxpError(f"two {kind.__name__.lower()}s are called {thing.id!r}: give one of them another id")
    return dict(sorted(found.items()))


def _scan(module: ModuleType) -> list[Any]:
    modules = [module]
    if hasattr(module, "__path__"):
        modules += [import_module(m.name) for m in iter_modules(module.__path__, f"{module.__name__}.")
                    if not m.name.rsplit(".", 1)[-1].startswith("__")]
    return [value for m in modules for value in vars(m).values()]


def nearest(name: str, known: Sequence[str]) -> str:
    """`; did you mean 'x'?` for the closest known name, or an empty string."""
    close = get_close_matches(name, known, n=1, cutoff=0.5)
    return f"; did you mean {close[0]!r}?" if close else ""


def split(request: str, what: str, example: str = "") -> tuple[str, dict[str, str]]:
    """`name|parameter:value|...` as the name and its parameters; what names the kind of thing in the VxpError."""
    head, *rest = request.split("|")
    given = {}
    for part in rest:
        name, colon, value = part.partition(":")
        if not colon:
            raise VxpError(f"{what} {request!r}: {part!r} is no parameter; write name:value{example}")
        given[name] = value
    return head, given


def number(value: Any, *, like: Any, what: str) -> Any:
    """A parameter's value in the type of its default; text is read as JSON. VxpError says what was got and expected."""
    read = value
    if isinstance(value, str) and not isinstance(like, str):
        try:
            read = json.loads(value)
        except json.JSONDecodeError:
            read = value
    if like is None or isinstance(like, str):
        return read if like is None or isinstance(read, str) else _wrong(value, like, what)
    if isinstance(like, bool) or isinstance(read, bool):
        return read if isinstance(like, bool) and isinstance(read, bool) else _wrong(value, like, what)
    if isinstance(like, int) and isinstance(read, int):
        return read
    if isinstance(like, float) and isinstance(read, int | float):
        return float(read)
    return _wrong(value, like, what)


def _wrong(value: Any, like: Any, what: str) -> Any:
    raise VxpError(f"{what}: got {value!r}, expected a value of type {type(like).__name__} such as {like!r}")
