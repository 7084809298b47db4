"""What is said of a command line that cannot be read: what was meant, and where the help is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from vxp.errors import VxpError

LISTED = ("tasks", "metrics", "explainers", "models", "datasets")
RUNS = ("run.json", "set.json")
"""Files of the folders that vxp run, vxp score and vxp explain write."""
ROOT = "submission.json"
"""The file that makes a folder a bundle."""


def said(error: Any, arguments: Sequence[str]) -> str:
    """The message for a usage error of the parser, with the nearest option or command and the help of the command itself."""
    context = getattr(error, "ctx", None)
    where = context.command_path if context is not None else "vxp"
    option = getattr(error, "option_name", None)
    if option is not None and context is not None:
        message = f"{where} has no option {option}{_option(option, context, arguments)}"
    else:
        message = str(error.format_message()).rstrip(".")
        if context is not None and hasattr(context.command, "commands") and message.startswith("No such command"):
            message = _command(context, message) or message
    return f"{message} (see {where} --help)"


def _option(option: str, context: Any, arguments: Sequence[str]) -> str:
    """What was meant by an option that a command does not have."""
    named = (p for p in context.command.params if p.param_type_name == "argument" and p.name == option.lstrip("-"))
    argument = next(named, None)
    if argument is not None:
        value = _behind(option, arguments) or str(argument.metavar or argument.name.upper()).strip("[]")
        return f": the {argument.name} goes without one, as in `{context.command_path} {value}`"
    own = [name for p in context.command.params for name in (*p.opts, *p.secondary_opts) if name.startswith("--")]
    if close := get_close_matches(option, own, n=1, cutoff=0.7):
        return f"; did you mean {close[0]}?"
    others = [path for path, command in _commands(context.find_root().command, "vxp")
              if any(option in p.opts for p in command.params if p.param_type_name == "option")]
    return f"; it is an option of {', '.join(others)}" if others else ""


def _behind(option: str, arguments: Sequence[str]) -> str:
    """The value that was given to an option."""
    for given, following in zip(arguments, [*arguments[1:], ""], strict=True):
        name, equals, value = given.partition("=")
        if name == option:
            return value if equals else "" if following.startswith("-") else following
    return ""


def _commands(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    for name, child in getattr(command, "commands", {}).items():
        yield f"{path} {name}", child
        yield from _commands(child, f"{path} {name}")


def _command(context: Any, message: str) -> str:
    """What was meant by a command that there is not, where it names what vxp list shows or a command of a group."""
    name = message.split("'")[1]
    if name in LISTED:
        return f"{context.command_path} has no command {name}; did you mean vxp list {name}?"
    inside = [path for path, _ in _commands(context.find_root().command, "vxp") if path.split()[-1] == name]
    return f"{context.command_path} has no command {name}; did you mean {inside[0]}?" if inside else ""


def folder(path: Path | None) -> Path | None:
    """A path that may not be a file; VxpError with the folder of the run that the file lies in."""
    if path is not None and path.is_file():
        near = next((p for p in list(path.parents)[:4] if any((p / name).is_file() for name in RUNS)), None)
        raise VxpError(f"{path} is a file, expected a folder" + (f"; did you mean {near}?" if near else ""))
    return path


def folders(paths: list[Path]) -> list[Path]:
    """The same of several."""
    for path in paths:
        folder(path)
    return paths


def bundle(path: Path | None) -> Path | None:
    """A bundle by its folder or tar; VxpError where it is the root document inside of the folder."""
    if path is not None and path.name == ROOT and path.is_file():
        raise VxpError(f"{path} is a file of a bundle, expected its folder or a tar; did you mean {path.parent}?")
    return path
