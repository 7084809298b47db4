"""`python -m vxp.maintain.train_montage` trains the summariser of the videos of `montage` again, in about half a minute.

Its target needs no person: how novel a shot is in its video, brought to 0 for the least novel and 1 for the most. Shots of the
training videos are cut into new videos without end: ten shots of two of them in a drawn order, so that the next video is never
quite one that was seen. For each of them a share of the features is blanked in all frames, so that no few of them decide.

The held-out videos are only looked at when all is done. They come from photos that the training has not.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from vxp import models
from vxp.datasets import Item, montage
from vxp.maintain.train_shapes import ASSETS, write
from vxp.metrics._fragments import tau_b
from vxp.models.frame_features import features, fragment_of
from vxp.models.summariser import Summariser, fragment_means, novelty

NAME, FRAMES = "montage-summariser", "efficientnet-lite0"
"""The model, and the one that sees its frames."""
SHOTS = 10

Video = tuple[Tensor, Tensor]
"""Features [n, D] of the frames of a video, and the shot of each, int64 [n]."""


@dataclass(frozen=True)
class Recipe:
    """How it is trained. videos: how many give the shots of a new one; rate and quick: the highest of the cycle, of the
    projection and of the few other numbers; blanked: the share of the features."""

    steps: int = 400
    batch: int = 8
    videos: int = 2
    seed: int = 0
    rate: float = 3e-4
    quick: float = 0.1
    blanked: float = 0.2


def seen(items: Sequence[Item], folder: Path | None = None) -> list[Video]:
    """The videos as the summariser takes them; folder: where their features are kept."""
    model = models.load(FRAMES)
    found = []
    for item in items:
        made = features(model, montage.load(item).image, folder=folder)
        found.append((made.values, fragment_of(made.picks, montage.segments(item))))
    return found


def items(split: str) -> list[Item]:
    """The videos of a split."""
    return [item for item in montage.propose(0) if item.recipe["split"] == split]


def train(videos: Sequence[Video], recipe: Recipe) -> tuple[Summariser, list[dict[str, float]]]:
    """A trained summariser, and the mean loss of every eighth of the steps."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        model = Summariser(videos[0][0].shape[1])
        log = _fitted(model, videos, recipe)
    return model.eval(), log


def _fitted(model: Summariser, videos: Sequence[Video], recipe: Recipe) -> list[dict[str, float]]:
    few = [parameter for name, parameter in model.named_parameters() if not name.startswith("project")]
    rates = [recipe.rate, recipe.quick]
    optimiser = torch.optim.AdamW([{"params": model.project.parameters(), "lr": rates[0]}, {"params": few, "lr": rates[1]}],
                                  weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=rates, total_steps=recipe.steps)
    shots = [[x[of == i] for i in range(int(of[-1]) + 1)] for x, of in videos]
    log: list[dict[str, float]] = []
    total, every = 0.0, max(1, recipe.steps // 8)
    for step in range(1, recipe.steps + 1):
        loss = torch.stack([_loss(model, *_cut(shots, recipe), recipe) for _ in range(recipe.batch)]).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        total += float(loss.detach())
        if step % every == 0:
            log.append({"step": step, "loss": round(total / every, 4)})
            total = 0.0
    return log


def _cut(shots: Sequence[Sequence[Tensor]], recipe: Recipe) -> Video:
    """A new video: shots of some videos in a drawn order."""
    chosen = torch.randperm(len(shots))[: recipe.videos].tolist()
    every = [shot for video in chosen for shot in shots[video]]
    taken = [every[i] for i in torch.randperm(len(every))[:SHOTS].tolist()]
    return torch.cat(taken), torch.cat([torch.full((len(shot),), i) for i, shot in enumerate(taken)])


def _loss(model: Summariser, x: Tensor, of: Tensor, recipe: Recipe) -> Tensor:
    """Cross-entropy of the scores with how novel the shot of each frame is, from 0 to 1 within the video."""
    target = novelty(x, of)
    target = (target - target.min()) / (target.max() - target.min())
    kept = torch.rand(x.shape[1]) >= recipe.blanked
    return F.binary_cross_entropy_with_logits(model.logits(x * kept), target[of])


@torch.no_grad()
def agreement(model: Summariser, videos: Sequence[Video]) -> float:
    """Mean over videos of tau_b, over shots, between the mean score of a shot and its novelty."""
    pairs = [(fragment_means(model(x), of), novelty(x, of)) for x, of in videos]
    taus, _ = tau_b(torch.stack([made for made, _ in pairs]), torch.stack([wanted for _, wanted in pairs]), rounding=0.0)
    return float(taus.mean())


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m vxp.maintain.train_montage",
                                     description="Train the summariser of montage again.")
    parser.add_argument("--out", type=Path, default=ASSETS)
    parser.add_argument("--steps", type=int, default=Recipe.steps)
    parser.add_argument("--features", type=Path, help="where features of frames are kept (by default in the user's cache)")
    given = parser.parse_args()
    recipe = replace(Recipe(), steps=given.steps)
    training = seen(items("training"), given.features)
    began = time.monotonic()
    model, log = train(training, recipe)
    seconds = round(time.monotonic() - began)
    held_out = seen(items("held-out"), given.features)
    taus = {"held_out": round(agreement(model, held_out), 4), "training": round(agreement(model, training), 4)}
    write(model, {"tau_b": {**taus, "data": "montage@1, mean over videos, of mean scores of shots and their novelty"},
                  "seconds": seconds, "threads": torch.get_num_threads(), **asdict(recipe), "log": log}, given.out, NAME)
    print(f"tau_b {taus} after {seconds} s")


if __name__ == "__main__":
    main()
