"""What a caller has in his hands, made into what the harness takes: arrays of NumPy, other precisions, maps with channels,
one-hot targets, one box per image, a layer as a module. What cannot be meant is refused here, in one sentence."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vxp.catalogue import nearest
from vxp.core import Normalization, VxpError
from vxp.kinds import HEATMAP2D, Kind

Given = Tensor | np.ndarray[Any, Any]
"""A tensor or an array of NumPy."""

POOLS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "sum": lambda values: values.sum(1),
    "abs-sum": lambda values: values.abs().sum(1),
    "max-abs": lambda values: values.abs().amax(1),
}
"""How the channels of attributions [B, C, h, w] become one value per position: their sum, with its sign; the sum of their
absolute values; the largest absolute value."""


def described(value: object) -> str:
    """The shape and type of what was given, for a message: never its contents."""
    if isinstance(value, Tensor | np.ndarray):
        return f"{tuple(value.shape)} {str(value.dtype).removeprefix('torch.')}"
    return type(value).__name__


def tensor(value: object, name: str, expected: str) -> Tensor:
    """A tensor as it is, an array as a tensor; VxpError for anything else."""
    if isinstance(value, Tensor):
        return value.detach()
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        # native byte order and no negative strides, which torch does not know
        return torch.from_numpy(np.array(value, dtype=value.dtype.newbyteorder("=")))
    raise VxpError(f"{name}: got {described(value)}, expected {expected}")


# ------------------------------------------------------------------------------------------------------ images and clips


def inputs(value: object, model: nn.Module, *, sequences: bool = False) -> Tensor:
    """Images [B, C, H, W] or clips [B, C, T, H, W] as float32, where they are or, of an array, on the model's device; of a
    model that scores steps sequences [B, D, n] or clips.

    Half and double precision are converted: the standard's inputs are float32. VxpError for another shape or type, for none
    and for values that are not finite.
    """
    expected = "a float tensor [B, 3, H, W], or [B, 3, T, H, W] of clips, as the model takes it"
    if sequences:
        expected = "a float tensor [B, D, n] of features of n frames, or clips [B, 3, T, H, W]"
    found = _items(value, (3, 5) if sequences else (4, 5), expected)
    weight = next(model.parameters(), None)
    return found.to(weight.device) if isinstance(value, np.ndarray) and weight is not None else found


def pictures(value: object) -> Tensor:
    """The same without a model, where they are."""
    return _items(value, (4, 5), "a float tensor [B, 3, H, W], or [B, 3, T, H, W] of clips, as the model takes it")


def _items(value: object, axes: Sequence[int], expected: str) -> Tensor:
    found = tensor(value, "inputs", expected)
    if found.ndim not in axes or not found.is_floating_point():
        hint = "; a single image needs a batch of one: inputs[None]" if found.ndim == 3 else ""
        hint = "; a single video needs a batch of one: inputs[None]" if found.ndim == 2 and 3 in axes else hint
        if found.ndim in axes:
            hint = "; convert 8-bit images: images.float() / 255, then the model's own normalisation"
        raise VxpError(f"inputs: got {described(value)}, expected {expected}{hint}")
    if not len(found):
        raise VxpError(f"inputs: got {described(value)}, no item at all, expected at least one")
    if found.ndim == 4 and found.shape[3] in (1, 3) and found.shape[1] > 4:
        raise VxpError(f"inputs: got {described(value)}, expected the channels before height and width: [B, C, H, W]")
    if found.ndim == 5 and found.shape[2] in (1, 3) and found.shape[1] > 4:
        raise VxpError(f"inputs: got {described(value)}, expected the channels before the frames: [B, C, T, H, W]. For a model "
                       "that takes [B, T, C, H, W] give inputs.transpose(1, 2) and vxp.frames_first(model)")
    found = found.to(torch.float32)
    if not torch.isfinite(found).all():
        raise VxpError("inputs: some values are NaN or infinite in float32, expected finite ones")
    return found


def normalization(given: Any, channels: int) -> Normalization:
    """(mean, std) with one number per channel; 0 and 1 where there is none."""
    if given is None:
        return Normalization((0.0,) * channels, (1.0,) * channels)
    if isinstance(given, Normalization):
        norm = given
    else:
        try:
            mean, std = given
            norm = Normalization(tuple(float(m) for m in mean), tuple(float(s) for s in std))
        except (TypeError, ValueError):
            raise VxpError(f"normalization: got {given!r}, expected (mean, std), each with one number per channel") from None
    if len(norm.mean) != channels or len(norm.std) != channels or min(norm.std) <= 0:
        raise VxpError(f"normalization: got {(norm.mean, norm.std)!r}, expected {channels} means and {channels} positive "
                       "deviations")
    return norm


@contextlib.contextmanager
def in_its_own_type(model: nn.Module) -> Iterator[None]:
    """A model whose weights are all of one other type (float64, half) takes float32 images as that type."""
    types = {p.dtype for p in model.parameters() if p.is_floating_point()}
    if len(types) != 1 or types == {torch.float32}:
        yield
        return
    (own,) = types
    # a part that is called by itself, such as the model of single frames, takes them so as well
    entries = [model, *(part for part in (getattr(model, "by_frame", None),) if isinstance(part, nn.Module))]
    handles = [entry.register_forward_pre_hook(lambda module, arguments: (arguments[0].to(own), *arguments[1:]))
               for entry in entries]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


# ---------------------------------------------------------------------------------------------------------------- maps


def maps(value: object, n: int, pool: str | None = None, *, name: str = "attributions", kind: Kind = HEATMAP2D) -> Tensor:
    """Maps [n, *grid] float32 of a kind, from maps [n, *grid], [n, 1, *grid], or [n, C, *grid] pooled as `pool` says."""
    expected = f"[{n}, {kind.shape}]: one map per item, channels pooled"
    if isinstance(value, tuple | list) and len(value) == 1:
        value = value[0]  # what captum returns for a tuple of one input
    found = tensor(value, name, expected)
    if pool is not None and pool not in POOLS:
        raise VxpError(f"pool: got {pool!r}{nearest(pool, list(POOLS))}, expected one of {', '.join(POOLS)}")
    axes = len(kind.grid)
    if found.ndim not in (axes + 1, axes + 2) or len(found) != n:
        hint = "; a single map needs a batch of one: attributions[None]" if found.ndim == axes and n == 1 else ""
        raise VxpError(f"{name}: got {described(value)}, expected {expected}{hint}")
    if found.ndim == axes + 1:
        return found.to(torch.float32)
    if found.shape[1] == 1:
        return found[:, 0].to(torch.float32)
    if pool is None:
        raise VxpError(f"{name}: got {described(value)}, expected {expected}; pass pool='sum' (keeps the sign), 'abs-sum' or "
                       "'max-abs' to pool its channels")
    # in float64, so that the sum does not depend on the order of the channels
    return POOLS[pool](found.double()).to(torch.float32)


# ------------------------------------------------------------------------------------------------------ targets, truth


def targets(value: object, n: int, classes: int, device: torch.device) -> Tensor:
    """Class indices int64 [n], from indices or one-hot rows [n, classes]."""
    return _classes(value, "targets", n, classes, device)


def _classes(value: object, name: str, n: int, classes: int, device: torch.device) -> Tensor:
    expected = f"{n} class indices in 0..{classes - 1}, one per item, or one-hot rows [{n}, {classes}]"
    try:
        found = torch.as_tensor(value, device=device)
    except (TypeError, ValueError, RuntimeError):
        raise VxpError(f"{name}: got {described(value)}, expected {expected}") from None
    if found.ndim == 2 and found.shape == (n, classes) and n > 0:
        hot = found != 0
        if bool((hot.sum(1) == 1).all()) and bool((found[hot] == 1).all()):
            return hot.int().argmax(1)
        raise VxpError(f"{name}: got {described(value)} that is not one-hot, expected {expected}")
    if found.shape != (n,) or found.is_floating_point() or found.dtype == torch.bool:
        raise VxpError(f"{name}: got {described(found)}, expected {expected}")
    wrong = found[(found < 0) | (found >= classes)].tolist()
    if wrong:
        raise VxpError(f"{name}: got class {wrong[0]}, expected {expected}")
    return found.long()


def truth(value: object, n: int, space: Sequence[int], device: torch.device) -> dict[str, Tensor]:
    """Truth by key: masks [n, H, W] or [n, 1, H, W], boxes [n, N, 4] or [n, 4], summaries of people [n, U, frames]."""
    given = {} if value is None else dict(value) if isinstance(value, Mapping) else {"mask": value}
    return {key: _truth(key, one, n, tuple(space)).to(device) for key, one in given.items()}


RENDERED = ("classes", "factors", "without", "swapped")
"""The truths that are images."""


def _truth(key: str, value: object, n: int, space: tuple[int, ...]) -> Tensor:
    expected = f"a tensor {(n, *space)}"
    boxes = f"boxes [{n}, N, 4] of x0, y0, x1, y1, half-open, padded with zeros"
    found = tensor(value, f"truth {key!r}", boxes if key == "boxes" else expected)
    if key == "boxes":
        if found.shape == (n, 4):
            found = found[:, None]
        if found.ndim != 3 or found.shape[::2] != (n, 4):
            raise VxpError(f"truth 'boxes': got {described(value)}, expected {boxes}")
        return found
    if key == "users":
        if found.ndim != 3 or len(found) != n:
            raise VxpError(f"truth 'users': got {described(value)}, expected the summaries of people [{n}, U, frames]")
        return found
    if key in RENDERED:
        if found.ndim < 5 or len(found) != n or tuple(found.shape[-len(space) :]) != space or found.dtype != torch.uint8:
            raise VxpError(f"truth {key!r}: got {described(value)}, expected renderings of each of {n} items in 8-bit levels, "
                           f"uint8 [{n}, ..., 3, {', '.join(map(str, space))}]")
        return found
    if tuple(found.shape) == (n, 1, *space):
        found = found[:, 0]
    if tuple(found.shape) != (n, *space):
        hint = f"; for {boxes}, pass truth={{'boxes': ...}}" if found.ndim in (2, 3) and found.shape[-1] == 4 else ""
        raise VxpError(f"truth {key!r}: got {described(value)}, expected {expected}, the grid of the inputs{hint}")
    return found


def parts(value: object, n: int, steps: int, device: torch.device) -> dict[str, Tensor]:
    """The parts of items in time by unit, int64 [n, steps]: from the fragment of every step, [n, steps] or [steps] for all
    items, or from ranges of steps [start, end) that follow on each other, one list for all items or one for each. VxpError for
    ranges that overlap, leave gaps or end elsewhere than the items, and for items with different numbers of fragments."""
    if value is None:
        return {}
    expected = (f"the fragment of each of {steps} steps, [{n}, {steps}] or [{steps}], or ranges [start, end) of steps that "
                f"follow on each other from 0 to {steps}")
    if isinstance(value, Tensor | np.ndarray):
        of = tensor(value, "fragments", expected)
        if of.is_floating_point() or tuple(of.shape) not in ((n, steps), (steps,)):
            raise VxpError(f"fragments: got {described(value)}, expected {expected}")
        of = of.long().to(device).expand(n, steps)
        used = [len(row.unique()) for row in of]
        if int(of.min()) != 0 or any(int(row.max()) + 1 != k for row, k in zip(of, used, strict=True)):
            raise VxpError("fragments: got numbers that are not 0, 1, 2, ... without a gap, expected every number once at "
                           "least")
    else:
        given = list(value) if isinstance(value, Sequence) else []
        several = bool(given) and isinstance(given[0], Sequence) and bool(given[0]) and isinstance(given[0][0], Sequence)
        lists = given if several else [given] * n
        if len(lists) != n or not given:
            raise VxpError(f"fragments: got {len(lists)} lists for {n} items, expected one for all or one for each: {expected}")
        of = torch.stack([_of_ranges(ranges, steps, expected) for ranges in lists]).to(device)
    counts = sorted({int(row.max()) + 1 for row in of})
    if len(counts) > 1:
        raise VxpError(f"fragments: got items with {counts} fragments, expected one number in a call: score videos with other "
                       "numbers of fragments in other calls")
    return {"fragment": of}


def objects(value: object, n: int, space: Sequence[int], device: torch.device) -> dict[str, Tensor]:
    """The object at every position of each clip, the part of each image, int64 [n, P], from label maps [n, *space] or one
    [*space] for all, numbered 0, 1, 2, ... without a gap, -1 where there is none; VxpError for others, and for items with
    different numbers of them."""
    if value is None:
        return {}
    expected = f"the number of the object at every position, a tensor of integers {(n, *space)}, -1 where there is none"
    of = tensor(value, "objects", expected)
    if of.is_floating_point() or of.dtype == torch.bool or tuple(of.shape) not in ((n, *space), tuple(space)):
        raise VxpError(f"objects: got {described(value)}, expected {expected}")
    flat = of.long().to(device).expand(n, *space).flatten(1)
    if int(flat.min()) < -1:
        raise VxpError(f"objects: got the number {int(flat.min())}, expected {expected}")
    counts = [int(row.max()) + 1 for row in flat]
    for i, (row, count) in enumerate(zip(flat, counts, strict=True)):
        if count == 0:
            raise VxpError(f"objects: item {i} has no object at all, expected {expected}")
        if len(row[row >= 0].unique()) != count:
            raise VxpError(f"objects: item {i} has numbers up to {count - 1} that are not 0, 1, 2, ... without a gap")
    if len(set(counts)) > 1:
        raise VxpError(f"objects: got items with {sorted(set(counts))} objects, expected one number in a call: score items "
                       "with other numbers of objects in other calls")
    return {"part" if len(space) == 2 else "object": flat}


def foils(value: object, n: int, classes: int, device: torch.device) -> Tensor | None:
    """The class int64 [n] that the counterfactual of every item is to reach."""
    return None if value is None else _classes(value, "foils", n, classes, device)


def labels(value: object, n: int, device: torch.device) -> Tensor | None:
    """The correct classes of every item, int64 [n, L] padded with -1: from one class each, or a list of them for every item."""
    if value is None:
        return None
    given = value.tolist() if isinstance(value, Tensor | np.ndarray) else value
    rows = [one if isinstance(one, Sequence) else [one] for one in given] if isinstance(given, Sequence) else []
    if len(rows) != n or not all(isinstance(label, int) and label >= 0 for row in rows for label in row):
        raise VxpError(f"labels: got {described(value)}, expected the correct class of each of {n} items, or a list of them "
                       "for each")
    longest = max(1, *(len(row) for row in rows))
    return torch.tensor([[*row, *[-1] * (longest - len(row))] for row in rows], dtype=torch.int64, device=device)


def _of_ranges(ranges: Sequence[Any], steps: int, expected: str) -> Tensor:
    """int64 [steps]: the range that holds each step."""
    at, of = 0, []
    for k, one in enumerate(ranges):
        if not isinstance(one, Sequence) or len(one) != 2 or not all(isinstance(v, int) for v in one):
            raise VxpError(f"fragments: range {k} is {one!r}, expected {expected}")
        start, end = one
        hint = "; where ends are inclusive, add 1 to each" if start == at + 1 else ""
        if start != at or end <= start:
            raise VxpError(f"fragments: range {k} is [{start}, {end}) behind step {at}, expected {expected}{hint}")
        of += [k] * (end - start)
        at = end
    if at != steps:
        hint = "; where ends are inclusive, add 1 to each" if at == steps - 1 else ""
        raise VxpError(f"fragments: the last range ends at step {at}, expected {steps}, the end of the items{hint}")
    return torch.tensor(of)


def names(given: Sequence[str] | None, n: int) -> tuple[str, ...]:
    """The items' ids; their places where there are none."""
    found = tuple(str(i) for i in range(n)) if given is None else tuple(given)
    if len(found) != n or len(set(found)) != n:
        raise VxpError(f"ids: got {len(found)} ids, {len(set(found))} different; expected {n} different ones")
    return found


def layer(model: nn.Module, given: object) -> object:
    """The name of a layer that was given as a module; a name as it is."""
    if not isinstance(given, nn.Module):
        return given
    name = next((name for name, module in model.named_modules() if module is given), None)
    if not name:
        what = "the model itself" if name == "" else f"a {type(given).__name__} that is no part of the model"
        raise VxpError(f"layer: got {what}, expected a layer of the model or its name (see model.named_modules())")
    return name
