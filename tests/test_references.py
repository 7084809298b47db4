"""The references' scores per item beside every result, paired tests against them, ties of references, and what a task's card
says of statistics."""

from __future__ import annotations

import io
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from bundle_tools import METRICS, Broken, made_run, sealed
from rich.console import Console
from vxp import explainers, models, report, stats, tasks
from vxp.core import VxpError
from vxp.report import compare, console_tables, read, standing
from vxp.runs import result, run
from vxp.runs.context import Context, Settings
from vxp.validation import validate

DELETION = "deletion@1|steps:4|fill:mean"
BOXES = "max-box-acc-v2@1|thresholds:20"
NAMES = ("random", "centre-gaussian", "edges", "oracle")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return made_run(tmp_path_factory.mktemp("references") / "run", "saliency", "grad-cam")


def found_in(out: Path, name: str) -> Path:
    (folder,) = out.glob(f"results/shapes-{name}-????????")
    return folder


# -------------------------------------------------------------------------------------------------- beside every result


def test_the_references_scores_are_those_of_their_own_results(finished: Path) -> None:
    document = json.loads((found_in(finished, "saliency") / "result.json").read_text())
    rows = pq.read_table(found_in(finished, "saliency") / "references.parquet").to_pylist()
    assert [r["explainer"] for r in document["references"]][:3] == list(NAMES[:3])
    assert len(rows) == document["reference_samples"]["rows"] == len(document["references"]) * len(METRICS) * 24
    for reference in document["references"]:
        own = pq.read_table(found_in(finished, reference["explainer"]) / "samples.parquet").to_pydict()
        for score in reference["scores"]:
            signature = score["signature"]
            mine = [r for r in rows if r["explainer"] == reference["explainer"] and r["signature"] == signature]
            assert [r["value"] for r in mine] == own[signature]
            assert [r["status"] for r in mine] == own[f"{signature}#status"]
            assert [r["item_id"] for r in mine] == own["item_id"]
            assert [r["cluster"] for r in mine] == own["cluster"]


def test_every_result_of_a_run_has_the_same_bytes_beside_it(finished: Path) -> None:
    for file in ("references.parquet", "reference-statistics.safetensors"):
        assert len({p.read_bytes() for p in finished.glob(f"results/*/{file}")}) == 1


def test_a_paired_test_against_a_reference_needs_the_result_alone(finished: Path, tmp_path: Path) -> None:
    """The same numbers as from the reference's own result, which is not there."""
    alone = tmp_path / "results" / "one"
    shutil.copytree(found_in(finished, "saliency"), alone)
    document = json.loads((alone / "result.json").read_text())
    for field in ("samples", "reference_samples", "statistics", "reference_statistics"):
        document[field]["path"] = f"results/one/{Path(document[field]['path']).name}"
    (alone / "result.json").write_text(json.dumps(document))
    (group,) = compare.compare([alone])
    assert group.rows == []
    rows = {(r.signature, r.b): r for s in group.scores for r in s.against}
    own = compare.read(found_in(finished, "saliency"))
    assert set(rows) == {(s["signature"], name) for s in own.document["scores"] for name in own.references}
    for (signature, name), row in rows.items():
        other = compare.read(found_in(finished, name))
        if signature == BOXES:
            tested = compare._of_set(own, other, signature)
        else:
            tested = compare._of_items(own, other, signature, True)
        assert tested is not None
        assert (row.a, row.paired, row.detectable) == ("saliency", *tested)


def test_tests_against_references_are_corrected_apart_within_a_family(finished: Path) -> None:
    both = compare.group([compare.read(found_in(finished, n)) for n in ("saliency", "grad-cam")], intervals=False)
    without = compare.group([replace(compare.read(found_in(finished, n)), references={}) for n in ("saliency", "grad-cam")],
                            intervals=False)
    assert [r.p_adjusted for r in both.rows] == [r.p_adjusted for r in without.rows]
    complexity = [r for s in both.scores if s.signature in ("entropy@1", "gini@1") for r in s.against]
    references = len(compare.read(found_in(finished, "saliency")).references)
    assert len(complexity) == 2 * 2 * references  # scores, methods, references
    assert [r.p_adjusted for r in complexity] == stats.holm([r.paired.p for r in complexity])


def test_the_terminal_shows_references_where_asked_or_where_there_is_nothing_else(finished: Path) -> None:
    one = compare.group([compare.read(found_in(finished, "saliency"))])
    two = compare.group([compare.read(found_in(finished, n)) for n in ("saliency", "grad-cam")])
    rows = {len(found): [t.row_count for t in compare.tables(group, references=asked)]
            for group, asked, found in ((one, False, "1"), (two, False, "12"), (two, True, "123"))}
    n = len(compare.read(found_in(finished, "saliency")).references)
    assert rows == {1: [n] * 5, 2: [1] * 5, 3: [1 + 2 * n] * 5}


def test_a_table_of_references_that_does_not_fit_is_named(finished: Path, tmp_path: Path) -> None:
    b = Broken(sealed(finished, tmp_path / "bundle"), tmp_path / "broken")
    b.table("references", lambda t: t["item_id"].reverse())
    b.seal()
    with pytest.raises(VxpError, match=r"references\.parquet of .* another item_id"):
        compare.read(b.path("result"))


# ------------------------------------------------------------------------------------------------------- one function


def test_report_and_comparison_agree_on_who_is_tied_for_best(finished: Path) -> None:
    samples = [compare.read(found_in(finished, n)) for n in ("grad-cam", "saliency")]
    marked = compare.group(samples).marked()
    assert set(marked) == {s["signature"] for s in samples[0].document["scores"]}
    assert any(len(names) == 1 for names in marked.values())  # somebody is told apart
    found = standing.standing(read.read(finished))
    reported, below = found.tied, found.below
    assert {signature: set(names) for signature, names in reported.items()} == {s: set(n) for s, n in marked.items()}
    for row in (r for score in compare.group(samples).scores for r in score.against):
        above = row.separated and row.winner == row.a
        assert (row.b in below.get((row.a, row.signature), [])) == (not above and row.b not in explainers.ORACLES)


def test_correction_spans_a_family() -> None:
    items = [f"{i:02d}" for i in range(24)]

    def samples(name: str, values: dict[str, np.ndarray]) -> compare.Samples:
        scores = [{"signature": s, "family": "faithfulness", "level": "sample", "better": "higher", "mean": v.mean()}
                  for s, v in values.items()]
        document = {"task": {"id": "t", "version": 1}, "model": "m", "scores": scores, "inference": {}}
        return compare.Samples(name, name, document, items, items, values, {})

    noise = np.random.Generator(np.random.PCG64(0)).normal(0, 1, size=24)
    noise -= noise.mean()
    gain = noise + 0.40
    p = stats.paired(gain, np.zeros(24), items).p
    assert 0.025 < p < 0.05
    zero = np.zeros(24)
    alone = compare.group([samples("a", {"x@1": gain}), samples("b", {"x@1": zero})])
    beside = compare.group([samples("a", {"x@1": gain, "y@1": noise}), samples("b", {"x@1": zero, "y@1": zero})])
    assert alone.marked() == {"x@1": ("a",)}
    assert beside.marked() == {"x@1": ("a", "b"), "y@1": ("a", "b")}


def test_the_family_that_a_task_is_for_stands_first() -> None:
    scores = [{"family": f} for f in ("complexity", "localisation", "complexity", "sanity")]
    assert result.families({"id": "mosaic-photos", "version": 2}, scores) == ["localisation", "complexity", "sanity"]
    assert result.families({"id": "of-my-own", "version": 1}, scores) == ["complexity", "localisation", "sanity"]


def test_a_kind_that_the_card_does_not_admit_is_refused(tmp_path: Path) -> None:
    task = tasks.load("shapes")
    other = replace(task, document=dict(task.document) | {"kinds": ["hologram"]})
    with pytest.raises(VxpError, match="task shapes@1 admits explanations of the kind hologram, and here are"):
        run.run(Context.of(other, models.load(task.model), tmp_path / "run", Settings(), ()), [])
    assert not (tmp_path / "run").exists()


# -------------------------------------------------------------------------------------------------------------------- ties


def test_a_column_that_tells_no_reference_from_another_is_flagged(tmp_path: Path) -> None:
    """A model that says the same of every image: its deletion is the same for every map. Metrics that explain again tie
    by what references are, and are not flagged."""
    model = models.load("shapes-cnn")
    hook = model.module.register_forward_hook(lambda module, inputs, output: torch.zeros_like(output))
    task = tasks.load("shapes")
    paths = run.run(Context.of(task, model, tmp_path / "run", Settings(limit=6), ["deletion|steps:4", "random-logit",
                                                                                  "entropy"]), [])
    hook.remove()
    for path in paths:
        flags = {s["signature"]: s.get("flags") for s in json.loads(path.read_text())["scores"]}
        assert flags.pop(DELETION) == ["references-tie"]
        assert set(flags.values()) == {None}
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(*console_tables(read.read(tmp_path / "run")))
    assert console.export_text().count("references tie") == 1
    html = report.write(tmp_path / "run").read_text()
    assert html.count("all references tie: this column may say nothing") == 1


# ---------------------------------------------------------------------------------------------------------- a task's card


def test_the_cards_statistics_make_the_intervals_and_the_tests(tmp_path: Path) -> None:
    card = tasks.load("shapes")
    document = dict(card.document) | {"id": "narrow", "status": "unregistered", "statistics": {
        "method": "bootstrap-t", "level": 0.9, "resamples": 500, "min_clusters": 12, "correction": "none"}}
    document["items_digest"] = document.pop("items")["digest"]  # the list of the registry is that of its own task
    task = replace(card, document=document)
    model = models.load(task.model)
    wanted = [explainers.bind("saliency"), explainers.bind("grad-cam")]
    paths = run.run(Context.of(task, model, tmp_path / "run", Settings(limit=12), METRICS), wanted)
    documents = [json.loads(p.read_text()) for p in paths]
    for found in documents:
        assert found["inference"] == {"level": 0.9, "resamples": 500, "min_clusters": 12, "correction": "none"}
        assert found["flags"] == ["limited"]  # 12 clusters are enough here
        assert {s["ci"]["level"] for s in found["scores"]} == {0.9}
        assert {s["ci"]["resamples"] for s in found["scores"] if s["ci"]["method"] == "bootstrap-t"} in ({500}, {500, 0})
    samples = compare.read(paths[-1].parent)
    expected = stats.interval(samples.values[DELETION], samples.clusters, range=(0, 1),
                              inference=stats.Inference(level=0.9, resamples=500))
    ci = next(s["ci"] for s in documents[-1]["scores"] if s["signature"] == DELETION)
    assert expected is not None
    assert (ci["lo"], ci["hi"]) == (expected.lo, expected.hi)
    group = compare.group([compare.read(p.parent) for p in paths[-2:]])
    for row in group.rows:
        assert row.p_adjusted == row.paired.p
        assert row.separated == (row.paired.p < 0.1)
        assert row.paired.ci is not None
        assert row.paired.ci.level == 0.9
    assert any(r.separated for r in group.rows)

    bundle = sealed(tmp_path / "run", tmp_path / "bundle")
    checked = validate(bundle)
    assert not checked.of("error"), checked.findings
    b = Broken(bundle, tmp_path / "broken")
    b.json("result", lambda d: d["inference"].update(level=0.95))
    b.seal()
    assert "VXP-K015" in {f["code"] for f in validate(b.folder).findings}


def test_a_limit_of_separation_is_the_one_meant() -> None:
    """1 - 0.95 is a little more than 0.05, and p = 0.05 is not below 0.05."""
    assert not stats.STANDARD.separated(0.05, 20)
    assert stats.STANDARD.separated(np.nextafter(0.05, 0), 20)
    assert not stats.STANDARD.separated(0.01, 19)
    assert stats.Inference.of({"level": 0.9, "method": "bootstrap-t"}) == stats.Inference(level=0.9)
