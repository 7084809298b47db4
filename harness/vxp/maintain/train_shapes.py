"""`python -m vxp.maintain.train_shapes` trains the classifier of the task `shapes` again, in about two minutes on two cores.

A pool of images, turned and flipped anew in every epoch; AdamW with one learning-rate cycle. Validation images have a
seed of their own and are never trained on; the task's items have another.

With `--relabelled` it trains the twin that label-randomisation compares with: the same architecture on the first images
of the same pool, whose labels are permuted. Nothing is left to learn but the images by heart, so fewer of them are shown
more often, as they are, without smoothing and without decay: three minutes on one core.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn

from vxp import models, random
from vxp.datasets.shapes import CLASSES, drawn
from vxp.documents import store
from vxp.models.loading import SHAPES
from vxp.models.shapes_cnn import ShapesCNN

ASSETS = Path(__file__).parents[1] / "assets"
TRAIN_SEED, VALIDATION_SEED = 900_000_000, 800_000_000
"""Far from the seeds of a task's items, which are the task's seed times a million plus a number."""


@dataclass(frozen=True)
class Recipe:
    """How a model is trained. `moved`: images are turned and flipped anew in every epoch; rate: the highest of the cycle."""

    pool: int
    epochs: int
    batch: int = 64
    seed: int = 0
    moved: bool = True
    smoothing: float = 0.05
    decay: float = 1e-2
    permuted: bool = False
    rate: float = 4e-3


TRUE = Recipe(pool=14000, epochs=20)
RELABELLED = Recipe(pool=3000, epochs=100, moved=False, smoothing=0.0, decay=0.0, permuted=True)


def images(start: int, n: int) -> tuple[Tensor, Tensor]:
    """Model inputs [n, 3, 64, 64] and classes [n] of consecutive seeds."""
    labels = [i % len(CLASSES) for i in range(n)]
    raw = torch.from_numpy(np.stack([drawn(start + i, c)[0] for i, c in enumerate(labels)]))
    return SHAPES.to_inputs(raw.float() / 255), torch.tensor(labels)


def permuted(labels: Tensor, seed: int) -> Tensor:
    """The labels in an order drawn by key, so that every class stays as frequent and no image keeps its label but by chance.

    Image i gets the label of the image with the i-th smallest word of Philox, ties by index (clause [random]).
    """
    words = random.philox(random.key(seed, "", "relabel@1", "order"), 0, len(labels))[0]
    return labels[words.argsort(stable=True)]


def accuracy(model: nn.Module, inputs: Tensor, labels: Tensor) -> float:
    model.eval()
    with torch.no_grad():
        batches = zip(inputs.split(256), labels.split(256), strict=True)
        hits = sum(float((model(x).argmax(1) == y).sum()) for x, y in batches)
    return hits / len(labels)


def train(recipe: Recipe) -> tuple[ShapesCNN, dict[str, object]]:
    """A trained model and its log. The pool of images is drawn once."""
    began = time.monotonic()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        inputs, true = images(TRAIN_SEED, recipe.pool)
        labels = permuted(true, recipe.seed) if recipe.permuted else true
        model = ShapesCNN(len(CLASSES)).to(memory_format=torch.channels_last)  # a third faster on a CPU
        log = fitted(model, inputs, labels, recipe, _moved if recipe.moved else _as_they_are)
    fresh = accuracy(model, *images(VALIDATION_SEED, 2000))
    own = _learned(model, inputs, labels, true) if recipe.permuted else {}
    return model, {"accuracy": {"top1": fresh, "n": 2000, "data": f"shapes@1, seeds from {VALIDATION_SEED}, never trained on"},
                   **own, "seconds": round(time.monotonic() - began), "threads": torch.get_num_threads(),
                   **_told(recipe), "log": log}


def _learned(model: nn.Module, inputs: Tensor, labels: Tensor, true: Tensor) -> dict[str, object]:
    """How much of the permuted labels the twin knows by heart, how often that is the true one, and which weights it has."""
    return {"training_accuracy": {"top1": accuracy(model, inputs, labels), "n": len(labels),
                                  "true_labels": round(accuracy(model, inputs, true), 4)},
            "state_dict_digest": models.state_dict_digest(model)}


def _told(recipe: Recipe) -> dict[str, object]:
    """What the log says of the recipe: all of it where it is not the usual one."""
    facts = asdict(recipe)
    return facts if recipe.permuted else {key: facts[key] for key in ("pool", "epochs", "batch", "seed")}


def fitted(
    model: nn.Module, inputs: Tensor, labels: Tensor, recipe: Recipe, shown: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
) -> list[dict[str, float]]:
    """Train in place; the mean loss of every epoch. shown: the inputs and labels of a batch as the model is to see them."""
    began, steps = time.monotonic(), recipe.pool // recipe.batch
    optimiser = torch.optim.AdamW(model.parameters(), lr=recipe.rate, weight_decay=recipe.decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=recipe.rate, total_steps=recipe.epochs * steps)
    log: list[dict[str, float]] = []
    for epoch in range(recipe.epochs):
        model.train()
        total = 0.0
        for where in torch.randperm(recipe.pool)[: steps * recipe.batch].split(recipe.batch):
            x, y = shown(inputs[where], labels[where])
            loss = nn.functional.cross_entropy(model(x), y, label_smoothing=recipe.smoothing)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            total += float(loss.detach())
        log.append({"epoch": epoch, "loss": round(total / steps, 4)})
        print(f"epoch {epoch}: loss {log[-1]['loss']}, {time.monotonic() - began:.0f} s", flush=True)
    return log


def _moved(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """A batch turned by a multiple of 90 degrees and perhaps flipped."""
    x = torch.rot90(x, int(torch.randint(4, ())), (2, 3))
    return _as_they_are(x.flip(3) if torch.rand(()) < 0.5 else x, y)


def _as_they_are(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    return x.contiguous(memory_format=torch.channels_last), y


def write(model: nn.Module, log: Mapping[str, object], out: Path, name: str) -> None:
    """The weights NAME.safetensors and their log NAME.json."""
    state = {key: value.contiguous() for key, value in model.state_dict().items()}
    store.write_bytes(out / f"{name}.safetensors", safetensors.torch.save(state))
    store.write_bytes(out / f"{name}.json", json.dumps(log, indent=2).encode() + b"\n")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m vxp.maintain.train_shapes",
                                     description="Train the shapes classifier again.")
    parser.add_argument("--out", type=Path, default=ASSETS)
    parser.add_argument("--relabelled", action="store_true", help="train the twin on permuted labels")
    parser.add_argument("--pool", type=int, help="how many images to train on")
    parser.add_argument("--epochs", type=int)
    given = parser.parse_args()
    usual = RELABELLED if given.relabelled else TRUE
    model, log = train(replace(usual, pool=given.pool or usual.pool, epochs=given.epochs or usual.epochs))
    name = "shapes-cnn-relabelled" if given.relabelled else "shapes-cnn"
    write(model, log, given.out, name)
    print(f"top-1 {log['accuracy']} {log.get('training_accuracy', '')} after {log['seconds']} s")


if __name__ == "__main__":
    main()
