"""The core suite: how many rows its metrics share, what a row costs beside the model, and the time over the bound."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from functools import partial

import torch

from vxp import random
from vxp.bench.catalogue import truths
from vxp.bench.measure import (
    PAIRS,
    Line,
    NearFree,
    case_of,
    gradient,
    paired,
    per_map,
    photo_like,
    plain,
    plain_gradient,
    rows_of,
    scored,
)
from vxp.core import Batch, Case
from vxp.engine import Engine, Job, best_batch_size
from vxp.explainers import bind as bind_explainer
from vxp.metrics import Bound, bind, bind_all
from vxp.metrics.efficient_mprt import histogram_entropy
from vxp.metrics.random_logit import ssim

AGAINST = "Time over the same number of plain passes"
IMPUTED: Mapping[str, str] = {"cpu": "<= 1.50"}
"""The goal, by device, of metrics whose rows are imputed."""
GOALS: Mapping[str, str] = {"gini": "<= 5"}
"""Milliseconds of a map where they are not one: gini sorts absolute values, which the shared order does not give."""
CORE = (
    "deletion|steps:{0}", "insertion|steps:{0}", "srg|steps:{0}", "morf|steps:{0}", "lerf|steps:{0}",
    *(f"{m}|keep:{k}" for m in ("average-drop", "increase-in-confidence", "average-gain") for k in (100, 50, 15)),
    "road-morf", "road-lerf",
)
"""The core suite's metrics that run forward passes, with both aliases."""
MAP_ONLY = ("energy-pointing-game", "entropy", "gini", "grid-pointing-game", "pointing-game", "relevance-rank")
"""Its metrics that run none."""



def sharing(device: str) -> list[Line]:
    """Rows that each metric of the core suite, morf and lerf included, would run alone, and rows that are run together:
    one item at 224 steps. The counts do not depend on the model, so a near-free one runs them."""
    case = case_of(photo_like((224, 224), 1, device))
    suite = [bind(m.format(224)) for m in CORE]

    def rows(wanted: Sequence[Bound]) -> int:
        engine = Engine(NearFree().to(device), 64)
        engine.score(Job(case, tuple(wanted)))
        return engine.tally.run

    alone, together = sum(rows([bound]) for bound in suite), rows(bind_all([m.format(224) for m in CORE]))
    group = "Sharing: the core suite with morf and lerf at 224 steps, one item"
    return [Line(group, "rows that the metrics would run one by one", alone, "rows"),
            Line(group, "rows run", together, "rows"), Line(group, "share", 100 * together / alone, "%", "<= 55")]


def own_cost(device: str) -> list[Line]:
    """What a 3x224x224 row costs beside the model: a near-free model, less its own plain passes."""
    model = NearFree().to(device)
    size = best_batch_size(model, photo_like((224, 224), 1, device).inputs, limit=256 if device == "cuda" else 16)
    lines = []
    for text, items in (("deletion|steps:224", 1), ("insertion|steps:224", 1), ("srg|steps:224", 1), ("deletion|steps:28", 8),
                        ("average-drop|keep:50", 8), ("increase-in-confidence|keep:50", 8), ("average-gain|keep:50", 8)):
        bound = bind(text)
        batch = photo_like((224, 224), items, device)
        case = case_of(batch)
        case.order  # noqa: B018  (sorting once per map is counted with the metrics without forwards)
        rows, _ = rows_of(model, case, bound)
        inputs = batch.inputs[:1].repeat(size, 1, 1, 1)
        _, spent = paired(partial(scored, model, size, Job(case, (bound,))), partial(plain, model, inputs, rows), device)
        goal = "<= 0.15" if device == "cpu" else ""
        lines.append(Line("Own cost per 3x224x224 row, near-free model", bound.signature, 1000 * spent / rows, "ms", goal,
                          f"{rows} rows of {items} item{'s' * (items > 1)}"))
    return [*lines, *_own_cost_of_maps(device)]


def _own_cost_of_maps(device: str) -> list[Line]:
    """What explaining again costs beside the model and the explainer: drawing the noise, comparing the maps."""
    key, maps = random.key(0, "bench", "bench@1", "noise"), torch.rand(2, 8, 224, 224, device=device)
    parts = {
        "noise of one 3x224x224 row (150,528 draws)": (lambda: random.uniforms(key, 0, 224 * 224, 3, device=device), 1),
        "SSIM of two 224x224 maps (random-logit)": (lambda: ssim(maps[0], maps[1], 11, 1.5), 8),
        "histogram entropy of a 224x224 map (efficient-mprt)": (lambda: histogram_entropy(maps[0], 100), 8),
    }
    return [Line("Explaining again, beside the passes", what, per_map(work, device, maps=n), "ms")
            for what, (work, n) in parts.items()]


def map_only(device: str, size: tuple[int, int] = (224, 224)) -> list[Line]:
    """Metrics of the core suite without forward passes, per 224x224 map; the sort is made once for all that need it. The whole
    catalogue times the others."""
    batch = photo_like(size, 8, device)
    batch = dataclasses.replace(batch, truth=truths(batch), clusters=batch.ids)
    maps = torch.rand(8, *size, generator=torch.Generator().manual_seed(2)).to(device)
    group = "Metrics without forward passes, per 224x224 map"
    lines = [Line(group, "sort, once for all metrics", per_map(lambda: Case(batch, maps).order, device), "ms", "<= 5")]
    ready = Case(batch, maps)
    ready.order, ready.constant  # noqa: B018
    for name in MAP_ONLY:
        took = per_map(partial(scored, NearFree(), 1, Job(ready, (bind(name),))), device)
        lines.append(Line(group, name, took, "ms", GOALS.get(name, "<= 1")))
    return lines


def against_bound(engine: Engine, batch: Batch) -> list[Line]:
    """Every metric that runs the model, over the same number of plain passes at the engine's batch size and precision."""
    device, model, size = batch.inputs.device.type, engine.model, engine.batch_size
    goal = "<= 1.05" if device == "cpu" else "<= 1.10"
    case = case_of(batch)
    inputs = batch.inputs[:1].repeat(size, 1, 1, 1)
    again = bind_explainer(gradient)
    lines = []
    for text in ("deletion|steps:28", "insertion|steps:28", "srg|steps:28", "average-drop|keep:50",
                 "increase-in-confidence|keep:50", "average-gain|keep:50", "efficient-mprt", "random-logit",
                 "max-sensitivity|samples:4", "average-sensitivity|samples:4", "pixel-flipping|steps:28",
                 "faithfulness-correlation|samples:28", "sensitivity-n|samples:14|sizes:2", "road-morf", "road-lerf"):
        bound = bind(text)
        rows, maps = rows_of(model, case_of(batch), bound)
        # several items share a batch in a run; metrics of a row or two an item are measured so as well
        repeats = max(1, 2 * size // (rows + maps))

        def work(bound: Bound = bound, repeats: int = repeats) -> None:
            for _ in range(repeats):
                random.forget()
                engine.score(Job(case, (bound,), again))

        def passes(rows: int = rows, maps: int = maps, repeats: int = repeats) -> None:
            for _ in range(repeats):
                with engine.arithmetic(batch.inputs.device):
                    plain(engine.forward, inputs, rows)
                    plain_gradient(model, inputs, maps)

        # backward passes allocate much, so their times scatter by several percent on a small machine
        ratio, _ = paired(work, passes, device, 2 * PAIRS if maps else PAIRS)
        counted = ", ".join([f"{rows} rows"] * (rows > 0) + [f"{maps} maps again"] * (maps > 0))
        if "nli" in bound.fills:
            counted += ", its imputation is in the lines above"
        lines.append(Line(f"{AGAINST}, {engine.precision}", bound.signature, ratio, "x",
                          IMPUTED.get(device, "") if "nli" in bound.fills else goal, counted))
    return lines
