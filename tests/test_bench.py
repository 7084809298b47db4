"""What `vxp bench` counts: rows asked and rows run over the whole catalogue; the timings are not judged here."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import torch
from vxp import clock, explainers, models, tasks
from vxp.bench.catalogue import AGAIN, QUICK, counted, settings, whole_case, whole_catalogue
from vxp.bench.clips import clip_cases
from vxp.bench.clips import counted as frames_counted
from vxp.bench.measure import Line, NearFree
from vxp.bench.peers import PEERS
from vxp.bench.suite import MAP_ONLY, map_only
from vxp.bench.validator import checked, large
from vxp.bench.whole import BATCHES, Between, steadied
from vxp.kinds import HEATMAP2D
from vxp.metrics import Bound, bind, of_kind
from vxp.runs import run
from vxp.runs.context import Context, Settings


@pytest.fixture(scope="module")
def lines() -> dict[str, Line]:
    return {line.what: line for line in whole_catalogue("cpu")}


def test_every_metric_has_its_rows_and_the_catalogue_shares_them(lines: dict[str, Line]) -> None:
    signatures = [Bound(metric, metric.parameters).signature for metric in of_kind(HEATMAP2D.id).values()]
    assert set(signatures) <= set(lines)
    assert lines["rows that the metrics would run one by one"].value == sum(lines[s].value for s in signatures)
    assert lines["share"].value < 80
    assert lines["share of maps"].value < 50


def test_the_metrics_that_run_no_pass_have_the_truth_that_they_need() -> None:
    assert [line.what for line in map_only("cpu", (32, 32))][1:] == list(MAP_ONLY)


def test_rows_of_some_metrics_by_hand(lines: dict[str, Line]) -> None:
    def rows(name: str) -> float:
        return lines[bind(name).signature].value

    assert rows("deletion") == rows("pixel-flipping") == rows("monotonicity") == 225
    assert rows("srg") == 448
    assert rows("aopc") == 101
    assert rows("selectivity") == 50  # 49 patches of 32 pixels, and the image
    assert rows("single-deletion") == rows("non-sensitivity") == 17
    assert rows("completeness") == 2
    assert rows("gini") == rows("max-box-acc-v2") == 0


@pytest.mark.parametrize(("one", "other"), [
    ("deletion", "pixel-flipping"), ("deletion", "monotonicity"), ("single-deletion", "non-sensitivity"),
    ("pic-aic", "pic-sic"), ("average-drop|fill:black", "adcc"), ("max-sensitivity", "local-lipschitz"),
    ("max-sensitivity", "average-sensitivity"), ("srg", "insertion|fill:mean"),
])
def test_metrics_of_one_order_and_fill_share_their_rows(one: str, other: str) -> None:
    case, model = whole_case(1, "cpu", (32, 32)), NearFree32()
    alone = sum(counted((bind(one),), case, model))
    together = sum(counted((bind(one), bind(other)), case, model))
    maps = 1 if other == "adcc" else 0  # its map of the masked image is its own
    assert together == alone + maps


class NearFree32(NearFree):
    """The near-free model at 32 pixels."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(torch.nn.functional.interpolate(x, size=(224, 224)))


@pytest.mark.parametrize("name", of_kind(HEATMAP2D.id))
def test_a_metric_is_timed_under_settings_that_it_admits(name: str) -> None:
    metric = of_kind(HEATMAP2D.id)[name]
    for maps in (0, 1):
        quick = settings(Bound(metric, metric.parameters), maps)
        assert bind((name, dict(quick.parameters))).parameters == quick.parameters
    assert set(QUICK) & {p for m in of_kind(HEATMAP2D.id).values() for p in m.parameters} == set(QUICK)
    assert set(AGAIN) <= {p for m in of_kind(HEATMAP2D.id).values() for p in m.parameters}


def test_the_metrics_beside_public_ones_exist() -> None:
    for peer in PEERS:
        assert bind(peer.ours).signature


def test_the_validator_is_measured_while_it_checks(tmp_path: Path) -> None:
    """A process that is given no path ends at once, and its time and memory say nothing."""
    bundle = large(tmp_path, 40)
    small, process = checked(bundle, "structure"), checked(bundle, "integrity")
    assert small.seconds > 0
    assert 2**24 < process.peak < 2**30
    (bundle / "system.json").write_bytes((bundle / "system.json").read_bytes()[:-1])
    with pytest.raises(RuntimeError, match="VXP-"):
        checked(bundle, "integrity")


def test_frames_of_curves_of_clips_by_hand() -> None:
    (case,) = clip_cases((224, 224), "cpu")
    assert frames_counted((bind("frame-deletion"), bind("frame-insertion")), [case]) == (17 + 15, 16 + 1)
    assert frames_counted((bind("st-deletion|steps:4"),), [case]) == (5, 16 + 1 + 3 * 16)


def test_plain_passes_are_timed_all_along_a_run_and_are_not_of_it(tmp_path: Path) -> None:
    task, model = tasks.load("shapes"), models.load("shapes-cnn")
    between = Between(model.module, task.load(0, 1, model).inputs, 4)
    settings = Settings(batch_size=4, threads=1, limit=8)
    context = Context.of(task, model, tmp_path / "run", settings, ["deletion|steps:4"], between)
    began = time.process_time()
    with clock.timed() as spent:
        paths = run.run(context, [explainers.bind("saliency")])
    took = time.process_time() - began
    (rows,) = {json.loads(path.read_bytes())["cost"]["run"]["rows_run"] for path in paths}
    assert rows // (BATCHES * 4) <= len(between.forward) <= 2 * rows // (BATCHES * 4)
    assert 1 < len(between.both) < len(between.forward)
    assert 0 < 4 * sum(between.forward + between.both) <= spent["bound"] < sum(spent.values()) <= took


def test_a_drift_of_the_machine_is_priced_and_a_single_slow_batch_is_not() -> None:
    assert steadied([1, 1, 9, 1, 2, 2, 2]) == [1, 1, 1, 2, 2, 2, 2]
    assert steadied([9, 1, 1]) == [1, 1, 1]
    assert steadied([1, 3]) == [2, 2]
