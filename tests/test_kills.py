"""Commands that are killed, run twice at once, or find the disk full or read-only: nothing is lost, nothing is half there."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from bundle_tools import STATEMENT, made_run, sealed
from rich.console import Console
from vxp import leaderboard, validation
from vxp.validation import validate

if TYPE_CHECKING:
    from conftest import Vxp

RUN = ("run", "shapes", "--explainer", "saliency", "--limit", "12", "--device", "cpu", "--batch-size", "16", "--threads", "1",
       "--metrics", "entropy,gini,deletion|steps:4")
KILLED = """
import os, signal, sys
folder, left = sys.argv.pop(1), int(sys.argv.pop(1))

def hook(event, arguments):
    global left
    writes = event in ("os.rename", "os.mkdir") or event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR)
    if writes and isinstance(arguments[0], str) and arguments[0].startswith(folder):
        left -= 1
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)

sys.addaudithook(hook)
from vxp import validation
validation.all_apart = lambda paths, level, **how: [(p, validation.validate(p, level, **how)) for p in paths]
from vxp.cli import main
main()
"""
"""`vxp`, which kills itself before it writes, renames or makes a folder for the n-th time below a folder. It validates itself:
what checks in a process of its own writes nothing."""


@pytest.fixture(scope="module", autouse=True)
def here() -> Iterator[None]:
    """The validator in this process: one of its own costs seconds each time."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(validation, "all_apart", lambda paths, level, strict=False, record=False: [
            (p, validate(p, level, record=record)) for p in paths])
        yield


def killed(folder: Path, before: int, *arguments: str | Path) -> int:
    return subprocess.run([sys.executable, "-c", KILLED, str(folder), str(before), *map(str, arguments)], capture_output=True,
                          timeout=300, check=False).returncode


def there(folder: Path) -> dict[str, bytes]:
    """What is in a folder, but for what is on its way to be written."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*"))
            if p.is_file() and not any(part.startswith(".") for part in p.relative_to(folder).parts)}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_run(tmp_path_factory.mktemp("run") / "run", limit=12, metrics=("entropy", "gini", "deletion|steps:4"))


@pytest.fixture(scope="module")
def bundle(finished: Path) -> Path:
    return sealed(finished, finished.parent / "bundle")


@pytest.fixture(scope="module")
def statement(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("statement") / "said.json"
    path.write_text(json.dumps(STATEMENT))
    return path


@pytest.fixture(scope="module")
def records(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("records")
    assert leaderboard.add_(Console(quiet=True), bundle, folder, []) == 0
    return folder


@pytest.fixture(scope="module")
def site(records: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site")
    assert leaderboard.build(Console(quiet=True), records, out, check=False) == 0
    return out


# ------------------------------------------------------------------------------------------------------------------- kills


@pytest.mark.parametrize(("name", "before"), [("out", 2), ("out", 20), ("out.tar", 5)])
def test_a_killed_seal_leaves_no_bundle_and_is_repeated(
    name: str, before: int, finished: Path, statement: Path, tmp_path: Path, run_vxp: Vxp,
) -> None:
    order = ("seal", finished, "-e", "saliency", "--submission", statement, "--out", tmp_path / name)
    assert killed(tmp_path, before, *order) == -signal.SIGKILL
    assert not (tmp_path / name).exists()
    assert run_vxp(*order).returncode == 0
    assert validate(tmp_path / name).evidence == "E1"


@pytest.mark.parametrize("before", [2, 15])
def test_a_killed_leaderboard_add_leaves_no_record_and_is_repeated(
    before: int, bundle: Path, records: Path, tmp_path: Path, run_vxp: Vxp,
) -> None:
    order = ("leaderboard", "add", bundle, "--records", tmp_path / "records")
    assert killed(tmp_path, before, *order) == -signal.SIGKILL
    assert not there(tmp_path)
    assert run_vxp(*order).returncode == 0
    assert set(there(tmp_path / "records")) == set(there(records))


@pytest.mark.parametrize("before", [3, 5])
def test_a_killed_leaderboard_build_leaves_whole_pages_and_is_repeated(
    before: int, records: Path, site: Path, tmp_path: Path, run_vxp: Vxp,
) -> None:
    order = ("leaderboard", "build", "--records", records, "--out", tmp_path)
    assert killed(tmp_path, before, *order) == -signal.SIGKILL
    assert there(tmp_path).items() < there(site).items()
    assert run_vxp(*order).returncode == 0
    assert there(tmp_path) == there(site)


# ------------------------------------------------------------------------------------------------------- two runs at a time


def test_a_second_run_in_a_folder_is_told_of_the_first(tmp_path: Path, run_vxp: Vxp) -> None:
    out = tmp_path / "out"
    first = subprocess.Popen([sys.executable, "-m", "vxp", *RUN, "--out", str(out)], stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 120
        while not (out / "run.json").exists():
            assert first.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.005)
        os.kill(first.pid, signal.SIGSTOP)  # in the middle of its work
        second = run_vxp(*RUN, "--out", out)
        assert second.returncode == 2
        assert "another run is writing" in second.stderr
        os.kill(first.pid, signal.SIGCONT)
        assert first.wait(120) == 0
    finally:
        first.kill()
        first.wait()
    assert run_vxp(*RUN, "--out", out).returncode == 0


# ------------------------------------------------------------------------------------------------------ a disk that is full


@contextlib.contextmanager
def disk(folder: Path, *options: str) -> Iterator[None]:
    """A small file system of its own at a folder; skipped where nobody may mount one."""
    folder.mkdir(exist_ok=True)
    mounting = ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(folder)]
    if shutil.which("mount") is None or subprocess.run(mounting, capture_output=True, check=False).returncode:
        pytest.skip("mounting a file system needs a privilege that this process does not have")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def again(folder: Path, *options: str) -> None:
    subprocess.run(["mount", "-o", ",".join(("remount", *options)), str(folder)], check=True)


def orders(out: Path, finished: Path, statement: Path, bundle: Path, records: Path) -> dict[str, tuple[str | Path, ...]]:
    return {"run": (*RUN, "--out", out / "run"),
            "seal": ("seal", finished, "-e", "saliency", "--submission", statement, "--out", out / "b"),
            "seal-tar": ("seal", finished, "-e", "saliency", "--submission", statement, "--out", out / "b.tar"),
            "add": ("leaderboard", "add", bundle, "--records", out / "records"),
            "build": ("leaderboard", "build", "--records", records, "--out", out / "site")}


@pytest.mark.parametrize("name", ["run", "seal", "seal-tar", "add", "build"])
def test_a_full_disk_is_said_and_nothing_is_half_written(
    name: str, finished: Path, statement: Path, bundle: Path, records: Path, tmp_path: Path, run_vxp: Vxp,
) -> None:
    out = tmp_path / "disk"
    with disk(out, "size=48k"):
        order = orders(out, finished, statement, bundle, records)[name]
        done = run_vxp(*order)
        assert done.returncode == 3, done.stderr
        assert "No space left on device. Nothing half-written is left" in done.stderr
        assert not [p for p in out.rglob(".*") if p.name != ".units"], "something is left on its way"
        if name in ("seal", "seal-tar", "add"):
            assert not there(out)
        kept = there(out)
        again(out, "size=64m")
        assert run_vxp(*order).returncode == 0
        assert kept.keys() <= there(out).keys()
        if name == "run":
            assert sealed(out / "run", tmp_path / "sealed").is_dir()
            assert validate(tmp_path / "sealed").evidence == "E1"


@pytest.mark.parametrize("name", ["run", "seal", "seal-tar", "add", "build"])
def test_a_read_only_folder_is_said(
    name: str, finished: Path, statement: Path, bundle: Path, records: Path, tmp_path: Path, run_vxp: Vxp,
) -> None:
    out = tmp_path / "disk"
    with disk(out, "size=1m"):
        again(out, "ro")
        done = run_vxp(*orders(out, finished, statement, bundle, records)[name])
        assert done.returncode == 3, done.stderr
        assert "Read-only file system. Nothing half-written is left" in done.stderr
        assert "Traceback" not in done.stderr
        assert not list(out.iterdir())
