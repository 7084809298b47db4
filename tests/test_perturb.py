"""Fills, imputation and the arithmetic of curves, against values by hand and the direct solve."""

import math
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from oracles import fills, imputation
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F
from vxp import imputation as solver
from vxp import random
from vxp.core import Batch, Normalization, VxpError, perturb
from vxp.imputation.grids import grids_of

NORM = Normalization((0.5, 0.4, 0.3), (0.2, 0.25, 0.5))
MEAN = NORM.mean


def batch(raw: Tensor, ids: tuple[str, ...] = ("a",)) -> Batch:
    return Batch(ids, NORM.to_inputs(raw), torch.zeros(len(raw), dtype=torch.long), NORM, seed=3)


def impulse(size: int) -> Tensor:
    raw = torch.zeros(1, 3, size, size)
    raw[:, :, size // 2, size // 2] = 1
    return raw


def filled(name: str, raw: Tensor, ids: tuple[str, ...] = ("a",)) -> Tensor:
    return NORM.to_raw(batch(raw, ids).fill_image(name))


# --------------------------------------------------------------------------------------------------------------- fills


def test_constant_fills() -> None:
    one = batch(torch.rand(2, 3, 6, 5, generator=torch.Generator().manual_seed(0)), ("a", "b"))
    assert torch.equal(one.fill_image("mean"), torch.zeros(2, 3, 6, 5))
    black = one.fill_image("black")
    assert black.shape == (2, 3, 6, 5)
    assert torch.allclose(black[1, :, 2, 3], torch.tensor([-2.5, -1.6, -0.6]))


def test_blur_by_hand() -> None:
    # 45 px: r = round(1.004) = 1, taps exp(-1/2), 1, exp(-1/2) over their sum
    side, centre = 0.27406862, 0.45186276
    out = filled("blur", impulse(45))[0, 0, 21:24, 21:24]
    expected = torch.tensor([side, centre, side])
    assert torch.allclose(out, expected[:, None] * expected, atol=1e-6)


@pytest.mark.parametrize(("size", "radius"), [(22, 0), (23, 1), (112, 3), (224, 5)])
def test_blur_radius_follows_the_size(size: int, radius: int) -> None:
    reached = (filled("blur", impulse(size))[0, 0] > 1e-5).nonzero()
    assert (reached.amax(0) - reached.amin(0)).tolist() == [2 * radius, 2 * radius]


def test_blur_mirrors_the_border_without_repeating_it() -> None:
    raw = torch.zeros(1, 3, 45, 45)
    raw[..., 1] = 1  # the second column is seen from both sides of the first
    assert torch.allclose(filled("blur", raw)[0, :, :, 0], torch.tensor(2 * 0.27406862), atol=1e-6)


def test_noise_is_keyed_by_item() -> None:
    raw = torch.zeros(2, 3, 4, 6)
    both = filled("noise", raw, ("a", "b"))
    expected = random.uniforms(random.key(3, "b", "fill-noise@1", "noise"), 0, 24, 3).view(3, 4, 6)
    assert torch.allclose(both[1], expected, atol=1e-6)
    assert torch.equal(filled("noise", raw[:1], ("b",))[0], both[1])
    assert not torch.allclose(both[0], both[1], atol=0.1)


def test_rise_blur_is_the_published_kernel() -> None:
    inputs = torch.rand(1, 3, 20, 17, generator=torch.Generator().manual_seed(1))
    ours = Batch(("a",), inputs, torch.zeros(1, dtype=torch.long), NORM).fill_image("rise-blur")
    expected = np.stack([fills.rise_blur(channel) for channel in inputs[0].double().numpy()])
    assert np.abs(ours[0].numpy() - expected).max() < 1e-5
    # it conserves brightness inside, and its zeros are those of the normalised image
    level = Batch(("a",), torch.ones(1, 3, 30, 30), torch.zeros(1, dtype=torch.long), NORM).fill_image("rise-blur")
    assert level[0, 0, 15, 15].item() == pytest.approx(1, abs=1e-5)
    assert level[0, 0, 0, 0].item() < 0.5


@pytest.mark.parametrize("name", ["blurr", "nli"])
def test_a_name_without_an_image_is_refused(name: str) -> None:
    with pytest.raises(VxpError, match="blur"):
        batch(torch.zeros(1, 3, 4, 4)).fill_image(name)


# ---------------------------------------------------------------------------------------------------------- imputation


def solve(raw: Tensor, removed: Tensor) -> Tensor:
    return solver.nli(raw, removed, mean=MEAN)


def solve_by_tensors(raw: Tensor, removed: Tensor) -> Tensor:
    """As on a GPU: a CPU takes the compiled loops."""
    return solver._solved(*solver._started(raw, removed, MEAN), solver.TOLERANCE)


every_solver = pytest.mark.parametrize("solved", [solve, solve_by_tensors])


@pytest.mark.parametrize(("place", "known", "value"), [
    ((1, 1), {(0, 1): 0.6}, 0.1),  # inside, direct neighbour: 0.6/6
    ((1, 1), {(0, 0): 0.6}, 0.05),  # inside, diagonal: 0.6/12
    ((0, 0), {(0, 1): 0.5}, 0.2),  # corner: weights 2, 2, 1 of 5
    ((0, 0), {(1, 1): 0.5}, 0.1),
    ((0, 1), {(0, 0): 0.8, (1, 2): 0.8}, 0.3),  # edge: weights 2, 2, 2, 1, 1 of 8
])
def test_one_removed_pixel_by_hand(place: tuple[int, int], known: dict[tuple[int, int], float], value: float) -> None:
    raw, removed = torch.zeros(1, 3, 4, 4), torch.zeros(1, 4, 4, dtype=torch.bool)
    raw[0, :, place[0], place[1]] = 0.9  # what was there does not matter
    removed[0, place[0], place[1]] = True
    for (y, x), level in known.items():
        raw[0, :, y, x] = level
    out = solve(raw, removed)
    assert torch.allclose(out[0, :, place[0], place[1]], torch.tensor(value), atol=1e-6)
    assert torch.equal(out[:, :, ~removed[0]], raw[:, :, ~removed[0]])


def test_two_neighbouring_removed_pixels_by_hand() -> None:
    # u = 0.7/6 + v/6 and v = u/6, so u = 0.12 and v = 0.02
    raw, removed = torch.zeros(1, 3, 4, 4), torch.zeros(1, 4, 4, dtype=torch.bool)
    raw[0, :, 1, 0] = 0.7
    removed[0, 1, 1:3] = True
    out = solve(raw, removed)
    assert torch.allclose(out[0, :, 1, 1:3], torch.tensor([0.12, 0.02]), atol=1e-6)


def photo(size: tuple[int, int], seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand(1, 3, 9, 9, generator=generator)
    smooth = F.interpolate(coarse, size=size, mode="bicubic").clamp(0, 1)
    return (smooth + 0.05 * torch.rand(smooth.shape, generator=generator)).clamp(0, 1)


def hidden(size: tuple[int, int], share: float, kind: str) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    if kind == "half":
        return (torch.arange(size[1]) >= size[1] // 2).expand(1, *size).clone()
    P = size[0] * size[1]
    scores = torch.rand(P, generator=generator)
    if kind == "blobs":
        maps = torch.randn(1, 1, 7, 7, generator=generator)
        scores = F.interpolate(maps, size=size, mode="bicubic").flatten()
    removed = torch.zeros(P, dtype=torch.bool)
    removed[scores.argsort()[: min(int(P * share), P - 1)]] = True
    return removed.view(1, *size)


CASES = [(kind, share) for kind in ("random", "blobs") for share in (0.1, 0.5, 0.9, 0.99, 1.0)] + [("half", 0.5)]


@pytest.mark.parametrize("size", [(7, 5), (64, 48), (224, 224)])
@pytest.mark.parametrize(("kind", "share"), CASES)
@every_solver
def test_imputation_is_the_direct_solve(solved: Callable[..., Tensor], size: tuple[int, int], kind: str, share: float) -> None:
    raw, removed = photo(size, 2), hidden(size, share, kind)
    expected = imputation.direct(raw[0].double().numpy(), removed[0].numpy())
    out = solved(raw, removed)
    assert out.dtype == torch.float32
    assert np.abs(out[0].numpy() - expected).max() < 1e-4


def small_holes(seed: int, share: float) -> Tensor:
    """Where a smooth image changes most: many small holes, far apart, as the maps of gradients have them."""
    noise = np.random.Generator(np.random.PCG64(seed)).normal(size=(225, 224))
    edges = np.abs(np.diff(ndimage.gaussian_filter(noise, 2), axis=0))
    return torch.from_numpy(edges >= np.quantile(edges, 1 - share))[None]


def test_a_process_that_compiles_and_one_that_finds_it_compiled_give_the_same_bytes(tmp_path: Path) -> None:
    said = """
import hashlib
import numpy as np
from vxp.imputation import compiled
draws = np.random.default_rng(0)
image, removed = draws.random((3, 64, 64), dtype=np.float32), draws.random((64, 64)) < .5
print(hashlib.sha256(compiled.imputed(image, removed, 1e-4).tobytes()).hexdigest(), bool(compiled.solve.stats.cache_hits))
"""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    first, second = (subprocess.run([sys.executable, "-c", said], env=environment, capture_output=True, text=True,
                                    check=True).stdout.split() for _ in range(2))
    assert (first[1], second[1]) == ("False", "True")
    assert first[0] == second[0]


@pytest.mark.parametrize("seed", range(6))
@every_solver
def test_small_holes_are_the_direct_solve(solved: Callable[..., Tensor], seed: int) -> None:
    raw = photo((224, 224), seed)
    for share in (0.001, 0.01, 0.1):
        removed = small_holes(seed, share)
        expected = imputation.direct(raw[0].double().numpy(), removed[0].numpy())
        assert np.abs(solved(raw, removed)[0].numpy() - expected).max() < 1e-4


@pytest.mark.parametrize("seed", range(6))
def test_the_preconditioner_is_positive_definite(seed: int) -> None:
    """Conjugate gradients break down without it: small holes once did that to 1 image of 300."""
    free = small_holes(seed, 0.002).double()[:, None]
    cycle = solver._cycle(solver.Fine(free, solver._weight(free)))
    holes = free.flatten().nonzero()[:, 0]
    unit = torch.zeros(len(holes), free.numel(), dtype=torch.float64)
    unit[torch.arange(len(holes)), holes] = 1
    answers = cycle(unit.view(1, -1, 224, 224))[0].flatten(1)[:, holes]
    assert torch.allclose(answers, answers.T, atol=1e-12)
    assert float(torch.linalg.eigvalsh(answers)[0]) > 0


def hard(size: tuple[int, int]) -> dict[str, Tensor]:
    """Removed positions [H, W] of which the known ones are few, far away, thin or scattered."""
    i, j = torch.meshgrid(torch.arange(size[0]), torch.arange(size[1]), indexing="ij")
    bottom, right = i == size[0] - 1, j == size[1] - 1
    top, left = i == 0, j == 0
    return {
        "all but two corners": ~((top & left) | (bottom & right)),
        "all but the corners": ~((top | bottom) & (left | right)),
        "all but two neighbours": ~(top & (j < 2)),
        "all but the border": ~(top | bottom | left | right),
        "all but one side": ~left,
        "all but the middle": ~((i == size[0] // 2) & (j == size[1] // 2)),
        "all but far dots": ~((i % 32 == 0) & (j % 32 == 0)),
        "stripes": j % 3 > 0,
        "thin stripes": i % 2 > 0,
        "chessboard": (i + j) % 2 > 0,
        "wide chessboard": (i // 8 + j // 8) % 2 > 0,
        "the last pixel": bottom & right,
    }


@pytest.mark.parametrize("size", [(224, 224), (33, 65), (2, 40), (40, 1), (1, 40)])
@pytest.mark.parametrize("kind", ["photo", "black and white"])
def test_hard_cases_are_the_direct_solve(size: tuple[int, int], kind: str) -> None:
    raw = photo(size, 7)
    if kind == "black and white":
        raw = (raw > raw.median()).float()
    for name, removed in hard(size).items():
        if not bool(removed.any()) or bool(removed.all()):
            continue
        expected = imputation.direct(raw[0].double().numpy(), removed.numpy())
        for tolerance, most in ((solver.TOLERANCE, 1e-4), (1e-6, 5e-6)):
            out = solver.nli(raw, removed[None], mean=MEAN, tolerance=tolerance)[0].numpy()
            assert np.abs(out - expected).max() < most, name


@pytest.mark.parametrize(("size", "kind", "share"), [
    ((64, 48), "blobs", 0.5), ((33, 65), "random", 0.3), ((40, 57), "random", 0.97),
])
def test_both_solvers_make_the_same_grids(size: tuple[int, int], kind: str, share: float) -> None:
    removed = hidden(size, share, kind)
    free = removed[:, None].double()
    cycle = solver._cycle(solver.Fine(free, solver._weight(free)))
    compiled = grids_of(removed[0].numpy())
    for level, (grid, (h, w)) in enumerate(zip(cycle.grids[1:], cycle.sizes[1:], strict=True), 1):
        assert isinstance(grid, solver.Coarse)
        height, width, length, begin, _ = compiled.table[level].astype(int)
        assert (height, width) == (h, w)
        place = begin + np.arange(h)[:, None] * length + np.arange(w)
        solved = grid.free[0, 0].numpy() > 0
        for k, ours in ((4, compiled.centre), (5, compiled.east), (6, compiled.southwest), (7, compiled.south),
                        (8, compiled.southeast)):
            assert np.abs(ours[place] - grid.stencil[0, k].numpy())[solved].max() < 1e-5
        assert np.abs(compiled.smooth[place] - (grid.jacobi * grid.free)[0, 0].numpy()).max() < 1e-5


@pytest.mark.parametrize("size", [(1, 224), (3, 224), (224, 224)])
def test_one_known_corner_fills_the_image(size: tuple[int, int]) -> None:
    raw, removed = photo(size, 4), torch.ones(1, *size, dtype=torch.bool)
    removed[0, 0, 0] = False
    assert float((solve(raw, removed) - raw[:, :, :1, :1]).abs().max()) < 1e-5


def test_nothing_known_is_the_mean_and_nothing_removed_the_image() -> None:
    raw = photo((9, 8), 1)
    everything = torch.ones(1, 9, 8, dtype=torch.bool)
    assert torch.equal(solve(raw, everything), torch.tensor(MEAN).view(1, 3, 1, 1).expand(1, 3, 9, 8))
    assert torch.equal(solve(raw, ~everything), raw)


@pytest.mark.parametrize("device", [
    "cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")),
])
def test_an_image_does_not_depend_on_its_batch(device: str) -> None:
    size = (40, 33)
    removed = torch.cat([hidden(size, share, kind) for kind, share in CASES]).to(device)
    raw = torch.cat([photo(size, n) for n in range(len(removed))]).to(device)
    together = solve(raw, removed)
    alone = torch.cat([solve(x[None], m[None]) for x, m in zip(raw, removed, strict=True)])
    assert float((together - alone).abs().max()) < 1e-6
    if device == "cpu":
        torch.set_num_threads(2)
        assert torch.equal(solve(raw, removed), together)


def test_the_two_oracles_agree() -> None:
    raw, removed = photo((7, 5), 3)[0].double().numpy(), hidden((7, 5), 0.5, "random")[0].numpy()
    by_loops = fills.linear_imputation(raw, np.flatnonzero(removed).tolist())
    assert np.abs(imputation.direct(raw, removed) - by_loops).max() < 1e-12


# -------------------------------------------------------------------------------------------------------------- curves


def test_minmax_is_per_map() -> None:
    maps = torch.tensor([[[1.0, 3.0], [2.0, 5.0]], [[-4.0, -4.0], [-4.0, -4.0]], [[0.0, 100.0], [50.0, 25.0]]])
    out = perturb.minmax(maps)
    assert out.tolist() == [[[0, 0.5], [0.25, 1]], [[0, 0], [0, 0]], [[0, 1], [0.5, 0.25]]]
    assert torch.equal(perturb.minmax(maps[:1]), out[:1])


def test_cuts_floor_and_reach_both_ends() -> None:
    assert perturb.cuts(3, 10) == [0, 3, 6, 10]
    assert perturb.cuts(224, 224 * 224) == list(range(0, 224 * 224 + 1, 224))
    for steps in (0, 11):
        with pytest.raises(VxpError, match="expected 1 to 10"):
            perturb.cuts(steps, 10)


def test_trapezoid_takes_the_true_fractions() -> None:
    # strips of width 0.3, 0.3, 0.4 and mean heights 0.75, 0.25, 0.5
    area = perturb.trapezoid(torch.tensor([[1.0, 0.5, 0.0, 1.0], [1.0, 1.0, 1.0, 1.0]]), [0, 0.3, 0.6, 1.0])
    assert area.dtype == torch.float64
    assert area.tolist() == pytest.approx([0.5, 1.0], abs=1e-15)
    assert math.isnan(float(perturb.trapezoid(torch.tensor([[math.nan, 1.0]]), [0, 1])[0]))
