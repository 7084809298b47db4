"""Class maps are trained on masked images while the model is frozen."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from vxp import models
from vxp.core import Batch, VxpError
from vxp.runs.fitting import Images, Session, Trained

from vxp_explainers._class_maps import CHOICES, LINEAR, Design, Recipe, built, reader_of, structure
from vxp_explainers._common import check_one_of, hooked, observed


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
    """1/(2*batch) times the squared differences of neighbours, along every axis, and border times the squares on the four
    border lines (corners count twice), of clips the six border planes, all summed over maps [N, h, w] or [N, t, h, w]."""
    axes = range(1, maps.ndim)
    steps = sum(maps.diff(dim=axis).square().sum() for axis in axes)
    lines = sum(maps.select(axis, end).square().sum() for axis in axes for end in (0, -1))
    return torch.as_tensor(steps + border * lines) / (2 * batch)


def regularised_maps(attention: Tensor, labels: Tensor, rule: str) -> Tensor:
    """The maps [N, *grid] of attention [B, K, *grid] that area and variation look at: `own`, each image's own class (N = B);
    `batch`, the classes of all images of the batch for every image (N = B*B), as in the published code."""
    if rule == "own":
        return attention[torch.arange(len(labels)), labels]
    return attention[:, labels].flatten(0, 1)


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
                      "fuser_bias": design.fuser_bias, **({"axes": 3} if len(first.space) == 3 else {})}
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
                where = mirrored[rows].view(-1, *[1] * (batch.inputs.ndim - 1))
                batch = batch.select(range(len(batch)), torch.where(where, batch.inputs.flip(-1), batch.inputs))
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
        """Logits [B, K] of what the masks [B, *grid] leave of the features, of the image or of the clip."""
        if self.design.masked == "features":
            (name,), left = self.layers, dict(uses)

            def mask(_m: nn.Module, _i: object, output: Tensor) -> Tensor | None:
                left[name] -= 1
                return output * own[:, None].to(output.dtype) if left[name] == 0 else None

            with hooked({name: mask}, self.model):
                logits: Tensor = self.model(batch.inputs)
                return logits
        large = F.interpolate(own[:, None], size=batch.space, mode=LINEAR[len(batch.space)], align_corners=False)
        if self.recipe.mask_space == "normalized":
            return self.model(large * batch.inputs)  # type: ignore[no-any-return]
        return self.model(batch.to_inputs(large * batch.raw()))  # type: ignore[no-any-return]

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
