"""Features of one's own videos in an HDF5 file, in the layout that papers on TVSum and SumMe share (Zhou et al. 2018).

A group per video, with
- `features` [n, D] of n steps, and `picks` [n], the frames that they are of; `n_frames`, the number of all frames;
- `change_points` [S, 2], the shots, with INCLUSIVE ends: [a, b] becomes the half-open range (a, b + 1);
- where there are any, `user_summary` [U, n_frames], 1 in the frames of each person's summary;
- `n_steps`, `n_frame_per_seg` [S] and `gtscore` [n], which are compared with the others where they are there, and `video_name`.

Other keys are left alone. An item is a video, and its cluster. What a score may depend on is frozen with the item by digests:
features, picks, shots and summaries. A file that gives others later is refused.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
import vxp_schemas
from numpy.typing import NDArray

from vxp.catalogue import nearest
from vxp.datasets import _h5
from vxp.datasets._copies import clean
from vxp.datasets._types import Item, Recipe, Sample, Source, Timeline
from vxp.documents import shots
from vxp.documents.findings import plain
from vxp.errors import VxpError

SUFFIXES = frozenset({".h5", ".hdf5"})
NEEDED = ("features", "picks", "n_frames", "change_points")
LONGEST = 2**24
"""Frames of a video."""


@dataclass(frozen=True, eq=False)
class Video:
    """What the file says of a video: features float32 [n, D], picks int64 [n], shots as half-open ranges of its frames, and
    users bool [U, n_frames], the summaries of people, None where there are none."""

    features: NDArray[np.float32]
    picks: NDArray[np.int64]
    segments: shots.Segments
    n_frames: int
    users: NDArray[np.bool_] | None = None
    name: str = ""

    @property
    def recipe(self) -> Recipe:
        """What is frozen of it."""
        named = {"name": self.name} if self.name else {}
        people = {} if self.users is None else {"users": len(self.users), "users_digest": _digest(self.users, "u1")}
        return {**named, "n_frames": self.n_frames, "steps": len(self.picks), "segments": [list(s) for s in self.segments],
                "segments_digest": shots.digest(self.segments), "picks_digest": _digest(self.picks, "<i8"),
                "features_digest": _digest(self.features, "<f4"), **people}


def _digest(values: NDArray[Any], dtype: str) -> str:
    """`sha256:` of the values in C order, with the least byte first."""
    return f"sha256:{hashlib.sha256(np.ascontiguousarray(values, dtype).tobytes()).hexdigest()}"


# ----------------------------------------------------------------------------------------------------------------- items


def opened(path: Path) -> tuple[list[Item], Source]:
    """The items of a file in bytewise order of their ids, one per video, and the source that loads them.

    All of the file is read here, so that a run does not stop in its middle. Raises VxpError that names file, video and key
    for whatever is missing, of another shape, or contradicts something else.
    """
    with _h5.opened(path) as file:
        keys = _h5.names(file, str(path))
        if not keys:
            raise VxpError(f"{path}: no video in it, expected a group per video with {', '.join(NEEDED)}: write the file again")
        found = {key: _video(file, key, path) for key in keys}
    _with_users(path, found)
    digest = vxp_schemas.file_digest(path)
    items = [_item(path, key, digest, video) for key, video in found.items()]
    items.sort(key=lambda item: item.id.encode())
    for one, other in pairwise(items):
        if one.id == other.id:
            both = " and ".join(repr(plain(item.recipe["video"])) for item in (one, other))
            raise VxpError(f"{path}: the videos {both} both become the item {one.id!r}, expected different names: rename one")
    people = any(video.users is not None for video in found.values())
    return items, Source(
        id="h5-features", version=1, load=partial(_load, path), missing=lambda: None, licence="the user's own",
        about=f"The features of the videos of {path.name}", truth=("users",) if people else (), alike=alike, cluster="video")


def copy_of(id: str, about: str, licence: str) -> Source:
    """A named data set of which the user has such a file; its items are those of the file, which is named by itself."""
    said = "its features are a file of yours: give it with --features FILE, and the model with --model (docs: howto/video.md)"

    def load(item: Item) -> Sample:
        raise VxpError(f"data set {id}: {said}")

    return Source(id=id, version=1, load=load, missing=lambda: said, licence=licence, about=about, cluster="video")


def _with_users(path: Path, found: dict[str, Video]) -> None:
    """VxpError where only some videos have summaries of people, or where features differ in width."""
    without = [key for key, video in found.items() if video.users is None]
    if without and len(without) < len(found):
        raise VxpError(f"{path}, {plain(without[0])}: no user_summary, which {len(found) - len(without)} of the {len(found)} "
                       "videos have, expected it of all or of none: add it, or divide the file")
    first = next(iter(found))
    for key, video in found.items():
        if video.features.shape[1] != found[first].features.shape[1]:
            raise VxpError(f"{path}, {plain(key)}, features: got {video.features.shape[1]} numbers per step, expected "
                           f"{found[first].features.shape[1]} as {plain(first)} has: take features of one model")


def _item(path: Path, key: str, digest: str, video: Video) -> Item:
    id = clean(key)
    return Item(id, id, {"file": path.name, "sha256": digest, "video": key, **video.recipe})


def alike(item: Item) -> object:
    """What items that go through a model together have in common: their steps, their shots, and the summaries of people."""
    recipe = item.recipe
    return recipe["steps"], len(recipe["segments"]), recipe["n_frames"], recipe.get("users")


def segments(item: Item) -> shots.Segments:
    """The shots of a video, half-open ranges of its frames."""
    return tuple((start, end) for start, end in item.recipe["segments"])


def _load(path: Path, item: Item) -> Sample:
    """The features of a video, float32 [D, n], how it is divided, and the truth `users`, bool [U, n_frames], where there are
    summaries of people."""
    with _h5.opened(path) as file:
        key, there = item.recipe["video"], _h5.names(file, str(path))
        if key not in there:
            raise VxpError(f"{path}: no video {plain(key)!r}{plain(nearest(key, there))}, expected that of the item {item.id}: "
                           "the file has changed; start again in a new folder")
        video = _video(file, key, path)
    changed = [name for name, value in video.recipe.items() if value != item.recipe.get(name)]
    if changed:
        raise VxpError(f"{path}, {plain(key)}: other {', '.join(changed)} than were frozen when the run began: the file has "
                       "changed; start again in a new folder")
    truth = {} if video.users is None else {"users": torch.from_numpy(video.users)}
    timeline = Timeline(video.n_frames, video.segments, picks=tuple(video.picks.tolist()))
    return Sample(torch.from_numpy(np.ascontiguousarray(video.features.T)), truth, timeline)


# ---------------------------------------------------------------------------------------------------------------- videos


def _video(file: Any, key: str, path: Path) -> Video:
    """A video of an open file, checked whole."""
    where = f"{path}, {plain(key)}"
    group = _h5.group(file, key, where)
    there = _h5.names(group, where)
    if missing := [name for name in NEEDED if name not in there]:
        got = plain(", ".join(there)) or "nothing"
        raise VxpError(f"{where}: no {missing[0]}, got {got}, expected {', '.join(NEEDED)}: add it")
    n_frames = _number(group, "n_frames", where)
    if not 1 <= n_frames <= LONGEST:
        raise VxpError(f"{where}, n_frames: got {n_frames}, expected the number of frames of the video, from 1 to {LONGEST}: "
                       "correct it")
    features = _features(group, where)
    picks = _picks(group, where, len(features), n_frames)
    segments = _segments(group, where, n_frames)
    _check_seen(where, picks, segments)
    for name, check in OTHERS.items():
        if name in there:
            check(group, where, len(features), segments)
    users = _users(group, where, n_frames) if "user_summary" in there else None
    return Video(features, picks, segments, n_frames, users,
                 _h5.text(group, "video_name", where) if "video_name" in there else "")


def _shaped(group: Any, key: str, where: str, shape: tuple[int | None, ...], what: str) -> NDArray[Any]:
    """An array of this shape, of any length where it is None, which is not read before its shape is known to be right."""
    got = _h5.shape(group, key, f"{where}, {key}")
    if len(got) != len(shape) or 0 in got or any(want not in (None, have) for want, have in zip(shape, got, strict=True)):
        turned = len(got) == 2 == len(shape) and shape[1] is not None and got[0] == shape[1] and got[1] != shape[1]
        todo = "exchange its axes" if turned else "write it again"
        raise VxpError(f"{where}, {key}: got the shape {list(got)}, expected {what}: {todo}")
    return _h5.array(group, key, f"{where}, {key}")


def _whole(values: NDArray[Any], where: str, key: str) -> NDArray[np.int64]:
    """Whole numbers, also where they are stored as others."""
    found = np.asarray(values, np.float64)
    wrong = ~(np.abs(found) < 2**53) | (found != np.floor(found))
    if wrong.any():
        raise VxpError(f"{where}, {key}: got {found[wrong][0]:.9g}, expected whole numbers of frames: multiply by the frame "
                       "rate what is in seconds")
    return found.astype(np.int64)


def _number(group: Any, key: str, where: str) -> int:
    shape = (1,) if _h5.shape(group, key, f"{where}, {key}") == (1,) else ()
    return int(_whole(_shaped(group, key, where, shape, "[], one number"), where, key).reshape(-1)[0])


def _features(group: Any, where: str) -> NDArray[np.float32]:
    values = _shaped(group, "features", where, (None, None), "[n_steps, D], a row per step")
    with np.errstate(over="ignore"):  # what is no float32 number becomes infinite, and is refused
        found = values.astype(np.float32)
    broken = ~np.isfinite(found).all(1)
    if broken.any():
        raise VxpError(f"{where}, features: got NaN or infinite values in {int(broken.sum())} of {len(found)} steps, first in "
                       f"step {int(broken.argmax())}, expected finite numbers: extract the features again")
    return found


def _picks(group: Any, where: str, steps: int, n_frames: int) -> NDArray[np.int64]:
    what = f"[{steps}], the frame of each of the {steps} steps that features has"
    found = _whole(_shaped(group, "picks", where, (steps,), what), where, "picks")
    if found[0] < 0 or found[-1] >= n_frames or (np.diff(found) <= 0).any():
        raise VxpError(f"{where}, picks: got {found[:3].tolist()} to {found[-1]}, expected frames that rise from 0 on and lie "
                       f"below n_frames, {n_frames}: correct picks or n_frames")
    return found


def _segments(group: Any, where: str, n_frames: int) -> shots.Segments:
    """The shots as half-open ranges."""
    found = _whole(_shaped(group, "change_points", where, (None, 2), "[S, 2], first and last frame of each shot"), where,
                   "change_points").tolist()
    return shots.checked_inclusive(found, n_frames, where=f"{where}, change_points")


def _check_seen(where: str, picks: NDArray[np.int64], segments: shots.Segments) -> None:
    """VxpError for a shot of which the model sees no frame, and which no explanation can give a value."""
    seen = set(shots.fragments_of(picks.tolist(), segments))
    blind = next((i for i in range(len(segments)) if i not in seen), None)
    if blind is not None:
        raise VxpError(f"{where}, change_points: got shot {blind}, frames [{segments[blind][0]}, {segments[blind][1]}), which "
                       "holds no frame of picks, expected a step in every shot: join it to a neighbour, or pick more frames")


def _check_n_steps(group: Any, where: str, steps: int, segments: shots.Segments) -> None:
    said = _number(group, "n_steps", where)
    if said != steps:
        raise VxpError(f"{where}, n_steps: got {said}, expected {steps}, the rows of features: correct it, or leave it out")


def _check_gtscore(group: Any, where: str, steps: int, segments: shots.Segments) -> None:
    scores = _shaped(group, "gtscore", where, (steps,), f"[{steps}], a score for each of the steps that features has")
    if not np.isfinite(scores).all():
        raise VxpError(f"{where}, gtscore: got NaN or infinite values, expected finite scores: correct them, or leave gtscore "
                       "out")


def _check_n_frame_per_seg(group: Any, where: str, steps: int, segments: shots.Segments) -> None:
    lengths = [end - start for start, end in segments]
    what = f"[{len(lengths)}], the number of frames of each shot of change_points"
    said = _shaped(group, "n_frame_per_seg", where, (len(lengths),), what).tolist()
    wrong = next((i for i, (have, want) in enumerate(zip(said, lengths, strict=True)) if have != want), None)
    if wrong is not None:
        raise VxpError(f"{where}, n_frame_per_seg: got {said[wrong]} for shot {wrong}, expected {lengths[wrong]} as "
                       "change_points has it: correct it, or leave it out")


OTHERS = {"n_steps": _check_n_steps, "gtscore": _check_gtscore, "n_frame_per_seg": _check_n_frame_per_seg}
"""What says again what the needed keys say, or is not used, and must not contradict them."""


def _users(group: Any, where: str, n_frames: int) -> NDArray[np.bool_]:
    """The summaries of people, of which each has a frame: so a row without one is none, such as one that fills up a batch."""
    values = _shaped(group, "user_summary", where, (None, n_frames), f"[U, {n_frames}], a row per person and a value per frame")
    chosen: NDArray[np.bool_] = values == 1
    if (strange := ~(chosen | (values == 0))).any():
        raise VxpError(f"{where}, user_summary: got {float(values[strange][0]):.9g}, expected 1 in the frames of a summary and "
                       "0 in all others: make summaries of the scores first")
    empty = ~chosen.any(1)
    if empty.any():
        raise VxpError(f"{where}, user_summary: got a summary without a frame, that of row {int(empty.argmax())}, expected at "
                       "least one frame in each: leave this person out")
    return chosen


__all__ = ["NEEDED", "SUFFIXES", "Video", "opened", "segments"]
