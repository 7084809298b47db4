"""What depends on the item and the fill only: targets, predictions and the rows that all explainers read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from vxp import models
from vxp.core import Edit, Filled, Unchanged, VxpError, doubts
from vxp.engine import READOUTS
from vxp.runs.context import Context, log

BROKEN = "failed:model-non-finite"
"""The status of an item of which the model's output for the unchanged input is not finite."""


@dataclass(frozen=True, eq=False)
class Baseline:
    """Rows of a range that no explanation changes, and the targets that are frozen for everything after."""

    targets: Tensor
    predictions: Tensor
    rows: Mapping[Edit, Tensor]
    batch_size: int  # with which the rows were run

    @property
    def broken(self) -> list[bool]:
        """Per item whether the model's output for the unchanged input is not finite."""
        found: list[bool] = self.rows[Unchanged()][:, READOUTS.index("log-probability")].isnan().tolist()
        return found


def baselines_of(context: Context) -> dict[int, Baseline]:
    """The unchanged and the filled rows of every range of items, from its unit or computed."""
    # a metric of another kind is not run, and its fills may be none of this medium
    fills = sorted({fill for b in context.metrics if context.task.kind.id in b.metric.kinds for fill in b.fills})
    context.progress.stage("unperturbed outputs", len(context.task.items))
    found: dict[int, Baseline] = {}
    for start, stop in context.ranges():
        name = f"baseline/{start:06d}"
        unit = context.units.load(name)
        if unit is None:
            loaded = context.task.load(start, stop, context.model)
            engine, where = context.engine, context.settings.device
            logits = engine.predict_all(loaded.inputs.to(where))
            doubts.check_classes(logits.shape[1], f"model {context.model.id}")
            if not found:  # once a run, by its first items
                for words in doubts.of_outputs(logits):
                    log.warning("model %s: %s", context.model.id, words)
            predictions = models.predicted(logits).cpu()
            targets = loaded.targets(predictions)
            if int(targets.max()) >= logits.shape[1]:
                raise VxpError(f"task {context.task.name} explains class {int(targets.max())}, and model "
                               f"{context.model.id} has {logits.shape[1]} classes: choose the task's own model")
            rows = engine.baseline(loaded.batch(targets).to(where), fills)
            filled = [edit.fill for edit in rows if isinstance(edit, Filled)]
            tensors = {"targets": targets, "predictions": predictions, "rows": torch.stack(list(rows.values()))}
            unit = tensors, {"batch_size": engine.batch_size, "filled": filled}
            context.units.save(name, *unit)
        edits: list[Edit] = [Unchanged(), *map(Filled, unit[1]["filled"])]
        kept = dict(zip(edits, unit[0]["rows"], strict=True))
        found[start] = Baseline(unit[0]["targets"], unit[0]["predictions"], kept, unit[1]["batch_size"])
        context.progress.items(stop - start)
    _check_finite(context, found)
    return found


def _check_finite(context: Context, baselines: Mapping[int, Baseline]) -> None:
    """Name the items of which the model's output is not finite; VxpError where these are all."""
    items = context.task.items
    bad = [items[start + i].id for start, found in baselines.items() for i, broken in enumerate(found.broken) if broken]
    if len(bad) == len(items):
        raise VxpError(f"model {context.model.id} returned NaN or infinite logits for all {len(items)} items, expected finite "
                       "logits on the task's own images: check its weights and normalization")
    if bad:
        log.warning("model %s returned NaN or infinite logits for %d of %d items (%s): nothing is predicted of them, and their "
                    "explanations and scores are %s", context.model.id, len(bad), len(items),
                    ", ".join([*bad[:5], *(["..."] if len(bad) > 5 else [])]), BROKEN)
