"""The chosen rows of one result, computed again and laid beside what the bundle says."""

from __future__ import annotations

import dataclasses
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from vxp_schemas import typed

from vxp.audit import tolerances
from vxp.audit.claims import Claim, held
from vxp.audit.statement import Audit
from vxp.core import OK, Batch, Case, Outcome, Unchanged
from vxp.engine import Engine, Job, Wanted, with_statuses
from vxp.explainers import BoundExplainer
from vxp.metrics import Bound, bind, catalogue
from vxp.runs.baselines import BROKEN
from vxp.runs.context import Progress
from vxp.runs.explanations import explained
from vxp.validation import arrays


@dataclass(frozen=True, eq=False)
class Maker:
    """What makes maps again: same: whether it says that it is the system of the bundle; isolation: how it runs."""

    explainer: BoundExplainer
    same: bool
    isolation: Literal["process", "bubblewrap"]


@dataclass(eq=False)
class Again:
    """The chosen rows of one result, computed again and compared."""

    audit: Audit
    claim: Claim
    maker: Maker
    engine: Engine
    rows: Sequence[int]
    progress: Progress

    def __post_init__(self) -> None:
        order, claim = self.audit.order, self.claim
        self.explainer = dataclasses.replace(self.maker.explainer, kind=claim.kind)
        self.precisions = (str(claim.document["settings"]["precision"]), str(order.precision))
        self.metrics = [b for b in map(self._metric, claim.document["scores"]) if b is not None]
        self.differences: dict[str, list[float]] = {b.signature: [] for b in self.metrics}
        self.found: dict[str, list[Outcome]] = {b.signature: [] for b in self.metrics}
        self.beyond: dict[str, list[tuple[str, str, str]]] = {b.signature: [] for b in self.metrics}
        self.apart: dict[str, list[tuple[str, str, str, str]]] = {b.signature: [] for b in self.metrics}
        self.status: dict[str, list[tuple[str, str, str]]] = {b.signature: [] for b in self.metrics}
        self.kept = self._kept()
        self.map_off: list[float] = []
        self.ranks: list[float] = []

    def _metric(self, score: typed.ResultScore) -> Bound | None:
        """The metric of a score that can be computed here, or a note why it cannot."""
        signature = score["signature"]
        known = catalogue().get(signature.partition("@")[0])
        why = None
        left_out = [s for s in score["statuses"] if s.startswith("not-run:")]
        if known is None or known.name != signature.partition("|")[0]:
            why = "its metric is not installed here in this version"
        elif left_out and len(score["statuses"]) == 1 and (known.re_explains or known.needs_relabelled or known.truth):
            why = f"the result says {left_out[0]}"
        elif known.re_explains and not self.explainer.available:
            why = "it needs the explainer: name it with --regenerate"
        elif known.needs_relabelled and self.engine.relabelled is None:
            why = "it needs the relabelled twin of the model"
        if why is not None:
            self.audit.not_checked.append({"what": f"{self.claim.name}: {signature}", "reason": why})
            return None
        return bind(signature)

    def _kept(self) -> dict[str, np.ndarray]:
        """Curves and statistics of the bundle by `kind/signature`."""
        claim = self.claim
        found: dict[str, np.ndarray] = {}
        for kind in ("curves", "statistics"):
            if kind in claim.document:
                data = held(claim.bundle, claim.document[kind])
                tensors = arrays.tensors(io.BytesIO(data), len(data))
                found |= {f"{kind}/{name}": arrays.values(io.BytesIO(data), t) for name, t in tensors.items()}
        return found

    @property
    def whole(self) -> bool:
        """Whether every item of the set is computed again."""
        return len(self.rows) == self.claim.items.rows

    def compare(self) -> None:
        for rows in self.claim.together(self.rows):
            self._unit(rows)
            self.progress.items(len(rows))

    def batch(self, rows: Sequence[int]) -> Batch:
        """The items of these rows with the bundle's targets."""
        claim = self.claim
        some = dataclasses.replace(claim.task, items=tuple(claim.task.items[i] for i in rows))
        targets = torch.tensor([int(claim.items["target"][i]) for i in rows])
        return some.load(0, len(rows), claim.model).batch(targets).to(self.audit.order.device)

    def maps(self, rows: Sequence[int], of: Sequence[int] | None = None) -> Tensor:
        """The stored maps of these rows; of: of other rows in their place. Scores of parts are stored at the length of the
        longest row."""
        maps = self.claim.maps(rows if of is None else of)
        if not self.claim.kind.ragged:
            return maps
        batch, unit = self.batch(rows), self.claim.document["explainer"]["resample"]
        return maps[:, : batch.space[0] if unit == "frame" else int(batch.parts_of(unit).max()) + 1]

    def case(self, batch: Batch, maps: Tensor) -> Case:
        facts = self.claim.document["explainer"]
        return Case(batch, maps.to(batch.inputs.device), facts["resample"], facts["signed"], explained=self.claim.kind)

    def _unit(self, rows: Sequence[int]) -> None:
        claim = self.claim
        batch = self.batch(rows)
        known = self.engine.shared(batch, Wanted())
        self._unchanged(rows, batch, known.rows[Unchanged()])
        maps = self.maps(rows)
        made = [i for i, row in enumerate(rows) if claim.items["status"][row] == OK]
        if self.explainer.available:
            if made:
                self._maps(rows, batch, maps, made)
            self._failures(rows, batch)
        found = self.engine.score(Job(self.case(batch, maps), tuple(self.metrics), self.explainer), known)
        for bound in self.metrics:
            self._scores(bound, found[bound.signature], rows)

    def where(self, row: int) -> str:
        return f"row {row}, item {self.claim.items['item_id'][row]}"

    def _unchanged(self, rows: Sequence[int], batch: Batch, known: Tensor) -> None:
        """Prediction and target score of the unchanged input."""
        claim, tolerance = self.claim, tolerances.of_target_score(self.precisions)
        logits = self.engine.predict(batch.inputs)
        output = self.engine.output
        level = output.of(known, output.level).tolist()
        path = f"{claim.folder}/{claim.manifest['items']['path']}"
        for i, row in enumerate(rows):
            stated, predicted = float(claim.items["target_score"][row]), int(claim.items["prediction"][row])
            best = int(logits[i].argmax())
            broken = claim.items["status"][row] == BROKEN
            if broken == bool(torch.isfinite(logits[i]).all()):
                self.audit.findings.add("VXP-R003", path, f"{self.where(row)}, status", claim.items["status"][row],
                                        "the output here is finite" if broken else f"{BROKEN}: the output here is not finite")
            elif abs(stated - level[i]) > tolerance:
                self.audit.findings.add("VXP-R003", path, f"{self.where(row)}, target_score", f"{stated:.6g}, here "
                                        f"{level[i]:.6g}", f"a difference of at most {tolerance:g}")
            # two classes as likely as each other may change places
            elif output.targets and best != predicted and float(
                    logits[i].softmax(0)[best] - logits[i].softmax(0)[predicted]) > tolerance:
                self.audit.findings.add("VXP-R003", path, f"{self.where(row)}, prediction", f"class {predicted}, here {best}",
                                        "the model's prediction for the task's image")

    def _maps(self, rows: Sequence[int], batch: Batch, maps: Tensor, made: Sequence[int]) -> None:
        """Maps made again beside the stored ones, of the items that have one."""
        from scipy.stats import spearmanr  # takes a second to import, which no other command needs

        with self.engine.arithmetic(batch.inputs.device):
            again = self.explainer(self.claim.model.module, batch.select(made)).cpu().float()
        if again.shape[1:] != maps.shape[1:]:
            self.audit.findings.add("VXP-R005", f"{self.claim.folder}/set.json", "", f"maps of {list(maps.shape[1:])}, here "
                                    f"{list(again.shape[1:])}", "maps of the grid that the named explainer makes")
            return
        limit, maps = tolerances.of_maps(self.precisions), maps.float()
        for i, map_ in zip(made, again, strict=True):
            spread = float(maps[i].max() - maps[i].min())
            off = float((maps[i] - map_).abs().max())
            self.map_off.append(off / spread if spread > 0 else float(off > 0))
            rank = spearmanr(maps[i].flatten(), map_.flatten()).statistic if spread > 0 else 1.0
            self.ranks.append(0.0 if math.isnan(rank) else float(rank))
            if limit is not None and not self.map_off[-1] <= limit:
                self.beyond.setdefault("maps", []).append(
                    (self.where(rows[i]), f"{self.map_off[-1]:.3g} of the map's range off, rank correlation "
                     f"{self.ranks[-1]:.3f}", f"at most {limit:g} off"))

    def _failures(self, rows: Sequence[int], batch: Batch) -> None:
        """Items that are said to have failed are tried as well: who hides the hard ones would gain by it."""
        claim = self.claim
        for i, row in enumerate(rows):
            stated = str(claim.items["status"][row])
            if stated in (OK, BROKEN):
                continue
            with self.engine.arithmetic(batch.inputs.device):
                _, [here] = explained(self.explainer, claim.model, batch.select([i]))
            if here != stated:
                self.audit.findings.add("VXP-R007", f"{claim.folder}/{claim.manifest['items']['path']}",
                                        f"{self.where(row)}, status", f"{stated}, here {here}",
                                        "the status that the explainer gives to the item here")

    def _scores(self, bound: Bound, outcome: Outcome, rows: Sequence[int]) -> None:
        claim, signature = self.claim, bound.signature
        limit = tolerances.of_score(bound.signature, self.precisions)
        outcome = with_statuses(outcome, {i: str(claim.items["status"][row]) for i, row in enumerate(rows)
                                          if claim.items["status"][row] != OK})
        self.found[signature].append(outcome)
        for i, row in enumerate(rows):
            stated, here = str(claim.samples[f"{signature}#status"][row]), outcome.status[i]
            if stated != here:
                self.status[signature].append((self.where(row), f"{stated}, here {here}", "the status computed again"))
                continue
            value, again = float(claim.samples[signature][row]), float(outcome.values[i])
            if stated != OK or (math.isnan(value) and math.isnan(again)):
                continue
            off = (value - again) / max(1.0, abs(again))
            # a number on one side only is as far off as can be said
            self.differences[signature].append(off if math.isfinite(off) else 1e300)
            if not abs(off) <= limit:
                self.beyond[signature].append((self.where(row), f"{value:.8g}, here {again:.8g}",
                                               f"a difference of at most {limit:g}"))
        if outcome.curve is not None:
            self._beside("curves", signature, outcome.curve, limit, rows)
        if outcome.statistics is not None:
            self._beside("statistics", signature, outcome.statistics, limit, rows)

    def _beside(
        self, kind: Literal["curves", "statistics"], signature: str, again: Tensor, limit: float, rows: Sequence[int]
    ) -> None:
        """The curves, or what a metric of the set keeps, of these rows. Curves are stored in single precision."""
        stored = self.kept.get(f"{kind}/{signature}")
        path = self.claim.document[kind]["path"] if kind in self.claim.document else self.claim.document["set"]["path"]
        if stored is None or stored.shape[1:] != tuple(again.shape[1:]):
            found = "no tensor" if stored is None else f"rows of {stored.shape[1:]}"
            self.audit.findings.add("VXP-R006", path, signature, found, f"rows of {tuple(again.shape[1:])}")
            return
        limit = max(limit, 1e-5) if kind == "curves" else limit
        for i, row in enumerate(rows):
            if self.claim.samples[f"{signature}#status"][row] != OK:
                continue
            here, there = again[i].double().numpy(), stored[row].astype(float)
            both = ~(np.isnan(here) & np.isnan(there))
            off = float(np.max(np.abs(there - here)[both] / np.maximum(1, np.abs(here[both])), initial=0))
            if not off <= limit:
                self.apart[signature].append((path, f"{self.where(row)}, {signature}", f"{off:.3g} off",
                                              f"at most {limit:g}"))
