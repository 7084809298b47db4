"""The command `vxp`: parses, calls, and returns an exit code. 0 done, 1 does not conform, 2 bad input, 3 could not complete,
4 warnings under --strict, 130 stopped."""

from __future__ import annotations

import logging
import sys

import typer

from vxp.cli import boards, bundles, lists, mistakes, reading, running  # each adds its commands to the program
from vxp.cli.options import STOPPED, app, errors
from vxp.errors import NotWrittenError, VxpError

__all__ = ["app", "boards", "bundles", "lists", "main", "mistakes", "reading", "running"]

ORDER = ("list", "show", "run", "plan", "explain", "fit", "score", "report", "compare", "bench", "conformance", "seal",
         "validate", "verify", "sign", "explain-code", "import", "migrate", "cite")
"""The commands as the help shows them: in the order in which they are needed."""
app.registered_commands.sort(key=lambda command: ORDER.index(command.name or getattr(command.callback, "__name__", "")))


class _Said(logging.Handler):
    """Prints what is logged above a bar of progress, which a stream of its own would break."""

    def emit(self, record: logging.LogRecord) -> None:
        errors.print(self.format(record), style="yellow", markup=False, soft_wrap=True)


def main() -> None:
    """Entry point of the console script."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s", handlers=[_Said()])
    try:
        # some versions of Typer return the code of Ctrl-C and of an Exit, some raise
        code = app(standalone_mode=False, prog_name="vxp")
        if code == STOPPED:
            raise KeyboardInterrupt
        sys.exit(code if isinstance(code, int) else 0)
    except VxpError as error:
        errors.print(f"error: {error}", style="red", markup=False, soft_wrap=True)
        sys.exit(3 if isinstance(error, NotWrittenError) else 2)
    except typer.Exit as stop:
        sys.exit(stop.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        errors.print("Stopped. Run the same command again to go on: finished units are kept.")
        sys.exit(STOPPED)
    except Exception as error:
        if not hasattr(error, "format_message"):
            raise
        errors.print(f"error: {mistakes.said(error, sys.argv[1:])}", style="red", markup=False, soft_wrap=True)
        sys.exit(2)
