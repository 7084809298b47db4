"""The public libraries beside the harness: the same model, images, maps and settings, the cost per item of each.

What is compared is cost, not scores: where the definitions differ, docs/differences.md says how. Rows are what each side
sends through the model forward, counted by a hook.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vxp import random
from vxp.bench.catalogue import blocks, whole_case
from vxp.bench.measure import Line, gradient, plain, seconds
from vxp.core import Batch, Case, VxpError
from vxp.engine import Engine, Job
from vxp.explainers import bind as bind_explainer
from vxp.metrics import bind
from vxp.models import Passes

REPEATS = 3


@dataclass(frozen=True, eq=False)
class Peer:
    """A metric of ours beside one of theirs under the same settings: what to call with (model, case, size)."""

    ours: str
    library: str
    theirs: str
    settings: dict[str, Any]
    truth: bool = False
    explains: bool = False


P = 224 * 224
STEP = P // 28
PEERS = (
    Peer("pixel-flipping|steps:28|fill:black", "quantus", "PixelFlipping", {"features_in_step": STEP}),
    Peer("faithfulness-estimate|steps:28|fill:black", "quantus", "FaithfulnessEstimate", {"features_in_step": STEP}),
    Peer("monotonicity|steps:28|fill:black", "quantus", "Monotonicity", {"features_in_step": STEP}),
    Peer("sensitivity-n|sizes:1|samples:28|fill:black", "quantus", "SensitivityN",
         {"features_in_step": STEP, "n_max_percentage": 1.0}),
    Peer("faithfulness-correlation|samples:28|fill:black", "quantus", "FaithfulnessCorrelation",
         {"nr_runs": 28, "subset_size": P // 10}),
    Peer("aopc|regions:28|fill:noise", "quantus", "RegionPerturbation",
         {"patch_size": 9, "regions_evaluation": 28, "perturb_baseline": "uniform"}),
    Peer("selectivity|fill:black", "quantus", "Selectivity", {"patch_size": 16}),
    Peer("irof", "quantus", "IROF", {}),
    Peer("infidelity|samples:16|fill:black", "quantus", "Infidelity", {"perturb_patch_sizes": [56], "n_perturb_samples": 1}),
    Peer("road-morf", "quantus", "ROAD", {"percentages": list(range(10, 100, 10))}),
    Peer("completeness|fill:black", "quantus", "Completeness", {}),
    Peer("max-sensitivity|samples:4", "quantus", "MaxSensitivity", {"nr_samples": 4}, explains=True),
    Peer("local-lipschitz|samples:4", "quantus", "LocalLipschitzEstimate", {"nr_samples": 4}, explains=True),
    Peer("relative-input-stability|samples:4", "quantus", "RelativeInputStability", {"nr_samples": 4}, explains=True),
    Peer("random-logit", "quantus", "RandomLogit", {}, explains=True),
    Peer("max-sensitivity|samples:4", "captum", "sensitivity_max", {"n_perturb_samples": 4}, explains=True),
    Peer("infidelity|samples:10|fill:black", "captum", "infidelity", {"n_perturb_samples": 10}),
    Peer("entropy", "quantus", "Complexity", {}),
    Peer("gini", "quantus", "Sparseness", {}),
    Peer("effective-complexity", "quantus", "EffectiveComplexity", {}),
    Peer("pointing-game", "quantus", "PointingGame", {}, truth=True),
    Peer("energy-pointing-game", "quantus", "RelevanceMassAccuracy", {}, truth=True),
    Peer("relevance-rank", "quantus", "RelevanceRankAccuracy", {}, truth=True),
    Peer("attribution-localisation", "quantus", "AttributionLocalisation", {"positive_attributions": True}, truth=True),
    Peer("top-k-intersection", "quantus", "TopKIntersection", {}, truth=True),
    Peer("mask-auc", "quantus", "AUC", {}, truth=True),
)


def beside_peers(model: nn.Module, size: int, items: int, device: str) -> list[Line]:
    """Two lines per pair, ours and theirs: milliseconds per item, and over the same number of plain passes each runs."""
    missing = [name for name in ("quantus", "captum") if not _there(name)]
    if missing:
        raise VxpError(f"the comparison with public libraries needs {', '.join(missing)}: pip install 'vxp[peers]'")
    case = whole_case(items, device)
    inputs = case.batch.inputs[:1].repeat(size, 1, 1, 1)
    lines = []
    for peer in PEERS:
        group = f"Beside {peer.library}, per item"
        pair = {peer.ours: _ours(model, size, case, peer), f"    {peer.theirs}": _theirs(model, size, case, peer)}
        for what, work in pair.items():
            try:
                with _quiet(), Passes(model) as passes:
                    work()
                took = min(_measured(work, device) for _ in range(REPEATS))
            except Exception as error:  # their failure is a finding of this table
                lines.append(Line(group, what, float("nan"), "", note=f"does not run: {type(error).__name__}: {error}"[:120]))
                continue
            rows = passes.forward
            note = f"{rows / items:g} rows" + (f" and {passes.backward / items:g} backward" if passes.backward else "")
            if rows and not passes.backward:
                bound = min(seconds(lambda rows=rows: plain(model, inputs, rows), device) for _ in range(REPEATS))  # type: ignore[misc]
                note += f", {took / bound:.2f} x plain passes"
            lines.append(Line(group, what, 1000 * took / items, "ms", note=note))
    return lines


def _there(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


def _measured(work: Callable[[], object], device: str) -> float:
    with _quiet():
        return seconds(work, device)


@contextlib.contextmanager
def _quiet() -> Any:
    """Without the libraries' progress bars and warnings, which are not what is measured, and with the name that NumPy 2.4
    took away from them."""
    before, lacks = logging.root.manager.disable, not hasattr(np, "trapz")
    logging.disable(logging.CRITICAL)
    if lacks:
        np.trapz = np.trapezoid  # type: ignore[attr-defined]
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
        if lacks:
            del np.trapz  # type: ignore[attr-defined]


def _ours(model: nn.Module, size: int, case: Case, peer: Peer) -> Callable[[], object]:
    bound = bind(peer.ours)

    def work() -> None:
        random.forget()
        fresh = Case(case.batch, case.native)  # the sort is paid for
        engine = Engine(model, size, segment=blocks if peer.theirs != "IROF" else Engine.segment)
        engine.score(Job(fresh, (bound,), bind_explainer(gradient)))

    return work


def _theirs(model: nn.Module, size: int, case: Case, peer: Peer) -> Callable[[], object]:
    return (_quantus if peer.library == "quantus" else _captum)(model, size, case, peer)


def _quantus(model: nn.Module, size: int, case: Case, peer: Peer) -> Callable[[], object]:
    quantus = importlib.import_module("quantus")
    batch = case.batch
    arrays: dict[str, Any] = {
        "x_batch": batch.inputs.cpu().numpy(), "y_batch": batch.targets.cpu().numpy(),
        "a_batch": case.map[:, None].cpu().numpy(), "device": str(batch.inputs.device), "batch_size": size}
    if peer.truth:
        arrays["s_batch"] = batch.truth["mask"][:, None].cpu().numpy().astype(np.float32)
    if peer.explains:
        arrays["explain_func"] = lambda model, inputs, targets, **_: _map(model, inputs, targets)[:, None].numpy()

    def work() -> None:
        metric = getattr(quantus, peer.theirs)(**peer.settings, disable_warnings=True, normalise=False)
        metric(model=model, **arrays)

    return work


def _captum(model: nn.Module, size: int, case: Case, peer: Peer) -> Callable[[], object]:
    metrics = importlib.import_module("captum.metrics")
    x, targets = case.batch.inputs, case.batch.targets
    if peer.theirs == "sensitivity_max":
        def explain(inputs: tuple[Tensor], target: Tensor) -> tuple[Tensor]:
            return (_map(model, inputs[0], target)[:, None],)

        return lambda: metrics.sensitivity_max(explain, x, perturb_radius=0.2, target=targets, max_examples_per_batch=size,
                                               **peer.settings)
    spread = case.map[:, None].expand_as(x) / x.shape[1]

    def perturb(inputs: Tensor) -> tuple[Tensor, Tensor]:
        keep = torch.ones_like(inputs)
        keep[:, :, 100:110, 100:110] = 0
        return inputs * (1 - keep), inputs * keep

    return lambda: metrics.infidelity(model, perturb, x, spread, target=targets, max_examples_per_batch=size, **peer.settings)


def _map(model: nn.Module, inputs: Any, targets: Any) -> Tensor:
    x, t = torch.as_tensor(np.asarray(inputs)).float(), torch.as_tensor(np.asarray(targets)).long()
    return gradient.explain(model, Batch(tuple(map(str, range(len(x)))), x, t)).detach()
