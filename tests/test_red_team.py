"""What people tried against the board and the commands around it; each of these went through once (section 11)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import vxp_schemas
from bundle_tools import Broken, made_run, sealed
from rich.console import Console
from vxp import audit, bundles, leaderboard, result, sealing, validation
from vxp.core import VxpError
from vxp.leaderboard import records
from vxp.validation import Report, validate


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    return sealed(made_run(folder / "run", limit=6, metrics=("entropy",)), folder / "bundle")


@pytest.fixture
def broken(whole: Path, tmp_path: Path) -> Broken:
    return Broken(whole, tmp_path / "broken")


def test_no_module_of_a_bundle_is_imported_through_pythonpath(broken: Broken, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty entry of PYTHONPATH is the working folder."""
    broken.path("numpy.py").write_text("raise SystemExit('imported from the bundle')")
    monkeypatch.chdir(broken.folder)
    monkeypatch.setenv("PYTHONPATH", f"{os.pathsep}lib")
    found = validation.apart(Path("."), "structure")
    assert [f["code"] for f in found.findings if f["severity"] == "error"] == ["VXP-I004"], found


@pytest.mark.parametrize("option", ["json_", "junit", "sarif", "html"])
def test_a_report_is_not_written_into_the_bundle_it_is_about(option: str, broken: Broken) -> None:
    out = {"json_": None, "junit": None, "sarif": None, "html": None, option: broken.path("inside.out")}

    def same(found: Report) -> Report:
        return found
    with pytest.raises(VxpError, match="lies in the bundle"):
        validation.main(Console(), broken.folder, level="structure", strict=False, recompute=same, **out)
    assert not broken.path("inside.out").exists()


def test_a_link_in_the_place_of_a_part_is_not_written_through(whole: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    for name in (".x.tar.part", ".x.tar"):
        (tmp_path / name).symlink_to(victim)
    bundles.write_tar(tmp_path / "x.tar", {p.relative_to(whole).as_posix(): p for p in whole.rglob("*") if p.is_file()})
    assert victim.read_text() == "mine"
    assert validate(tmp_path / "x.tar").evidence == "E1"


def test_pages_behind_a_link_are_not_deleted(whole: Path, tmp_path: Path) -> None:
    (tmp_path / "records").mkdir()
    assert leaderboard.add_(Console(quiet=True), whole, tmp_path / "records", []) == 0
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.html").write_text("mine")
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "submissions").symlink_to(tmp_path / "other")
    with pytest.raises(VxpError, match="is a link"):
        leaderboard.build(Console(quiet=True), tmp_path / "records", tmp_path / "site", check=False)
    assert [p.name for p in (tmp_path / "other").iterdir()] == ["mine.html"]


def test_a_file_that_a_bundle_names_is_not_opened(broken: Broken, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text("""
from vxp import explainer

@explainer("learned", signed=True, family="gradient", passes=1)
def learned(model, batch, *, weights: str = "none"):
    open(weights)
    return batch.raw().mean(1)
""")
    victim = str(tmp_path / "secret")
    for name in ("set", "result"):
        broken.json(name, lambda d: d["explainer"].update(parameters={"weights": victim}, id="learned"))
    broken.json("system.json", lambda d: d["method"].update(parameters={"weights": victim}, name="learned"))
    own = result.identity(json.loads(broken.path("system.json").read_bytes()))
    broken.json("set", lambda d: d.update(system=own))
    broken.seal()
    found = audit.verify(broken.folder, audit.Order(sample=None, regenerate=f"{tmp_path / 'own.py'}:learned"))
    assert found.verdict == "incomplete"
    assert "names a file" in found.not_checked[0]["reason"]


def test_a_folder_that_cannot_be_written_is_said_in_words(whole: Path, tmp_path: Path) -> None:
    (tmp_path / "records").write_text("a file, not a folder")
    with pytest.raises(VxpError, match="Nothing half-written is left"):
        records.add(whole, tmp_path / "records", [])


def test_millions_of_empty_lists_are_refused_soon(broken: Broken) -> None:
    broken.path("system.json").write_bytes(b"[" + b"[]," * (16 * 2**20 // 3 - 2) + b"[]]")
    began = time.monotonic()
    with pytest.raises(vxp_schemas.InvalidDocument, match="at most 1000000, and so about as many values"):
        vxp_schemas.loads(broken.path("system.json").read_bytes())
    assert time.monotonic() - began < 5  # 19 s before, on a free machine


def test_the_command_in_a_bundle_runs_nothing_of_it(broken: Broken) -> None:
    """`vxp`, as it is installed; `python -m vxp` puts the working folder first, which no program can prevent."""
    broken.path("numpy.py").write_text("raise SystemExit('imported from the bundle')")
    done = subprocess.run([str(Path(sys.executable).with_name("vxp")), "validate", "."], cwd=broken.folder, capture_output=True,
                          text=True, timeout=300, check=False)
    assert done.returncode == 1
    assert "VXP-I004" in done.stdout
    assert "imported from the bundle" not in done.stdout + done.stderr


def test_a_statement_of_another_place_is_no_statement(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "form.json")
    with pytest.raises(VxpError, match="no regular file"):
        sealing.read_statement(tmp_path / "form.json")
