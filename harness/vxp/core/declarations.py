"""How metrics and explainers are declared: a function and the facts that the registry, the result and the report print."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor

from vxp.core.case import Outcome, Plan
from vxp.errors import VxpError
from vxp.kinds import KindId, Resample

Better = Literal["higher", "lower", "neither"]
"""Which direction is better. A metric of which neither is describes the map: it is never compared or ranked."""
Truth = Literal["mask", "boxes", "cells", "fixations", "other-fixations", "density", "users", "classes", "class_masks",
                "factors", "present", "without", "swapped", "texts"]
"""Kinds of truth that a metric can need."""
Limits = Mapping[str, tuple[float | None, float | None] | tuple[str, ...]]
"""Per parameter its least and greatest value (None: no bound), or the words it may be."""
Says = Literal["classes", "events", "sequence"]
"""What a model says (see vxp.outputs). What is declared for classes is defined for events too."""
Explanandum = Literal["class", "frame-score", "mean-score", "rank-order"]
"""What of a model's output is explained."""
Reduce = Callable[[Tensor, Tensor, Tensor], Tensor]
"""The set's number from statistics [N, D], clusters int64 [N] and how often each item counts, float64 [R, N]: float64 [R],
NaN where there is none. R resamples of the clusters are R rows of counts."""


@dataclass(frozen=True, eq=False)
class Metric:
    """A declared metric: its plan and the facts that the registry, the result and the report print."""

    id: str
    family: str
    better: Better
    range: tuple[float | None, float | None]
    plan: Callable[..., Plan | Outcome]
    parameters: Mapping[str, Any]
    truth: tuple[Truth, ...] = ()
    re_explains: int | str = 0
    undefined: tuple[str, ...] = ()
    source: str = ""
    caveats: tuple[str, ...] = ()
    binary: bool = False
    version: int = 1
    reduce: Reduce | None = None
    needs_relabelled: bool = False
    limits: Limits = field(default_factory=dict)
    fills: tuple[str, ...] = ()
    kinds: tuple[KindId, ...] = ("heatmap2d",)
    references: bool = True
    shows_inversion: bool = False
    axis: str = "share removed"
    outputs: tuple[Says, ...] = ("classes",)

    @property
    def name(self) -> str:
        return f"{self.id}@{self.version}"

    @property
    def level(self) -> Literal["sample", "set"]:
        """Whether it gives a number to every item, or one to the set."""
        return "sample" if self.reduce is None else "set"


def metric(
    id: str, *, family: str, better: Better, range: tuple[float | None, float | None], truth: Sequence[Truth] = (),
    re_explains: int | str = 0, undefined: Sequence[str] = (), source: str = "", caveats: Sequence[str] = (),
    binary: bool = False, version: int = 1, reduce: Reduce | None = None, needs_relabelled: bool = False,
    limits: Limits | None = None, fills: Sequence[str] = (), kinds: Sequence[KindId] = ("heatmap2d",),
    references: bool = True, shows_inversion: bool = False, axis: str = "share removed",
    outputs: Sequence[Says] = ("classes",),
) -> Callable[[Callable[..., Plan | Outcome]], Metric]:
    """Declare a metric. Its keyword-only arguments with their defaults are the protocol's parameters; limits says for
    each what it may be, and a value outside is refused before anything runs.

    truth: keys of which the task must have one. re_explains: how many times per item the explainer runs again, as a
    number or the name of the parameter that says it (the budget of a task bounds it). caveats: what is known against
    the metric, and what it does not show. binary: every score is 0 or 1, so that its mean is a proportion. reduce makes
    it a metric of the set: its outcome's `statistics` go in, one number per set comes out. needs_relabelled: it asks for
    the model that was trained on permuted labels. fills: those that it uses whatever its parameter `fill` says.
    kinds: the explanations that it is defined for. references: whether the fixed references, where it explains again, are
    scored by it. shows_inversion: an inverted map, or that of another item, shows in it. axis: what the x of its
    curve counts. outputs: what models may say for it (see vxp.outputs).
    """

    def declare(plan: Callable[..., Plan | Outcome]) -> Metric:
        return Metric(id, family, better, range, plan, keyword_defaults(plan), tuple(truth), re_explains,
                      tuple(undefined), source, tuple(caveats), binary, version, reduce, needs_relabelled,
                      limits or {}, tuple(fills), tuple(kinds), references, shows_inversion, axis, tuple(outputs))

    return declare


@dataclass(frozen=True, eq=False)
class Training:
    """How an explainer is trained, and how its weights are found.

    run(model, images, session, recipe) trains (see vxp.runs.fitting). recipes: dataclasses of its parameters, by the
    backbone that they were published for; choose(model) names the one for a model. resolve(model, **parameters) gives the
    parameters with the weights of this model named, VxpError where there are none. components(**parameters) is what was
    trained, as the document of a system lists it.
    """

    run: Callable[..., Any]
    recipes: Mapping[str, Any]
    choose: Callable[[Any], str]
    resolve: Callable[..., Mapping[str, Any]]
    components: Callable[..., Any]


@dataclass(frozen=True, eq=False)
class Explainer:
    """A declared explainer: (model, batch, *, parameters) -> maps [B, h, w] on the native grid, [B, t, h, w] of clips.

    signed: negative values mean evidence against. needs: of {"gradients", "activations", "layer", "truth", "training_data"}.
    reference: one of the fixed references, which are never re-explained. passes: nominal model passes per map
    (forward plus backward), as a number or a function of the parameters; the budget of a task bounds it.
    training: how it is trained, where it is.
    """

    id: str
    explain: Callable[..., Tensor]
    parameters: Mapping[str, Any]
    signed: bool
    resample: Resample = "bilinear"
    target_specific: bool = True
    needs: frozenset[str] = frozenset()
    reference: bool = False
    passes: int | Callable[..., int] = 1
    family: str = "other"
    source: str = ""
    training: Training | None = None
    kinds: tuple[KindId, ...] = ("heatmap2d",)
    outputs: tuple[Says, ...] = ("classes",)
    explanandum: str = "class"

    def nominal(self, parameters: Mapping[str, Any]) -> int:
        """Passes per map with these parameters."""
        return self.passes if isinstance(self.passes, int) else self.passes(**parameters)

    def explains(self, parameters: Mapping[str, Any]) -> Explanandum:
        """What it explains with these parameters."""
        found: Explanandum = parameters.get(self.explanandum, self.explanandum)
        return found


def explainer(
    id: str, *, signed: bool, resample: Resample = "bilinear", target_specific: bool = True,
    needs: Sequence[str] = (), reference: bool = False, passes: int | Callable[..., int] = 1, family: str = "other",
    source: str = "", training: Training | None = None, kinds: Sequence[KindId] = ("heatmap2d",),
    outputs: Sequence[Says] = ("classes",), explanandum: str = "class",
) -> Callable[[Callable[..., Tensor]], Explainer]:
    """Declare an explainer. Its keyword-only arguments with their defaults are recorded and can be set by name. kinds: what it
    makes, by the medium of the items. outputs: what models may say for it. explanandum: what of it is explained, or the
    name of the parameter that says it."""

    def declare(explain: Callable[..., Tensor]) -> Explainer:
        return Explainer(id, explain, keyword_defaults(explain), signed, resample, target_specific, frozenset(needs),
                         reference, passes, family, source, training, tuple(kinds), tuple(outputs), explanandum)

    return declare


def keyword_defaults(function: Callable[..., Any]) -> dict[str, Any]:
    """The keyword-only parameters of a function with their defaults, in order of definition."""
    named = [p for p in inspect.signature(function).parameters.values() if p.kind is p.KEYWORD_ONLY]
    missing = [p.name for p in named if p.default is p.empty]
    if missing:
        raise VxpError(f"{function.__name__}: the parameters {missing} have no default; every protocol parameter has one")
    return {p.name: p.default for p in named}
