"""`vxp validate`: every rule of the catalogue against a bundle, all findings in one run.

Nothing in a bundle is executed, unpickled or fetched; nothing outside of it is read. The command checks in a process of
its own with bounded memory, so that a file that crashes a reader ends in `could not complete`, never in `valid`.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from vxp_schemas import typed

from vxp import bundles
from vxp.documents import store
from vxp.documents.findings import Finding, Findings, plain
from vxp.errors import VxpError
from vxp.validation import report
from vxp.validation.report import LEVELS, STOPPED, Level, Report

if TYPE_CHECKING:
    from vxp.validation.state import State

MEMORY = 4 * 2**30
"""Bytes that the checking process may reserve: a table at its cap and what it unfolds to."""
TIMEOUT = 6 * 3600
LEAST = 8
"""Bundles from which a further checking process is worth its start."""


def validate(path: Path, level: str = "consistency", *, strict: bool = False, record: bool = False) -> Report:
    """Check a bundle up to a level, in this process; record: its maps and curves may lie elsewhere. VxpError for an unknown
    level; everything else is in the report."""
    from vxp.validation import content, integrity, looks, structure  # the checks, which the command's own process does not run
    from vxp.validation.state import State

    asked = report.level_of(level)
    findings = Findings()
    state = State(bundles.scan(path, findings), findings, record=record)
    wanted = LEVELS[: LEVELS.index(asked) + 1]
    looker = looks.Looker(state) if "content" in wanted else None
    steps: dict[str, Callable[[], None]] = {
        "structure": lambda: structure.check(state),
        "integrity": lambda: integrity.check(state, looker),
        "content": lambda: content.check(state, looker or looks.Looker(state)),
        "consistency": lambda: _consistency(state),
    }
    checks: list[typed.ReportCheck] = []
    stopped = False
    for name in LEVELS:
        if name not in wanted:
            checks.append({"check": name, "ran": False, "reason": f"the level asked for is {level}"})
        elif name == "recompute":
            checks.append({"check": name, "ran": False, "reason": "it runs the model: vxp validate --level recompute and vxp "
                           "verify do"})
        elif state.submission is None and name != "structure":
            checks.append({"check": name, "ran": False, "reason": "submission.json could not be read"})
        else:
            why = _run(steps[name])
            stopped = stopped or why is not None
            checks.append({"check": name, "ran": True} if why is None else {"check": name, "ran": False, "reason": why})
    checks += [{"check": what, "ran": False, "reason": why} for what, why in state.incomplete.items()]
    whole = "consistency" in wanted and not stopped and not findings.errors
    root = store.digest(state.bundle.read(bundles.ROOT)) if _readable(state) else None
    found = [f.document() for f in findings.all]
    return Report(path.name or str(path), asked, root, "E1" if whole else "E0", checks, found, strict, stopped)


def _consistency(state: State) -> None:
    from vxp.validation import consistency  # and torch with it, which no level before needs

    consistency.check(state)


def _readable(state: State) -> bool:
    return bundles.ROOT in state.bundle.entries and state.bundle.size(bundles.ROOT) <= store.MAX_JSON


def _run(step: Callable[[], None]) -> str | None:
    """Why a level did not run to its end; None where it did. Whatever a stranger's file provokes ends here."""
    try:
        step()
    except Exception as error:
        return plain(f"{type(error).__name__}: {' '.join(str(error).split())[:500]}")
    return None


# ---------------------------------------------------------------------------------------------------------------- mending

LITTER = re.compile(r"\.DS_Store|Thumbs\.db|desktop\.ini|\._.*|__MACOSX", re.IGNORECASE)
"""Files that file managers leave behind."""


def fixes(path: Path, *, write: bool) -> list[str]:
    """What can be mended without loss, one line each, and mended where `write`: litter of file managers is deleted, and a
    file with several names becomes a file of its own. Nothing that a document lists is changed."""
    if not path.is_dir():
        return [f"{path}: nothing is mended inside a tar; mend the folder and seal again"]
    listed = apart(path, "structure")
    if listed.stopped:
        return [f"{path} could not be checked: {next(c['reason'] for c in listed.checks if not c['ran'])}"]
    unlisted = {f["file"] for f in listed.findings if f["code"] == "VXP-I004"}
    said = []
    for file in sorted(p for p in path.rglob("*") if p.is_file() and not p.is_symlink()):
        inside = file.relative_to(path).as_posix()
        if any(LITTER.fullmatch(part) for part in file.relative_to(path).parts) and (
                inside in unlisted or not bundles.PATH.fullmatch(inside)):
            said.append(f"delete {inside}, which a file manager left behind")
            if write:
                file.unlink()
        elif file.stat().st_nlink > 1:
            said.append(f"make {inside} a file of its own: it has {file.stat().st_nlink} names")
            if write:
                store.write_bytes(file, file.read_bytes())
    if not said:
        return ["nothing to mend"]
    return [f"done: {line}" for line in said] if write else [*(f"would {line}" for line in said), "--write does it"]


# ------------------------------------------------------------------------------------------------------------ the command


def apart(path: Path, level: Level, *, strict: bool = False) -> Report:
    """The same in a process of its own, whose crash, memory or time never passes for a verdict."""
    [(_, found)] = all_apart([path], level, strict=strict)
    return found


def all_apart(paths: Sequence[Path], level: Level, *, strict: bool = False, record: bool = False) -> list[tuple[Path, Report]]:
    """Several in as many processes as there are processors; where one ends before its time, what it did not come to could
    not be checked."""
    shares = max(1, min(os.cpu_count() or 1, len(paths) // LEAST))
    parts = [paths[k * len(paths) // shares : (k + 1) * len(paths) // shares] for k in range(shares)]
    with ThreadPoolExecutor(shares) as pool:
        found = [report for part in pool.map(lambda some: _in_one(some, level, strict, record), parts) for report in part]
    return list(zip(paths, found, strict=True))


def _in_one(paths: Sequence[Path], level: Level, strict: bool, record: bool) -> list[Report]:
    """Those of one process."""
    if not paths:
        return []
    # -P: the working folder is no place to import from, since it may be the bundle itself
    command = [sys.executable, "-P", "-m", "vxp.validation", level, "record" if record else "whole"]
    given = "".join(f"{json.dumps(str(path))}\n" for path in paths).encode()
    # nor is a folder that PYTHONPATH names from here
    own = [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if os.path.isabs(entry)]
    try:
        done = subprocess.run(command, input=given, capture_output=True, timeout=TIMEOUT, check=False,
                              env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(own)})
        said, last = done.stdout, done.stderr.decode(errors="replace").strip().splitlines()
        why = f"the checking process ended with {done.returncode}" + (f": {plain(last[-1][:300])}" if last else "")
    except subprocess.TimeoutExpired as late:
        said, why = late.stdout or b"", f"it took more than {TIMEOUT} s"
    found = []
    for line in said.splitlines():
        with contextlib.suppress(ValueError, KeyError):  # cut off by the end of the process
            found.append(Report.read(json.loads(line), strict=strict))
    missing: typed.ReportCheck = {"check": level, "ran": False, "reason": why}
    return found + [Report(p.name or str(p), level, None, "E0", [missing], [], strict, True) for p in paths[len(found):]]


FORMS: Mapping[str, Callable[[Report], str]] = {
    "json": report.as_json, "junit": report.as_junit, "sarif": report.as_sarif, "html": report.as_html}
"""The forms of a report that can be written, by their names."""


def main(
    console: Console, path: Path, level: str, recompute: Callable[[Report], Report], *, strict: bool,
    copies: Mapping[str, Path],
) -> int:
    """Validate, print, write the copies asked for, by their form (FORMS); returns the exit code. recompute: adds the level of
    that name, which runs the model and so not in the process apart."""
    asked = report.level_of(level)
    if not path.exists():
        raise VxpError(f"{path} does not exist: expected a folder or tar that vxp seal wrote")
    for out in copies.values():
        store.outside(path, out)
    found = apart(path, asked, strict=strict)
    if asked == "recompute":
        found = recompute(found)
    for form, out in copies.items():
        text = FORMS[form](found)
        if str(out) == "-":
            console.out(text, end="", highlight=False)
            return found.exit_code
        store.write_bytes(out, text.encode())
    report.show(console, found)
    return found.exit_code


__all__ = ["LEVELS", "STOPPED", "Finding", "Report", "all_apart", "apart", "fixes", "main", "validate"]
