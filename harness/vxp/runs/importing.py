"""Maps made elsewhere: a task's images and targets go out as files, maps come back as an explanation set."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
import torch
import vxp_schemas
from PIL import Image
from torch import Tensor
from vxp_schemas import typed

from vxp import explainers
from vxp.core import OK, VxpError
from vxp.datasets import Timeline
from vxp.documents import RULES, plain_json, store
from vxp.kinds import KINDS, Kind, Map
from vxp.runs import baselines, fragment_files, result, run
from vxp.runs.baselines import BROKEN
from vxp.runs.context import Context
from vxp.runs.explanations import Made, write_set
from vxp.runs.map_files import read_maps

RESAMPLE = ("bilinear", "nearest", "frames", "none", "fragment", "frame", "second")


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
            if task.divided:
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
    """What made the maps, in the words of whoever imports them. Passes and milliseconds are per map; 0: not stated.
    explanandum and inclusive are of scores of the parts of videos, where their file does not say. kind: what the explanations
    are, by default the first that the task admits."""

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
    kind: str | None = None

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
    if task.divided:
        return _import_scores(context, maps, method)
    kind = _kind(context, method)
    rule = kind.rule(method.facts()["resample"])
    values = read_maps(maps, [item.id for item in task.items], kind)
    if not isinstance(kind, Map) or kind.also is not None:
        _fit(context, kind, values, maps)
    elif method.resample == "none" and list(values.shape[1:]) != list(task.document["input_size"]):
        raise VxpError(f"{maps}: got maps of {list(values.shape[1:])}; --resample none needs {task.document['input_size']}, "
                       "the size of the input")
    bound = explainers.absent({**method.facts(), "resample": rule}, system).on(kind)
    with run.claimed(context, run.run_document(context, [bound], None)):
        run.prepared(context, [])
        ranges = list(context.ranges())

        def part(number: int) -> Made:
            start, stop = ranges[number]
            return _made(context, method, start, values[start:stop])

        write_set(context, bound, out, tuple(values.shape[1:]), part)
        store.write_document(out / "system.json", system)
    return out / "set.json"


def _kind(context: Context, method: Method) -> Kind:
    """What the explanations are; VxpError for a kind that the task does not admit."""
    if method.kind is None:
        return context.task.kinds[0]
    context.task.admits(method.kind)
    return KINDS[method.kind]


def _fit(context: Context, kind: Kind, values: Tensor, maps: Path) -> None:
    """VxpError for explanations that are none of the task's items."""
    for start, stop in context.ranges():
        loaded = context.loaded(start, stop)
        kind.checked(values[start:stop], loaded.batch(torch.zeros(stop - start, dtype=torch.int64)), str(maps))


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
    bound = explainers.absent(facts, system).on(*(kind for kind in task.kinds if kind.ragged))
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


__all__ = ["Method", "export", "import_"]
