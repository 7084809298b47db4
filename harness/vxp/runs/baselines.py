"""What no map decides: targets, predictions, and the rows that all explainers of a run read, also those added later."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from vxp.core import Edit, Readout, Unchanged, VxpError
from vxp.engine import Shared, Tally
from vxp.outputs import Output
from vxp.runs.context import Context, log

BROKEN = "failed:model-non-finite"
"""The status of an item of which the model's output for the unchanged input is not finite."""


@dataclass(frozen=True, eq=False)
class Baseline:
    """What all explanations of a range share, and the targets that are frozen for everything after."""

    targets: Tensor
    predictions: Tensor
    shared: Shared
    output: Output
    batch_size: int  # with which the rows were run
    rows_run: int

    @property
    def target_score(self) -> Tensor:
        """Of the unchanged items, float64 [B]: the probability of the target, or what stands for it where there is none."""
        return self.output.of(self.shared.rows[Unchanged()], self.output.level)

    @property
    def broken(self) -> list[bool]:
        """Per item whether the model's output for the unchanged input is not finite."""
        found: list[bool] = self.output.broken(self.shared.rows[Unchanged()]).tolist()
        return found


def name(start: int) -> str:
    """The unit of the range that begins here."""
    return f"shared/{start:06d}"


def make(context: Context, start: int, stop: int) -> None:
    """Run what the metrics of the run ask of these items whatever their maps are, and keep it as a unit."""
    engine, where = context.engine, context.settings.device
    loaded = context.loaded(start, stop)
    engine.tally = Tally()
    logits = engine.predict_all(loaded.inputs.to(where))
    for words in engine.output.doubts(logits, f"model {context.model.id}"):
        if start == 0:  # once a run, by its first items
            log.warning("model %s: %s", context.model.id, words)
    predictions = engine.output.predicted(logits).cpu()
    targets = loaded.targets(predictions)
    if int(targets.max()) >= logits.shape[1]:
        raise VxpError(f"task {context.task.name} explains class {int(targets.max())}, and model "
                       f"{context.model.id} has {logits.shape[1]} classes: choose the task's own model")
    found = engine.shared(loaded.batch(targets).to(where), context.wanted_of(start))
    tensors = {"targets": targets, "predictions": predictions}
    tensors |= {f"row/{edit!r}": row for edit, row in found.rows.items()}
    tensors |= {f"vector/{readout}/{edit!r}": vector for (edit, readout), vector in found.vectors.items()}
    tensors |= {f"regions/{n}": _small(labels) for n, labels in found.regions.items()}
    context.units.save(name(start), tensors, {
        "batch_size": engine.batch_size, "represented": found.represented, "rows_run": engine.tally.run})


def read(context: Context, start: int) -> Baseline:
    """What a finished unit holds; VxpError where it is not there, or is of other metrics. The last one is kept: all explainers
    and stages take a range one after another."""
    last: dict[int, Baseline] = context.last
    if start not in last:
        last.clear()
        last[start] = _read(context, start)
    return last[start]


def _read(context: Context, start: int) -> Baseline:
    unit = context.units.load(name(start))
    if unit is None:
        raise context.units.missing(name(start))
    tensors, notes = unit
    wanted = context.wanted_of(start)
    rows: dict[Edit, Tensor] = {
        edit: tensors[f"row/{edit!r}"] for edit in wanted.edits if f"row/{edit!r}" in tensors}
    vectors: dict[tuple[Edit, Readout], Tensor] = {
        (edit, readout): tensors[f"vector/{readout}/{edit!r}"] for edit, readout in wanted.vectors
        if f"vector/{readout}/{edit!r}" in tensors}
    regions = {n: tensors[f"regions/{n}"].long() for n in wanted.regions}
    return Baseline(tensors["targets"], tensors["predictions"], Shared(rows, vectors, regions, notes["represented"]),
                    context.output, notes["batch_size"], notes["rows_run"])


def all_of(context: Context) -> Iterator[Baseline]:
    """Range by range, in their order."""
    return (read(context, start) for start, _ in context.ranges())


def check_finite(context: Context) -> None:
    """Name the items of which the model's output is not finite; VxpError where these are all."""
    items = context.task.items
    bad = [items[start + i].id for start, _ in context.ranges()
           for i, broken in enumerate(read(context, start).broken) if broken]
    if len(bad) == len(items):
        raise VxpError(f"model {context.model.id} returned NaN or infinite logits for all {len(items)} items, expected finite "
                       "logits on the task's own images: check its weights and normalization")
    if bad:
        log.warning("model %s returned NaN or infinite logits for %d of %d items (%s): nothing is predicted of them, and their "
                    "explanations and scores are %s", context.model.id, len(bad), len(items),
                    ", ".join([*bad[:5], *(["..."] if len(bad) > 5 else [])]), BROKEN)


def _small(labels: Tensor) -> Tensor:
    """Labels in the smallest type that holds them: they are kept for every item."""
    return labels.to(torch.uint8 if int(labels.max()) < 256 else torch.int32)


__all__ = ["BROKEN", "Baseline", "all_of", "check_finite", "make", "name", "read"]
