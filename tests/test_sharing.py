"""What no map decides is run once: for all metrics, all explainers, and explainers that come later or elsewhere."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from vxp import explainers, models, tasks
from vxp.core import Bank, Batch, Case, Edit
from vxp.datasets import Item, Sample, Source
from vxp.documents.store import Units
from vxp.documents.words import Words
from vxp.engine import Engine, Job, Wanted, mapless, traces
from vxp.engine.rows import Rows
from vxp.kinds import KINDS, encoded
from vxp.media import IMAGE, SEQUENCE
from vxp.metrics import bind_all, catalogue
from vxp.models.sequences import frame_scores
from vxp.runs import run, units
from vxp.runs.context import UNIT, Context, Settings
from vxp.runs.units import Local, System
from vxp.tasks import Task

FIGURES = Path(__file__).parent.parent / "docs" / "figures.md"
SUITE = ("faithfulness-correlation|samples:20", "entropy")


def small(task: Task) -> Batch:
    model = models.load(task.model)
    return task.load(0, 2, model).batch(torch.tensor([0, 1]))


def of_every_truth(space: tuple[int, ...], generator: torch.Generator) -> dict[str, torch.Tensor]:
    """Two items' truths of every key, on this grid."""
    truth = {"mask": torch.zeros(2, *space, dtype=torch.bool), "boxes": torch.tensor([[[2, 3, 9, 12]]] * 2),
             "cells": torch.ones(2, *space, dtype=torch.bool), "density": torch.rand(2, *space, generator=generator),
             "fixations": torch.zeros(2, *space, dtype=torch.bool), "other-fixations": torch.zeros(2, *space, dtype=torch.bool),
             "users": torch.ones(2, 3, 12), "class_masks": torch.zeros(2, 4, *space, dtype=torch.bool),
             "present": torch.tensor([[True, False, True]] * 2), "texts": encoded([Words("nothing"), Words("all")])}
    for key in ("mask", "fixations", "other-fixations", "class_masks"):
        truth[key][..., 3:9, 2:9] = True
    for key, n in {"classes": (4,), "factors": (3, 2), "without": (3,)}.items():
        truth[key] = torch.randint(0, 256, (2, *n, 3, *space), generator=generator, dtype=torch.uint8)
    return truth


@pytest.mark.parametrize("name", sorted(catalogue()))
def test_no_score_runs_a_row_that_no_map_decides(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The walk through a plan with made-up answers finds all of them, in later rounds too."""
    metric = catalogue()[name]
    quick = {k: v for k, v in {"samples": 3, "steps": 4, "designs": 2}.items() if k in metric.parameters}
    wanted = bind_all([(name, quick)])
    generator = torch.Generator().manual_seed(0)
    kind, of_steps = KINDS[metric.kinds[0]], "classes" not in metric.outputs
    space = (12,) if SEQUENCE in kind.media and of_steps else (24, 32) if IMAGE in kind.media else (4, 24, 24)
    inputs = torch.rand(2, 3, *space, generator=generator)
    thirds = (torch.arange(inputs[0, 0].numel()) * 3 // inputs[0, 0].numel()).expand(2, -1)
    parts = {"part": thirds, "object": thirds * 2 + (torch.arange(thirds.shape[1]) % 2)}
    if len(space) != 2:
        parts |= {"fragment": (torch.arange(space[0]) // 2).expand(2, space[0])}
    examples = torch.rand(2, 3, 2, 3, *space, generator=generator)
    batch = Batch(("a", "b"), inputs, torch.tensor([-1, -1] if of_steps else [0, 1]), seed=3, parts=parts,
                  truth=of_every_truth(space, generator) if len(space) > 1 else {"users": torch.ones(2, 3, 12)},
                  foils=torch.tensor([1, 2]), bank=Bank(("one", "two", "three"), *examples), named=("one", "two", "three"))
    torch.manual_seed(0)
    flat = torch.nn.Flatten()
    steps = torch.nn.Conv1d(3, 1, 3, padding=1) if len(space) == 1 else torch.nn.Conv3d(3, 1, (1, *space[1:]))
    model = (frame_scores(torch.nn.Sequential(steps, flat), "bdt" if len(space) == 1 else "bcthw") if of_steps
             else torch.nn.Sequential(flat, torch.nn.Linear(inputs[0].numel(), 4))).eval()
    engine = Engine(model, 8, relabelled=model)
    payload = torch.rand(2, *space, generator=generator) if kind.whole else kind.stand_in(batch)
    case = Case(batch, payload, kind.rule("none"), explained=kind)
    found = traces(wanted, batch.select([0]), [case.kind], engine.output)
    assert found
    shared = engine.shared(batch, Wanted.of(trace.wanted for trace in found.values()))
    ran: list[Edit] = []
    predict = Rows.predict

    def seen(self: Rows, edits: dict[Edit, None], *rest: object, **more: object) -> None:
        ran.extend(edits)
        predict(self, edits, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(Rows, "predict", seen)
    engine.score(Job(case, wanted, lambda module, some: some.inputs.mean(1)), shared)
    assert [edit for edit in ran if mapless(edit)] == []


def results(out: Path, wanted: list[str], limit: int = 8) -> dict[str, dict]:
    task, model = tasks.load("shapes"), models.load("shapes-cnn")
    context = Context.of(task, model, out, Settings(limit=limit, threads=1), SUITE)
    paths = run.run(context, [explainers.bind(name) for name in wanted])
    return {path.parent.name: json.loads(path.read_text()) for path in paths}


def test_rows_of_random_subsets_are_run_once_for_all_explainers_and_for_later_ones(tmp_path: Path) -> None:
    first = results(tmp_path / "run", ["saliency"])
    items, each = 8, 21  # the unchanged item and 20 subsets
    whole = [document["cost"]["run"] for document in first.values()]
    assert whole == [{"explainers": len(first), "rows_shared": items * each, "rows_run": items * each,
                      "rows_asked": len(first) * items * each}] * len(first)
    assert all(document["cost"]["score"]["rows_run"] == 0 for document in first.values())
    # a week later, on another machine
    shutil.copytree(tmp_path / "run", tmp_path / "elsewhere")
    marks = {p: p.read_bytes() for p in (tmp_path / "elsewhere" / ".units").rglob("*.sha256")}
    later = results(tmp_path / "elsewhere", ["saliency", "input-x-gradient"])
    assert len(later) == len(first) + 1
    whole = [document["cost"]["run"] for document in later.values()]
    assert whole == [{"explainers": 7, "rows_shared": 168, "rows_run": 168, "rows_asked": 1176}] * 7
    # as docs/figures.md says
    assert "ask for 1,176 rows, and 168 are run" in " ".join(FIGURES.read_text().split())
    assert all(path.read_bytes() == content for path, content in marks.items())
    # bytes do not depend on when an explainer came
    together = results(tmp_path / "together", ["saliency", "input-x-gradient"])
    for name in together:
        assert ((tmp_path / "together" / "results" / name / "samples.parquet").read_bytes()
                == (tmp_path / "elsewhere" / "results" / name / "samples.parquet").read_bytes())


@dataclass
class Counted:
    """A source that counts how often every item is loaded."""

    source: Source
    loads: Counter[str] = field(default_factory=Counter)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.source, name)

    def load(self, item: Item) -> Sample:
        self.loads[item.id] += 1
        return self.source.load(item)


def test_an_item_and_what_is_shared_of_it_are_read_once_for_all_explainers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of every range: whatever the number of explainers, its items are loaded to run what they share and again to explain and
    score, and its unit is read for the check of the model's outputs and then once."""
    source, reads, load = Counted(tasks.load("shapes").source), Counter[str](), Units.load
    task, model = replace(tasks.load("shapes"), source=source), models.load("shapes-cnn")
    wanted = run.ready(task, model, [explainers.bind(name) for name in ("saliency", "input-x-gradient", "grad-cam")])

    def counted(self: Units, name: str) -> Any:
        reads[name] += 1
        return load(self, name)

    def all_units(out: Path, limit: int) -> list[int]:
        """Do them, and say how often each item was loaded."""
        context = Context.of(task, model, out, Settings(limit=limit, threads=1), SUITE)
        systems = [System.of(context, bound) for bound in run.with_references(task, wanted)]
        assert len(systems) > len(wanted) == 3
        assert context.wanted.edits  # one item is loaded to know what the metrics ask
        source.loads.clear()
        with run.claimed(context, run.run_document(context, [system.bound for system in systems], None)):
            run.prepared(context, systems)
            Local().do(context, systems, units.planned(context, systems, ("explain", "score")))
        return [source.loads[item.id] for item in context.task.items]

    monkeypatch.setattr(Units, "load", counted)
    assert all_units(tmp_path / "run", 2 * UNIT) == [2] * 2 * UNIT
    assert [n for name, n in reads.items() if name.startswith("shared/")] == [2, 2]
    # with one range, what was loaded to run its rows is still there
    assert all_units(tmp_path / "small", UNIT) == [1] * UNIT
