"""Which installed distribution a function comes from."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import cache
from importlib.metadata import Distribution, distribution, distributions
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

OWN_FILE = "vxp_user_"
"""What the name of a module begins with that was read from a file of the user's, by `file.py:name`."""


@cache
def origin(module: str) -> tuple[str, str] | None:
    """Name and version of the distribution that holds an imported module; None for a file of one's own and a notebook.

    A distribution holds a module whose file it installed, or whose file lies in the folders that it is edited in, or from
    whose package it announces something to VXP. The last one names a checkout that is read through PYTHONPATH.
    """
    top = module.partition(".")[0]
    if top == "__main__" or top.startswith(OWN_FILE):
        return None
    if top == __package__:
        found: Distribution | None = distribution(__package__)
    else:
        name = getattr(sys.modules.get(module), "__file__", None)
        installed = list(distributions())
        of_file = (d for d in installed if name and (_installed(d, Path(name)) or _edited(d, Path(name), top)))
        announced = (d for d in installed if any(p.group.startswith("vxp.") and p.module.partition(".")[0] == top
                                                 for p in d.entry_points))
        found = next(of_file, None) or next(announced, None)
    return None if found is None else (found.metadata["Name"], found.version)


def ours(function: Callable[..., Any]) -> bool:
    """Whether a function is of this project, and not of a plugin that is installed beside it."""
    found = origin(function.__module__)
    return found is not None and found[0] == __package__


def _installed(found: Distribution, file: Path) -> bool:
    """Whether the distribution's record lists the file."""
    root, file = Path(str(found.locate_file(""))).resolve(), file.resolve()
    return file.is_relative_to(root) and file.relative_to(root).as_posix() in {p.as_posix() for p in found.files or ()}


def _edited(found: Distribution, file: Path, top: str) -> bool:
    """Whether the distribution is installed for editing, and its package of this name is read from a folder with the file."""
    url = json.loads(found.read_text("direct_url.json") or "{}")
    if not url.get("dir_info", {}).get("editable"):
        return False
    # build backends write the folders into a .pth file; setuptools maps the packages of a flat checkout by code instead
    paths = [Path(str(p.locate())) for p in found.files or () if p.suffix == ".pth"]
    folders = [p.parent / line for p in paths if p.is_file() for line in p.read_text(encoding="utf-8").split("\n") if line]
    if top in (found.read_text("top_level.txt") or "").split():
        folders.append(Path(url2pathname(urlsplit(url["url"]).path)))
    resolved = file.resolve()
    return any(resolved.is_relative_to(base.resolve()) for folder in folders for base in (folder / top, folder / f"{top}.py"))
