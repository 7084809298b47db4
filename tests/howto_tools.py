"""What the tests of the how-to pages share: a copy of the checkout, the files of a page put into it, its command, checks."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CHOICE = """
def pytest_collection_modifyitems(config, items):
    items[:] = [item for item in items if item.nodeid.startswith({whole!r})
                or (item.nodeid.startswith({suites!r}) and any(name in item.nodeid for name in {names!r}))]
"""


def page(name: str) -> str:
    return (ROOT / "docs" / "howto" / f"{name}.md").read_text(encoding="utf-8")


def files(name: str, folder: str) -> dict[str, Path]:
    """What a page has one write, by its place in the checkout; a file that names no folder belongs into this one."""
    found = re.findall(r'^```\w+ title="([^"]+)"\n--8<-- "([^"]+)"$', page(name), re.M)
    return {title if "/" in title else f"{folder}/{title}": ROOT / file for title, file in found}


def done(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> str:
    found = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr
    return found.stdout


@dataclass(frozen=True)
class Checkout:
    """A copy of the checkout in a folder, with the interpreter that runs these tests as its virtual environment."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        paths = [str(self.folder / part) for part in (".", "harness", "reference_explainers", "schemas")]
        return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}

    def take(self, files: Mapping[str, Path]) -> None:
        """Put files in their places, where nothing may be yet."""
        for place, file in files.items():
            assert not (self.folder / place).exists()
            shutil.copy(file, self.folder / place)

    def state(self) -> dict[str, bytes]:
        return {path.relative_to(self.folder).as_posix(): path.read_bytes() for path in self.folder.rglob("*")
                if path.is_file() and "__pycache__" not in path.parts and ".pytest_cache" not in path.parts}

    def made(self, name: str) -> tuple[set[str], set[str]]:
        """Run the page's one line of `make NAME`; the files that came, and those that changed."""
        (command,) = re.findall(rf"^make {name}\b.*$", page(name), re.M)
        before = self.state()
        done(shlex.split(command), self.folder, self.environment)
        after = self.state()
        assert not before.keys() - after.keys()
        return set(after) - set(before), {path for path in before if after[path] != before[path]}

    def checked(self, whole: Sequence[str], names: Sequence[str], suites: Sequence[str]) -> str:
        """Run whole tests, and of these suites those whose id has one of these names; what pytest says, all of it passed."""
        over = tuple(f"tests/test_{suite}.py" for suite in suites)
        (self.folder / "choice.py").write_text(CHOICE.format(names=tuple(names), whole=tuple(whole), suites=over))
        wanted = sorted({test.partition("::")[0] for test in whole} | set(over))
        said = done([sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", "-p", "choice", *wanted], self.folder,
                    self.environment)
        assert all(f"\n{test}" in said for test in whole), said
        return said


def checkout(folder: Path) -> Checkout:
    """A copy of what is in the repository, without the leaderboard and the pictures of the pages."""
    for part in ("harness", "reference_explainers", "schemas", "spec", "docs", "tests"):
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns(
            ".*_cache", *(("leaderboard", "img") if part == "docs" else ())))
    for file in ("Makefile", "pyproject.toml", "README.md", "CONTRIBUTING.md", "THIRD_PARTY.md", "mkdocs.yml"):
        shutil.copy(ROOT / file, folder)
    (folder / ".venv" / "bin").mkdir(parents=True)
    interpreter = folder / ".venv" / "bin" / "python"
    interpreter.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
    interpreter.chmod(0o755)
    return Checkout(folder)
