"""Runs that stop once their question is decided, from the command to the board."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import vxp_schemas
from bundle_tools import Broken, commanded, sealed
from vxp import division, explainers, models, report, stats, tasks
from vxp.bundles import cite
from vxp.core import VxpError
from vxp.leaderboard import standing
from vxp.report import compare
from vxp.runs import commands, run
from vxp.runs.context import Context, Quiet, Settings
from vxp.stats import sequential
from vxp.validation import validate

METRIC = "energy-pointing-game"
SIGNATURE = f"{METRIC}@1"
METRICS = (METRIC, "entropy")
QUESTION = f"separated:{METRIC}"


def made(out: Path, *names: str, progress: Any = None) -> dict[str, Any]:
    """The results of a run of shapes that stops at the question, by explainer."""
    task = tasks.load("shapes")
    settings = Settings(batch_size=16, threads=1, until=sequential.until(QUESTION))
    paths = run.run(Context.of(task, models.load(task.model), out, settings, METRICS, progress),
                    [explainers.bind(name) for name in names])
    documents = [json.loads(path.read_bytes()) for path in paths]
    return {document["explainer"]["id"]: document for document in documents}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("until") / "run"
    made(out, "grad-cam")
    return out


@pytest.fixture(scope="module")
def results(folder: Path) -> dict[str, Any]:
    documents = [json.loads(path.read_bytes()) for path in folder.glob("results/*/result.json")]
    return {document["explainer"]["id"]: document for document in documents}


@pytest.fixture(scope="module")
def bundle(folder: Path) -> Path:
    return sealed(folder, folder.parent / "bundle", "grad-cam")


def columns(folder: Path, document: Any) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = pq.read_table(folder / document["samples"]["path"]).to_pydict()
    return found


def test_a_run_stops_at_the_first_look_that_decides(folder: Path, results: dict[str, Any]) -> None:
    own, floor = results["grad-cam"], results["random"]
    vxp_schemas.validate(own)
    looks = own["sequential"]["looks"]
    assert [look["clusters"] for look in looks] == sequential.looks(200, 20)[:len(looks)]
    assert len(looks) > 1
    assert [look["undecided"] for look in looks] == [1] * (len(looks) - 1) + [0]
    n = looks[-1]["items"]
    assert (own["settings"]["until"], own["settings"]["limit"]) == (QUESTION, n)
    assert own["selection"] == {"items": n, "of_items": 200, "clusters": n, "of_clusters": 200}
    assert (own["division"], own["flags"]) == ("open", ["sequential"])

    task = tasks.load("shapes")
    order = division.drawn([item.cluster for item in task.items], task.seed)
    there = columns(folder, own)
    assert there["item_id"] == [task.items[i].id for i in order[:n]]
    # what a look says is what the stored numbers give
    apart = sequential.differences(np.array(there[SIGNATURE]), np.array(columns(folder, floor)[SIGNATURE]), there["cluster"],
                                   (0, 1), 1)
    found, = own["sequential"]["found"]
    at = [look["clusters"] for look in looks]
    assert found["other"] == floor["result_id"]
    assert found["p"] == found["p_adjusted"] == pytest.approx(float(apart.p(at)[-1]), rel=1e-9)
    assert (found["lo"], found["hi"]) == pytest.approx(apart.interval(n, 0.95))
    assert float(apart.p(at)[-2]) >= 0.05 > found["p"]
    assert (found["decided"], found["n"], found["clusters"]) == (n, n, n)
    back, = floor["sequential"]["found"]
    assert (back["other"], back["delta"], back["lo"]) == (own["result_id"], -found["delta"], -found["hi"])
    assert results["edges"]["sequential"]["found"] == []


def test_the_run_names_the_items_that_it_took(folder: Path, results: dict[str, Any]) -> None:
    document = json.loads((folder / "run.json").read_bytes())
    vxp_schemas.validate(document)
    assert (document["task"], document["selection"]) == (results["grad-cam"]["task"], results["grad-cam"]["selection"])
    assert document["settings"]["until"] == QUESTION
    again = cite.command(task=document["task"], model=document["model"], systems=[], metrics=document["metrics"],
                         settings=document["settings"])
    assert f"--until {QUESTION}" in again
    assert "--limit" not in again


class Stops(Quiet):
    """Progress that ends the run when it says this."""

    def __init__(self, words: str) -> None:
        self.words = words

    def stage(self, title: str, items: int, unit: str = "item") -> None:
        if title.startswith(self.words):
            raise KeyboardInterrupt


def test_a_run_that_was_stopped_goes_on_to_the_same_numbers(folder: Path, results: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        made(tmp_path / "run", "grad-cam", progress=Stops("looked after 20"))
    assert not list(tmp_path.glob("run/results/*/result.json"))
    found = made(tmp_path / "run", "grad-cam")
    for name, document in found.items():
        assert columns(tmp_path / "run", document) == columns(folder, results[name])
        assert document["sequential"] == results[name]["sequential"]


def test_further_explainers_take_what_is_there_and_go_on(folder: Path, results: dict[str, Any]) -> None:
    before = results["grad-cam"]["sequential"]["looks"][-1]["clusters"]
    shutil.copytree(folder, folder.parent / "more")
    more = made(folder.parent / "more", "grad-cam", "saliency")
    assert more["grad-cam"]["sequential"]["comparisons"] == 3
    assert more["grad-cam"]["sequential"]["looks"][-1]["clusters"] >= before
    first = columns(folder.parent / "more", more["grad-cam"])
    assert first[SIGNATURE][:before] == columns(folder, results["grad-cam"])[SIGNATURE]
    assert {f["other"] for f in more["grad-cam"]["sequential"]["found"]} == {
        more["random"]["result_id"], more["saliency"]["result_id"]}
    assert more["grad-cam"]["result_id"] == results["grad-cam"]["result_id"]
    assert not codes(sealed(folder.parent / "more", folder.parent / "more-bundle", "grad-cam"))


def codes(bundle: Path, severity: str = "error") -> set[str]:
    return {f["code"] for f in validate(bundle).findings if f["severity"] == severity}


def test_a_sealed_run_is_valid(bundle: Path) -> None:
    assert not codes(bundle)
    assert not codes(bundle, "warning")


def found(**changes: Any) -> Callable[[Any], None]:
    return lambda d: d["sequential"]["found"][0].update(changes)


def look(**changes: Any) -> Callable[[Any], None]:
    return lambda d: d["sequential"]["looks"][-1].update(changes)


@pytest.mark.parametrize("change", [
    found(p=1e-9), found(delta=0.5), found(lo=0.2), found(hi=0.9), found(n=19), found(p_adjusted=0.01), found(decided=21),
    lambda d: d["sequential"]["found"][0].pop("decided"), lambda d: d["sequential"]["found"].clear(),
    found(signature="entropy@1"), look(clusters=33), look(items=21), look(undecided=1),
    lambda d: d["sequential"]["looks"][0].update(undecided=0), lambda d: d["sequential"]["looks"].pop(0),
    lambda d: d["sequential"].update(largest_cluster=2),
    lambda d: d.pop("sequential"), lambda d: d["settings"].update(until="separated:entropy"),
    lambda d: d["settings"].update(until="width:0.01")], ids=range(19))
def test_other_looks_than_the_samples_give_are_found(change: Callable[[Any], None], bundle: Path, tmp_path: Path) -> None:
    broken = Broken(bundle, tmp_path / "broken")
    broken.json("result", change)
    broken.seal()
    assert "VXP-K031" in codes(broken.folder)


def test_a_sequential_result_is_not_closed_and_keeps_its_flag(bundle: Path, tmp_path: Path) -> None:
    broken = Broken(bundle, tmp_path / "broken")
    broken.json("result", lambda d: d.update(division="closed", flags=[]))
    broken.seal()
    assert "VXP-K012" in codes(broken.folder)
    assert "VXP-K019" in codes(broken.folder, "warning")


def test_items_in_another_order_are_found(bundle: Path, tmp_path: Path) -> None:
    broken = Broken(bundle, tmp_path / "broken")
    for name in ("items", "samples"):
        broken.table(name, lambda t: t.update({key: t[key][::-1] for key in ("item_id", "cluster", "explanation_id")}))
    broken.seal()
    assert "VXP-C007" in codes(broken.folder)


def test_reports_say_what_was_asked_and_mark_nothing_else(folder: Path, results: dict[str, Any]) -> None:
    n = results["grad-cam"]["selection"]["items"]
    said = report.heading(list(results.values()))
    assert f"open: sequential, {n} of 200 items" in said
    assert f"Sequential, until {QUESTION}: looked after 20" in said.replace("looked at after", "looked after")
    assert said.endswith("everything that was asked is decided")
    html = report.write(folder).read_text()
    assert "<strong>Sequential run</strong>" in html
    assert "What was decided" in html
    assert "grad-cam − random" in html
    assert "Limited run" not in html
    # the other references were not asked for, so nothing is said of them
    assert "not better than" not in html.partition("<h2>Scores</h2>")[2].partition("</section>")[0].partition("</p>")[2]


def test_comparisons_are_those_of_the_looks(folder: Path, results: dict[str, Any]) -> None:
    group = compare.group([compare.read(folder / "results" / results["grad-cam"]["result_id"])])
    rows = {(row.signature, row.b): row for score in group.scores for row in score.against}
    asked = rows[SIGNATURE, "random"]
    stated = results["grad-cam"]["sequential"]["found"][0]
    assert (asked.paired.p, asked.p_adjusted, asked.separated) == (stated["p"], stated["p_adjusted"], True)
    assert asked.paired.ci is not None
    assert (asked.paired.ci.lo, asked.paired.ci.hi, asked.winner) == (stated["lo"], stated["hi"], "grad-cam")
    others = [row for place, row in rows.items() if place != (SIGNATURE, "random")]
    assert not any(row.separated or row.paired.method != "none" for row in others)
    printed = commanded(f"compare {folder / 'results' / results['grad-cam']['result_id']}")
    assert f"Sequential, until {QUESTION}" in printed
    assert "no test" in printed
    with pytest.raises(VxpError, match="by bets is no interval of a score"):
        asked.paired.ci.document()


def test_a_board_ranks_no_sequential_result(folder: Path, results: dict[str, Any]) -> None:
    samples = compare.read(folder / "results" / results["grad-cam"]["result_id"])
    score = next(s for s in results["grad-cam"]["scores"] if s["signature"] == SIGNATURE)
    system = standing.System("record", "a lab", samples, frozenset([SIGNATURE]))
    stands = standing.standings([system], samples.references, [score], frozenset([SIGNATURE]))["record"][SIGNATURE]
    assert stands.why_not.startswith("sequential")
    assert not stands.against


@pytest.mark.parametrize(("changes", "message"), [
    ({"until": "separated", "limit": 30}, "--until takes clusters in drawn order.*--limit"),
    ({"until": "apart"}, "expected separated, or width:W"),
    ({"until": "separated", "task": "photos"}, "6 clusters, and nothing is decided on fewer than 20"),
    ({"until": "separated:max-box-acc-v2", "metrics": ("entropy", "max-box-acc-v2")}, "name one of other metrics"),
    ({"until": "separated"}, "the family faithfulness, which has no score of this run: name one of energy-pointing-game"),
    ({"until": QUESTION, "explainers": ("random",)}, "name one that is no reference")])
def test_questions_that_cannot_be_asked(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    given = {"task": "shapes", "images": None, "model": None, "data": None, "explainers": ("grad-cam",), "metrics": METRICS,
             "device": "cpu", "batch_size": 8, "threads": 1}
    with pytest.raises(VxpError, match=message):
        commands.run_(commands.Order(**(given | changes)), tmp_path / "out", Quiet())


def test_a_question_that_nothing_decides_takes_every_item() -> None:
    """On a task of 24 clusters of one item, of which no score differs."""
    at = sequential.looks(24, 20)
    apart = sequential.Differences(np.zeros(24), np.ones(24), 1.0, 1)
    asked = [sequential.Comparison("a", "b", SIGNATURE, apart)]
    assert at == [20, 24]
    assert sequential.undecided(asked, at, sequential.Until(), stats.STANDARD) == [1, 1]
