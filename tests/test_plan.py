"""`vxp plan` says before a run what the run reports after it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from vxp.core import VxpError
from vxp.engine import Engine
from vxp.runs import commands, context
from vxp.runs.context import Quiet

if TYPE_CHECKING:
    from conftest import Vxp

METRICS = ("deletion|steps:4", "insertion|steps:4|fill:mean", "average-drop|keep:50", "random-logit",
           "max-sensitivity|samples:2", "average-sensitivity|samples:2", "entropy", "pointing-game", "label-randomisation")
"""None of them chooses by an answer what it asks next; some ask for the same rows, one reads a vector of every item, and the
two of sensitivity ask for the same maps."""
N = 12


def order(**changes: Any) -> commands.Order:
    given: dict[str, Any] = {
        "task": "shapes", "images": None, "model": None, "data": None,
        "explainers": ("saliency", "occlusion|window:32|stride:16"), "metrics": METRICS,
        "device": "cpu", "limit": N, "batch_size": 16, "threads": 1}
    return commands.Order(**(given | changes))


def test_rows_units_and_maps_are_those_of_the_run(tmp_path: Path) -> None:
    found, out = commands.plan(order()), tmp_path / "run"
    results = {r["explainer"]["id"]: r for r in (json.loads(p.read_text()) for p in commands.run_(order(), out, Quiet()))}
    assert len(found.explainers) == len(results) == 7
    for one in found.explainers:
        cost = results[one.name.partition("|")[0]]["cost"]
        assert (one.asked, one.run, one.again) == tuple(cost["score"][k] for k in ("rows_asked", "rows_run", "explain_rows"))
        assert cost["run"] == {"explainers": 7, "rows_asked": found.rows_asked, "rows_run": found.rows_run,
                               "rows_shared": found.rows_shared}
    (saliency,) = (one for one in found.explainers if one.name == "saliency")
    # the unchanged item's row is shared; its own passes are one forward and one backward
    assert saliency.again > 0
    assert saliency.passes == saliency.run + 2 * (N + saliency.again)
    assert found.passes == N + found.rows_shared + sum(one.passes for one in found.explainers)
    assert (found.items, found.ranges, found.units) == (N, 2, 2 * (1 + 2 * 7))
    # those of the maps are dropped once the set is written
    assert len(list((out / ".units").rglob("*.sha256"))) == found.units - 2 * 7
    kept = [p for p in out.glob("explanations/*/payload/*") if "occlusion" not in str(p)]
    assert len(kept) == 6
    assert found.bytes.maps // 7 == 4 * 64 * 64 * N


def test_bytes_of_scores_are_those_of_the_tensors(tmp_path: Path) -> None:
    given = order(explainers=("saliency",), metrics=("deletion|steps:4", "gini"))
    found = commands.plan(given)
    # gini is a number; deletion has a curve of five in float32 beside its own
    assert found.bytes.scores == 6 * N * (8 + 8 + 5 * 4)
    assert found.bytes.shared == N * found.rows_shared // N * 4 * 8


def test_numbers_grow_with_the_items_and_nothing_else(tmp_path: Path) -> None:
    few, many = commands.plan(order()), commands.plan(order(), items=N * 10**6)
    assert (many.rows_asked, many.rows_run, many.passes) == tuple(n * 10**6 for n in (few.rows_asked, few.rows_run, few.passes))
    assert many.units == 15 * N * 10**6 // 8
    assert many.hours(1000.0, 50) == pytest.approx(many.passes / 1000 / 50 / 3600)
    assert not list(tmp_path.iterdir())


def test_the_command_says_it_and_computes_nothing(tmp_path: Path, run_vxp: Vxp) -> None:
    words = ("plan", "shapes", "--explainer", "all", "--metrics", "deletion|steps:4,gini", "--items", "1000000")
    said = run_vxp(*words, "--rate", "2000", "--workers", "10", folder=tmp_path)
    assert said.returncode == 0, said.stderr
    assert "1,000,000 in 125,000 ranges" in said.stdout
    assert "with 10 workers of 2000 passes/s" in said.stdout
    document = json.loads(run_vxp(*words, "--json", folder=tmp_path).stdout)
    assert document["ranges"] == 125_000
    assert document["units"] == 125_000 * (1 + 2 * len(document["explainers"]))
    assert "hours" not in document
    assert document["looks"] == []
    assert {"grad-cam", "random", "oracle"} <= {one["name"] for one in document["explainers"]}
    stops = ("plan", "shapes", "--explainer", "saliency", "--until", "separated", "--rate", "100")
    until = run_vxp(*stops, folder=tmp_path).stdout
    assert "at most 200 in 28 ranges" in until
    assert "look 7" in until
    assert not list(tmp_path.iterdir())
    assert run_vxp("plan", "shapes", folder=tmp_path).returncode == 2


def test_a_metric_is_asked_once_in_a_command_what_it_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before the batch size is searched, in the run, and at every look of one that stops at a question."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    asked: list[list[str]] = []
    engines: list[Engine] = []
    progress = Quiet()
    may: list[int] = []
    trace, begin, search = context.traces, Engine.__init__, context.best_batch_size

    def traces(metrics: Any, *rest: Any) -> Any:
        asked.append([bound.signature for bound in metrics])
        return trace(metrics, *rest)

    def begun(self: Engine, *given: Any, **more: Any) -> None:
        engines.append(self)
        begin(self, *given, **more)

    def searched(*given: Any, rows: int, **more: Any) -> int:
        may.append(rows)
        return search(*given, rows=rows, **more)

    monkeypatch.setattr(context, "traces", traces)
    monkeypatch.setattr(context, "best_batch_size", searched)
    monkeypatch.setattr(Engine, "__init__", begun)
    given = order(explainers=("saliency",), metrics=("energy-pointing-game", "deletion|steps:2"), batch_size=None, limit=None,
                  until="width:0.2:energy-pointing-game")
    result = json.loads(commands.run_(given, tmp_path / "run", progress)[0].read_text())
    assert len(result["sequential"]["looks"]) > 1
    assert len(asked) == 1
    assert len(asked[0]) == 2
    assert len([engine for engine in engines if engine.rows == progress.rows]) == 1, "others try explainers and batch sizes"
    found = commands.plan(given)
    assert may == [found.passes // context.SHARE], "a search runs a share of what the plan says"
    # the plan knows where the run may stop, and what it has done by then
    looks = result["sequential"]["looks"]
    assert [(look.clusters, look.items) for look in found.looks][:len(looks)] == [(k["clusters"], k["items"]) for k in looks]
    assert (found.items, found.looks[-1].items, found.looks[-1].ranges) == (200, 200, found.ranges)
    end = found.looks[len(looks) - 1]
    assert end.ranges == len(list((tmp_path / "run" / ".units" / "shared").glob("*.sha256")))
    assert result["cost"]["run"]["rows_run"] * found.items == found.rows_run * end.items
    assert (end.passes * found.items, found.looks[-1].passes) == (found.passes * end.items, found.passes)


def test_a_run_that_stops_is_planned_of_the_task_only() -> None:
    assert commands.plan(order()).looks == ()
    with pytest.raises(VxpError, match="--items 40 and --until"):
        commands.plan(order(limit=None, until="separated"), 40)
    with pytest.raises(VxpError, match="give one of the two"):
        commands.plan(order(until="separated"))
    with pytest.raises(VxpError, match="--until asks for nothing-known"):
        commands.plan(order(limit=None, until="separated:nothing-known"))
