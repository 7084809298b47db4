"""A stranger's path as the tutorial has it, through the real command line: every command of the three pages, in order."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
TUTORIAL = ROOT / "docs" / "tutorial"
TEMPLATE = ROOT / "docs" / "templates" / "results-repository"
BLOCK = re.compile(r"^```(\w+)(?: title=\"([^\"]+)\")?\n(.*?)^```", re.M | re.S)


def environment(folder: Path) -> dict[str, str]:
    """`vxp` and `python` are those of this environment."""
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "COLUMNS": "200",
            "OMP_NUM_THREADS": "1", "HOME": str(folder)}


def sh(text: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["bash", "-euo", "pipefail", "-c", text], cwd=folder, env=environment(folder), capture_output=True,
                          text=True, timeout=600, check=False)


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    """A folder in which every block was done in order; what each command block printed."""
    folder = tmp_path_factory.mktemp("tutorial")
    said: dict[str, str] = {}
    for page in ("submit", "audit", "compare"):
        for language, title, body in BLOCK.findall((TUTORIAL / f"{page}.md").read_text()):
            if title:
                included = re.search(r'--8<-- "([^"]+)"', body)
                (folder / title).write_text((ROOT / included[1]).read_text() if included else body)
            elif language == "sh":
                done = sh(body, folder)
                assert done.returncode == 0, f"{page}.md:\n{body}\n{done.stdout}\n{done.stderr}"
                said[body] = done.stdout
    return folder, said


def printed(said: dict[str, str], start: str) -> str:
    return next(text for body, text in said.items() if start in body)


def test_a_bundle_is_made_validated_and_verified(walked: tuple[Path, dict[str, str]]) -> None:
    folder, said = walked
    assert "no errors found" in printed(said, "vxp validate contrast.tar\n")
    assert "evidence E2" in printed(said, "--out contrast-maps.json")
    assert "evidence E3" in printed(said, "--regenerate contrast.py:contrast_gradient")
    report = json.loads((folder / "contrast.json").read_bytes())
    assert (report["verdict"], report["evidence"], report["exit_code"]) == ("no-errors-found (partial)", "E1", 0)
    done = sh("vxp leaderboard add outside.tar --records other --audit contrast-maps.json", folder)
    assert (done.returncode, "VXP-I007" in done.stdout) == (1, True)


def test_the_reader_sees_both_methods(walked: tuple[Path, dict[str, str]]) -> None:
    folder, said = walked
    compared = printed(said, "vxp compare")
    assert "contrast-gradient - stands-out" in compared
    assert "tied for best" in compared or "best: " in compared or "nothing is separated" in compared
    board = json.loads((folder / "site" / "leaderboard.json").read_bytes())
    assert {s["submission_id"]: s["evidence"] for s in board["submissions"]} == {
        "example-lab-contrast-gradient": "E3", "example-lab-stands-out": "E2"}
    assert "@misc{example-lab-contrast-gradient" in printed(said, "vxp cite")


def test_a_method_that_looks_at_no_class_is_seen_by_its_status(walked: tuple[Path, dict[str, str]]) -> None:
    folder, _ = walked
    (path,) = folder.glob("outside-scores/results/*stands-out*/result.json")
    document = json.loads(path.read_bytes())
    assert document["explainer"]["parameters"] == {"cell": 4}
    assert not document["explainer"]["target_specific"]
    assert document["cost"]["explain"]["seconds"] == pytest.approx(0.0004 * 24)


def test_the_form_is_written_and_refused_until_it_is_filled_in(walked: tuple[Path, dict[str, str]]) -> None:
    folder, _ = walked
    done = sh("vxp seal run -e contrast-gradient --submission form.json --out new.tar", folder)
    assert done.returncode == 2
    assert "a form has been written there" in done.stderr
    done = sh("vxp seal run -e contrast-gradient --submission form.json --out new.tar", folder)
    assert done.returncode == 2
    assert "/statement_of_tuning is empty" in done.stderr
    assert "affiliation" not in done.stderr  # somebody on their own has none
    assert not (folder / "new.tar").exists()


def test_one_result_of_a_run_is_cited(walked: tuple[Path, dict[str, str]]) -> None:
    folder, _ = walked
    done = sh("vxp cite run", folder)
    assert done.returncode == 2
    said = done.stderr.partition("is cited: ")[2].splitlines()[0]
    assert said.startswith("vxp cite run/results/"), done.stderr
    assert sh(said, folder).stdout.startswith("@misc{vxp-")


# ------------------------------------------------------------------------------------------------ the results repository


def workflow() -> dict[str, object]:
    loaded: dict[str, object] = yaml.safe_load((TEMPLATE / ".github" / "workflows" / "submissions.yml").read_text())
    return loaded


def test_the_workflow_gives_a_fork_nothing() -> None:
    found = workflow()
    assert found["permissions"] == {"contents": "read"}
    # YAML 1.1 reads the key `on` as true
    assert set(found[True]) == {"pull_request", "push"}  # type: ignore[index]
    jobs = found["jobs"]
    assert isinstance(jobs, dict)
    assert jobs["publish"]["if"] == "github.event_name == 'push'"
    assert "permissions" not in jobs["check"]
    checkout = jobs["check"]["steps"][0]
    assert checkout["with"]["persist-credentials"] is False
    text = (TEMPLATE / ".github" / "workflows" / "submissions.yml").read_text()
    for dangerous in ("pull_request_target", "secrets.", "github.event.pull_request.title", "github.head_ref"):
        assert dangerous not in text


@pytest.mark.parametrize(("path", "admitted"), [
    ("records/a-lab-x-0123456789ab/bundle/submission.json", True),
    ("records/a-lab-x-0123456789ab/report.json", True),
    ("records/a-lab-x-0123456789ab/signature.json", True),
    ("records/a-lab-x-0123456789ab/withdrawal.json", True),
    ("trust.json", False),
    ("records/a-lab-x-0123456789ab/audits/0123456789ab.json", False),
    (".github/workflows/other.yml", False),
    ("records/a-lab-x-0123456789ab/../../x", False),
    ("site/index.html", False),
])
def test_a_submission_adds_the_files_of_a_record_only(path: str, admitted: bool, tmp_path: Path) -> None:
    """The step's own script, on a real repository."""
    steps = workflow()["jobs"]["check"]["steps"]  # type: ignore[index]
    (script,) = [s["run"] for s in steps if "git diff" in s.get("run", "")]
    git = "git -c user.name=x -c user.email=x@example.org"
    setup = f"git init -q -b main . && touch README.md && git add . && {git} commit -qm one && git rev-parse HEAD > ../base"
    assert sh(setup, _folder(tmp_path)).returncode == 0
    place = tmp_path / "repository" / path
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text("x")
    assert sh(f"git add -A -f . && {git} commit -qm two", tmp_path / "repository").returncode == 0
    base = (tmp_path / "base").read_text().strip()
    done = sh(f"export BASE={base}\n{script}", tmp_path / "repository")
    assert (done.returncode == 0) == admitted, done.stdout + done.stderr


def test_a_submission_changes_no_record_that_is_there(tmp_path: Path) -> None:
    steps = workflow()["jobs"]["check"]["steps"]  # type: ignore[index]
    (script,) = [s["run"] for s in steps if "git diff" in s.get("run", "")]
    git = "git -c user.name=x -c user.email=x@example.org"
    folder = _folder(tmp_path)
    file = folder / "records" / "a-0123456789ab" / "report.json"
    file.parent.mkdir(parents=True)
    file.write_text("one")
    first = f"git init -q -b main . && git add . && {git} commit -qm one && git rev-parse HEAD > ../base"
    assert sh(first, folder).returncode == 0
    file.write_text("two")
    assert sh(f"{git} commit -qam two", folder).returncode == 0
    assert sh(f"export BASE={(tmp_path / 'base').read_text().strip()}\n{script}", folder).returncode == 1


def test_the_template_builds_its_pages(walked: tuple[Path, dict[str, str]], tmp_path: Path) -> None:
    """The workflow's command on a copy of the template with the tutorial's records."""
    folder, _ = walked
    steps = workflow()["jobs"]["check"]["steps"]  # type: ignore[index]
    (command,) = [s["run"] for s in steps if s.get("run", "").startswith("vxp ")]
    repository = Path(shutil.copytree(TEMPLATE, tmp_path / "repository"))
    shutil.copytree(folder / "records", repository / "records")
    shutil.copy(folder / "trust.json", repository)
    done = sh(command, repository)
    assert done.returncode == 0, done.stderr
    assert (repository / "site" / "index.html").exists()


def _folder(tmp_path: Path) -> Path:
    (tmp_path / "repository").mkdir()
    return tmp_path / "repository"
