"""One's own clips: a folder of video files, or a manifest with one row per clip.

1. A file is decoded to its end when a run begins; what it is, and the digest of the planes of the clip, are frozen with the
   item (`_video`). A file that gives other planes later is refused.
2. Of the n frames of the clip's half-open range a model of T frames is shown those in the middle of T equal parts: frame
   start + floor((2*k + 1)*n / (2*T)) for k = 0, ..., T - 1 (clause [clip-frames]).
3. Every frame becomes RGB by integers (`_yuv`) and is turned as the file says, then resized and cropped as images are.
4. A mask [n, H, W] (.npy, or .npz with one array) of the range's frames goes the same way with nearest neighbours.

Columns of a manifest: those of images, `start` and `end` of the range in frames, and what a file is checked against: `fps`,
`size` (WIDTHxHEIGHT) and `sha256` of the planes. Clips of one file are one cluster, unless `cluster` says otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from functools import cache, partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
import vxp_schemas
from numpy.typing import NDArray
from PIL import Image

from vxp.core import VxpError
from vxp.datasets import _video
from vxp.datasets._copies import clean
from vxp.datasets._images import cover, covering, tensor
from vxp.datasets._types import Item, Recipe, Sample, Source
from vxp.datasets.manifest import COLUMNS as OF_IMAGES
from vxp.datasets.manifest import SUFFIXES as MANIFESTS
from vxp.datasets.manifest import Row, item_of, rows

COLUMNS = (*OF_IMAGES, "start", "end", "fps", "size", "sha256")
MASKS = (".npy", ".npz")
KEPT = 2**30
"""Bytes of decoded clips that are kept in memory; more are decoded again whenever they are needed."""
NEAR = Fraction(1, 200)
"""How far a stated frame rate may be from that of the file: 29.97 is 30000/1001."""

Size = tuple[int, ...]
"""Frames, height and width of a model's input."""


def opened(clips: Path, size: Size, names: Sequence[str]) -> tuple[list[Item], Source]:
    """What --clips names, at a model's input (T, H, W): a folder of video files, or a manifest (.csv or .parquet).

    names: the model's classes. Items in bytewise order of their ids. Every file is decoded here. Raises VxpError that names
    the file, and the line of a manifest, for whatever cannot be read whole or is not as stated.
    """
    listed = clips.suffix.lower() in MANIFESTS
    found = _of_rows(clips, size, names) if listed else _of_folder(clips, size)
    masked = any("mask" in item.recipe for item in found)
    load = partial(_load, clips.parent if listed else clips, size, with_mask=masked)
    own = Source(id="own-clips", version=1, load=_kept(load), missing=lambda: None, licence="the user's own",
                 about=f"The clips of the {'manifest' if listed else 'folder'} {clips.resolve().name}",
                 truth=("mask",) if masked else ())
    return sorted(found, key=lambda item: item.id.encode()), own


def sampled(start: int, end: int, frames: int) -> list[int]:
    """The frames in the middle of so many equal parts of a half-open range."""
    return [start + (2 * k + 1) * (end - start) // (2 * frames) for k in range(frames)]


# ------------------------------------------------------------------------------------------------------ folder, manifest


def _of_folder(clips: Path, size: Size) -> list[Item]:
    if not clips.is_dir():
        raise VxpError(f"--clips {clips}: not a folder, expected a folder of video files or a manifest (.csv or .parquet)")
    paths = sorted(p for p in clips.iterdir() if p.suffix.lower() in _video.SUFFIXES and p.is_file())
    if not paths:
        raise VxpError(f"--clips {clips}: no clip in it, expected files that end in {', '.join(sorted(_video.SUFFIXES))}")
    masks = _masks(clips, paths)
    items = []
    for path in paths:
        name = re.sub(r"[^A-Za-z0-9._-]", "-", path.name)[-128:]
        recipe = _recipe(str(path), path, _video.surveyed(path), {}, size)
        mask = f"masks/{masks[path.stem].name}" if path.stem in masks else None
        items.append(Item(name, name, {"file": path.name, **recipe, **_masked(path, mask, clips, recipe)}))
    for one, other in pairwise(sorted(items, key=lambda item: item.id)):
        if one.id == other.id:
            raise VxpError(f"{clips}: the files {one.recipe['file']!r} and {other.recipe['file']!r} both become the item "
                           f"{one.id!r}, expected different names: rename one")
    return items


def _masks(clips: Path, paths: Sequence[Path]) -> dict[str, Path]:
    """The mask of each clip by the clip's name without suffix."""
    stems = [path.stem for path in paths]
    found: dict[str, Path] = {}
    for mask in sorted(p for p in (clips / "masks").glob("*") if p.suffix in MASKS):
        if stems.count(mask.stem) != 1 or mask.stem in found:
            raise VxpError(f"{mask}: a mask of {stems.count(mask.stem)} clips, expected one clip of this name, and one mask of "
                           "it: rename or remove it")
        found[mask.stem] = mask
    return found


def _of_rows(path: Path, size: Size, names: Sequence[str]) -> list[Item]:
    given = rows(path, COLUMNS, "--clips")
    for where, row in given:
        if "path" not in row:
            raise VxpError(f"{where}: no path, expected the path of a clip")
    ranges: dict[str, set[tuple[int, int | None]]] = {}
    for where, row in given:
        ranges.setdefault(row["path"], set()).add(_asked(where, row))
    survey = cache(lambda file: _video.surveyed(path.parent / file, ranges[file]))  # a file is decoded once for all its rows
    items: dict[str, Item] = {}
    for where, row in given:
        item = _item(path.parent, (where, row), survey, size, names)
        if item.id in items:
            raise VxpError(f"{where}: the id {item.id!r} is there twice, expected one row per id: set the column id")
        items[item.id] = item
    return list(items.values())


def _item(
    folder: Path, given: Row, survey: Callable[[str], _video.Video], size: Size, names: Sequence[str],
) -> Item:
    where, row = given
    path = folder / row["path"]
    try:
        video = survey(row["path"])
    except VxpError as error:
        raise VxpError(f"{where}: {error}") from None
    recipe = _recipe(where, path, video, row, size)
    recipe = {"file": row["path"], **recipe, **_masked(where, row.get("mask"), folder, recipe)}
    return item_of(where, row, recipe, names, clean(row["path"]), clean(row["path"]))


def _asked(where: str, row: Mapping[str, str]) -> tuple[int, int | None]:
    """Start and end that a row states; 0 and None, the end of the file, where it does not."""
    start, end = (_whole(where, column, row[column]) if column in row else None for column in ("start", "end"))
    return start or 0, end


def _whole(where: str, column: str, value: str) -> int:
    # a column of whole numbers with gaps comes out of pandas as 3.0
    found = re.fullmatch(r"([0-9]+)(\.0)?", value)
    if found is None:
        raise VxpError(f"{where}: the {column} {value!r}, expected the number of a frame, from 0 on")
    return int(found[1])


def _recipe(where: str, path: Path, video: _video.Video, row: Mapping[str, str], size: Size) -> Recipe:
    """What is frozen of a clip; VxpError where the range does not fit, or the file is not as the row states."""
    start, asked = _asked(where, row)
    end = video.frames if asked is None else asked
    if not start < end <= video.frames:
        raise VxpError(f"{where}: {path} has {video.frames} frames, got start {start} and end {end}, expected 0 <= start < end "
                       f"<= {video.frames}: the first frame of the clip and the first after it")
    if end - start < size[0]:
        raise VxpError(f"{where}: a clip of {end - start} frames, expected at least {size[0]}, which the model is shown: "
                       "take a longer clip, or fewer frames with --frames")
    digest = video.digests[start, asked]
    _check_stated(where, path, row, video, digest)
    return {**_video.recipe(video, (start, end), digest), "sampled": sampled(start, end, size[0])}


def _check_stated(where: str, path: Path, row: Mapping[str, str], video: _video.Video, digest: str) -> None:
    width, height = video.format.size
    if "size" in row and row["size"].lower().replace(" ", "") != f"{width}x{height}":
        raise VxpError(f"{where}: {path} has frames of {width}x{height}, expected {row['size']} as stated: correct the row, or "
                       "resize the clip and its mask")
    if "fps" in row and abs(_fps(where, row["fps"]) - video.rate) > NEAR:
        raise VxpError(f"{where}: {path} has {float(video.rate):.5g} frames per second, expected {row['fps']} as stated: "
                       "correct the row, or convert the clip, ffmpeg -i IN -vf fps=RATE OUT")
    if "sha256" in row and row["sha256"].lower().removeprefix("sha256:") != digest.removeprefix("sha256:"):
        raise VxpError(f"{where}: the planes of {path} have {digest}, expected {row['sha256']} as stated: it is another "
                       "clip, or the file has changed")


def _fps(where: str, value: str) -> Fraction:
    try:
        return Fraction(value)
    except (ValueError, ZeroDivisionError):
        raise VxpError(f"{where}: the fps {value!r}, expected a number such as 25, 29.97 or 30000/1001") from None


# ----------------------------------------------------------------------------------------------------------------- masks


def _masked(where: object, name: str | None, folder: Path, recipe: Recipe) -> Recipe:
    """The mask in an item's recipe; VxpError where it cannot be read or does not fit."""
    if name is None:
        return {}
    start, end = recipe["range"]
    shape, got = (end - start, recipe["height"], recipe["width"]), _mask(folder / name).shape
    if got != shape:
        raise VxpError(f"{where}: the mask {folder / name} has the shape {list(got)}, expected {list(shape)}: as many frames, "
                       "rows and columns as the clip has where it is shown")
    return {"mask": name, "mask_sha256": vxp_schemas.file_digest(folder / name)}


def _mask(path: Path) -> NDArray[np.bool_]:
    """bool [n, H, W]: where the array is not 0. Nothing is unpickled."""
    try:
        loaded = np.load(path, allow_pickle=False)
        arrays = [loaded[name] for name in loaded.files] if isinstance(loaded, np.lib.npyio.NpzFile) else [loaded]
    except Exception as error:  # whatever a damaged file provokes in a reader
        raise VxpError(f"{path}: the mask cannot be read ({type(error).__name__}: {error}), expected a .npy, or a .npz with "
                       "one array, of truth values or numbers") from None
    if len(arrays) != 1 or arrays[0].dtype.kind not in "biuf":
        held = ", ".join(str(array.dtype) for array in arrays) or "nothing"
        raise VxpError(f"{path}: arrays of {held}, expected one array of truth values or numbers, not 0 where the truth is")
    return np.asarray(arrays[0] != 0)


# --------------------------------------------------------------------------------------------------------------- samples


def _load(folder: Path, size: Size, item: Item, *, with_mask: bool) -> Sample:
    """A clip uint8 [3, T, H, W], with the truth `mask` where that is asked for: empty for a clip without one."""
    recipe, space = item.recipe, (size[1], size[2])
    path = folder / recipe["file"]
    pictures, digest = _video.read(path, _video.format_of(recipe), recipe["range"], recipe["sampled"])
    if digest != f"sha256:{recipe['planes_sha256']}":
        raise VxpError(f"{path}: its planes have {digest}, expected sha256:{recipe['planes_sha256']}, which were frozen when "
                       "the run began: the file has changed; start again in a new folder")
    clip = torch.stack([tensor(covering(Image.fromarray(p), space, Image.Resampling.BILINEAR)) for p in pictures], 1)
    if not with_mask:
        return Sample(clip)
    if "mask" not in recipe:
        return Sample(clip, {"mask": torch.zeros(clip.shape[1:], dtype=torch.bool)})
    inside, fit = _mask(folder / recipe["mask"]), cover(recipe["width"], recipe["height"], space)
    cut = [fit.mask(inside[frame - recipe["range"][0]]) for frame in recipe["sampled"]]
    return Sample(clip, {"mask": torch.stack(cut)})


def _kept(load: Callable[[Item], Sample]) -> Callable[[Item], Sample]:
    """The same, without decoding again what fits into memory."""
    found: dict[str, Sample] = {}

    def loaded(item: Item) -> Sample:
        if item.id in found:
            return found[item.id]
        sample = load(item)
        if (len(found) + 1) * sample.image.numel() <= KEPT:
            found[item.id] = sample
        return sample

    return loaded


__all__ = ["COLUMNS", "opened", "sampled"]
