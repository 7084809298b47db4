"""`python -m vxp.maintain.train_motion` trains the classifier of `motion-items` again, in about three minutes on one core.

A pool of clips; in every epoch they are moved anew over their edges, which meet, turned and run backwards, with the class that
this makes of them, and their colours change places. Validation clips have a seed of their own and are never trained on; the
task's items have another.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from vxp.datasets.motion_items import CLASSES, SIZE, scene
from vxp.maintain.train_shapes import ASSETS, TRAIN_SEED, VALIDATION_SEED, Recipe, accuracy, fitted, write
from vxp.models.loading import MOTION
from vxp.models.motion_net import MotionNet

USUAL = Recipe(pool=4000, epochs=16, batch=32, smoothing=0.02, rate=1e-2)


def clips(start: int, n: int) -> tuple[Tensor, Tensor]:
    """Clips uint8 [n, 3, T, H, W] and classes [n] of consecutive seeds."""
    labels = [i % len(CLASSES) for i in range(n)]
    return torch.from_numpy(np.stack([scene(start + i, c).clip() for i, c in enumerate(labels)])), torch.tensor(labels)


def inputs_of(clips: Tensor) -> Tensor:
    """Model inputs of uint8 clips."""
    found = MOTION.to_inputs(clips.float() / 255, 3)
    return found.contiguous(memory_format=torch.channels_last_3d)  # a third faster on a CPU


def shown(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """A batch of uint8 clips as inputs, moved, turned and perhaps run backwards, and its classes."""
    turns = int(torch.randint(4, ()))  # a quarter is counter-clockwise, as the classes are in their order
    x, y = torch.rot90(x, turns, (3, 4)), (y + turns) % 4
    if torch.rand(()) < 0.5:
        x, y = x.flip(2), (y + 2) % 4
    down, across = (int(torch.randint(SIZE, ())) for _ in range(2))
    return inputs_of(x.roll((down, across), (3, 4))[:, torch.randperm(3)]), y


def train(recipe: Recipe) -> tuple[MotionNet, dict[str, object]]:
    """A trained model and its log. The pool of clips is drawn once."""
    began = time.monotonic()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        model = MotionNet(len(CLASSES)).to(memory_format=torch.channels_last_3d)
        log = fitted(model, *clips(TRAIN_SEED, recipe.pool), recipe, shown)
    told = {key: getattr(recipe, key) for key in ("pool", "epochs", "batch", "seed", "smoothing", "rate")}
    return model, {**_learned(model), "seconds": round(time.monotonic() - began), "threads": torch.get_num_threads(), **told,
                   "log": log}


def _learned(model: nn.Module) -> dict[str, object]:
    """On fresh clips: the accuracy, how often a clip run backwards is said to go the opposite way, and the probability of its
    class where every frame is the first."""
    raw, labels = clips(VALIDATION_SEED, 2000)
    found = accuracy(model, inputs_of(raw), labels)
    backwards = accuracy(model, inputs_of(raw.flip(2)), (labels + 2) % 4)
    with torch.no_grad():
        still = torch.cat([model(x).softmax(1) for x in inputs_of(raw[:, :, :1].expand_as(raw)).split(256)])
    return {"accuracy": {"top1": found, "n": 2000, "data": f"motion-items@1, seeds from {VALIDATION_SEED}, never trained on"},
            "backwards": backwards, "still": round(float(still.gather(1, labels[:, None]).mean()), 4)}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m vxp.maintain.train_motion",
                                     description="Train the motion classifier again.")
    parser.add_argument("--out", type=Path, default=ASSETS)
    parser.add_argument("--pool", type=int, default=USUAL.pool, help="how many clips to train on")
    parser.add_argument("--epochs", type=int, default=USUAL.epochs)
    given = parser.parse_args()
    model, log = train(replace(USUAL, pool=given.pool, epochs=given.epochs))
    write(model, log, given.out, "motion-net")
    print(f"top-1 {log['accuracy']}, backwards {log['backwards']}, still {log['still']} after {log['seconds']} s")


if __name__ == "__main__":
    main()
