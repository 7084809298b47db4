"""Which items a limit takes, and why a result is open."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import vxp_schemas
from oracles import philox
from vxp import division, documents, models, report, tasks
from vxp.core import VxpError
from vxp.metrics import bind_all
from vxp.report import read
from vxp.runs import commands
from vxp.runs.context import Context, Quiet, Settings
from vxp.tasks import Task


@pytest.mark.parametrize(("clusters", "limit", "places"), [
    ("aaabbc", 1, [0]),
    ("aaabbc", 3, [0, 3, 5]),  # the first of each
    ("aaabbc", 5, [0, 1, 3, 4, 5]),  # then the second of those that have one
    ("aaabbc", 6, [0, 1, 2, 3, 4, 5]),
    ("abab", 3, [0, 1, 2]),
    ("abcd", 2, [0, 1]),  # every item its own cluster: the first items
])
def test_a_limit_takes_of_every_cluster_in_turn(clusters: str, limit: int, places: list[int]) -> None:
    assert division.taken(clusters, limit) == places


def test_a_limited_task_says_what_was_taken() -> None:
    task = tasks.load("photos")
    limited = task.limited(12)
    chosen = [item.id for item in limited.items]
    assert chosen == [item.id for item in task.items if item.id in chosen], "in the task's order"
    photos = [item.cluster for item in limited.items]
    assert {photos.count(photo) for photo in photos} == {2}
    assert str(limited.selection) == "12 of 24 items from 6 of 6 clusters"
    assert (limited.limit, limited.limited(12).selection) == (12, limited.selection)
    assert limited.reference["digest"] == vxp_schemas.digest([task.reference["digest"], 12])


def test_a_limit_that_takes_all_is_none() -> None:
    task = tasks.load("photos")
    assert task.limited(24) is task.limited(100) is task
    assert task.limit is None
    context = Context(task, models.load("shapes-cnn"), (), Settings(limit=100), Path("none"), Quiet())
    assert context.settings_document["limit"] is None


def test_drawn_order_takes_whole_clusters_by_their_lots() -> None:
    clusters = ["a", "b", "a", "c", "b", "a"]
    lots = philox.words(philox.key(7, "", "sequential@1", "clusters"), 0, 3)[0].tolist()
    names = [name for _, name in sorted(zip(lots, "abc", strict=True))]
    assert division.drawn(clusters, 7) == [i for name in names for i, cluster in enumerate(clusters) if cluster == name]
    assert division.drawn(clusters, 8) != division.drawn(clusters, 7)


def test_the_first_clusters_of_a_task_are_another_task() -> None:
    task = tasks.load("photos")
    first, more = task.drawn.first(2), task.drawn.first(3)
    assert [len({item.cluster for item in some.items}) for some in (first, more)] == [2, 3]
    assert more.items[:len(first.items)] == first.items
    assert (first.limit, first.largest_cluster, str(first.selection)) == (8, 4, "8 of 24 items from 2 of 6 clusters")
    assert first.reference["digest"] == vxp_schemas.digest([task.reference["digest"], 8, "sequential"])
    assert task.only(documents.Taken(8, drawn=True)).items == first.items
    with pytest.raises(VxpError, match="in its own order"):
        task.first(2)
    assert task.drawn.first(6).items != task.items
    assert sorted(item.id for item in task.drawn.first(6).items) == sorted(item.id for item in task.items)


def why(of: Task, model: str = "shapes-cnn", metrics: tuple[str, ...] = (), **changes: Any) -> list[str]:
    signatures = [bound.signature for bound in bind_all(list(metrics or of.metrics))]
    selected = None if of.selection is None else of.selection.document()
    given = {"task": of.reference, "model": vxp_schemas.reference(models.load(model).document), "taken": of.taken,
             "signatures": signatures, "selected": selected}
    return [reason.words for reason in division.reasons(**(given | changes))]


def test_a_whole_task_with_its_model_and_scores_is_closed() -> None:
    task = tasks.load("shapes")
    assert why(task) == []
    assert why(task, metrics=(*task.metrics, "nss")) == [], "more scores than the task's do no harm"
    assert why(task, signatures=[]) == [], "a set has no scores"


def test_every_reason_is_given() -> None:
    task = tasks.load("shapes")
    n = len(task.metrics)
    left = [m for m in task.metrics if m.partition("|")[0] not in ("entropy", "gini")]
    assert why(task.limited(30)) == ["30 of 200 items from 30 of 200 clusters"]
    assert why(task.drawn.first(30)) == ["sequential, 30 of 200 items from 30 of 200 clusters"]
    assert why(task.drawn.first(200)) == ["sequential, 200 of 200 items from 200 of 200 clusters"]
    assert why(task, "efficientnet-lite0") == ["the model efficientnet-lite0 is not the task's"]
    assert why(task, metrics=tuple(left)) == [f"2 of the task's {n} scores were left out: entropy, gini"]
    assert why(task, metrics=("entropy",))[0].endswith(" more")
    assert why(task, task=task.reference | {"id": "open-mine"}) == ["own images"]
    assert why(task, task=task.reference | {"id": "shpes"}) == ["no task of the registry"]
    assert why(task, task=task.reference | {"digest": "sha256:" + "0" * 64}) == ["the task's card is not the registry's"]
    assert why(task, task=task.reference | {"id": "imagenet-val-2000"}) == [
        "a template, whose items are drawn from a copy of one's own"]


def test_the_reason_stands_in_terminal_and_report(tmp_path: Path) -> None:
    order = commands.Order("shapes", None, None, None, ("saliency",), ("entropy",), "cpu", limit=3, batch_size=4, threads=1)
    documents = [json.loads(path.read_bytes()) for path in commands.run_(order, tmp_path / "out", Quiet())]
    for document in documents:
        vxp_schemas.validate(document)
        assert document["selection"] == {"items": 3, "of_items": 200, "clusters": 3, "of_clusters": 200}
    stored = json.loads((tmp_path / "out" / "run.json").read_bytes())
    vxp_schemas.validate(stored)
    assert stored["selection"] == documents[0]["selection"]
    n = len(tasks.load("shapes").metrics)
    said = report.heading(read.read(tmp_path / "out"))
    start = f"{tasks.load('shapes').name}, shapes-cnn@1: 3 items, open: 3 of 200 items from 3 of 200 clusters; "
    assert said.startswith(f"{start}{n - 1} of the task's {n} scores were left out: ")
    html = report.write(tmp_path / "out").read_text()
    assert "open division: 3 of 200 items from 3 of 200 clusters; " in html
    assert "Only 3 of 200 items from 3 of 200 clusters of the task were used" in html
