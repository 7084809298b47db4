"""Trained class maps on disk: the weights of this package and those that `vxp fit` wrote."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import safetensors.torch
import vxp_schemas
from torch import nn
from vxp import models
from vxp.catalogue import nearest
from vxp.core import VxpError
from vxp_schemas import typed

from vxp_explainers._class_maps import built, structure

AUTO = "auto"


@dataclass(frozen=True, eq=False)
class Weights:
    """Trained class maps, ready to use."""

    path: Path
    card: Mapping[str, Any]
    network: nn.Module


def shipped() -> list[Path]:
    """The weights of this package."""
    return sorted(Path(str(files("vxp_explainers"))).glob("weights/*.safetensors"))


def resolve(design: str, model: nn.Module, *, weights: str) -> typed.Parameters:
    """The parameters with the weights by name: those that were trained for this very model. VxpError where there are none."""
    found = find(design, model, weights)
    trained_for, got = found.card["model"], models.state_dict_digest(model)
    if trained_for["state_dict_digest"] != got:
        raise VxpError(f"explainer {design!r}: the weights {found.card['name']} were trained for {trained_for['id']} with the "
                       f"digest {trained_for['state_dict_digest']}, and this model of the same architecture has {got}: "
                       f"{_train(design)}")
    return {"weights": found.card["name"] if weights == AUTO else weights}


def components(design: str, *, weights: str) -> list[typed.SystemTrainedComponent]:
    """The trained part of a system, for its document."""
    found = opened(_path(design, weights))
    return [{"name": str(found.card["name"]), "weights": str(found.card["weights"])}]


def find(design: str, model: nn.Module, weights: str) -> Weights:
    """The weights of this name or file, or the package's for this architecture; VxpError where they do not fit."""
    if weights != AUTO:
        found = opened(_path(design, weights))
        if found.card["explainer"] != design:
            raise VxpError(f"explainer {design!r}: {found.path.name} holds weights of {found.card['explainer']!r}")
        if found.card["structure"] != structure(model):
            raise VxpError(f"explainer {design!r}: the weights {found.card['name']} were trained for "
                           f"{found.card['model']['id']}, which has another architecture than this model: {_train(design)}")
        return found
    fitting = [w for w in map(opened, shipped())
               if w.card["explainer"] == design and w.card["structure"] == structure(model)]
    if len(fitting) != 1:
        names = ", ".join(w.card["name"] for w in fitting)
        has = f"several weights for this model ({names}): name one with weights:NAME" if names else "no weights for this model"
        raise VxpError(f"explainer {design!r} has {has}; or {_train(design)}")
    return fitting[0]


def _train(design: str) -> str:
    return f"train your own with `vxp fit {design} --model MODEL --images DIR --out FILE.safetensors` and give weights:FILE"


def _path(design: str, weights: str) -> Path:
    own = Path(weights).expanduser()
    if own.suffix == ".safetensors":
        return own
    known = {path.stem: path for path in shipped()}
    if weights not in known:
        raise VxpError(f"explainer {design!r}: no weights are called {weights!r}{nearest(weights, list(known))}; expected "
                       f"{', '.join(known) or 'none are shipped'}, or a file NAME.safetensors that vxp fit wrote")
    return known[weights]


def opened(path: Path) -> Weights:
    """Weights with their card. VxpError where either is missing, damaged or not what vxp fit writes."""
    if not path.is_file():
        raise VxpError(f"{path}: no such file, expected weights that vxp fit wrote")
    return _opened(path, path.stat().st_mtime_ns)


@cache
def _opened(path: Path, _changed: int) -> Weights:
    card_path = path.with_suffix(".json")
    try:
        card = json.loads(card_path.read_bytes())
        network = built(card["mechanism"])
        got = vxp_schemas.file_digest(path)
        if got != card["weights"]:
            raise VxpError(f"{path} has {got}, expected {card['weights']} by its card: it is damaged or was changed")
        network.load_state_dict(safetensors.torch.load_file(path))
    except FileNotFoundError:
        raise VxpError(f"{card_path}: no such file, expected the card that vxp fit wrote beside {path.name}") from None
    except (ValueError, KeyError, TypeError, RuntimeError, safetensors.SafetensorError) as error:
        raise VxpError(f"{path}: not weights that vxp fit wrote ({type(error).__name__}: {error})") from None
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    return Weights(path, card, network.eval())
