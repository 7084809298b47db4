"""One's own models: `file.py:factory`, or with weights `file.py:factory@FILE`."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vxp import outputs
from vxp.catalogue import nearest
from vxp.core import Normalization, VxpError, doubts
from vxp.models import forms
from vxp.models import weights as files
from vxp.models.clips import FrameEvents
from vxp.models.forms import Form
from vxp.models.identity import Card, Takes, described
from vxp.models.loaded import Model, document_id
from vxp.models.sequences import Scorer
from vxp.origin import OWN_FILE

FACTS = ("mean", "std", "input_size", "class_names", "output", "features", "layout")
SPEC = re.compile(r"(?P<factory>.*\.py:[^@/\\]*)(@(?P<weights>.+))?", re.S)
"""The path may hold an @; a function's name does not."""


def from_file(spec: str) -> Any:
    """The object `name` of `file.py:name`; VxpError for a missing file or name. The file's code is executed."""
    path_text, _, name = spec.rpartition(":")
    path = Path(path_text).expanduser()
    if not path.is_file():
        raise VxpError(f"{spec}: no file {path}, expected a Python file that defines {name!r}")
    module_spec = importlib.util.spec_from_file_location(f"{OWN_FILE}{path.stem}", path)
    if module_spec is None or module_spec.loader is None:
        raise VxpError(f"{spec}: {path} is no Python file")
    module = importlib.util.module_from_spec(module_spec)
    sys.modules[module_spec.name] = module
    try:
        module_spec.loader.exec_module(module)
    except Exception as error:  # whatever the user's code does
        del sys.modules[module_spec.name]
        raise VxpError(f"{spec}: {path} does not run: {type(error).__name__}: {error}") from error
    if not hasattr(module, name):
        known = [n for n in vars(module) if not n.startswith("_")]
        raise VxpError(f"{spec}: {path} defines no {name!r}{nearest(name, known)}; it has {', '.join(known[:10])}")
    return getattr(module, name)


def load(spec: str, form: Form = Form()) -> Model:  # noqa: B008
    """A module, or (module, facts) with any of FACTS, from one's own factory; with the weights of a file, where one is named.

    An input_size of three numbers, or a layout in the form, says that the module takes clips; the form's frames come first.
    output="events" says that the logits are of the frames of clips (vxp.models.clips.frame_events). output="sequence" says that
    it scores steps, with features= numbers per step or of clips, and layout= says in which order it takes the axes
    (vxp.models.sequences).

    VxpError says which of the two files, facts, shapes or keys is wrong.
    """
    parts = SPEC.fullmatch(spec)
    if parts is None:
        raise VxpError(f"{spec}: expected file.py:factory or file.py:factory@FILE")
    factory, file = parts["factory"], Path(parts["weights"]).expanduser() if parts["weights"] else None
    module, facts = _made(factory)
    scores = facts.get("output", "classes") == "sequence"
    if facts.get("output", "classes") not in outputs.OUTPUTS:
        raise VxpError(f"{factory}: output is {facts['output']!r}{nearest(str(facts['output']), outputs.IDS)}; expected one of "
                       f"{', '.join(outputs.IDS)}")
    if not scores and {"features", "layout"} & set(facts):
        raise VxpError(f"{factory}: features and layout are of a model that scores steps: say so by output='sequence'")
    normalization, size = _normalization(factory, facts), _size(factory, facts)
    if file is not None:
        files.put(module, files.read(file, spec), spec,
                  hint="; where the number of classes differs, let the factory build as many as the file has")
    module.eval()
    if scores:
        return _scorer(factory, module, facts, normalization, size)
    if form.layout or len(size) == 3:
        frames = form.frames or (size[0] if len(size) == 3 else forms.FRAMES)
        module, size = forms.first(module, form.layout), (frames, *size[-2:])
    if facts.get("output") == "events":
        if len(size) != 3:
            raise VxpError(f"{factory}: output='events' is of a model that gives a logit to every frame of a clip, expected "
                           "input_size (T, H, W) as well")
        module = FrameEvents(module).eval()
    classes, names = _classes(factory, module, size), tuple(facts.get("class_names", ()))
    if names and len(names) != classes:
        raise VxpError(f"{factory}: {len(names)} class names for {classes} logits, expected as many")
    path, _, symbol = factory.rpartition(":")
    title = f"{symbol} of {Path(path).name}" + (f", weights of {file.name}" if file else "")
    document = described(module,
                         Card(id=document_id("own", Path(path).stem, *([file.stem] if file else [])), title=title,
                              license="not stated", symbol=symbol, status="unregistered"),
                         Takes(size, normalization, classes))
    if form.layout is not None:
        document["input"]["layout"] = form.layout
    return Model(document["id"], module, normalization, size, names, document)


STEPS = 40
"""Of the sequence that a model of features is tried on; it takes any number of them."""


def _scorer(
    spec: str, module: nn.Module, facts: Mapping[str, Any], normalization: Normalization, size: tuple[int, ...]
) -> Model:
    """A model that scores steps: of features, so many per step, or of the frames of clips, whose size has three numbers."""
    features = facts.get("features")
    if features is not None:
        if not isinstance(features, int) or features < 1:
            raise VxpError(f"{spec}: features is {features!r}, expected how many numbers a step has")
        size, normalization = (STEPS, features), Normalization((0.0,), (1.0,))
    elif len(size) != 3:
        raise VxpError(f"{spec}: a model that scores steps needs features, the numbers per step, or input_size (T, H, W) of "
                       "clips")
    scorer = Scorer(module, facts.get("layout", "btd" if features else "bcthw")).eval()
    inputs = torch.zeros(1, *size[::-1]) if features else torch.zeros(1, 3, *size)
    try:
        with torch.no_grad():
            outputs.SEQUENCE.checked(scorer(inputs), inputs)
    except VxpError as error:
        raise VxpError(f"{spec}: {error}") from None
    except Exception as error:  # whatever the user's code does
        raise VxpError(f"{spec}: the model fails on an input {tuple(inputs.shape)} with layout {scorer.layout}: "
                       f"{type(error).__name__}: {error}") from error
    path, _, symbol = spec.rpartition(":")
    document = described(scorer, Card(id=document_id("own", Path(path).stem), title=f"{symbol} of {Path(path).name}",
                                      license="not stated", symbol=symbol, status="unregistered"),
                         Takes(size, normalization, 1))
    return Model(document["id"], scorer, normalization, size, tuple(facts.get("class_names", ())), document)


def _classes(spec: str, module: nn.Module, size: tuple[int, ...]) -> int:
    """How many logits the module returns; VxpError where it returns something else."""
    found = forms.classes(module, size, spec)
    doubts.check_classes(found, f"{spec}: the model")
    return found


def _made(spec: str) -> tuple[nn.Module, Mapping[str, Any]]:
    """What the factory returns; VxpError where it is no factory, fails, or returns something else."""
    factory, name = from_file(spec), spec.rpartition(":")[2]
    if isinstance(factory, nn.Module) or not callable(factory):
        raise VxpError(f"{spec}: {name!r} is a {type(factory).__name__}, expected a function that returns an nn.Module")
    try:
        made = factory()
    except Exception as error:  # whatever the user's code does
        raise VxpError(f"{spec}: {name!r} failed: {type(error).__name__}: {error}") from error
    module, facts = made if isinstance(made, tuple) and len(made) == 2 else (made, {})
    if not isinstance(module, nn.Module) or not isinstance(facts, Mapping):
        raise VxpError(f"{spec} returned {type(made).__name__}, expected an nn.Module or (nn.Module, dict of "
                       f"{', '.join(FACTS)})")
    for fact in facts:
        if fact not in FACTS:
            raise VxpError(f"{spec}: unknown fact {fact!r}{nearest(fact, FACTS)}; expected any of {', '.join(FACTS)}")
    return module, facts


def _normalization(spec: str, facts: Mapping[str, Any]) -> Normalization:
    """mean and std of the facts, 0 and 1 where they say nothing."""
    values: dict[str, tuple[float, ...]] = {}
    for fact, default in (("mean", 0.0), ("std", 1.0)):
        got = facts.get(fact, (default,) * 3)
        if not isinstance(got, Sequence) or len(got) != 3 or not all(isinstance(v, int | float) for v in got):
            raise VxpError(f"{spec}: {fact} is {got!r}, expected three numbers, one per channel")
        values[fact] = tuple(float(v) for v in got)
    if min(values["std"]) <= 0:
        raise VxpError(f"{spec}: std is {values['std']}, expected numbers above 0")
    return Normalization(values["mean"], values["std"])


def _size(spec: str, facts: Mapping[str, Any]) -> tuple[int, ...]:
    """Height and width of the facts: one number for both, or two; three, frames before them, of a model of clips."""
    got = facts.get("input_size", 224)
    pair = (got, got) if isinstance(got, int) else tuple(got) if isinstance(got, Sequence) else ()
    if len(pair) not in (2, 3) or not all(isinstance(v, int) and v > 0 for v in pair):
        raise VxpError(f"{spec}: input_size is {got!r}, expected a number of pixels, or height and width, of a model of clips "
                       "frames, height and width")
    return pair
