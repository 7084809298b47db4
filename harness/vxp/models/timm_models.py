"""Any classifier of timm (extra `vxp[timm]`): `timm/NAME`, `timm/NAME.TAG`, either with `@FILE`."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from vxp_schemas import typed

from vxp.catalogue import nearest
from vxp.core import Normalization, VxpError
from vxp.models import torchvision_models
from vxp.models import weights as files
from vxp.models.identity import Card, More, Takes, described
from vxp.models.loaded import Model, document_id, published

WEIGHTS = ("model.safetensors", "pytorch_model.bin")
"""What timm's repositories call the file of the weights; the first that is in the cache is read."""
FEATURES = ("these weights end in features, expected a classifier's: give those of a fine-tuned head as @FILE, or wrap the "
            "model in file.py:factory")


def library() -> Any:
    """timm, imported when a model of it is named; VxpError where it is not installed."""
    try:
        import timm
    except ImportError as error:
        raise VxpError(f"models timm/NAME need a package that is not installed ({error.name}): pip install 'vxp[timm]'"
                       ) from None
    return timm


def folder() -> Path:
    """Where the Hugging Face libraries keep what they fetched."""
    library()
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def load(name: str, file: Path | None = None) -> Model:
    """The model with weights of the Hugging Face cache, or with those of a file, in the preprocessing of timm's own entry.

    A file may have another number of classes: the model is built with as many as its head has. Nothing is asked of a
    network: the cache is looked into, and timm is handed the tensors.
    VxpError for an unknown name or tag, absent or damaged files, and weights that do not fit.
    """
    full, entry = _chosen(name)
    what = f"model {name}" if file is None else f"model {name}@{file}"
    if file is None and not entry.num_classes:
        raise VxpError(f"{what}: {FEATURES}")
    state = files.read(_cached(name, entry) if file is None else file, what)
    classes = _classes(what, entry, state)
    module = _built(full, classes, state, what, own=file is not None)
    size, normalization = (entry.input_size[1], entry.input_size[2]), Normalization(tuple(entry.mean), tuple(entry.std))
    more: More = {"input": _input(entry, size, normalization)}
    if file is None:
        id, title, license = document_id("timm", full), f"timm {full}", str(entry.license or "not stated")
        more["load_name"] = f"timm/{full}"
    else:
        architecture = full.partition(".")[0]
        id, title = document_id("timm", architecture, file.stem), f"timm {architecture}, weights of {file.name}"
        license = "not stated"
    document = described(module,
                         Card(id=id, title=title, license=license, symbol=f"timm.create_model:{full.partition('.')[0]}",
                              status="unregistered"),
                         Takes(size, normalization, classes),
                         more)
    return Model(id, module, normalization, size, _class_names(entry) if file is None else (), document)


# ------------------------------------------------------------------------------------------------------------ what is named


def _chosen(name: str) -> tuple[str, Any]:
    """Architecture with tag, and timm's entry of it; VxpError with the nearest for what timm does not have."""
    timm = library()
    architecture, _, tag = name.removeprefix("timm/").partition(".")
    known = timm.list_models()
    if architecture not in known:
        raise VxpError(f"timm {timm.__version__} has no model {architecture!r}{nearest(architecture, known)}; "
                       f"timm.list_models() lists all {len(known)}")
    tags = [n.partition(".")[2] for n in timm.list_pretrained(f"{architecture}.*")]
    if tag and tag not in tags:
        raise VxpError(f"timm's {architecture} has no weights {tag!r}{nearest(tag, tags)}; expected "
                       f"{'one of ' + ', '.join(tags) if tags else 'none'}")
    entry = timm.get_pretrained_cfg(f"{architecture}.{tag}" if tag else architecture)
    return f"{architecture}.{entry.tag}" if entry.tag else architecture, entry


def _cached(name: str, entry: Any) -> Path:
    """The file of the weights in the cache; VxpError says which is missing, where it is looked for and what fetches it."""
    if entry.hf_hub_id:
        from huggingface_hub import try_to_load_from_cache

        repository, _, revision = entry.hf_hub_id.partition("@")
        wanted = (entry.hf_hub_filename,) if entry.hf_hub_filename else WEIGHTS
        for file in wanted:
            found = try_to_load_from_cache(repository, file, cache_dir=folder(), revision=revision or None)
            if isinstance(found, str):
                return Path(found)
        here = f"{folder() / ('models--' + repository.replace('/', '--'))}"
        source = f"https://huggingface.co/{repository}/resolve/{revision or 'main'}/{wanted[0]}"
    elif entry.url:
        found = torchvision_models.folder() / str(entry.url).rsplit("/", 1)[-1]
        if found.is_file():
            return found
        here, source = str(found), str(entry.url)
    else:
        raise VxpError(f"model {name}: timm has no weights for it, expected some of your own: {name}@FILE")
    call = f"timm.create_model('{name.removeprefix('timm/')}', pretrained=True)"
    raise VxpError(f"model {name}: its weights are not on this machine, and nothing is fetched at run time. They are looked "
                   f"for in {here}, which fills on a machine with a network: python -c \"import timm; {call}\" (copy the "
                   f"folder here). Or get {source} and name it: {name}@FILE")


def _input(entry: Any, size: tuple[int, int], normalization: Normalization) -> typed.ModelInput:
    # as timm's own evaluation: the shorter side is the input's over the share that the crop keeps
    return published(size=size, normalization=normalization, shorter=int(min(size) / entry.crop_pct),
                     interpolation=str(entry.interpolation))


def _class_names(entry: Any) -> tuple[str, ...]:
    """The 1,000 names, where the tag says that ImageNet-1k was what the weights learnt last."""
    if entry.num_classes != 1000 or not str(entry.tag or "").endswith("in1k"):
        return ()
    return tuple(torchvision_models.library().ResNet50_Weights.IMAGENET1K_V1.meta["categories"])


# -------------------------------------------------------------------------------------------------------------- the module


def _classes(what: str, entry: Any, state: OrderedDict[str, Tensor]) -> int:
    """As many classes as the head of the weights has; VxpError for weights that have none."""
    heads = [entry.classifier] if isinstance(entry.classifier, str) else list(entry.classifier or ())
    for head in heads:
        weight = state.get(f"{head}.weight")
        if weight is not None and weight.ndim > 1:
            return len(weight)
    if not entry.num_classes:
        raise VxpError(f"{what}: {FEATURES}")
    return int(entry.num_classes)


def _built(full: str, classes: int, state: OrderedDict[str, Tensor], what: str, *, own: bool) -> nn.Module:
    """The module with its weights: as they are where they fit, by timm's own conversion where their keys are of another age.

    A user's file of other shapes is refused, where timm would resample what it can.
    """
    with torch.random.fork_rng(devices=[]):
        module: nn.Module = library().create_model(full, pretrained=False, num_classes=classes)
    wrong = files.misshapen(module, state)
    if not (own and wrong) and (wrong or set(state) != set(module.state_dict())):
        converted = _converted(full, classes, state)
        if converted is not None:
            return converted.eval()
    files.put(module, state, what)
    return module.eval()


def _converted(full: str, classes: int, state: OrderedDict[str, Tensor]) -> nn.Module | None:
    """The module as timm loads these weights; none where it cannot, or leaves a tensor to chance.

    Some of timm's architectures do not ask for every key: what differs between two seeds was not in the weights.
    """
    found: list[nn.Module] = []
    for seed in (0, 1):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            try:
                found.append(library().create_model(full, pretrained=True, num_classes=classes, pretrained_cfg_overlay={
                    "state_dict": dict(state), "num_classes": classes}))
            except (RuntimeError, KeyError, ValueError, AttributeError, IndexError, TypeError):
                return None  # whatever a filter of timm does with keys that it does not know
        vars(found[-1])["pretrained_cfg"].pop("state_dict", None)  # or every copy of the module holds the weights twice
    one, other = (module.state_dict() for module in found)
    return found[0] if all(torch.equal(value, other[key]) for key, value in one.items()) else None
