"""The command line, as a newcomer meets it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conftest import Vxp

WIDE = {**os.environ, "COLUMNS": "200", "OMP_NUM_THREADS": "1"}


def vxp(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "vxp", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=WIDE, cwd=cwd, timeout=300)


@pytest.mark.parametrize(("what", "names"), [
    ("tasks", ["photos", "mosaic-photos", "stamps", "shapes"]),
    ("metrics", ["deletion", "max-sensitivity", "alias of insertion"]),
    ("explainers", ["grad-cam", "rise", "centre-gaussian"]),
    ("models", ["efficientnet-lite0", "torchvision/resnet50", "file.py:factory"]),
    ("datasets", ["photos", "stamps-training", "shapes", "imagenet-val"]),
])
def test_list(what: str, names: list[str], run_vxp: Vxp) -> None:
    done = run_vxp("list", what)
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in names)


@pytest.mark.parametrize(("arguments", "says"), [
    (["list", "taks"], "cannot list 'taks'; did you mean 'tasks'"),
    (["list", "metrics", "--here"], "--here is of data"),
    (["show", "metrics", "deletion"], "did you mean 'metric'"),
    (["show", "metric", "deletoin"], "did you mean 'deletion'"),
    (["show", "metric", "deletion@9"], "metric 'deletion' has version 1 here"),
    (["run", "photo", "--explainer", "grad-cam", "--out", "x"], "did you mean 'photos"),
    (["run", "photos", "--out", "x"], "name one with --explainer"),
    (["run", "photos", "--explainr", "x"], "vxp run has no option --explainr; did you mean --explainer? (see vxp run --help)"),
    (["run", "--metric", "gini"], "did you mean --metrics? (see vxp run --help)"),
    (["run", "--task", "shapes"], "the task goes without one, as in `vxp run shapes`"),
    (["run", "--task=shapes"], "the task goes without one, as in `vxp run shapes`"),
    (["explain", "shapes", "--metrics", "gini"], "it is an option of vxp run, vxp plan, vxp score"),
    (["run", "shapes", "photos"], "(see vxp run --help)"),
    (["lst", "metrics"], "Did you mean 'list'? (see vxp --help)"),
    (["data", "gett", "stamps"], "Did you mean 'get'? (see vxp data --help)"),
    (["metrics"], "did you mean vxp list metrics?"),
    (["get", "stamps"], "did you mean vxp data get?"),
    (["list"], "(see vxp list --help)"),
    (["run", "shapes", "--explainer", "grad-cam", "--metrics", "deletoin", "--out", "x"], "did you mean 'deletion'"),
    (["report", "nowhere"], "nowhere"),
    (["compare", "a", "b"], "a does not exist: expected a document"),
    (["data", "get", "stamp"], "stamps"),
])
def test_errors_name_the_thing_and_exit_2(arguments: list[str], says: str, tmp_path: Path, run_vxp: Vxp) -> None:
    done = run_vxp(*arguments, folder=tmp_path)
    assert done.returncode == 2, done.stdout + done.stderr
    assert says in done.stderr.replace("\n", " ")
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "x").exists() or not list((tmp_path / "x").rglob("result.json"))


@pytest.mark.parametrize(("arguments", "says"), [
    (["run", "shapes", "-e", "saliency", "--out", "run/report.html"], "did you mean run?"),
    (["explain", "shapes", "-e", "saliency", "--out", "note.txt"], "note.txt is a file, expected a folder"),
    (["report", "run/report.html"], "did you mean run?"),
    (["report", "run/results/a/result.json"], "did you mean run?"),
    (["score", "note.txt"], "note.txt is a file, expected a folder"),
    (["seal", "run/report.html", "-e", "saliency", "-o", "b"], "did you mean run?"),
    (["validate", "bundle/submission.json"], "did you mean bundle?"),
    (["verify", "bundle/submission.json"], "did you mean bundle?"),
])
def test_a_file_in_place_of_a_folder_is_named_with_its_folder(
    arguments: list[str], says: str, tmp_path: Path, run_vxp: Vxp
) -> None:
    for name in ("run/run.json", "run/report.html", "run/results/a/result.json", "bundle/submission.json", "note.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("{}")
    done = run_vxp(*arguments, folder=tmp_path)
    assert done.returncode == 2, done.stdout + done.stderr
    assert says in done.stderr.replace("\n", " ")
    assert "Traceback" not in done.stderr


def test_the_demo_on_two_items_then_report_and_compare(tmp_path: Path) -> None:
    """The demo's own command on two photos, through the real command line, to the report and a comparison."""
    out = tmp_path / "demo"
    done = vxp("run", "photos", "--limit", "2", "--out", str(out), "--batch-size", "8", "--threads", "1", "--device", "cpu",
               "--explainer", "grad-cam", "--explainer", "saliency", "--metrics",
               "deletion|steps:4,insertion|steps:4,average-drop|keep:50,road-morf,random-logit,max-sensitivity|samples:1,gini")
    assert done.returncode == 0, done.stderr
    assert "deletion@1|steps:4|fill:mean" in done.stdout
    assert "grad-cam" in done.stdout
    assert "explaining and scoring: 10 maps" in done.stderr
    assert "rows/s" in done.stderr
    html = (out / "report.html").read_text()
    assert "grad-cam" in html
    (out / "report.html").unlink()
    assert vxp("report", str(out)).returncode == 0
    assert (out / "report.html").exists()
    results = [str(next(out.glob(f"results/photos-{name}-*"))) for name in ("grad-cam", "saliency")]
    compared = vxp("compare", *results)
    assert compared.returncode == 0, compared.stderr
    assert "few clusters" in compared.stdout
    assert "grad-cam - saliency" in compared.stdout


def test_ctrl_c_says_how_to_go_on(tmp_path: Path) -> None:
    import signal
    import time

    out = tmp_path / "out"
    command = [sys.executable, "-m", "vxp", "run", "shapes", "--explainer", "rise", "--out", str(out), "--threads", "1",
               "--batch-size", "16", "--limit", "40"]
    # a shell's background job ignores Ctrl-C, and its children inherit that
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=WIDE,
                               preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    deadline = time.monotonic() + 120
    while not list(out.glob(".units/*/*.sha256")) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Run the same command again to go on" in said
