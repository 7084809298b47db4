"""Clips through everything that users do: run, report, seal, validate, verify, a record on the board."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from bundle_tools import STATEMENT, Broken, commanded, key, trusted
from vxp.report import compare
from vxp.validation import validate

METRICS = "st-deletion|steps:4,t-pointing,mask-auc,relevance-rank,max-sensitivity|samples:2,entropy,flicker,deletion|steps:4"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of 24 clips, through the command."""
    folder = tmp_path_factory.mktemp("clips") / "run"
    commanded(f"run motion-items --limit 24 --explainer grad-cam --explainer saliency --metrics {METRICS} --out {folder} "
              "--batch-size 32 --threads 1 --device cpu")
    return folder


@pytest.fixture(scope="module")
def bundle(run: Path) -> Path:
    statement = run.parent / "statement.json"
    statement.write_text(json.dumps(STATEMENT | {"submission_id": "clips"}))
    commanded(f"seal {run} --explainer grad-cam --submission {statement} --out {run.parent / 'clips'}")
    return run.parent / "clips"


def test_maps_of_clips_are_stored_as_they_were_made(run: Path) -> None:
    """Grad-CAM's on the layer's grid, with the rule of its kind; references of clips beside them, in their order."""
    found = json.loads(next(run.glob("explanations/*-grad-cam-*/set.json")).read_bytes())
    assert (found["kind"], found["explainer"]["resample"]) == ("heatmap3d", "trilinear")
    values = safetensors.numpy.load_file(next(run.glob("explanations/*-grad-cam-*/payload/00000.safetensors")))["values"]
    assert values.shape == (24, 8, 8, 8)
    beside = json.loads(next(run.glob("results/*-grad-cam-*/result.json")).read_bytes())["references"]
    assert [r["explainer"] for r in beside] == ["random", "random-coarse", "centre-gaussian", "edges", "motion", "oracle",
                                                "oracle-binary"]


def test_a_metric_of_images_is_not_run_on_clips(run: Path) -> None:
    scores = json.loads(next(run.glob("results/*-grad-cam-*/result.json")).read_bytes())["scores"]
    statuses = {s["metric"]["id"]: s["statuses"] for s in scores}
    assert statuses["deletion"] == {"not-run:kind": 24}
    assert statuses["mask-auc"] == statuses["max-sensitivity"] == {"ok": 24}


def test_a_description_has_a_mean_and_is_compared_by_nobody(run: Path) -> None:
    """flicker: numbers with their interval and no worst end; no test, no rank, no mark, and nothing that it adjusts."""
    folders = sorted(f for f in run.glob("results/*") if "-grad-cam-" in f.name or "-saliency-" in f.name)
    (score,) = (s for s in json.loads((folders[0] / "result.json").read_bytes())["scores"] if s["signature"] == "flicker@1")
    assert score["better"] == "neither"
    assert score["ci"]["lo"] < score["mean"] < score["ci"]["hi"]
    assert "mean_worst_bound" not in score
    (group,) = compare.compare(folders)
    assert {s.signature.partition("@")[0] for s in group.scores} == {
        "st-deletion", "t-pointing", "mask-auc", "relevance-rank", "max-sensitivity", "entropy", "deletion"}
    assert "flicker" not in commanded(f"compare {folders[0]} {folders[1]} --references")
    assert "neither direction is better" in (run / "report.html").read_text()


def test_the_same_command_goes_on_to_the_same_bytes(run: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    shutil.copytree(run, again)
    for unit in (again / ".units" / "score").glob("*-saliency-*/000008*"):
        unit.unlink()
    commanded(f"run motion-items --limit 24 --explainer grad-cam --explainer saliency --metrics {METRICS} --out {again} "
              "--batch-size 32 --threads 1 --device cpu")
    for file in run.glob("results/*/samples.parquet"):
        assert (again / file.relative_to(run)).read_bytes() == file.read_bytes()


def test_the_report_shows_where_and_when(run: Path) -> None:
    page = (run / "report.html").read_text()
    assert page.count('class="strips"') == 8
    assert page.count("relevance over time, ") == 8
    assert page.count('class="truth"') >= 8, "frames with truth"
    assert page.count("data:image/webp") >= 8 * 9, "a looping picture for the input and every map"


def test_a_bundle_of_clips_is_valid_and_reproduced(bundle: Path, tmp_path: Path) -> None:
    assert "(0 errors, 0 warnings" in commanded(f"validate {bundle}")
    said = commanded(f"verify {bundle} --all --regenerate grad-cam --threads 1 --batch-size 16 --out {tmp_path / 'audit.json'}")
    statement = json.loads((tmp_path / "audit.json").read_bytes())
    assert statement["predicate"]["verdict"] == "reproduced", said
    assert statement["predicate"]["evidence"] == "E3"


@pytest.mark.parametrize(("what", "code"), [("still", "VXP-F001"), ("one", "VXP-F002"), ("centre", "VXP-F003")])
def test_maps_that_say_nothing_of_the_clip_are_flagged(what: str, code: str, bundle: Path, tmp_path: Path) -> None:
    broken = Broken(bundle, tmp_path / "bundle")
    rng = np.random.default_rng(0)
    one = rng.random((8, 8, 8), dtype=np.float32)
    bell = np.exp(-0.5 * ((np.arange(8) - 3.5) / 2) ** 2).astype(np.float32)
    maps = {"still": np.zeros((24, 8, 8, 8), np.float32), "one": one + 0.01 * rng.random((24, 8, 8, 8), dtype=np.float32),
            "centre": np.einsum("t,h,w->thw", bell, bell, bell) + 1e-3 * rng.random((24, 8, 8, 8), dtype=np.float32)}[what]
    broken.tensors("shard", lambda t: t.update(values=maps.astype(np.float32)))
    broken.seal()
    assert code in {f["code"] for f in validate(broken.folder).findings}


def test_a_record_of_clips_stands_on_a_board(bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    trusted(tmp_path / "records")
    commanded(f"verify {bundle} --all --threads 1 --batch-size 16 --out audit.json")
    commanded(f"sign audit.json --key {key('auditor')} --out signed.json")
    commanded(f"leaderboard add {bundle} --records records --audit signed.json")
    commanded("leaderboard build --records records --out site")
    (table,) = json.loads((tmp_path / "site" / "leaderboard.json").read_bytes())["tables"]
    assert table["task"]["id"] == "motion-items"
    (score,) = (s for s in table["entries"][0]["scores"] if s["signature"] == "flicker@1")
    assert score["figure"] == score["mean"]
    assert score["why_not_ranked"] == "neither direction is better"
    assert not score.keys() & {"against", "tied_for_best"}
    pages = [page.read_text() for page in (tmp_path / "site").rglob("*.html")]
    assert any("neither direction is better" in page for page in pages)


def test_inverted_maps_of_clips_are_flagged(tmp_path: Path) -> None:
    """A curve over voxels tells them, as a curve over pixels does for images."""
    (tmp_path / "own.py").write_text("from vxp import explainers\n\n\ndef anti(model, batch):\n"
                                     "    return -explainers.bind('grad-cam')(model, batch)\n")
    commanded(f"run motion-items --limit 40 --explainer {tmp_path / 'own.py'}:anti --metrics entropy,st-deletion|steps:4 "
              f"--out {tmp_path / 'run'} --batch-size 32 --threads 1 --device cpu")
    (tmp_path / "statement.json").write_text(json.dumps(STATEMENT | {"submission_id": "anti"}))
    bundle = tmp_path / "bundle"
    commanded(f"seal {tmp_path / 'run'} --explainer anti --submission {tmp_path / 'statement.json'} --out {bundle}")
    commanded(f"verify {bundle} --all --threads 1 --batch-size 16 --out {tmp_path / 'audit.json'}")
    found = {f["code"] for f in json.loads((tmp_path / "audit.json").read_bytes())["predicate"]["findings"]}
    assert "VXP-F004" in found
