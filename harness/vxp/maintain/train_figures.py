"""`python -m vxp.maintain.train_figures` trains the classifier of `figures` again, in about two minutes on one core.

A pool of scenes is drawn once. Each gives the whole figure, and the figure with parts left out or exchanged: such images are in
the training distribution, as in FunnyBirds (Hesse, Schaub-Meyer and Roth 2023). The target of an image is how likely
each class is to a reader who misreads one part in five (`believed`): every part that is missing makes the class less
likely. With the class itself as the target the fifth part would add nothing, since any four parts tell the class. Validation
scenes have seeds of their own and are never trained on; the task's items have others.

With `--prototypes` it trains the prototype network (Chen et al. 2019, arXiv:1806.10574), in three stages:

1. All but the last layer is trained. The cost is the cross-entropy, plus CLUSTER times the mean distance of a whole figure to
   the nearest prototype of its class, less SEPARATION times that to the nearest prototype of another class.
2. Every prototype becomes the features of the nearest cell of all whole figures of its class in the pool. The log keeps the
   seed, class and cell of each. No cell is taken twice.
3. The last layer alone is trained, with an L1 cost on its weights from prototypes of other classes.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from vxp.datasets.figures import CLASSES, SLOTS, TABLE, VARIANTS, assembled
from vxp.maintain.train_shapes import ASSETS, TRAIN_SEED, VALIDATION_SEED, Recipe, accuracy, fitted, write
from vxp.models import state_dict_digest
from vxp.models.loading import FIGURES
from vxp.models.protopnet import Patch, ProtoPNet, similarity
from vxp.models.shapes_cnn import ShapesCNN

USUAL = Recipe(pool=6000, epochs=12, smoothing=0.0)
CLUSTER, SEPARATION, SPARSE = 0.8, 0.08, 1e-4
MISREAD = 0.2
WHOLE, CHANGED = 0, 1
"""The two images of a scene in a pool."""
COUNTS = tuple(len(names) for names in VARIANTS.values())


@dataclass(frozen=True)
class Stages:
    """How the prototype network is trained: prototypes per class, the epochs of the last layer alone, and their rate."""

    each: int = 3
    last_epochs: int = 6
    last_rate: float = 2e-3


def pool(start: int, n: int) -> tuple[Tensor, Tensor]:
    """Images uint8 [n, 2, 3, 64, 64] of consecutive seeds, whole and with parts left out or exchanged, and what is believed of
    them, [n, 2, 12]."""
    images, beliefs = [], []
    for i in range(n):
        rows = (TABLE[i % len(CLASSES)], changed(start + i, TABLE[i % len(CLASSES)]))
        images.append(np.stack([assembled(start + i, row).image for row in rows]))
        beliefs.append(torch.stack([believed(row) for row in rows]))
    return torch.from_numpy(np.stack(images)), torch.stack(beliefs)


def changed(seed: int, row: Sequence[int]) -> tuple[int | None, ...]:
    """A row with none to five slots left empty, which and how many drawn; of the others one in four has any other variant."""
    draw = np.random.Generator(np.random.Philox(key=[seed, 1]))
    empty = draw.permutation(len(SLOTS))[: int(draw.integers(0, len(SLOTS) + 1))]
    other = [(v + int(draw.integers(1, n))) % n for v, n in zip(row, COUNTS, strict=True)]
    exchanged = draw.random(len(SLOTS)) < 0.25
    return tuple(None if slot in empty else other[slot] if exchanged[slot] else v for slot, v in enumerate(row))


def believed(variants: Sequence[int | None]) -> Tensor:
    """The probability of every class, [12], all as likely before, where a part is read as it is with 1 - MISREAD and as each
    other variant of its slot with an equal share of the rest; None for a slot without a part, which says nothing."""
    fits = torch.zeros(len(CLASSES))
    for slot, variant in enumerate(variants):
        if variant is not None:
            same = torch.tensor([row[slot] == variant for row in TABLE])
            fits += torch.where(same, math.log(1 - MISREAD), math.log(MISREAD / (COUNTS[slot] - 1)))
    return fits.softmax(0)


def inputs_of(images: Tensor) -> Tensor:
    """Model inputs of uint8 images."""
    return FIGURES.to_inputs(images.float() / 255).contiguous(memory_format=torch.channels_last)


def shown(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Of every scene of a batch one of its two images, perhaps flipped, and what is believed of them."""
    which = torch.randint(2, (len(x),))
    images, beliefs = x[torch.arange(len(x)), which], y[torch.arange(len(x)), which]
    return inputs_of(images.flip(3) if torch.rand(()) < 0.5 else images), beliefs


def train(recipe: Recipe) -> tuple[ShapesCNN, dict[str, object]]:
    """A trained classifier and its log. The pool is drawn once."""
    began = time.monotonic()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        model = ShapesCNN(len(CLASSES)).to(memory_format=torch.channels_last)
        log = fitted(model, *pool(TRAIN_SEED, recipe.pool), recipe, shown)
    return model, {**learned(model), **_told(recipe, began), "log": log}


def learned(model: nn.Module, n: int = 1992) -> dict[str, object]:
    """The accuracy on fresh scenes: of whole figures, and by slot of half as many figures without that part."""
    return {"accuracy": {"top1": right(model, n), "n": n,
                         "data": f"figures@1, seeds from {VALIDATION_SEED}, never trained on"},
            "without": {name: right(model, n // 2, slot) for slot, name in enumerate(SLOTS)},
            "divergence": round(divergence(model, n // 2), 4)}


def right(model: nn.Module, n: int, *empty: int) -> float:
    """The accuracy on n fresh figures without the parts of these slots."""
    labels = [i % len(CLASSES) for i in range(n)]
    rows = [[None if slot in empty else variant for slot, variant in enumerate(TABLE[c])] for c in labels]
    images = np.stack([assembled(VALIDATION_SEED + i, row).image for i, row in enumerate(rows)])
    return round(accuracy(model, inputs_of(torch.from_numpy(images)), torch.tensor(labels)), 4)


def divergence(model: nn.Module, n: int) -> float:
    """The mean Kullback-Leibler divergence, in nats, of the model's probabilities from what is believed of n fresh images with
    parts left out or exchanged."""
    images, beliefs = pool(VALIDATION_SEED, n)
    with torch.no_grad():
        said = torch.cat([model(x).log_softmax(1) for x in inputs_of(images[:, CHANGED]).split(256)])
    return float(F.kl_div(said, beliefs[:, CHANGED], reduction="batchmean"))


def _told(recipe: Recipe, began: float) -> dict[str, object]:
    told = {key: getattr(recipe, key) for key in ("pool", "epochs", "batch", "seed", "smoothing", "rate")}
    return {"seconds": round(time.monotonic() - began), "threads": torch.get_num_threads(), **told}


# ---------------------------------------------------------------------------------------------------------- prototypes


def train_prototypes(recipe: Recipe, stages: Stages) -> tuple[ProtoPNet, dict[str, object]]:
    """A trained prototype network and its log, with the patch that every prototype is of."""
    began = time.monotonic()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        images, beliefs = pool(TRAIN_SEED, recipe.pool)
        model = ProtoPNet(len(CLASSES), stages.each).to(memory_format=torch.channels_last)
        log = _joint(model, images, beliefs, recipe)
        before = right(model, 1992)
        patches, moved = projected(model, images[:, WHOLE])
        _last_layer(model, images, beliefs, recipe, stages)
    return model, {**learned(model), "state_dict_digest": state_dict_digest(model),
                   "before_projection": before, "moved": round(moved, 5), **_told(recipe, began), **asdict(stages),
                   "prototypes": [{"seed": p.seed, "class": p.figure, "cell": list(p.cell)} for p in patches], "log": log}


def _batches(n: int, size: int) -> Iterator[Tensor]:
    yield from torch.randperm(n)[: n // size * size].split(size)


def _joint(model: ProtoPNet, images: Tensor, beliefs: Tensor, recipe: Recipe) -> list[dict[str, float]]:
    """Stage 1, in place; the mean costs of every epoch."""
    began, steps = time.monotonic(), recipe.pool // recipe.batch
    optimiser = torch.optim.AdamW([
        {"params": model.features.parameters(), "weight_decay": recipe.decay},
        {"params": [model.prototypes], "weight_decay": 0.0}], lr=recipe.rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=recipe.rate, total_steps=recipe.epochs * steps)
    log = []
    for epoch in range(recipe.epochs):
        model.train()
        total = torch.zeros(3)
        for where in _batches(recipe.pool, recipe.batch):
            costs = _costs(model, *_both(images[where], beliefs[where]), recipe.smoothing)
            optimiser.zero_grad()
            (costs * torch.tensor([1.0, CLUSTER, -SEPARATION])).sum().backward()
            optimiser.step()
            schedule.step()
            total += costs.detach() / steps
        names = ("loss", "cluster", "separation")
        log.append({"epoch": epoch, **{name: round(float(v), 4) for name, v in zip(names, total, strict=True)}})
        print(f"{log[-1]}, {time.monotonic() - began:.0f} s", flush=True)
    return log


def _both(images: Tensor, beliefs: Tensor) -> tuple[Tensor, Tensor]:
    """The scenes of a batch as inputs, half of them whole, then the others changed, all perhaps flipped."""
    half = len(images) // 2
    x = torch.cat([images[:half, WHOLE], images[half:, CHANGED]])
    return inputs_of(x.flip(3) if torch.rand(()) < 0.5 else x), torch.cat([beliefs[:half, WHOLE], beliefs[half:, CHANGED]])


def _costs(model: ProtoPNet, x: Tensor, beliefs: Tensor, smoothing: float) -> Tensor:
    """Cross-entropy of all; the mean distances of the whole figures, the first half, to the nearest prototype of their class
    and to the nearest of another, [3]."""
    least = model.distances(x).amin((2, 3))
    logits = model.head(similarity(least))
    near, own = least[: len(x) // 2], model.own()[beliefs[: len(x) // 2].argmax(1)]
    return torch.stack([
        F.cross_entropy(logits, beliefs, label_smoothing=smoothing),
        near.masked_fill(~own, torch.inf).amin(1).mean(),
        near.masked_fill(own, torch.inf).amin(1).mean()])


@torch.no_grad()
def projected(model: ProtoPNet, images: Tensor) -> tuple[list[Patch], float]:
    """Stage 2, in place: image i of uint8 [N, 3, 64, 64] is of the seed TRAIN_SEED + i and the class i modulo 12. The patches,
    and how far the prototypes moved in the mean, as a squared distance."""
    model.eval()
    labels, patches, moved = torch.arange(len(images)) % len(CLASSES), [], []
    for figure in range(len(CLASSES)):
        members = (labels == figure).nonzero()[:, 0]
        z = torch.cat([model.features(inputs_of(images[some])) for some in members.split(200)])
        own = (model.of == figure).nonzero()[:, 0]
        distances = model.distances_of(z)[:, own].transpose(0, 1).flatten(1)  # [each, images * h * w]
        for p, row in zip(own.tolist(), distances, strict=True):
            place = int(row.argmin())
            distances[:, place] = torch.inf
            image, y, x = (int(i) for i in np.unravel_index(place, (len(z), *z.shape[2:])))
            moved.append(float(((z[image, :, y, x] - model.prototypes[p]) ** 2).sum()))
            model.prototypes[p] = z[image, :, y, x]
            patches.append(Patch(TRAIN_SEED + int(members[image]), figure, (y, x)))
    return patches, sum(moved) / len(moved)


def _last_layer(model: ProtoPNet, images: Tensor, beliefs: Tensor, recipe: Recipe, stages: Stages) -> None:
    """Stage 3, in place, on the scores of the prototypes, which do not change any more."""
    model.eval()
    with torch.no_grad():
        scores = torch.cat([model.similarities(inputs_of(some)).amax((2, 3)) for some in images.flatten(0, 1).split(256)])
    targets, other = beliefs.flatten(0, 1), ~model.own()
    optimiser = torch.optim.Adam(model.head.parameters(), lr=stages.last_rate)
    for _ in range(stages.last_epochs):
        for where in _batches(len(scores), recipe.batch):
            loss = F.cross_entropy(model.head(scores[where]), targets[where], label_smoothing=recipe.smoothing)
            optimiser.zero_grad()
            (loss + SPARSE * model.head.weight[other].abs().sum()).backward()
            optimiser.step()


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m vxp.maintain.train_figures",
                                     description="Train the classifier of figures again.")
    parser.add_argument("--out", type=Path, default=ASSETS)
    parser.add_argument("--prototypes", action="store_true", help="train the prototype network, in about four minutes")
    parser.add_argument("--pool", type=int, default=USUAL.pool, help="how many scenes to train on")
    parser.add_argument("--epochs", type=int, default=USUAL.epochs)
    given = parser.parse_args()
    recipe = replace(USUAL, pool=given.pool, epochs=given.epochs)
    model, log = train_prototypes(recipe, Stages()) if given.prototypes else train(recipe)
    write(model, log, given.out, "figures-protopnet" if given.prototypes else "figures-cnn")
    print(f"top-1 {log['accuracy']}, without a part {log['without']}, after {log['seconds']} s")


if __name__ == "__main__":
    main()
