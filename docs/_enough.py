"""`python docs/_enough.py [ITEMS]` prints the figures of "Is a heat map enough?": two models with opposite reasons on the same
images, and what each kind of explanation says of them, with its passes and seconds. `python docs/_enough.py picture` draws the
page's picture into docs/img/enough.png."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from scipy.stats import spearmanr
from torch import Tensor
from vxp import explainers, kinds, models, tasks
from vxp.core import Batch
from vxp.models import Model

PAIR = ("shapes-cnn", "factors-colour")
MAPS = ("grad-cam", "integrated-gradients", "occlusion")
SIZE = 32
"""Items of a batch."""


@dataclass(frozen=True, eq=False)
class Seen:
    """A model on all items: their batches, each with the model's own predictions as targets."""

    model: Model
    batches: list[Batch]


def seen(name: str, items: int) -> Seen:
    """The items of shapes-factors as a model sees them."""
    model = models.load(name)
    task = tasks.load("shapes-factors").limited(items)
    found = []
    for start in range(0, len(task.items), SIZE):
        loaded = task.load(start, min(start + SIZE, len(task.items)), model)
        found.append(loaded.batch(models.predict(model.module, loaded.inputs).argmax(1)))
    return Seen(model, found)


def made(of: Seen, name: str) -> tuple[Tensor, str]:
    """The explanations of all items, and what one costs, in words."""
    bound = explainers.bind(name)
    bound = bound.on(kinds.HEATMAP2D, kinds.CONCEPTS, kinds.COUNTERFACTUAL)
    began, found = time.perf_counter(), []
    with models.Passes(of.model.module) as passes:
        for batch in of.batches:
            maps = bound(of.model.module, batch)
            grid = maps.ndim == 3
            found.append(kinds.HEATMAP2D.resampled(maps, batch.space, bound.explainer.resample) if grid else maps)
    together, n = torch.cat(found), sum(len(batch) for batch in of.batches)
    cost = f"{passes.forward / n:.4g} + {passes.backward / n:.4g} passes, {1000 * (time.perf_counter() - began) / n:.3g} ms"
    return together, cost


def inside(maps: Tensor, masks: Tensor) -> float:
    """The share of the positive mass that lies in the shape, on average."""
    mass = maps.clamp_min(0).flatten(1)
    return float(((mass * masks.flatten(1)).sum(1) / mass.sum(1).clamp_min(1e-12)).mean())


def told_by_maps(one: Seen, other: Seen, out: Callable[[str], None]) -> None:
    masks = torch.cat([batch.truth["mask"] if "mask" in batch.truth else _mask(batch) for batch in one.batches]).float()
    area = float(masks.flatten(1).mean())
    out(f"share of the map in the shape, which takes {area:.2f} of the image; Spearman between the models' maps")
    for name in MAPS:
        (a, cost), (b, _) = (made(of, name) for of in (one, other))
        alike = torch.tensor([spearmanr(x.flatten(), y.flatten()).statistic for x, y in zip(a, b, strict=True)])
        out(f"  {name}: {inside(a, masks):.2f} and {inside(b, masks):.2f}; {float(alike.nanmean()):.2f}   ({cost})")


def _mask(batch: Batch) -> Tensor:
    """The shape of every item: where its rendering in red differs from that in blue."""
    off, on = batch.truth["factors"][:, 2].unbind(1)
    return (off != on).any(1)


def told_by_concepts(one: Seen, other: Seen, out: Callable[[str], None]) -> None:
    names = one.batches[0].concepts
    out("mean |score| of a concept, cav-derivative: " + ", ".join(names))
    for of in (one, other):
        scores, cost = made(of, "cav-derivative")
        out(f"  {of.model.id}: " + ", ".join(f"{v:.2f}" for v in scores.abs().mean(0).tolist()) + f"   ({cost})")


def told_by_counterfactuals(one: Seen, other: Seen, out: Callable[[str], None]) -> None:
    """Rendered anew with one factor changed: how often each model changes its mind."""
    names = one.batches[0].concepts
    out("share of items whose prediction changes between a concept off and on: " + ", ".join(names))
    for of in (one, other):
        flips = []
        for batch in of.batches:
            pairs = batch.truth["factors"]
            rows = batch.to_inputs(pairs.flatten(0, 2).float() / 255)
            said = models.predict(of.model.module, rows).argmax(1).view(len(batch), len(names), 2)
            flips.append((said[..., 0] != said[..., 1]).float())
        out(f"  {of.model.id}: " + ", ".join(f"{v:.2f}" for v in torch.cat(flips).mean(0).tolist()) + "   (16 passes)")
    out("wachter, to another class of each model: share of items that reach it, mean change in L1, share of the squared change "
        "in the shape")
    for of in (one, other):
        foiled = Seen(of.model, [replace(batch, foils=(batch.targets + 1) % of.model.document["classes"]["count"])
                                 for batch in of.batches])
        images, cost = made(foiled, "wachter")
        reached, size, within = [], [], []
        at = 0
        for batch in foiled.batches:
            some = images[at : at + len(batch)].float() / 255
            at += len(batch)
            change = (some - batch.raw()).square().sum(1)
            assert batch.foils is not None
            reached.append((models.predict(of.model.module, batch.to_inputs(some)).argmax(1) == batch.foils).float())
            size.append((some - batch.raw()).abs().flatten(1).mean(1))
            within.append((change * _mask(batch)).flatten(1).sum(1) / change.flatten(1).sum(1).clamp_min(1e-12))
        figures = ", ".join(f"{float(torch.cat(v).mean()):.3f}" for v in (reached, size, within))
        out(f"  {of.model.id}: {figures}   ({cost})")


PICTURE = Path(__file__).parent / "img" / "enough.png"


def picture(file: Path = PICTURE, colours: tuple[str, ...] = ("red", "blue", "cyan")) -> None:
    """An item of each of these colours with Grad-CAM and with the scores of concepts for either model."""
    import matplotlib.pyplot as plt
    from PIL import Image
    from vxp.report.pictures import overlay

    one, other = (seen(name, 64) for name in PAIR)
    maps = [made(of, "grad-cam")[0] for of in (one, other)]
    scores = [made(of, "cav-derivative")[0] for of in (one, other)]
    names, batch = one.batches[0].concepts, one.batches[0]
    said = [other.model.class_name(int(target)) for target in other.batches[0].targets]
    shown = [said.index(colour) for colour in colours]
    widest = [float(some.abs().max()) for some in scores]
    figure, axes = plt.subplots(len(shown), 5, figsize=(11, 2.1 * len(shown)), width_ratios=[1, 1, 1, 1.3, 1.3],
                                layout="constrained")
    for row, i in zip(axes, shown, strict=True):
        photo = Image.fromarray((batch.raw()[i] * 255).round().byte().permute(1, 2, 0).numpy()).resize((256, 256))
        row[0].imshow(photo)
        for k, of in enumerate((one, other)):
            row[1 + k].imshow(overlay(photo, maps[k][i].numpy(), False))
            values = scores[k][i].tolist()
            row[3 + k].barh(names, values, color=["#c8553d" if v > 0 else "#2f6fb2" for v in values])
            row[3 + k].axvline(0, color="#888", linewidth=0.8)
            row[3 + k].invert_yaxis()
            row[3 + k].set_xlim(-widest[k], widest[k])
            row[3 + k].tick_params(labelsize=8, labelleft=k == 0)
            row[3 + k].set_xticks([])
            name = of.model.class_name(int(of.batches[0].targets[i]))
            row[1 + k].set_xlabel(f"says {name}", fontsize=9)
        for axis in row[:3]:
            axis.set_xticks([])
            axis.set_yticks([])
    for axis, title in zip(axes[0], ("item", *(f"Grad-CAM, {name}" for name in PAIR), *(f"concepts, {name}" for name in PAIR)),
                           strict=True):
        axis.set_title(title, fontsize=9)
    figure.savefig(file, dpi=110)


def main(items: int = 160, out: Callable[[str], None] = print) -> None:
    torch.set_num_threads(1)
    one, other = (seen(name, items) for name in PAIR)
    out(f"{items} items of shapes-factors; {one.model.id} says the shape, {other.model.id} the colour of the shape")
    told_by_maps(one, other, out)
    told_by_concepts(one, other, out)
    told_by_counterfactuals(one, other, out)


if __name__ == "__main__":
    if sys.argv[1:2] == ["picture"]:
        picture()
    else:
        main(*(int(n) for n in sys.argv[1:2]))
