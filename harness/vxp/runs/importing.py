"""Maps made elsewhere: a task's images and targets go out as files, maps come back as an explanation set."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
import safetensors.numpy
import torch
import vxp_schemas
from PIL import Image
from torch import Tensor
from vxp_schemas import typed

from vxp import explainers
from vxp.core import OK, VxpError
from vxp.datasets import Timeline
from vxp.documents import RULES, plain_json, store
from vxp.documents.findings import plain
from vxp.kinds import HEATMAP2D, Map
from vxp.runs import baselines, fragment_files, result, run
from vxp.runs.baselines import BROKEN
from vxp.runs.context import Context
from vxp.runs.explanations import Made, write_set

NAMES_SHOWN = 5
RESAMPLE = ("bilinear", "nearest", "frames", "none", "fragment", "frame", "second")
ENDINGS = (".npy", ".safetensors", ".png")
"""Kinds of files that a folder of maps may hold, one per item."""


# -------------------------------------------------------------------------------------------------------------- items out


def export(context: Context) -> Path:
    """Write a task's images, or the frames of its clips, as PNG, as the model sees them before its normalisation, and items.csv
    with the class that is to be explained; VxpError where `out` is not empty. Everything that explains outside Python needs.

    Of videos whose parts are explained it is the features [D, n] as NPY, and videos.json with the frames, shots and steps.
    """
    task, model, out, progress = context.task, context.model, context.out, context.progress
    if out.exists() and any(out.iterdir()):
        raise VxpError(f"--out {out} is not empty: choose a new folder")
    progress.stage("writing images", len(task.items))
    rows: list[list[object]] = []
    videos: dict[str, object] = {}
    for start, stop in context.ranges():
        loaded = task.load(start, stop, model)
        logits = context.engine.predict(loaded.inputs.to(context.settings.device))
        targets = loaded.targets(context.output.predicted(logits).cpu()).tolist()
        for i, target in zip(range(start, stop), targets, strict=True):
            item = task.items[i]
            if task.kind.ragged:
                file = _sequence(out, i, loaded.inputs[i - start])
                videos[item.id] = _video(loaded.timelines[i - start])
            else:
                file = _pictures(out, i, task.source.load(item).image)
            rows.append([i, item.id, file, target, model.class_name(target) if target >= 0 else "", item.cluster])
        progress.items(stop - start)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["row", "item_id", "file", "target", "target_name", "cluster"])
    writer.writerows(rows)
    if videos:
        store.write_bytes(out / "videos.json", plain_json(videos))
    store.write_bytes(out / "items.csv", text.getvalue().encode())
    return out / "items.csv"


def _sequence(out: Path, i: int, features: Tensor) -> str:
    """Write features [D, n] as NPY; where, relative to `out`."""
    buffer = io.BytesIO()
    np.save(buffer, features.cpu().numpy(), allow_pickle=False)
    file = f"features/{i:05d}.npy"
    store.write_bytes(out / file, buffer.getvalue())
    return file


def _video(timeline: Timeline) -> dict[str, object]:
    """How a video is divided, in JSON values; shots are half-open ranges of frames."""
    return {"n_frames": timeline.frames, "fps": timeline.fps, "shots": [list(shot) for shot in timeline.fragments],
            "steps": list(timeline.steps)}


def _pictures(out: Path, i: int, image: Tensor) -> str:
    """Write an image [3, H, W] as a PNG, or a clip [3, T, H, W] as a folder with one per frame; which, relative to `out`."""
    clip = image.ndim == 4
    file = f"clips/{i:05d}" if clip else f"images/{i:05d}.png"
    for k, frame in enumerate(image.unbind(1) if clip else [image]):
        buffer = io.BytesIO()
        Image.fromarray(frame.permute(1, 2, 0).numpy()).save(buffer, "PNG")
        store.write_bytes(out / file / f"{k:05d}.png" if clip else out / file, buffer.getvalue())
    return file


# ---------------------------------------------------------------------------------------------------------------- maps in


@dataclass(frozen=True)
class Method:
    """What made the maps, in the words of whoever imports them. Passes and milliseconds are per map; 0: not stated. explanandum
    and inclusive are of scores of the parts of videos, where their file does not say."""

    name: str
    signed: bool
    resample: str = "bilinear"
    target_specific: bool = True
    family: str = "other"
    source: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    repo: str = ""
    commit: str = ""
    forwards: int = 0
    backwards: int = 0
    milliseconds: float = 0.0
    deterministic: bool = True
    explanandum: str | None = None
    inclusive: bool = False

    def facts(self) -> typed.Explainer:
        """As a set and its result name the explainer; `import_` refuses words that they do not have."""
        return {"id": self.name, "parameters": dict(self.parameters), "signed": self.signed,
                "resample": cast(typed.Resample, self.resample), "target_specific": self.target_specific, "reference": False,
                "family": cast(typed.ExplainerFamily, self.family)}

    def system(self) -> typed.System:
        """The document of the system: nothing is known of its code but what is stated."""
        method: typed.SystemMethod = {
            "name": self.name, "family": cast(typed.ExplainerFamily, self.family), "parameters": dict(self.parameters),
            "parameters_passed": dict(self.parameters), "deterministic": self.deterministic, "seeds": [],
            "needs": {"gradients": self.backwards > 0, "activations": False, "training_data": False,
                      "passes_per_map": self.forwards + self.backwards}}
        code: typed.Implementation = {"entry_point": "outside: the maps were imported"}
        if self.source:
            method["source"] = self.source
        if self.repo:
            code["repo"] = self.repo
        if self.commit:
            code["commit"] = self.commit
        return result.header(typed.System) | {
            "method": method, "implementation": code, "normalization": "none", "trained_components": []}


def import_(context: Context, maps: Path, method: Method) -> Path:
    """Write the explanation set of maps in a file or a folder (`read_maps`); its set.json.

    A map with NaN or infinite values becomes a row with status `failed:non-finite-map`, and one of an item of which the model's
    output is not finite one with `failed:model-non-finite`. VxpError where items are missing,
    unknown, or of another shape; then nothing is written.
    """
    task, out = context.task, context.out
    system = method.system()
    try:
        vxp_schemas.validate(system)
    except vxp_schemas.InvalidDocument as error:
        raise VxpError(f"the method cannot be stated so: {error}") from None
    if method.resample not in RESAMPLE:
        raise VxpError(f"--resample {method.resample!r} is unknown; expected one of {', '.join(RESAMPLE)}")
    if method.name in explainers.catalogue():
        raise VxpError(f"--name {method.name!r} is an installed explainer: run it with vxp run, or give your method a name of "
                       "its own")
    if task.kind.ragged:
        return _import_scores(context, maps, method)
    rule = task.kind.rule(method.facts()["resample"])
    values = read_maps(maps, [item.id for item in task.items], task.kind)
    if method.resample == "none" and list(values.shape[1:]) != list(task.document["input_size"]):
        raise VxpError(f"{maps}: got maps of {list(values.shape[1:])}; --resample none needs {task.document['input_size']}, "
                       "the size of the input")
    bound = explainers.absent({**method.facts(), "resample": rule}, system)
    with run.claimed(context, run.run_document(context, [bound], None)):
        run.prepared(context, [])
        ranges = list(context.ranges())

        def part(number: int) -> Made:
            start, stop = ranges[number]
            return _made(context, method, start, values[start:stop])

        write_set(context, bound, out, tuple(values.shape[1:]), part)
        store.write_document(out / "system.json", system)
    return out / "set.json"


def _made(context: Context, method: Method, start: int, values: Tensor, segments: Tensor | None = None) -> Made:
    """What was made elsewhere of the items from `start` on, with a status for each, and zeros where there is nothing."""
    count, finite = len(values), torch.isfinite(values).flatten(1).all(1).tolist()
    status = [BROKEN if broken else OK if whole else "failed:non-finite-map"
              for broken, whole in zip(baselines.read(context, start).broken, finite, strict=True)]
    good = torch.tensor([state == OK for state in status]).view(-1, *[1] * (values.ndim - 1))
    return Made(torch.where(good, values, torch.zeros_like(values)), status, [method.milliseconds / 1000] * count,
                [method.forwards] * count, [method.backwards] * count, segments)


def _import_scores(context: Context, file: Path, method: Method) -> Path:
    """Write the explanation set of scores of parts in a file (`fragment_files.read`); its set.json. What the file says of unit,
    sign and explanandum must agree with what is stated."""
    task, model = context.task, context.model
    videos: dict[str, Timeline] = {}
    for start, stop in context.ranges():
        loaded = task.load(start, stop, model)
        videos |= zip(loaded.ids, loaded.timelines, strict=True)
    unit = cast(fragment_files.Unit, method.resample) if method.resample in RULES["temporal"] else "fragment"
    found = fragment_files.read(file, videos, unit=unit, inclusive=method.inclusive)
    first = found[0]
    explanandum = first.explanandum or method.explanandum
    if explanandum is None or (method.explanandum or explanandum) != explanandum:
        raise VxpError(f"{file}: the scores explain {explanandum or 'what nobody says'}, and --explanandum is "
                       f"{method.explanandum or 'not given'}: state one of {', '.join(get_args(typed.Explanandum))}")
    if first.signed is not None and first.signed != method.signed:
        raise VxpError(f"{file}: signed is {first.signed}, and --{'signed' if method.signed else 'unsigned'} was given: state "
                       "the same")
    system = method.system()
    facts: typed.Explainer = {**method.facts(), "resample": first.unit, "explanandum": cast(typed.Explanandum, explanandum)}
    bound = explainers.absent(facts, system)
    longest = max(len(scores.values) for scores in found)
    with run.claimed(context, run.run_document(context, [bound], None)):
        run.prepared(context, [])
        ranges = list(context.ranges())

        def part(number: int) -> Made:
            start, stop = ranges[number]
            some = found[start:stop]
            return _made(context, method, start, torch.tensor([scores.values for scores in some]),
                         torch.tensor([scores.segments for scores in some]))

        write_set(context, bound, context.out, (longest,), part)
        store.write_document(context.out / "system.json", system)
    return context.out / "set.json"


def read_maps(path: Path, items: Sequence[str], kind: Map = HEATMAP2D) -> Tensor:
    """Maps [N, h, w] float32 in the items' order, of clips [N, t, h, w].

    path: a .safetensors with one tensor [N, h, w] in the order of items.csv, or one [h, w] for each item by its id; a .npy
    [N, h, w]; or a folder with a .npy, .safetensors or grey .png for each item, named by its id or its row. Nothing is
    unpickled. VxpError names what is missing or of another shape.
    """
    if path.is_dir():
        return _stacked(path, _of_folder(path, items), items, kind)
    if not path.is_file():
        raise VxpError(f"--maps {path} does not exist: expected a .safetensors or .npy file, or a folder with "
                       "one file per item")
    tensors = _file(path)
    if isinstance(tensors, np.ndarray):
        return _whole(path, tensors, items, kind)
    if len(tensors) == 1 and next(iter(tensors.values())).ndim == len(kind.grid) + 1:
        return _whole(path, next(iter(tensors.values())), items, kind)
    return _stacked(path, tensors, items, kind)


def _file(path: Path) -> np.ndarray | dict[str, np.ndarray]:
    try:
        if path.suffix == ".npy":
            return _npy(path)
        if path.suffix == ".safetensors":
            return dict(safetensors.numpy.load_file(path))
        if path.suffix == ".png":
            # the format by name: Image.open would take any that it knows
            image = Image.open(path, formats=("PNG",))
            if image.mode not in ("L", "I;16", "I", "F"):
                raise VxpError(f"{path}: an image of mode {image.mode}; expected a grey PNG of 8 or 16 bit")
            return np.asarray(image, np.float32)
    except VxpError:
        raise
    except Exception as error:  # whatever a damaged file provokes in a reader
        raise VxpError(f"{path} cannot be read: {plain(' '.join(str(error).split())[:300]) or type(error).__name__}") from None
    raise VxpError(f"{path}: expected a file that ends in {', '.join(ENDINGS)}")


def _npy(path: Path) -> np.ndarray:
    """An array of numbers. The file is as long as its header says before anything is reserved, and is no archive."""
    with path.open("rb") as file:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
        there = path.stat().st_size - file.tell()
        if dtype.hasobject or dtype.itemsize * math.prod(shape) != there:
            raise ValueError(f"{there} bytes for values {list(shape)} of {dtype}; expected numbers, and as many as the header "
                             "says")
        file.seek(0)
        return np.asarray(np.lib.format.read_array(file, allow_pickle=False))


def _of_folder(folder: Path, items: Sequence[str]) -> dict[str, np.ndarray]:
    """A file per item: `<item id>.npy` (also in folders, where ids have slashes) or `<row>.npy` with or without zeros."""
    files = [p for p in sorted(folder.rglob("*")) if p.is_file() and p.suffix in ENDINGS]
    known = {item: item for item in items} | {f"{i:05d}": item for i, item in enumerate(items)}
    known |= {str(i): item for i, item in enumerate(items) if str(i) not in known}
    found: dict[str, np.ndarray] = {}
    for file in files:
        name = file.relative_to(folder).with_suffix("").as_posix()
        item = known.get(name)
        if item is None:
            raise VxpError(f"{file}: no item of the task is called {name!r}; items are called {items[0]!r} ..., rows 00000 ...")
        if item in found:
            raise VxpError(f"{file}: a second map of item {item!r}")
        values = _file(file)
        if not isinstance(values, np.ndarray):
            if len(values) != 1:
                raise VxpError(f"{file}: got {len(values)} tensors, expected one")
            values = next(iter(values.values()))
        found[item] = values
    return found


def _whole(path: Path, values: np.ndarray, items: Sequence[str], kind: Map) -> Tensor:
    if values.ndim != len(kind.grid) + 1 or len(values) != len(items) or 0 in values.shape:
        raise VxpError(f"{path}: got an array {list(values.shape)}, expected [{len(items)}, {kind.shape}]: a map for each of "
                       "the task's items, in the order of its list (vxp data export writes it)")
    return _float(path, values)


def _stacked(path: Path, maps: Mapping[str, np.ndarray], items: Sequence[str], kind: Map) -> Tensor:
    missing, extra = [i for i in items if i not in maps], [k for k in maps if k not in set(items)]
    if missing or extra:
        said = [f"{len(names)} {what} ({', '.join(names[:NAMES_SHOWN])}{', ...' if len(names) > NAMES_SHOWN else ''})"
                for what, names in (("items without a map", missing), ("maps of no item", extra)) if names]
        raise VxpError(f"{path}: {' and '.join(said)}; expected one for each of the task's {len(items)} items, by its id")
    shapes = {tuple(m.shape) for m in maps.values()}
    if len(shapes) > 1 or len(next(iter(shapes))) != len(kind.grid) or 0 in next(iter(shapes)):
        raise VxpError(f"{path}: got maps of the shapes {sorted(shapes)[:NAMES_SHOWN]}, expected one shape [{kind.shape}] "
                       "for all")
    return _float(path, np.stack([maps[item] for item in items]))


def _float(path: Path, values: np.ndarray) -> Tensor:
    if not (np.issubdtype(values.dtype, np.floating) or np.issubdtype(values.dtype, np.integer)):
        raise VxpError(f"{path}: got values of {values.dtype}, expected real numbers")
    return torch.from_numpy(np.ascontiguousarray(values, np.float32))


__all__ = ["Method", "export", "import_", "read_maps"]
