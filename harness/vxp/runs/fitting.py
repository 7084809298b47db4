"""`vxp fit`: train an explainer for a model, on images that no task scores.

The explainer brings its own loop (`vxp.core.Training`); here is what every such loop is given: the images with the class that
is explained, and a session that keeps what is done. The same command goes on after the last epoch that was finished.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypedDict

import safetensors
import safetensors.torch
import torch
import vxp_schemas
from torch import Tensor, nn
from vxp_schemas import typed

from vxp import datasets
from vxp.catalogue import nearest, number
from vxp.core import Batch, Explainer, Normalization, Training, VxpError
from vxp.documents import store
from vxp.engine import Precision
from vxp.machine import computing
from vxp.models import Model
from vxp.runs.context import Progress

KEPT = 2**31
"""Bytes of decoded images that are kept in memory; more are decoded again in every epoch."""
CANDIDATES = 20
"""Candidates looked at, per image wanted, before giving up."""


class Chosen(TypedDict):
    """Which images a training was given, as the card of its weights says."""

    dataset: str
    seed: int
    images: int
    images_digest: str


@dataclass(frozen=True, eq=False)
class Images:
    """Images to train on, and the class of each: the one that the model predicts."""

    source: datasets.Source
    items: tuple[datasets.Item, ...]
    targets: Tensor
    normalization: Normalization
    document: Chosen
    _decoded: dict[int, Tensor] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.items)

    def batch(self, index: Sequence[int]) -> Batch:
        """The images at these places as the model takes them, on the CPU."""
        pixels = torch.stack([self._pixels(i) for i in index])
        inputs = self.normalization.to_inputs(pixels.float() / 255, pixels.ndim - 2)
        return Batch(tuple(self.items[i].id for i in index), inputs, self.targets[list(index)], self.normalization)

    def _pixels(self, i: int) -> Tensor:
        if i not in self._decoded:
            image = self.source.load(self.items[i]).image
            if (i + 1) * image.numel() > KEPT:
                return image
            self._decoded[i] = image
        return self._decoded[i]


@dataclass(frozen=True)
class Terms:
    """How a training computes, and what it tells of its progress."""

    seed: int
    device: str
    precision: Precision
    threads: int
    progress: Progress


def images(
    source: datasets.Source, model: Model, n: int, terms: Terms,
    candidates: Iterator[datasets.Item] | None = None,
) -> Images:
    """n images of a data set that the model gets right, in the order in which the data set proposes them; of images whose
    classes are not known, every one. VxpError where there are too few."""
    absent = source.missing()
    if absent:
        raise VxpError(f"data set {source.id}: {absent}")
    if candidates is None:
        _not_scored(source, terms.seed)
    terms.progress.stage("choosing images", n)
    kept: list[datasets.Item] = []
    targets: list[int] = []
    for looked, item in enumerate(candidates if candidates is not None else source.propose(terms.seed)):
        if len(kept) == n or looked == CANDIDATES * n:
            break
        pixels = source.load(item).image
        inputs = model.normalization.to_inputs(pixels[None].float() / 255, pixels.ndim - 1).to(terms.device)
        with torch.no_grad():
            predicted = int(model.module(inputs).argmax(1))
        if predicted in item.label or not item.label:
            kept.append(item)
            targets.append(predicted)
            terms.progress.items(1)
    if not kept or (len(kept) < n and candidates is None):
        raise VxpError(f"data set {source.id} has {len(kept)} images that {model.id} gets right, expected {n}")
    rows = [[item.id, dict(item.recipe), target] for item, target in zip(kept, targets, strict=True)]
    document: Chosen = {"dataset": f"{source.id}@{source.version}", "seed": terms.seed, "images": len(kept),
                        "images_digest": vxp_schemas.digest(rows)}
    return Images(source, tuple(kept), torch.tensor(targets), model.normalization, document)


def _not_scored(source: datasets.Source, seed: int) -> None:
    """VxpError where a task scores the very images that a data set proposes for this seed."""
    for name in vxp_schemas.registry("tasks"):
        card = vxp_schemas.registry_document("tasks", name)
        if card["dataset"]["id"] == source.id and card["seed"] == seed and "items" in card:
            raise VxpError(f"task {name} scores the images of {source.id} with seed {seed}: train on those of another --seed")


@dataclass(frozen=True, eq=False)
class Session:
    """What a training loop is told, and where it keeps what is done: tensors and notes after every epoch."""

    model: typed.Model
    seed: int
    device: str
    precision: Precision
    checkpoint: Path | None = None
    progress: Progress | None = None

    def load(self, settings: Mapping[str, Any]) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """What was saved last, None at the start; VxpError where that is of another training."""
        if self.checkpoint is None or not self.checkpoint.exists():
            return None
        try:
            with safetensors.safe_open(self.checkpoint, "pt") as file:
                notes = json.loads(file.metadata()["notes"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
            raise VxpError(f"{self.checkpoint} is no checkpoint of vxp fit ({error}): delete it to begin again") from None
        if notes["settings"] != json.loads(json.dumps(settings)):
            differs = [k for k in settings if notes["settings"].get(k) != json.loads(json.dumps(settings[k]))]
            raise VxpError(f"{self.checkpoint} is of another training (other {', '.join(differs)}): repeat the command of that "
                           "one to go on with it, or delete the file to begin again")
        return tensors, notes

    def save(self, settings: Mapping[str, Any], tensors: Mapping[str, Tensor], notes: Mapping[str, Any]) -> None:
        """Keep this state whole or not at all."""
        if self.checkpoint is not None:
            kept = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
            told = {"notes": json.dumps(dict(notes) | {"settings": dict(settings)})}
            store.write_bytes(self.checkpoint, safetensors.torch.save(kept, metadata=told))


@dataclass(frozen=True, eq=False)
class Trained:
    """What a training loop returns: the weights, and what its card says of them."""

    tensors: Mapping[str, Tensor]
    card: Mapping[str, Any]


def recipe_of(training: Training, model: nn.Module, name: str | None, given: Mapping[str, Any], what: str) -> Any:
    """The recipe of this name, or the one for the model, with the parameters given; VxpError for unknown ones."""
    chosen = name or training.choose(model)
    if chosen not in training.recipes:
        raise VxpError(f"{what} has no recipe {chosen!r}{nearest(chosen, list(training.recipes))}; it has "
                       f"{', '.join(training.recipes)}")
    recipe = training.recipes[chosen]
    known = {f.name: getattr(recipe, f.name) for f in fields(recipe)}
    for parameter in given:
        if parameter not in known:
            raise VxpError(f"{what} has no parameter {parameter!r}{nearest(parameter, list(known))}; its training has "
                           f"{', '.join(known)}")
    return replace(recipe, **{k: number(v, like=known[k], what=f"{what}, parameter {k!r}") for k, v in given.items()})


def training_of(explainer: Explainer) -> Training:
    """How an explainer is trained; VxpError for one that is not."""
    if explainer.training is None:
        raise VxpError(f"explainer {explainer.id!r} is not trained: `vxp run` uses it as it is")
    return explainer.training


def fit(explainer: Explainer, recipe: Any, model: Model, chosen: Images, terms: Terms, out: Path) -> Mapping[str, Any]:
    """Train by a recipe (`recipe_of`), and write the weights (safetensors) with their card (JSON of the same name); returns the
    card.

    A file beside them keeps the last finished epoch until both are written.
    """
    if out.suffix != ".safetensors":
        raise VxpError(f"--out {out}: expected a file NAME.safetensors")
    session = Session(model.document, terms.seed, terms.device, terms.precision, out.with_suffix(".checkpoint"), terms.progress)
    with computing(terms.threads):
        trained = training_of(explainer).run(model.module, chosen, session, recipe)
    raw = safetensors.torch.save({name: value.detach().cpu().contiguous() for name, value in trained.tensors.items()})
    card = {"explainer": explainer.id, "name": out.stem, "weights": store.digest(raw),
            "model": {"id": model.document["id"], "version": model.document["version"], "state_dict_digest": model.digest},
            "data": chosen.document, "recipe": asdict(recipe), "seed": terms.seed, "device": terms.device,
            "precision": terms.precision, "threads": terms.threads, **trained.card}
    store.write_bytes(out, raw)
    store.write_bytes(out.with_suffix(".json"), json.dumps(card, indent=1, allow_nan=False).encode() + b"\n")
    out.with_suffix(".checkpoint").unlink(missing_ok=True)
    return card


__all__ = ["Images", "Session", "Trained", "fit", "images", "recipe_of"]
