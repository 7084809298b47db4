"""The worked numbers of the standard's chapter 5: each by the harness and by the oracles."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from oracles import curves, fills, maps, masking, philox, regions, stability, subsets
from oracles import gini as gini_oracle
from oracles import randomise as randomise_oracle
from oracles.energy_pointing_game import energy_pointing_game
from torch import Tensor
from vxp import imputation, random
from vxp.core import (
    Batch,
    Blended,
    Case,
    Edit,
    Normalization,
    Offset,
    Removed,
    SomeCells,
    Square,
    Stream,
    Translated,
    perturb,
)
from vxp.engine import Engine, Job
from vxp.engine.building import Builder
from vxp.kinds import HEATMAP2D
from vxp.metrics import _masked, bind
from vxp.models import randomise
from vxp.outputs import CLASSES, EVENTS

CHAPTER = Path(__file__).parents[1] / "spec" / "05-common.md"
H, W, P = 24, 32, 768
MEAN, STD = (0.5, 0.25, 0.75), (0.25, 0.5, 0.125)
NATIVE = [[0.5, -1, 0.25, 2], [0, 0.5, 0.5, -0.5], [1, 0.75, 2, 0]]
HOLE = [0, 165, 166]
SPACE = (3, 4)


def shown(*values: Any) -> str:
    """Numbers as the table has them: four significant digits and a true minus."""
    flat = np.concatenate([np.atleast_1d(np.asarray(v, dtype=np.float64)).ravel() for v in values])
    return ", ".join(f"{v + 0.0:.4g}" for v in flat.tolist()).replace("-", "\N{MINUS SIGN}")


def table() -> dict[str, str]:
    """The answers of the text by the words of the question."""
    text = CHAPTER.read_text(encoding="utf-8").partition("| rule | question | answer |\n")[2].partition("\n\n")[0]
    return {question: answer for question, answer in re.findall(r"^\| [^|]+ \| ([^|]+) \| ([^|]+) \|$", text, re.M)
            if question != "---"}


# --------------------------------------------------------------------------------------------------------- by the harness


def pixels() -> Tensor:
    c, y, x = (torch.arange(n).view(s) for n, s in ((3, (3, 1, 1)), (H, (1, H, 1)), (W, (1, 1, W))))
    return ((5 * y + 3 * x + 7 * c) % 16).float()[None] / 16


def batch(raw: Tensor | None = None, **truth: Tensor) -> Batch:
    norm = Normalization(MEAN, STD)
    return Batch(("item",), norm.to_inputs(pixels() if raw is None else raw), torch.tensor([1]), norm, 0, truth)


def native() -> Tensor:
    return torch.tensor(NATIVE)[None]


def small(**truth: Tensor) -> Case:
    """The map on its own grid, which is then the input's."""
    return Case(batch(torch.zeros(1, 3, *SPACE), **truth), native(), "none")


def row(edit: Edit, case: Case | None = None) -> Tensor:
    held = Case(batch(), native(), "nearest") if case is None else case
    return Builder(held.batch, {held.key: held}).build([(0, edit)])[0].clone()


def removing() -> Tensor:
    case = Case(batch(), native(), "nearest")
    return row(Removed(case.ranked, 0, 65, "black"), case)[0, 16, 16:18]


def blending() -> Tensor:
    case = Case(batch(), native(), "nearest")
    return row(Blended(case.mask("m", lambda: torch.full((1, H, W), 0.3)), "black"), case)[0, 0, 1]


def score(request: str, **truth: Tensor) -> float:
    class Nothing(torch.nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.zeros(len(x), 2)

    wanted = bind(request)
    return float(Engine(Nothing(), 1).score(Job(small(**truth), (wanted,)))[wanted.signature].values[0])


def upper() -> Tensor:
    inside = torch.zeros(1, *SPACE, dtype=torch.bool)
    inside[:, 0] = True
    return inside


def kept(ties: str) -> list[int]:
    soft = perturb.minmax(native())
    assert torch.equal(soft, _masked.kept(small(), keep=100, mask="soft", ties="index"))
    return torch.nonzero(_masked.TIES[ties](soft.flatten(), 50)).flatten().tolist()


def hole() -> Tensor:
    removed = torch.zeros(1, H, W, dtype=torch.bool)
    removed.view(-1)[HOLE] = True
    return removed


def imputed() -> Tensor:
    """The row without the hole, through the same order of positions that any map could give."""
    values = torch.zeros(1, H, W)
    values.view(-1)[HOLE] = 1
    case = Case(batch(), values, "none")
    return row(Removed(case.ranked, 0, len(HOLE), "nli"), case)[0].flatten()[HOLE]


def square() -> list[int]:
    inside = torch.nonzero(perturb.part(Square(Stream("infidelity@1", "square"), 0, 8), batch(), 0).view(H, W))
    (top, left), (bottom, _) = inside[0].tolist(), inside[-1].tolist()
    return [bottom - top + 1, top, left]


def drawn_cells() -> list[int]:
    inside = perturb.part(SomeCells(3, Stream("mu-fidelity@1", "subset"), 0, 2), batch(), 0)
    return [*sorted(set(perturb.cells(3, H, W)[inside].tolist())), int(inside.sum())]


def outputs() -> Tensor:
    return CLASSES.read(torch.tensor([[1.0, 2.0, 3.0], [1.0, 3.0, 3.0]]), torch.tensor([1, 1]))


SUBSET = (0, "item", "sensitivity-n@1", "subset-0")
DRAWS = (0, "item", "max-sensitivity@1", "noise")
STEPS = perturb.cuts(10, P)

HARNESS: Mapping[str, Callable[[], Iterable[Any]]] = {
    "x(c, 0, 1) for c = 0, 1, 2": lambda: [batch().inputs[0, :, 0, 1]],
    "`nearest`: e(11, 8), e(7, 31), e(8, 31)": lambda: [
        HEATMAP2D.resampled(native(), (H, W), "nearest")[0][[11, 7, 8], [8, 31, 31]]],
    "m, row by row": lambda: [perturb.minmax(native())],
    "energy-pointing-game of m with the first row of m's grid as truth (positive part)": lambda: [
        score("energy-pointing-game", mask=upper())],
    "gini of m (absolute values)": lambda: [score("gini")],
    "positions of m in order": lambda: [small().order],
    "ranks 0 to 64 of e by `nearest` removed, fill `black`: channel 0 at (16, 16), (16, 17)": lambda: [removing()],
    "mask 0.3, fill `black`: channel 0 at (0, 1)": lambda: [blending()],
    "`ties:index`, keep 50: positions of m chosen": lambda: [kept("index")],
    "`ties:tame`, keep 50": lambda: [kept("tame")],
    "`ties:t-tame`, keep 50": lambda: [kept("t-tame")],
    "`ties:p-tame`, keep 50": lambda: [kept("p-tame")],
    "by (1, −2), fill `mean`: channel 0 at (0, 0), (1, 0), (1, 30)": lambda: [
        row(Translated(1, -2, "mean"))[0][[0, 1, 1], [0, 0, 30]]],
    "a = 0.1: channel 0 at (0, 1)": lambda: [row(Offset(0.1))[0, 0, 1]],
    "`black`, c = 0, 1, 2": lambda: [batch().fill_image("black")[0, :, 0, 0]],
    "`mean`, c = 0, 1, 2": lambda: [batch().fill_image("mean")[0, :, 0, 0]],
    "`blur` (r = 1): channel 0 at (0, 0), (5, 6)": lambda: [batch().fill_image("blur")[0, 0][[0, 5], [0, 6]]],
    "`noise` at (0, 1), c = 0, 1, 2": lambda: [batch().fill_image("noise")[0, :, 0, 1]],
    "`image-mean`, c = 0, 1, 2": lambda: [batch().fill_image("image-mean")[0, :, 0, 0]],
    "`rise-blur`: channel 0 at (0, 0), (12, 16)": lambda: [batch().fill_image("rise-blur")[0, 0][[0, 12], [0, 16]]],
    "R = {0, 165, 166}: raw z of channel 0, before the noise": lambda: [
        imputation.nli(pixels(), hole(), mean=MEAN, tolerance=1e-7)[0, 0].flatten()[HOLE]],
    "the same in the row, with noise, in input space": lambda: [imputed()],
    "S = 10, P = 768: k_0 to k_10": lambda: [STEPS],
    "f = 1, 0.5, 0.25 with k = 0, 1, 3 and P = 3": lambda: [perturb.trapezoid(torch.tensor([[1, 0.5, 0.25]]), [0, 1, 3])],
    "logits 1, 2, 3, class 1: p and 1 − p": lambda: [outputs()[0, :2].exp()],
    "predicted class of logits 1, 3, 3": lambda: [outputs()[1, 3]],
    "logits 1, 2, 3, frame 1: p and 1 − p": lambda: [EVENTS.read(torch.tensor([[1.0, 2, 3]]), torch.tensor([1]))[0, :2].exp()],
    'key of `[0, "", "randomise@1", "all/w"]`, normals: elements 0 to 5': lambda: [
        randomise._normal(random.key(0, "", "randomise@1", "all/w"), torch.zeros(2, 3))],
    'key of `[0, "item", "sensitivity-n@1", "subset-0"]`, draw 5: 4 of 12 things': lambda: [
        torch.nonzero(random.subset(random.key(*SUBSET), 5, 12, 4)).flatten()],
    "the same key, draw 5: the integer below 999": lambda: [random.integers(random.key(*SUBSET), 5, 999)],
    'key of `[0, "item", "infidelity@1", "square"]`, draw 0, M = 8: side, first row, first column': lambda: [square()],
    "G = 5: cells of (11, 8), (23, 31)": lambda: [perturb.cells(5, H, W)[[11 * W + 8, 23 * W + 31]]],
    'key of `[0, "item", "mu-fidelity@1", "subset"]`, draw 0: 2 of the cells of G = 3, and their positions': lambda: [
        drawn_cells()],
    "radius 0.2, draw 1: the noise at (0, 1), c = 0, 1, 2": lambda: [
        perturb.input_noise(batch(), 0, Stream("max-sensitivity@1", "noise"), 1, 0.2)[:, 0, 1]],
}


# --------------------------------------------------------------------------------------------------------- by the oracles


def raw_() -> np.ndarray:
    return np.array([[[(5 * y + 3 * x + 7 * c) % 16 / 16 for x in range(W)] for y in range(H)] for c in range(3)])


def image_() -> np.ndarray:
    return fills.to_input(raw_(), MEAN, STD)


def native_() -> np.ndarray:
    return np.array(NATIVE, dtype=np.float32)


def nearest_(y: int, x: int) -> float:
    return NATIVE[(2 * y + 1) * 3 // (2 * H)][(2 * x + 1) * 4 // (2 * W)]


def fill_(name: str) -> np.ndarray:
    return fills.fill(name, image_(), MEAN, STD, 0, "item")


def removing_() -> np.ndarray:
    e = np.array([[nearest_(y, x) for x in range(W)] for y in range(H)])
    return fills.removed(image_(), maps.order(e)[:65], "black", MEAN, STD, 0, "item")[0, 16, 16:18]


def kept_(rule: Callable[[np.ndarray, int], np.ndarray]) -> np.ndarray:
    return np.flatnonzero(rule(maps.minmax(native_()), 50))


def translated_(y: int, x: int, down: int, across: int) -> float:
    inside = 0 <= y - down < H and 0 <= x - across < W
    return float(image_()[0, y - down, x - across]) if inside else 0.0


def square_() -> list[int]:
    u = philox.uniforms(philox.key(0, "item", "infidelity@1", "square"), 0, 1)[:, 0]
    a = 1 + math.floor(u[0] * 8)
    return [a, math.floor(u[1] * (H - a + 1)), math.floor(u[2] * (W - a + 1))]


def drawn_cells_() -> list[int]:
    chosen = subsets.subset(philox.key(0, "item", "mu-fidelity@1", "subset"), 0, 9, 2)
    return [*sorted(chosen), sum(len(regions.cells(3, H, W)[c]) for c in chosen)]


ORACLES: Mapping[str, Callable[[], Iterable[Any]]] = dict(zip(HARNESS, (
    lambda: [image_()[:, 0, 1]],
    lambda: [nearest_(11, 8), nearest_(7, 31), nearest_(8, 31)],
    lambda: [maps.minmax(native_())],
    lambda: [energy_pointing_game(np.zeros((3, *SPACE)), native_(), upper()[0].numpy())],
    lambda: [gini_oracle.gini(np.zeros((3, *SPACE)), native_())],
    lambda: [maps.order(native_())],
    lambda: [removing_()],
    lambda: [masking.blended(image_(), fill_("black"), np.full((H, W), 0.3, np.float32))[0, 0, 1]],
    lambda: [kept_(masking.by_index)],
    lambda: [kept_(masking.by_tame)],
    lambda: [kept_(masking.by_t_tame)],
    lambda: [kept_(masking.by_p_tame)],
    lambda: [translated_(0, 0, 1, -2), translated_(1, 0, 1, -2), translated_(1, 30, 1, -2)],
    lambda: [image_()[0, 0, 1] + 0.1],
    lambda: [fill_("black")[:, 0, 0]],
    lambda: [fill_("mean")[:, 0, 0]],
    lambda: [fill_("blur")[0, 0, 0], fill_("blur")[0, 5, 6]],
    lambda: [fill_("noise")[:, 0, 1]],
    lambda: [fill_("image-mean")[:, 0, 0]],
    lambda: [fill_("rise-blur")[0, 0, 0], fill_("rise-blur")[0, 12, 16]],
    lambda: [fills.linear_imputation(raw_(), HOLE)[0].ravel()[HOLE]],
    lambda: [fills.noisy_linear_imputation(image_(), HOLE, MEAN, STD, 0, "item")[0].ravel()[HOLE]],
    lambda: [curves.cuts(10, P)],
    lambda: [curves.area([1, 0.5, 0.25], [0, 1, 3], 3)],
    lambda: [curves.probability(lambda x: np.array([1.0, 2, 3]), np.zeros(1), 1),
             curves.complement(lambda x: np.array([1.0, 2, 3]), np.zeros(1), 1)],
    lambda: [int(np.argmax([1, 3, 3]))],
    lambda: [1 / (1 + math.exp(-2)), 1 / (1 + math.exp(2))],
    lambda: [randomise_oracle.normal("w", 6, "all", 0)],
    lambda: [sorted(subsets.subset(philox.key(*SUBSET), 5, 12, 4))],
    lambda: [math.floor(philox.uniforms(philox.key(*SUBSET), 5, 1)[0, 0] * 999)],
    lambda: [square_()],
    lambda: [next(i for i, cell in enumerate(regions.cells(5, H, W)) if p in cell) for p in (11 * W + 8, 23 * W + 31)],
    lambda: [drawn_cells_()],
    lambda: [list(stability.noises(image_(), 0, "item", 2, 0.2))[1][:, 0, 1]],
), strict=True))


def test_every_question_of_the_text_is_asked_and_no_other() -> None:
    assert list(table()) == list(HARNESS)


@pytest.mark.parametrize("name", HARNESS)
@pytest.mark.parametrize("by", [HARNESS, ORACLES], ids=["harness", "oracles"])
def test_worked_number(by: Mapping[str, Callable[[], Iterable[Any]]], name: str) -> None:
    assert table()[name] == shown(*by[name]())

