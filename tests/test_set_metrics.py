"""Metrics of the set: known answers, intervals that resample clusters, and their way through a run."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
import vxp
import vxp_schemas
from oracles.max_box_acc_v2 import boxes as boxes_of
from oracles.max_box_acc_v2 import iou
from rich.console import Console
from scipy.stats import ttest_rel
from torch import Tensor, nn
from vxp import models, report, stats, tasks
from vxp.core import VxpError
from vxp.documents import store
from vxp.metrics import bind, max_box_acc_v2, sufficiency
from vxp.metrics.max_box_acc_v2 import best_threshold
from vxp.metrics.sufficiency import agreement
from vxp.report import compare, read
from vxp.runs import result, run
from vxp.runs.context import Context, Settings


class First(nn.Module):
    """Logits are the first pixel and its negative."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([x[:, 0, 0, 0], -x[:, 0, 0, 0]], 1)


def blob(*box: int) -> Tensor:
    x0, y0, x1, y1 = box
    found = torch.zeros(20, 24)
    found[y0:y1, x0:x1] = 1.0
    return found


# -------------------------------------------------------------------------------------------------------- max-box-acc-v2


def box_score(maps: list[Tensor], boxes: list[list[list[int]]], **parameters: int) -> vxp.Score:
    n = max(len(b) for b in boxes)
    truth = torch.tensor([b + [[0] * 4] * (n - len(b)) for b in boxes])
    scores = vxp.score(First(), torch.rand(len(maps), 3, 20, 24), torch.stack(maps), truth={"boxes": truth},
                       metrics=[("max-box-acc-v2", parameters)])
    return scores[next(iter(scores))]


def test_a_map_that_is_the_box_is_right_at_every_overlap() -> None:
    score = box_score([blob(2, 3, 9, 12)], [[[2, 3, 9, 12]]], thresholds=10)
    assert score.mean == 1.0
    assert score.values.tolist() == [1.0]


def test_boxes_are_half_open_and_any_pair_of_boxes_counts() -> None:
    # 4x4 against 4x6: overlap 2/3, right at .3 and .5
    score = box_score([blob(0, 0, 4, 4)], [[[0, 0, 4, 6], [20, 10, 24, 20]]], thresholds=10)
    assert score.mean == pytest.approx(2 / 3)
    both = box_score([torch.maximum(blob(0, 0, 4, 4), blob(20, 10, 24, 20))], [[[20, 10, 24, 20]]], thresholds=10)
    assert both.mean == 1.0  # the second region's box is the one


def test_regions_that_touch_at_a_corner_are_one() -> None:
    touching = torch.maximum(blob(0, 0, 4, 4), blob(4, 4, 8, 8))
    assert box_score([touching], [[[0, 0, 8, 8]]], thresholds=10).mean == 1.0


def test_the_threshold_is_that_of_the_set_and_another_for_every_overlap() -> None:
    # a small bright core in a pale frame: the frame's box below .4, the core's above
    def framed(core: tuple[int, ...], frame: tuple[int, ...]) -> Tensor:
        return torch.maximum(0.4 * blob(*frame), blob(*core))

    one, two = framed((4, 4, 8, 8), (0, 0, 12, 12)), framed((4, 4, 8, 8), (0, 0, 12, 12))
    # the first object is the core, the second the frame: each is right at thresholds where the other is not
    score = box_score([one, two], [[[4, 4, 8, 8]], [[0, 0, 12, 12]]], thresholds=10)
    assert score.values.tolist() == [1.0, 1.0]
    assert score.mean == 0.5


def test_a_threshold_that_leaves_the_value_itself_out() -> None:
    """Above is above: at threshold .25 the pale frame is gone."""
    pale = torch.maximum(0.25 * blob(0, 0, 12, 12), blob(4, 4, 8, 8))
    score = box_score([pale], [[[4, 4, 8, 8]]], thresholds=4)  # 0, .25, .5, .75
    assert score.statistics is not None
    assert score.statistics.view(3, 4)[2].tolist() == [0, 1, 1, 1]


def test_a_threshold_is_not_rounded_to_the_precision_of_the_map() -> None:
    """The float32 next to 1/10 lies above the threshold 1/10, in every version of NumPy."""
    pale = torch.maximum(0.1 * blob(0, 0, 12, 12), blob(4, 4, 8, 8))
    score = box_score([pale], [[[0, 0, 12, 12]]], thresholds=10)
    assert score.statistics is not None
    assert score.statistics.view(3, 10)[2].tolist() == [1, 1] + [0] * 8


@pytest.mark.parametrize("truth", [(2, 3, 30, 35), (10, 11, 13, 15), (0, 0, 1, 1)])
def test_leaving_small_regions_out_changes_nothing(truth: tuple[int, int, int, int]) -> None:
    """Noise has many regions that are too small to be right; here every region of every threshold is boxed."""
    values = torch.rand(40, 40, generator=torch.Generator().manual_seed(6))
    values = (values - values.min()) / (values.max() - values.min())
    x0, y0, x1, y1 = truth
    found = max_box_acc_v2._overlaps(values.double().numpy(), np.array([[y0, y1, x0, x1]]), 60)
    for i, overlap in enumerate(found):
        best = max((iou(box, truth) for box in boxes_of(values.double().numpy() > i / 60)), default=0.0)
        assert [overlap >= d for d in (0.3, 0.5, 0.7)] == [best >= d for d in (0.3, 0.5, 0.7)]


def test_boxes_of_a_mask_are_those_around_its_regions() -> None:
    mask = torch.zeros(1, 20, 24, dtype=torch.bool)
    mask[0, 3:12, 2:9] = mask[0, 18:20, 20:24] = True
    score = vxp.score(First(), torch.rand(1, 3, 20, 24), blob(20, 18, 24, 20)[None], truth=mask, metrics=["max-box-acc-v2"])
    assert score["max-box-acc-v2"].mean == 1.0


def test_constant_maps_and_empty_truths_have_no_part_in_the_number() -> None:
    score = box_score([blob(0, 0, 4, 4), torch.full((20, 24), 0.3), blob(0, 0, 4, 4)],
                      [[[0, 0, 4, 4]], [[0, 0, 4, 4]], [[5, 5, 5, 9]]], thresholds=4)
    assert score.status == ("ok", "undefined:constant-map", "undefined:empty-truth")
    assert score.mean == 1.0


def test_a_set_without_truth_is_refused() -> None:
    with pytest.raises(VxpError, match="boxes or mask"):
        vxp.score(First(), torch.rand(1, 3, 20, 24), torch.rand(1, 20, 24), metrics=["max-box-acc-v2"])


# ----------------------------------------------------------------------------------------------------------- sufficiency


def sufficient(maps: Tensor, classes: list[int], clusters: list[str], **parameters: float) -> vxp.Score:
    inputs = torch.zeros(len(maps), 3, 16, 16)
    inputs[:, 0, 0, 0] = torch.tensor([1.0 if c == 0 else -1.0 for c in classes])
    scores = vxp.score(First(), inputs, maps, metrics=[("sufficiency", parameters)], clusters=clusters)
    return scores[next(iter(scores))]


def test_neighbours_of_the_same_class_are_counted_over_the_whole_set() -> None:
    """A public metric takes distances inside a batch: .25, .42 or 0 for the same twelve images."""
    a, b = torch.zeros(16, 16), torch.zeros(16, 16)
    a[:8], b[8:] = 1.0, 1.0
    maps = torch.stack([a, a * 3, a, b, b])
    # of the three alike maps two are of class 0: shares 1/2, 1/2, 0; of the two others none agree: 0, 0
    score = sufficient(maps, [0, 0, 1, 0, 1], list("vwxyz"))
    assert score.mean == pytest.approx((0.5 + 0.5 + 0 + 0 + 0) / 5)
    one_cluster = sufficient(maps, [0, 0, 1, 0, 1], ["v", "v", "x", "y", "z"])
    # the two of class 0 are no neighbours now: each has the third only
    assert one_cluster.mean == 0.0


def test_a_set_without_neighbours_has_no_number_and_a_map_of_zeros_no_part() -> None:
    maps = torch.eye(4).repeat_interleave(64, 1).view(4, 16, 16)
    score = sufficient(torch.cat([maps, torch.zeros(1, 16, 16)]), [0] * 5, list("vwxyz"))
    assert score.status == ("ok",) * 4 + ("undefined:zero-map",)
    assert np.isnan(score.mean)
    assert sufficient(maps, [0, 0, 1, 1], list("vwxy"), similarity=-1.0).mean == pytest.approx(1 / 3)


def test_equal_maps_are_alike_at_similarity_one() -> None:
    maps = torch.rand(1, 16, 16, generator=torch.Generator().manual_seed(2)) * torch.tensor([1.0, 3.0, 0.7])[:, None, None]
    assert sufficient(maps, [0, 0, 1], list("vwx"), similarity=1.0).mean == pytest.approx(1 / 3)


def test_neighbours_do_not_depend_on_batches_or_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twelve images in batches of 1, 5 and 12, and compared two by two: one number."""
    generator = torch.Generator().manual_seed(5)
    maps = torch.rand(12, 16, 16, generator=generator)
    inputs = torch.randn(12, 3, 16, 16, generator=generator)
    wanted = ["sufficiency|similarity:0.75"]
    found = {vxp.score(First(), inputs, maps, metrics=wanted, batch_size=size)["sufficiency"].mean for size in (1, 5, 12)}
    monkeypatch.setattr(sufficiency, "ROWS", 2)
    found.add(vxp.score(First(), inputs, maps, metrics=wanted)["sufficiency"].mean)
    assert max(found) - min(found) < 1e-12
    assert 0 < min(found) < 1


@pytest.mark.parametrize("reduce", [best_threshold, agreement])
def test_a_weight_of_two_is_an_item_that_is_there_twice(reduce: object) -> None:
    generator = torch.Generator().manual_seed(0)
    statistics = torch.randint(0, 2, (6, 12), generator=generator).double()
    if reduce is agreement:
        vectors = nn.functional.normalize(torch.randn(6, 3, generator=generator).double(), dim=1)
        statistics = torch.cat([statistics[:, :1], torch.full((6, 1), 0.1), vectors], 1)
    clusters = torch.tensor([0, 0, 1, 2, 3, 4])
    weights = torch.tensor([[1.0, 1, 2, 1, 1, 0]]).double()
    index = [0, 1, 2, 2, 3, 4]
    twice = reduce(statistics[index], clusters[index], torch.ones(1, 6).double())  # type: ignore[operator]
    assert float(reduce(statistics, clusters, weights)) == pytest.approx(float(twice), abs=1e-12)  # type: ignore[operator]


# ------------------------------------------------------------------------------------------------------------- intervals


def test_the_interval_of_a_set_covers_as_it_says() -> None:
    """A mean of 60 clusters as a metric of the set: its interval against the truth, over 300 simulated sets."""
    def mean(statistics: Tensor, clusters: Tensor, counts: Tensor) -> Tensor:
        return counts @ statistics[:, 0].double() / counts.sum(1)

    generator = np.random.default_rng(4)
    covered = 0
    for _ in range(300):
        centres = generator.gamma(2.0, size=60)
        values = torch.from_numpy(np.repeat(centres, 2) + 0.1 * generator.standard_normal(120))
        found = stats.set_summary(mean, values[:, None], ["ok"] * 120, [str(i // 2) for i in range(120)],
                                  range=(None, None))
        covered += found["ci"]["lo"] <= 2.0 <= found["ci"]["hi"]
    assert 0.90 <= covered / 300 <= 0.98


def test_a_set_of_few_clusters_has_a_number_and_no_interval() -> None:
    bound = bind("max-box-acc-v2|thresholds:4")
    assert bound.metric.reduce is not None
    summary = stats.set_summary(bound.metric.reduce, torch.ones(4, 12), ["ok"] * 4, list("aabb"), range=(0, 1))
    assert summary["mean"] == 1.0
    assert "ci" not in summary


# ----------------------------------------------------------------------------------------------------------- comparisons


def mean_of(statistics: Tensor, clusters: Tensor, counts: Tensor) -> Tensor:
    return counts @ statistics[:, 0].double() / counts.sum(1)


def kept(values: Sequence[float] | np.ndarray, ok: Sequence[bool] | None = None) -> stats.Kept:
    return stats.Kept(torch.tensor(np.asarray(values))[:, None], np.ones(len(values), bool) if ok is None else np.array(ok))


def test_the_paired_test_of_a_mean_is_students() -> None:
    generator = np.random.default_rng(3)
    a, b = generator.normal(0.3, 1, size=30), generator.normal(0, 1, size=30)
    found = stats.set_paired(mean_of, kept(a), kept(b), [str(i) for i in range(30)])
    wanted = ttest_rel(a, b)
    assert found.p == pytest.approx(wanted.pvalue)
    assert found.ci is not None
    assert (found.ci.lo, found.ci.hi) == pytest.approx(tuple(wanted.confidence_interval()))
    assert found.delta == pytest.approx((a - b).mean())
    error = (a - b).std(ddof=1) / np.sqrt(30)
    assert stats.set_minimum_detectable(found) == pytest.approx(2.8016 * error, rel=1e-4)
    turned = stats.set_paired(mean_of, kept(b), kept(a), [str(i) for i in range(30)])
    assert (turned.delta, turned.p) == pytest.approx((-found.delta, found.p))


def test_items_that_only_one_system_has_are_left_out() -> None:
    found = stats.set_paired(mean_of, kept([1, 2, 3, 9], [True, True, True, False]), kept([0, 1, 1, 1]), list("abcd"))
    assert (found.delta, found.n, found.n_clusters) == (pytest.approx(4 / 3), 3, 3)
    assert found.ci is None  # three clusters
    nothing = stats.set_paired(mean_of, kept([1, 2], [True, False]), kept([1, 2], [False, True]), list("ab"))
    assert np.isnan(nothing.delta)
    assert (nothing.p, nothing.n, nothing.method) == (1.0, 0, "none")


def test_clusters_are_left_out_whole_and_many_of_them_in_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(8)
    a, b = np.repeat(generator.normal(0.5, 1, 40), 3), np.repeat(generator.normal(0, 1, 40), 3)
    clusters = [f"{i // 3:02d}" for i in range(120)]
    whole = stats.set_paired(mean_of, kept(a), kept(b), clusters)
    assert whole.p == pytest.approx(ttest_rel(a[::3], b[::3]).pvalue)
    monkeypatch.setattr("vxp.stats.sets.SET_GROUPS", 20)
    grouped = stats.set_paired(mean_of, kept(a), kept(b), clusters)
    assert grouped.n_clusters == 40
    assert grouped.ci is not None
    assert grouped.ci.resamples == 20
    assert grouped.p == pytest.approx(whole.p, rel=0.6)


def test_a_difference_without_spread_is_not_more_certain_than_its_clusters() -> None:
    same, other = kept([1.0] * 6), kept([0.0] * 6)
    assert stats.set_paired(mean_of, same, same, list("abcdef")).p == 1.0
    assert stats.set_paired(mean_of, same, other, list("abcdef")).p == 1 / 32  # as six sign flips


def test_where_one_cluster_decides_whether_there_is_a_number_nothing_is_tested() -> None:
    def last_only(statistics: Tensor, clusters: Tensor, counts: Tensor) -> Tensor:
        return torch.where(counts[:, -1] > 0, 0.5, float("nan"))

    def half(statistics: Tensor, clusters: Tensor, counts: Tensor) -> Tensor:
        return last_only(statistics, clusters, counts) * statistics[0, 0].double()

    found = stats.set_paired(half, kept([1.0] * 8), kept([0.0] * 8), list("abcdefgh"))
    assert (found.delta, found.p, found.ci, found.method) == (0.5, 1.0, None, "none")


def simulated(generator: np.random.Generator, clusters: int) -> tuple[list[Tensor], Tensor]:
    """Two systems without a difference: overlaps that rise and fall over 20 thresholds, in clusters of one or two."""
    of = np.repeat(np.arange(clusters), generator.integers(1, 3, clusters))
    common = generator.normal(size=clusters)[of]
    at, found = np.arange(20) / 20, []
    for _ in range(2):
        peak = 0.35 + 0.06 * common + 0.05 * generator.standard_normal(len(of))
        height = np.clip(0.6 + 0.18 * generator.standard_normal(len(of)) + 0.08 * common, 0.05, 1)
        overlap = height[:, None] * np.exp(-(((at - peak[:, None]) / 0.17) ** 2))
        found.append(torch.from_numpy(np.stack([overlap >= d for d in (0.3, 0.5, 0.7)], 1).reshape(len(of), -1)))
    return found, torch.from_numpy(of)


def test_two_systems_alike_are_seldom_called_different_and_their_interval_covers() -> None:
    """Jackknife of a best threshold, 30 clusters: at level 5 % and 95 %, over 300 simulated sets."""
    generator = np.random.default_rng(12)
    called = covered = 0
    for _ in range(300):
        (a, b), of = simulated(generator, 30)
        everything = np.ones(len(of), bool)
        found = stats.set_paired(best_threshold, stats.Kept(a, everything), stats.Kept(b, everything),
                                 [f"{i:02d}" for i in of.tolist()])
        assert found.ci is not None
        called += found.p < 0.05
        covered += found.ci.lo <= 0 <= found.ci.hi
    assert 0.015 <= called / 300 <= 0.09
    assert covered == 300 - called


def test_sets_are_ranked_by_their_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(result, "reduction", lambda signature: mean_of)
    generator = np.random.default_rng(1)
    noise = generator.normal(0, 0.1, size=(4, 40))
    table = {"best": 1 + noise[0], "twin": 1.002 + noise[0] + 0.1 * noise[1], "worst": noise[2], "none": noise[3]}
    kept_of = {name: kept(values, [name != "none"] * 40) for name, values in table.items()}
    clusters = [f"{i:02d}" for i in range(40)]

    def ranked(better: str) -> compare.Score:
        def samples(name: str) -> compare.Samples:
            number = stats.set_summary(mean_of, kept_of[name].statistics, ["ok" if ok else "" for ok in kept_of[name].ok],
                                       clusters, range=(None, None))
            score = {"signature": "s@1", "family": "localisation", "level": "set", "better": better} | number
            document = {"task": {"id": "t", "version": 1}, "model": "m", "scores": [score], "inference": {}}
            nothing = {"s@1": np.full(40, np.nan)}
            return compare.Samples(name, name, document, clusters, clusters, nothing, {"s@1": kept_of[name]})
        (score,) = compare.group([samples(name) for name in table]).scores
        return score

    assert ranked("higher").ranks == {"best": (1, 2), "twin": (1, 2), "worst": (3, 3)}
    assert set(ranked("higher").tied_for_best) == {"best", "twin"}
    assert ranked("lower").tied_for_best == ("worst",)


# ------------------------------------------------------------------------------------------------------------------ runs


def test_a_run_keeps_the_statistics_and_its_number_is_theirs(tmp_path: Path) -> None:
    task, model = tasks.load("shapes"), models.load("shapes-cnn")
    wanted = ("max-box-acc-v2|thresholds:20", "sufficiency|similarity:0.2", "label-randomisation", "gini")
    settings = Settings(limit=12)
    for _ in range(2):  # the second call finds everything done
        paths = run.run(Context.of(task, model, tmp_path / "run", settings, wanted), [])
    document = json.loads(next(p for p in paths if "edges" in str(p)).read_text())
    vxp_schemas.validate(document)
    scores = {s["signature"].partition("@")[0]: s for s in document["scores"]}
    assert {k: s["level"] for k, s in scores.items()} == {"max-box-acc-v2": "set", "sufficiency": "set",
                                                          "label-randomisation": "set", "gini": "sample"}
    kept = safetensors.torch.load_file(tmp_path / "run" / document["statistics"]["path"])
    for name in ("max-box-acc-v2", "sufficiency"):
        score, bound = scores[name], bind(scores[name]["signature"])
        assert bound.metric.reduce is not None
        good = kept[score["signature"]]
        again = bound.metric.reduce(good, torch.arange(len(good)), torch.ones(1, len(good)).double())
        assert score["mean"] == pytest.approx(float(again), abs=1e-12)
        assert score["ci"]["method"] == "jackknife-t"
        assert score["ci"]["lo"] <= score["mean"] <= score["ci"]["hi"]
    # edges look at no model: the twin's are the same
    assert scores["label-randomisation"]["mean"] == pytest.approx(1.0)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two methods and the references on 24 shapes, by two metrics of the set and one of items."""
    out = tmp_path_factory.mktemp("sets") / "run"
    again(out)
    return out


def again(out: Path) -> list[Path]:
    methods = [vxp.explainers.bind(name) for name in ("grad-cam", "saliency")]
    return run.run(Context.of(tasks.load("shapes"), models.load("shapes-cnn"), out, Settings(limit=24, threads=1),
                              ("max-box-acc-v2|thresholds:20", "sufficiency|similarity:0.999", "gini")), methods)


def found_in(out: Path, explainer: str) -> Path:
    (path,) = out.glob(f"results/shapes-{explainer}-????????")
    return path


def score_of(out: Path, explainer: str, metric: str) -> dict:
    document = json.loads((found_in(out, explainer) / "result.json").read_text())
    return next(s for s in document["scores"] if s["metric"]["id"] == metric)


def test_a_run_that_goes_on_writes_the_same_statistics(finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "copy"
    shutil.copytree(finished, out)
    before = {p.relative_to(out): p.read_bytes() for p in out.glob("results/*/statistics.safetensors")}
    shutil.rmtree(out / "results")
    for unit in list(out.glob(".units/score/*saliency*/000008*")):
        unit.unlink()
    again(out)
    assert before
    assert {p.relative_to(out): p.read_bytes() for p in out.glob("results/*/statistics.safetensors")} == before


def compared(finished: Path) -> compare.Group:
    (group,) = compare.compare([found_in(finished, "grad-cam"), found_in(finished, "saliency")])
    return group


def test_numbers_of_the_set_are_compared_and_not_the_means_of_items(finished: Path) -> None:
    rows = {row.signature.partition("@")[0]: row
            for row in compared(finished).rows}
    assert rows["max-box-acc-v2"].level == "set"
    assert rows["gini"].level == "sample"
    wanted = [score_of(finished, name, "max-box-acc-v2")["mean"] for name in ("grad-cam", "saliency")]
    assert rows["max-box-acc-v2"].paired.delta == pytest.approx(wanted[0] - wanted[1])
    assert rows["max-box-acc-v2"].paired.method == "jackknife-t"
    # no map of 24 is like another at .999: there is no number, no row and no crash
    assert "sufficiency" not in rows
    assert "mean" not in score_of(finished, "saliency", "sufficiency")
    shown = Console(width=100, record=True, force_terminal=False)
    for table in compare.tables(compared(finished)):
        shown.print(table)
    assert "thresholds:20 (number of the set)" in shown.export_text()


def test_a_set_metric_that_is_not_installed_is_compared_without_a_test(
    finished: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vxp.runs.result.catalogue", dict)
    (row,) = (r for r in compared(finished).rows if r.level == "set")
    assert (row.paired.method, row.paired.p, row.separated) == ("none", 1.0, False)
    shown = Console(width=100, record=True, force_terminal=False)
    shown.print(*compare.tables(compared(finished)))
    assert "no test" in shown.export_text()
    assert report.write(finished, finished.parent / "other.html").exists()


def test_the_report_says_what_is_a_number_of_the_set(finished: Path) -> None:
    text = re.sub(r"<[^>]+>", " ", report.write(finished).read_text())
    assert text.count("one number per set, no mean") == 2
    best = score_of(finished, "grad-cam", "max-box-acc-v2")
    assert f"{best['mean']:.3f}" in text
    assert f"[{best['ci']['lo']:.3f}, {best['ci']['hi']:.3f}]" in text
    assert "no number" in text
    shown = Console(width=100, record=True, force_terminal=False)
    for table in report.console_tables(read.read(finished)):
        shown.print(table)
    printed = shown.export_text()
    assert printed.count("(set)") == 2
    assert "no number" in printed


def test_damaged_statistics_are_named(finished: Path, tmp_path: Path) -> None:
    out = tmp_path / "copy"
    shutil.copytree(finished, out)
    path = found_in(out, "saliency") / "statistics.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(VxpError, match=r"statistics\.safetensors is damaged or was changed"):
        report.write(out)
    short = {k: v[:-1].contiguous() for k, v in safetensors.torch.load_file(
        found_in(finished, "saliency") / "statistics.safetensors").items()}
    path.write_bytes(safetensors.torch.save(short))
    document = json.loads((path.parent / "result.json").read_text())
    document["statistics"] = store.descriptor(path, out, store.SAFETENSORS)
    store.write_document(path.parent / "result.json", document)
    with pytest.raises(VxpError, match="keeps 23 rows"):
        compare.read(path.parent)


def test_a_unit_in_which_the_metric_failed_costs_its_items_only(tmp_path: Path) -> None:
    """Statistics of the other units stay, and the set's number is theirs."""
    task, model = tasks.load("shapes"), models.load("shapes-cnn")
    second = {item.id for item in task.limited(10).items[8:]}

    def fails_again(module: nn.Module, batch: vxp.core.Batch) -> Tensor:
        if module is not model.module and second & set(batch.ids):
            raise RuntimeError("no map of another model")
        return batch.inputs.mean(1) * next(module.parameters()).mean()

    context = Context.of(task, model, tmp_path / "run", Settings(limit=10), ("label-randomisation",))
    path = next(p for p in run.run(context, [vxp.explainers.bind(fails_again)]) if "fails-again" in str(p))
    document = json.loads(path.read_text())
    (score,) = document["scores"]
    assert score["statuses"] == {"failed:explainer-error": 2, "ok": 8}
    kept = safetensors.torch.load_file(tmp_path / "run" / document["statistics"]["path"])[score["signature"]]
    assert kept.shape == (10, 1)
    assert not kept[8:].isfinite().any()
    bound = bind(score["signature"])
    assert bound.metric.reduce is not None
    again = bound.metric.reduce(kept[:8], torch.arange(8), torch.ones(1, 8).double())
    assert score["mean"] == pytest.approx(float(again), abs=1e-12)


def test_a_score_of_the_set_says_so() -> None:
    score = box_score([blob(2, 3, 9, 12)], [[[2, 3, 9, 12]]], thresholds=10)
    assert "set=1.0000" in repr(score)
    assert score.of_set == 1.0
