"""What L-CAM, TAME, T-TAME and P-TAME share: class maps from features, trained on masked images while the model is frozen.

A small network turns features of the model into a stack C [B, K, h, w], one map for each of K classes (Gkartzonika et al.
2022; Ntrougkas et al. 2022). It is trained so that the model still predicts class y from what A = sigmoid(C_y) leaves of
the image, with two terms that keep A small and smooth. One forward pass then gives the maps of all classes.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cache, partial
from importlib.resources import files
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
import vxp_schemas
from torch import Tensor, nn
from torch.nn import functional as F
from vxp import models
from vxp.catalogue import nearest
from vxp.core import Batch, Normalization, NotExplainedError, Training, VxpError
from vxp.core.perturb import minmax
from vxp.runs.fitting import Images, Session, Trained

from vxp_explainers._common import check_one_of, hooked, observed

AUTO = "auto"
FINEST = 56
"""The largest grid of a TAME map, as in the authors' code."""
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {"relu": F.relu, "sigmoid": torch.sigmoid}


# -------------------------------------------------------------------------------------------------------- the networks


class LCam(nn.Module):
    """One 1x1 convolution from features [B, C, h, w] to class maps [B, K, h, w]: (C + 1)*K parameters."""

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.maps = nn.Conv2d(channels, classes, 1)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        out: Tensor = self.maps(features[0])
        return out


class Tame(nn.Module):
    """Z_i = up(act(BN(W_i*F_i + b_i) + F_i)) for each feature map F_i; C = a 1x1 convolution of all Z_i beside each other.

    up is bilinear (align_corners=False) to the grid of the first feature map, 56 at most. Ablations: without skip the F_i
    is not added, without norm there is no BN, activation `sigmoid` takes the ReLU's place in the branches.
    """

    def __init__(self, channels: Sequence[int], classes: int, *, skip: bool = True, norm: bool = True,
                 activation: str = "relu", fuser_bias: bool = True) -> None:
        super().__init__()
        self.skip = skip
        self.activation: Callable[[Tensor], Tensor] = ACTIVATIONS[activation]
        self.branches = nn.ModuleList(nn.Conv2d(c, c, 1) for c in channels)
        self.norms = nn.ModuleList(nn.BatchNorm2d(c) if norm else nn.Identity() for c in channels)
        self.fuser = nn.Conv2d(sum(channels), classes, 1, bias=fuser_bias)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        size = [min(side, FINEST) for side in features[0].shape[2:]]
        branches = []
        for feature, convolution, norm in zip(features, self.branches, self.norms, strict=True):
            z = norm(convolution(feature))
            z = self.activation(z + feature if self.skip else z)
            branches.append(F.interpolate(z, size=size, mode="bilinear", align_corners=False))
        out: Tensor = self.fuser(torch.cat(branches, dim=1))
        return out


def built(facts: Mapping[str, Any]) -> nn.Module:
    """The network that a card describes."""
    if facts["kind"] == "l-cam":
        return LCam(facts["channels"][0], facts["classes"])
    return Tame(facts["channels"], facts["classes"], skip=facts["skip"], norm=facts["norm"], activation=facts["activation"],
                fuser_bias=facts["fuser_bias"])


# ------------------------------------------------------------------------------------------------------------ the model


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """The model in eval mode, its statistics and weights at rest; modes and flags are restored after."""
    flags = [(p, p.requires_grad) for p in model.parameters()]
    with models.evaluating(model):
        try:
            for parameter, _ in flags:
                parameter.requires_grad_(False)
            yield
        finally:
            for parameter, flag in flags:
                parameter.requires_grad_(flag)


# ------------------------------------------------------------------------------------------------------------- the loss


def area(maps: Tensor, power: float = 0.3, shift: float = 5e-4) -> Tensor:
    """The mean of (A + shift)^power over maps [N, h, w] in [0, 1]; the shift keeps the derivative at 0 finite."""
    return (maps + shift).pow(power).mean()


def variation(maps: Tensor, batch: int, border: float = 0.3) -> Tensor:
    """1/(2*batch) times the squared differences of neighbours, down and across, and border times the squares on the four
    border lines (corners count twice), all summed over maps [N, h, w]."""
    down, across = maps.diff(dim=1).square().sum(), maps.diff(dim=2).square().sum()
    lines = (maps[:, 0], maps[:, -1], maps[:, :, 0], maps[:, :, -1])
    return (down + across + border * sum(line.square().sum() for line in lines)) / (2 * batch)


def regularised_maps(attention: Tensor, labels: Tensor, rule: str) -> Tensor:
    """The maps [N, h, w] of attention [B, K, h, w] that area and variation look at: `own`, each image's own class (N = B);
    `batch`, the classes of all images of the batch for every image (N = B*B), as in the published code."""
    if rule == "own":
        return attention[torch.arange(len(labels)), labels]
    return attention[:, labels].flatten(0, 1)


# ---------------------------------------------------------------------------------------------------------- the recipes


@dataclass(frozen=True)
class Recipe:
    """How class maps are trained.

    layers: dotted module names joined by +, by default the published ones of the backbone, else those that are found.
    skip, norm, activation: ablations of TAME. cross_entropy, area, variation: weights of the three terms (1, 0 and 0 are the
    cross-entropy-only variants); area_power of the area term. regularised: which maps the two regularisers look at
    (see `regularised_maps`). labels: the class is what the model `predicted` for the image as it is shown, or is `given`
    with it. mask_space: the mask multiplies the `raw` image in [0, 1], or the `normalized` one. flip: every image is
    mirrored with probability 1/2. optimiser `sgd` (Nesterov) or `adamw` (amsgrad); rate of the weights, that of biases is
    bias_rate times as large; decay is weight decay, of biases too where decay_biases. schedule: `one-cycle` over all steps
    (PyTorch's defaults, rate is its maximum), or `epochs`, the rate times gamma after each of the first gamma_epochs.
    """

    layers: str | None = None
    skip: bool = True
    norm: bool = True
    activation: str = "relu"
    cross_entropy: float = 1.5
    area: float = 2.0
    variation: float = 0.01
    area_power: float = 0.3
    regularised: str = "batch"
    labels: str = "predicted"
    mask_space: str = "raw"
    flip: bool = True
    optimiser: str = "sgd"
    momentum: float = 0.9
    rate: float = 1e-3
    bias_rate: float = 2.0
    decay: float = 5e-4
    decay_biases: bool = False
    schedule: str = "one-cycle"
    gamma: float = 1.0
    gamma_epochs: int = 0
    epochs: int = 8
    batch: int = 32


CHOICES = {"regularised": ("own", "batch"), "labels": ("predicted", "given"), "mask_space": ("raw", "normalized"),
           "optimiser": ("sgd", "adamw"), "schedule": ("one-cycle", "epochs"), "activation": tuple(ACTIVATIONS)}


def backbone(model: nn.Module) -> str:
    """The published recipe that fits a model: vgg16, resnet50 or vit by the kind of network, else `other`."""
    kinds = {"VGG": "vgg16", "ResNet": "resnet50", "VisionTransformer": "vit"}
    return kinds.get(type(model).__name__, "other")


def published_layers(model: nn.Module, which: Mapping[str, tuple[str, ...]]) -> tuple[str, ...] | None:
    """The layers that a method was published with, where the model has all of them."""
    names = which.get(backbone(model), ())
    known = dict(model.named_modules())
    if backbone(model) == "vgg16" and len(getattr(model, "features", ())) != 31:
        return None  # another depth, or with batch norm: the numbers mean other layers
    return names if names and all(name in known for name in names) else None


@dataclass(frozen=True)
class Design:
    """What tells the methods apart: the network's kind, its default layers for a model, what the mask multiplies
    (`features` or `image`), and for a model known only by its answers the network whose features are read."""

    id: str
    kind: str
    layers: Callable[[nn.Module, Tensor], Sequence[str]]
    masked: str = "image"
    features: str | None = None
    fuser_bias: bool = True


# --------------------------------------------------------------------------------------------------------- the training


def fit(model: nn.Module, images: Images, session: Session, recipe: Recipe, design: Design) -> Trained:
    """Train the class maps of a design for a model that stays as it is, bit by bit.

    VxpError for words that a recipe does not know, for images whose classes the model does not have, for a model whose
    output does not depend on its input differentiably, and where the model's weights or statistics were changed.
    """
    for name, known in CHOICES.items():
        check_one_of(design.id, name, getattr(recipe, name), known)
    before = models.state_dict_digest(model)
    with frozen(model), torch.random.fork_rng(devices=[]):
        torch.manual_seed(session.seed)
        trained = _Training(model, images, session, recipe, design).run()
    if models.state_dict_digest(model) != before:
        raise VxpError(f"training {design.id} changed the model: its state has {models.state_dict_digest(model)}, expected "
                       f"{before}. A model whose forward changes its buffers in eval mode cannot be explained so")
    return trained


class _Training:
    """One training: the network, its optimiser, and the classes it has seen."""

    def __init__(self, model: nn.Module, images: Images, session: Session, recipe: Recipe, design: Design) -> None:
        self.model, self.images, self.session, self.recipe, self.design = model, images, session, recipe, design
        self.reader = reader_of(design.features)
        first = images.batch([0]).to(session.device)
        read = model if self.reader is None else self.reader.module
        self.layers = recipe.layers.split("+") if recipe.layers else list(design.layers(read, first.inputs))
        logits, features, _ = self.look(first)
        self.facts = {"kind": design.kind, "channels": [f.shape[1] for f in features], "classes": logits.shape[1],
                      "skip": recipe.skip, "norm": recipe.norm, "activation": recipe.activation,
                      "fuser_bias": design.fuser_bias}
        self.network = built(self.facts).to(session.device)
        self.steps = max(1, len(images) // recipe.batch)
        self.optimiser, self.schedule = self._optimiser()
        self.counts = torch.zeros(logits.shape[1], dtype=torch.long)
        self.log: list[dict[str, float]] = []

    def look(self, batch: Batch) -> tuple[Tensor, list[Tensor], dict[str, int]]:
        """Logits of the model and the features that the maps are made from."""
        with torch.no_grad(), self.arithmetic():
            if self.reader is None:
                return observed(self.model, self.layers, batch)
            return self.model(batch.inputs), observed(self.reader.module, self.layers, self.reader.batch(batch))[1], {}

    def arithmetic(self) -> contextlib.AbstractContextManager[Any]:
        if self.session.precision == "bf16":
            return torch.autocast(torch.device(self.session.device).type, dtype=torch.bfloat16)
        return contextlib.nullcontext()

    def _optimiser(self) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LRScheduler]:
        r = self.recipe
        named = list(self.network.named_parameters())
        groups: list[dict[str, Any]] = [
            {"params": [p for n, p in named if not n.endswith("bias")], "lr": r.rate, "weight_decay": r.decay},
            {"params": [p for n, p in named if n.endswith("bias")], "lr": r.bias_rate * r.rate,
             "weight_decay": r.decay if r.decay_biases else 0.0}]
        groups = [group for group in groups if group["params"]]
        optimiser: torch.optim.Optimizer = (
            torch.optim.SGD(groups, lr=r.rate, momentum=r.momentum, nesterov=True) if r.optimiser == "sgd"
            else torch.optim.AdamW(groups, lr=r.rate, amsgrad=True))
        if r.schedule == "one-cycle":
            return optimiser, torch.optim.lr_scheduler.OneCycleLR(
                optimiser, [group["lr"] for group in groups], total_steps=r.epochs * self.steps)
        steps, gamma, last = self.steps, r.gamma, r.gamma_epochs
        return optimiser, torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: gamma ** min(step // steps, last))

    def run(self) -> Trained:
        began, start = time.monotonic(), self._resumed()
        progress = self.session.progress
        if progress is not None:
            progress.stage(f"training {self.design.id}", self.recipe.epochs * self.steps * self.recipe.batch)
            progress.items(start * self.steps * self.recipe.batch)
        for epoch in range(start, self.recipe.epochs):
            self._epoch(epoch)
            self._save(epoch + 1)
        self.network.eval()
        # a class that came up less than once an epoch is a slip of the model on a mirrored image, and not learnt
        seen = {str(k): int(n) for k, n in enumerate(self.counts.tolist()) if n >= self.recipe.epochs}
        card = {"mechanism": self.facts, "layers": self.layers, "features": self.design.features, "masked": self.design.masked,
                "structure": structure(self.model), "trained_classes": seen,
                "num_params": sum(p.numel() for p in self.network.parameters()), "log": self.log,
                "seconds": round(time.monotonic() - began, 1)}
        return Trained(self.network.state_dict(), card)

    def _epoch(self, epoch: int) -> None:
        self.network.train()
        # an epoch's order and mirrors are its own, so that a training that goes on sees what it would have seen
        generator = torch.Generator().manual_seed(self.session.seed * 1_000_003 + epoch)
        order = torch.randperm(len(self.images), generator=generator)
        mirrored = torch.rand(len(self.images), generator=generator) < 0.5
        size, began = min(self.recipe.batch, len(order)), time.monotonic()
        totals: dict[str, float] = {}
        for rows in order[: self.steps * size].split(size):
            batch = self.images.batch(rows.tolist())
            if self.recipe.flip:
                where = mirrored[rows].view(-1, 1, 1, 1)
                batch = batch.select(range(len(batch)), torch.where(where, batch.inputs.flip(3), batch.inputs))
            for name, value in self._step(batch.to(self.session.device)).items():
                totals[name] = totals.get(name, 0.0) + value / self.steps
            if self.session.progress is not None:
                self.session.progress.items(len(rows))
        told = {name: round(value, 5) for name, value in totals.items()}
        self.log.append({"epoch": epoch, **told, "seconds": round(time.monotonic() - began, 1)})

    def _step(self, batch: Batch) -> dict[str, float]:
        r = self.recipe
        logits, features, uses = self.look(batch)
        labels = logits.argmax(1) if r.labels == "predicted" else batch.targets
        with torch.enable_grad():
            with self.arithmetic():
                attention = self.network(features).sigmoid()
                own = attention[torch.arange(len(labels)), labels]
                masked = self._masked(batch, own, uses)
            if not masked.requires_grad:
                raise VxpError(f"the model's output does not depend on its input by gradients: {self.design.id} cannot be "
                               "trained for it")
            # a crowd of small terms: in float32 whatever the passes ran in
            maps = regularised_maps(attention.float(), labels, r.regularised)
            terms = {"cross_entropy": F.cross_entropy(masked.float(), labels), "area": area(maps, r.area_power),
                     "variation": variation(maps, len(labels))}
            loss = r.cross_entropy * terms["cross_entropy"] + r.area * terms["area"] + r.variation * terms["variation"]
            self.optimiser.zero_grad()
            loss.backward()
            self.optimiser.step()
            self.schedule.step()
        self.counts += torch.bincount(labels.cpu(), minlength=len(self.counts))
        agreed = float((masked.argmax(1) == labels).float().mean())
        return {"loss": float(loss.detach()), **{k: float(v.detach()) for k, v in terms.items()}, "still_predicted": agreed,
                "mean_attention": float(own.detach().float().mean())}

    def _masked(self, batch: Batch, own: Tensor, uses: Mapping[str, int]) -> Tensor:
        """Logits [B, K] of what the masks [B, h, w] leave of the features or of the image."""
        if self.design.masked == "features":
            (name,), left = self.layers, dict(uses)

            def mask(_m: nn.Module, _i: object, output: Tensor) -> Tensor | None:
                left[name] -= 1
                return output * own[:, None].to(output.dtype) if left[name] == 0 else None

            with hooked({name: mask}, self.model):
                logits: Tensor = self.model(batch.inputs)
                return logits
        large = F.interpolate(own[:, None], size=batch.space, mode="bilinear", align_corners=False)
        if self.recipe.mask_space == "normalized":
            return self.model(large * batch.inputs)  # type: ignore[no-any-return]
        return self.model(batch.normalization.to_inputs(large * batch.raw()))  # type: ignore[no-any-return]

    # ---------------------------------------------------------------------------------------------- what is kept between

    @property
    def settings(self) -> dict[str, Any]:
        return {"design": self.design.id, "recipe": asdict(self.recipe), "mechanism": self.facts, "layers": self.layers,
                "seed": self.session.seed, "images": self.images.document, "model": structure(self.model)}

    def _save(self, epochs: int) -> None:
        state = self.optimiser.state_dict()
        tensors = {f"network.{k}": v for k, v in self.network.state_dict().items()} | {"counts": self.counts}
        for i, kept in state["state"].items():
            tensors |= {f"optimiser.{i}.{k}": v for k, v in kept.items() if isinstance(v, Tensor)}
        self.session.save(self.settings, tensors, {"epochs": epochs, "log": self.log})

    def _resumed(self) -> int:
        """Take up what a training that was stopped has kept; how many epochs are done."""
        found = self.session.load(self.settings)
        if found is None:
            return 0
        tensors, notes = found
        self.network.load_state_dict({k.removeprefix("network."): v for k, v in tensors.items() if k.startswith("network.")})
        state = self.optimiser.state_dict()
        for key, value in tensors.items():
            if key.startswith("optimiser."):
                _, i, name = key.split(".")
                state["state"].setdefault(int(i), {})[name] = value
        self.optimiser.load_state_dict(state)
        self.counts, self.log = tensors["counts"], notes["log"]
        for _ in range(notes["epochs"] * self.steps):
            self.optimiser._opt_called = True  # type: ignore[attr-defined]  # the steps were done, in another process
            self.schedule.step()
        return int(notes["epochs"])


# ---------------------------------------------------------------------------------------------------------- the weights


def structure(model: nn.Module) -> str:
    """SHA-256 of the names and shapes of a model's state: the same for the same architecture with other weights, so that a
    randomised copy is explained by what was trained for the original."""
    rows = [[key, list(value.shape)] for key, value in sorted(model.state_dict().items())]
    return f"sha256:{hashlib.sha256(vxp_schemas.canonical(rows)).hexdigest()}"


@dataclass(frozen=True, eq=False)
class Weights:
    """Trained class maps, ready to use."""

    path: Path
    card: Mapping[str, Any]
    network: nn.Module


def shipped() -> list[Path]:
    """The weights of this package."""
    return sorted(Path(str(files("vxp_explainers"))).glob("weights/*.safetensors"))


def resolve(design: str, model: nn.Module, *, weights: str) -> dict[str, Any]:
    """The parameters with the weights by name: those that were trained for this very model. VxpError where there are none."""
    found = find(design, model, weights)
    trained_for, got = found.card["model"], models.state_dict_digest(model)
    if trained_for["state_dict_digest"] != got:
        raise VxpError(f"explainer {design!r}: the weights {found.card['name']} were trained for {trained_for['id']} with the "
                       f"digest {trained_for['state_dict_digest']}, and this model of the same architecture has {got}: "
                       f"{_train(design)}")
    return {"weights": found.card["name"] if weights == AUTO else weights}


def components(design: str, *, weights: str) -> list[dict[str, Any]]:
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


def training(design: Design, recipes: Mapping[str, Recipe]) -> Training:
    """How a design is trained and its weights are found."""
    return Training(
        partial(fit, design=design), recipes, lambda model: found if (found := backbone(model)) in recipes else "other",
        partial(resolve, design.id), partial(components, design.id))


# ------------------------------------------------------------------------------------------------------------- the maps


@dataclass(frozen=True, eq=False)
class Reader:
    """A network whose features are read in place of the model's."""

    module: nn.Module
    normalization: Normalization

    def batch(self, batch: Batch) -> Batch:
        """The same images as this network takes them."""
        moved = batch.select(range(len(batch)), self.normalization.to_inputs(batch.raw()))
        self.module.to(batch.inputs.device)
        return moved


@cache
def reader_of(name: str | None) -> Reader | None:
    """The feature network of this name, frozen; None where the model's own features are read."""
    if name is None:
        return None
    loaded = models.load(name)
    for parameter in loaded.module.parameters():
        parameter.requires_grad_(False)
    return Reader(loaded.module.eval(), loaded.normalization)


@torch.no_grad()
def class_maps(model: nn.Module, batch: Batch, weights: Weights) -> Tensor:
    """The maps of all classes [B, K, h, w] before the sigmoid, in one forward pass."""
    reader = reader_of(weights.card["features"])
    with models.evaluating(model):
        if reader is None:
            _, features, _ = observed(model, weights.card["layers"], batch)
        else:
            _, features, _ = observed(reader.module, weights.card["layers"], reader.batch(batch))
    network = weights.network.to(batch.inputs.device)
    out: Tensor = network([f.float() for f in features])
    return out


def explained(design: str, model: nn.Module, batch: Batch, weights: str) -> Tensor:
    """The targets' maps [B, h, w] in [0, 1], min-maxed each on its own grid; NotExplainedError for classes not trained."""
    found = find(design, model, weights)
    trained = found.card["trained_classes"]
    unknown = sorted({int(t) for t in batch.targets if str(int(t)) not in trained})
    if unknown:
        raise NotExplainedError("untrained-class", f"{found.card['name']} was not trained for the classes {unknown[:5]}")
    maps = class_maps(model, batch, found)[torch.arange(len(batch)), batch.targets].double()
    return minmax(maps).float()
