"""State dicts from files: read without running any code, and put into a model that they fit to the last key."""

from __future__ import annotations

import pickle
import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from vxp.core import VxpError

PICKLES = (".pth", ".pt", ".bin", ".ckpt")
WRAPPERS = ("state_dict", "model_state_dict", "model")
"""Where training scripts put the state dict in a checkpoint that holds more."""
PREFIXES = ("module.", "_orig_mod.")
"""What torch.nn.DataParallel and torch.compile put before every key."""
SHOWN = 5


def read(file: Path, what: str) -> OrderedDict[str, Tensor]:
    """The state dict of a .safetensors file or of a .pth, .pt, .bin or .ckpt file of torch.save.

    Pickled files are read with weights_only=True: whatever needs code to come back is refused. Checkpoints that hold the
    state dict under a key of WRAPPERS are opened, and PREFIXES are taken off where all keys have them.
    VxpError, that begins with what is loaded, for a file that is absent, damaged or holds something else.
    """
    if not file.is_file():
        raise VxpError(f"{what}: no file {file}, expected the weights, .safetensors or {', '.join(PICKLES)}")
    if file.suffix == ".safetensors":
        loaded: Any = _safetensors(file, what)
    elif file.suffix in PICKLES:
        loaded = _pickled(file, what)
    else:
        raise VxpError(f"{what}: {file} ends in {file.suffix!r}, expected .safetensors or {', '.join(PICKLES)}")
    return _state(loaded, file, what)


def _safetensors(file: Path, what: str) -> dict[str, Tensor]:
    try:
        return dict(safetensors.torch.load_file(file))
    except (safetensors.SafetensorError, OSError, ValueError) as error:
        raise VxpError(f"{what}: {file} is no safetensors file, or damaged: {error}") from None


def _pickled(file: Path, what: str) -> object:
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        code = re.search(r"GLOBAL (\S+)", str(error))
        if code is None:
            raise VxpError(f"{what}: {file} is no file of torch.save, or damaged") from None
        raise VxpError(f"{what}: {file} holds {code[1]}, and only tensors are read, because anything else can run code: "
                       "save the state dict alone, torch.save(model.state_dict(), FILE), or as safetensors") from None
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, AttributeError, IndexError, TypeError) as error:
        # what torch.load raises for bytes that are no archive of its own
        raise VxpError(f"{what}: {file} is no file of torch.save, or damaged: {type(error).__name__}") from None


def _state(loaded: object, file: Path, what: str) -> OrderedDict[str, Tensor]:
    for key in WRAPPERS:
        if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping):
            loaded = loaded[key]
            break
    if not isinstance(loaded, Mapping):
        raise VxpError(f"{what}: {file} holds a {type(loaded).__name__}, expected a state dict: key -> tensor")
    others = [str(key) for key, value in loaded.items() if not isinstance(key, str) or not isinstance(value, Tensor)]
    if others or not loaded:
        raise VxpError(f"{what}: {file} holds {named(others) or 'nothing'}, expected a state dict: key -> tensor")
    state = OrderedDict(loaded)
    for prefix in PREFIXES:
        if all(key.startswith(prefix) for key in state):
            state = OrderedDict((key.removeprefix(prefix), value) for key, value in state.items())
    # which version of each module wrote the file, by which old names of keys are understood; without it, the oldest
    metadata = getattr(loaded, "_metadata", None)
    if metadata is not None:
        state._metadata = metadata  # type: ignore[attr-defined]
    return state


def put(module: nn.Module, state: OrderedDict[str, Tensor], what: str, *, hint: str = "") -> None:
    """Load a state dict that has every key of the module in its shape, no other key, and finite numbers.

    Missing `num_batches_tracked` are no fault: evaluation does not read them. VxpError names and counts what does not fit;
    the hint is added where shapes differ.
    """
    if not hasattr(state, "_metadata"):  # MNASNet asks for its version, and others take none for the oldest
        state._metadata = OrderedDict({"": {"version": module._version}})  # type: ignore[attr-defined]
    try:
        found = module.load_state_dict(state, strict=False)
    except (RuntimeError, ValueError) as error:
        shapes = misshapen(module, state)
        own = module.state_dict()
        faults = _faults([k for k in own if k not in state], [k for k in state if k not in own], shapes)
        raise VxpError(f"{what}: the weights do not fit the model: {faults or error}{hint if shapes else ''}") from None
    faults = _faults(found.missing_keys, found.unexpected_keys, [])
    if faults:
        raise VxpError(f"{what}: the weights do not fit the model: {faults}")
    broken = [key for key, value in state.items() if value.is_floating_point() and not torch.isfinite(value).all()]
    if broken:
        raise VxpError(f"{what}: {count(broken, 'tensor')} of the weights with NaN or infinity: {named(broken)}")


def misshapen(module: nn.Module, state: Mapping[str, Tensor]) -> list[str]:
    """What has another shape in the state dict than in the module, in words."""
    own = module.state_dict()
    return [f"{key} {tuple(value.shape)} instead of {tuple(own[key].shape)}" for key, value in state.items()
            if key in own and value.shape != own[key].shape]


def _faults(missing: Sequence[str], unexpected: Sequence[str], shapes: Sequence[str]) -> str:
    absent = [key for key in missing if not key.endswith("num_batches_tracked")]
    kinds = (("missing", absent), ("unexpected", unexpected), ("of another shape", shapes))
    return "; ".join(f"{count(keys, 'key')} {kind} ({named(keys)})" for kind, keys in kinds if keys)


def count(things: Sequence[str], noun: str) -> str:
    return f"{len(things)} {noun}{'' if len(things) == 1 else 's'}"


def named(keys: Sequence[str]) -> str:
    """The first names of a list, and how many more there are."""
    more = f" and {len(keys) - SHOWN} more" if len(keys) > SHOWN else ""
    return ", ".join(keys[:SHOWN]) + more
