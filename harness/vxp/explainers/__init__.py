"""Find explainers by name, with their parameters: installed ones by entry point, one's own from a Python file."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import vxp_schemas
from torch import Tensor, nn
from vxp_schemas import typed

from vxp import kinds, outputs
from vxp.catalogue import find, nearest, number, split
from vxp.core import Batch, Explainer, ModelChangedError, VxpError, keyword_defaults
from vxp.kinds import Kind
from vxp.models import from_file, guard
from vxp.outputs import Output

GROUP = "vxp.explainers"
REFERENCES: Mapping[str, tuple[str, ...]] = {
    "random": (*kinds.MAPS, "temporal"), "random-coarse": ("heatmap3d",), "centre-gaussian": (*kinds.MAPS, "temporal"),
    "edges": kinds.MAPS, "motion": ("heatmap3d",), "leave-one-out": ("temporal",),
    "object-leave-one-out": ("regions3d",), "oracle": kinds.MAPS,
    "oracle-binary": kinds.MAPS,
    "part-random": ("regions",), "part-area": ("regions",), "part-centre": ("regions",), "part-drop": ("regions",),
    "random-patches": ("prototypes",), "part-template": ("prototypes",),
    "random-words": ("text",), "true-not-causal": ("text",), "causal-words": ("text",),
    "rule-majority": ("rules",), "rule-tree": ("rules",), "rule-formula": ("rules",),
    "noise-equal": ("counterfactual",), "rerendered": ("counterfactual",),
    "random-concepts": ("concepts",), "cav-accuracy": ("concepts",), "cace": ("concepts",),
}
"""The fixed reference explanations that stand beside every result (6.4), with the kinds that they make: the validator asks
and loads no explainer."""
ORACLES = ("oracle", "oracle-binary")
"""Those made from the truth."""
ORACLE_TRUTH = ("mask", "cells")
"""The truths that they are made from, maps on the input grid; the first that a task has is taken."""
CEILINGS: Mapping[str, tuple[str, ...]] = {**dict.fromkeys(ORACLES, ORACLE_TRUTH), "part-drop": ("without",),
                                           "part-template": ("mask", "without"),
                                           "rerendered": ("classes",), "causal-words": ("texts", "without"),
                                           "rule-formula": ("present",), "cace": ("factors",)}
"""The references that know the truth, with the truths of which a task must have one: no method has to beat them."""


@dataclass(frozen=True, eq=False)
class BoundExplainer:
    """An explainer with all its parameters; system: its document where its maps were made before, perhaps elsewhere; kind: what
    it makes of the items of a task, None where that follows from the items."""

    explainer: Explainer
    parameters: Mapping[str, Any]
    system: typed.System | None = None
    kind: Kind | None = None

    @property
    def id(self) -> str:
        return self.explainer.id

    @property
    def name(self) -> str:
        """The id and the parameters that differ from their defaults: what tells two settings apart."""
        changed = [f"{k}:{v}" for k, v in self.parameters.items() if v != self.explainer.parameters[k]]
        return "|".join([self.id, *changed])

    @property
    def passes(self) -> int:
        """Nominal model passes per map."""
        return self.explainer.nominal(self.parameters)

    @property
    def available(self) -> bool:
        """Whether it can explain again; False for a set whose explainer is not installed here."""
        return self.explainer.explain is not _absent

    def on(self, *admitted: Kind) -> BoundExplainer:
        """The same for the first of these kinds of explanation that it makes, with its rule of resampling as that kind calls
        it; VxpError where it makes none of them."""
        kind = next((kind for kind in admitted if kind.id in self.explainer.kinds), None)
        if kind is None:
            needed = " or ".join(kind.id for kind in admitted)
            raise VxpError(f"explainer {self.id!r} makes {', '.join(self.explainer.kinds)}, and {admitted[0].media[0].id}s "
                           f"need {needed}: choose another (vxp list explainers)")
        return replace(self, explainer=replace(self.explainer, resample=kind.rule(self.explainer.resample)), kind=kind)

    @property
    def made(self) -> Kind:
        """The kind of its explanations, once a task has said it (`on`)."""
        assert self.kind is not None, f"explainer {self.id} was bound to no task"
        return self.kind

    def of(self, output: Output) -> BoundExplainer:
        """The same for a model with this output; VxpError where it explains no such model."""
        if not output.admitted(self.explainer.outputs):
            raise VxpError(f"explainer {self.id!r} explains models whose output is {' or '.join(self.explainer.outputs)}, and "
                           f"the output of this model is {output.id}: choose another (vxp list explainers)")
        return self

    def resolved(self, model: nn.Module) -> BoundExplainer:
        """With the parameters that depend on the model filled in; VxpError where it cannot explain this model."""
        training = self.explainer.training
        if training is None or not self.available:
            return self
        return replace(self, parameters=dict(training.resolve(model, **self.parameters)))

    def __call__(self, model: nn.Module, batch: Batch) -> Tensor:
        """Maps [B, h, w] float32, [B, t, h, w] of clips, scores [B, K] of the parts of videos, or what another kind has.

        VxpError where the explainer makes none of such items, explains no such model or returns another shape,
        ModelChangedError where it leaves the model changed."""
        output = outputs.of(model)
        kind = self.of(output).makes(output, batch)
        self.on(kind)
        with guard.kept(model, batch.inputs.device.type) as changed:
            maps = self.explainer.explain(model, batch, **self.parameters)
        if changed:
            raise ModelChangedError(self.name, changed)
        return kind.checked(maps, batch, f"explainer {self.id!r}")

    def makes(self, output: Output, batch: Batch) -> Kind:
        """What it makes of these items: scores of parts, where it can, of a model that scores steps and has no target."""
        if self.kind is not None:
            return self.kind
        made = self.explainer.kinds
        parts = [id for id in made if kinds.KINDS[id].ragged]
        return kinds.of_medium(batch.medium, made if output.targets or not parts else parts)


@cache
def catalogue() -> dict[str, Explainer]:
    """Every installed explainer by its id."""
    return find(None, Explainer, group=GROUP)


def facts(explainer: Explainer) -> dict[str, Any]:
    """What is known of an explainer, in JSON values: what it computes, its parameters with their defaults, what it makes and
    needs, and its passes per map at the defaults."""
    definition, _, about = (inspect.getdoc(explainer.explain) or "").partition("\n\n")
    return {
        "id": explainer.id, "definition": " ".join(definition.split()),
        "about": [" ".join(part.split()) for part in about.split("\n\n") if part],
        "family": "reference" if explainer.reference else explainer.family, "kinds": list(explainer.kinds),
        "parameters": [{"name": name, "default": value} for name, value in explainer.parameters.items()],
        "signed": explainer.signed, "resample": explainer.resample, "target_specific": explainer.target_specific,
        "outputs": list(explainer.outputs), "explanandum": explainer.explanandum,
        "needs": sorted(explainer.needs), "passes": BoundExplainer(explainer, explainer.parameters).passes,
        "trained": explainer.training is not None, "source": explainer.source,
    }


def methods() -> list[str]:
    """The ids of all installed explainers that are no references."""
    return [id for id, found in catalogue().items() if not found.reference]


def references(truth: Collection[str], *among: str) -> list[str]:
    """The references of a task that has these kinds of truth, for explanations of one of these kinds; of none, of images."""
    return [name for name, made in REFERENCES.items()
            if set(among or (kinds.HEATMAP2D.id,)) & set(made) and (name not in CEILINGS or set(CEILINGS[name]) & set(truth))]


def bind(request: str | Explainer | Callable[..., Tensor], parameters: Mapping[str, Any] | None = None) -> BoundExplainer:
    """An explainer by id (`grad-cam|layer:features.29`), from a file (`file.py:name`), declared, or a plain callable.

    A plain callable (model, batch) -> [B, h, w] counts as signed and resampled bilinearly. VxpError for unknown names
    and parameters, with the nearest known one.
    """
    given: dict[str, Any] = dict(parameters or {})
    if isinstance(request, str):
        head, named = split(request, "explainer")
        given |= named
        found: Any = from_file(head) if ".py:" in head else catalogue().get(head)
        if found is None and head.endswith(".py"):
            raise VxpError(f"explainer {head!r}: expected the function in the file as well, {head}:NAME")
        if found is None:
            raise VxpError(f"no explainer is called {head!r}{nearest(head, list(catalogue()))}; "
                           "`vxp list explainers` shows all, or give file.py:name")
    else:
        found = request
    declared = found if isinstance(found, Explainer) else _undeclared(found)
    families = vxp_schemas.schema("defs")["$defs"]["explainer_family"]["enum"]
    if declared.family not in families:
        raise VxpError(f"explainer {declared.id!r}: the family {declared.family!r} is none of {', '.join(families)}")
    values = dict(declared.parameters)
    for name, value in given.items():
        if name not in values:
            raise VxpError(f"explainer {declared.id!r} has no parameter {name!r}{nearest(name, list(values))}; "
                           f"it has {', '.join(values) or 'none'}")
        values[name] = number(value, like=declared.parameters[name],
                              what=f"explainer {declared.id!r}, parameter {name!r}")
    return BoundExplainer(declared, values)


def absent(facts: typed.Explainer, system: typed.System | None = None) -> BoundExplainer:
    """The explainer of a stored set that is not installed here: its facts stand, its maps cannot be made again."""
    declared = Explainer(facts["id"], _absent, facts["parameters"], facts["signed"], facts["resample"],
                         facts["target_specific"], reference=facts["reference"], family=facts["family"],
                         kinds=kinds.EVERY, outputs=outputs.IDS, explanandum=facts.get("explanandum", "class"))
    return BoundExplainer(declared, facts["parameters"], system)


def _absent(model: nn.Module, batch: Batch) -> Tensor:
    raise VxpError("this explanation set was made by an explainer that is not installed here")


def _undeclared(function: Any) -> Explainer:
    if not callable(function):
        raise VxpError(f"an explainer is a name, a declared explainer or a callable, got {type(function).__name__}")
    name = getattr(function, "__name__", type(function).__name__).strip("<>_").replace("_", "-").lower()
    try:
        parameters = keyword_defaults(function)
    except ValueError:  # builtins and some callables have no signature to read
        parameters = {}
    return Explainer(name, function, parameters, signed=True, kinds=kinds.EVERY,
                     outputs=outputs.IDS)
