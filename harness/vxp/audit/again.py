"""Compute scores of a bundle again, from its stored maps (evidence E2) and from the explainer itself (E3).

The bundle is data: the task, the data and the model come from this machine, by name and digest; code that explains is run
only where the reviewer names it.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import vxp_schemas
from torch import Tensor

from vxp import explainers, models, result, stats, store, tasks, validation
from vxp.audit import apart, nonces, sampling, tolerances
from vxp.bundles import ROOT, Bundle, open_bundle
from vxp.core import OK, Batch, Case, Outcome, Unchanged, VxpError
from vxp.engine import READOUTS, Engine, Job, Precision, with_statuses
from vxp.explainers import BoundExplainer
from vxp.findings import Findings, plain
from vxp.machine import computing
from vxp.metrics import Bound, bind, catalogue
from vxp.models import Model
from vxp.run import BROKEN, UNIT, Progress, Quiet, explained
from vxp.tasks import Task
from vxp.validation import arrays

SAMPLE = 299
"""Items that find a change of 1 % of a set with probability 0.95."""
ALL_MINUTES = 10.0
"""Minutes of computation up to which `vxp verify` takes all items, unless it is told how many."""
TRIED = 32
"""Items on which inverted and moved maps are tried."""
IMAGE_DEPENDENT = ("edges", "motion", *explainers.ORACLES)
"""References that only the image, or its truth, can tell; the others show without it."""
ALIKE = 0.99
ONE_BY_ONE = ("deletion", "insertion", "srg", "pixel-flipping", "average-drop")
"""Scores by which inverted and moved maps show, in the order of preference."""


@dataclass(frozen=True)
class Order:
    """What the reviewer asked for. sample: items of each set, None for all; all_within: all of them too where the results state
    that computing them took at most so many minutes; images and model: for unregistered tasks; explain_timeout: seconds of the
    explainer for a batch."""

    sample: int | None = SAMPLE
    nonce: nonces.Nonce = field(default_factory=nonces.own)
    regenerate: str | None = None
    device: str = "cpu"
    precision: Precision = "fp32"
    batch_size: int = 16
    threads: int = 1
    data: Path | None = None
    images: Path | None = None
    model: str | None = None
    all_within: float = 0.0
    explain_timeout: float = apart.TIMEOUT


@dataclass(eq=False)
class Audit:
    """What was computed again and how far it agreed."""

    submission_id: str
    root_digest: str
    order: Order
    findings: Findings = field(default_factory=Findings)
    scores: list[dict[str, Any]] = field(default_factory=list)
    maps: list[dict[str, Any]] = field(default_factory=list)
    not_checked: list[dict[str, str]] = field(default_factory=list)
    smallest_share: float = 0.0
    left_out: bool = False
    """Whether a whole result could not be computed again."""
    minutes: float | None = None
    """What the results say that computing all of them takes, where that decided about the sample."""
    refused: list[dict[str, Any]] | None = None

    @property
    def verdict(self) -> str:
        if self.refused is not None:
            return "refused"
        if self.findings.errors:
            return "differs"
        return "reproduced" if any(s["n"] for s in self.scores) and not self.left_out else "incomplete"

    @property
    def exit_code(self) -> int:
        return {"reproduced": 0, "differs": 1, "refused": 1, "incomplete": 3}[self.verdict]

    @property
    def evidence(self) -> str:
        """E3 only where every set's maps were made again by the system that the bundle names; E2 where the scores that need
        no explainer agree."""
        if self.verdict != "reproduced":
            return {"refused": "E0", "differs": "E0", "incomplete": "E1"}[self.verdict]
        again = {m["result"] for m in self.maps if m["same_system"]}
        return "E3" if again and {s["result"] for s in self.scores} <= again else "E2"

    def predicate(self) -> dict[str, Any]:
        """What is said about the bundle, as a document of the standard."""
        order = self.order
        return result.header("audit") | {
            "policy": _policy(order) | {"tolerances": vxp_schemas.digest(tolerances.document()),
                                        "confidence": sampling.CONFIDENCE, "smallest_share": self.smallest_share},
            "environment": {"device": order.device, "precision": order.precision, "batch_size": order.batch_size,
                            "threads": order.threads},
            "scores": self.scores, "maps": self.maps, "not_checked": self.not_checked,
            "findings": self.refused if self.refused is not None else [f.document() for f in self.findings.all],
            "verdict": self.verdict, "evidence": self.evidence,
        }


def verify(path: Path, order: Order, progress: Progress | None = None) -> Audit:
    """Audit a bundle. VxpError where the bundle cannot be read or the reviewer's options do not fit it."""
    if order.sample is not None and order.sample < 1:
        raise VxpError(f"--sample {order.sample}: expected 1 or more items, or --all")
    found = validation.apart(path, "consistency")
    if found.verdict == "could-not-complete":
        raise VxpError(f"{path} could not be validated: {found.checks[0].get('reason', 'unknown')}")
    bundle = open_bundle(path)
    root = bundle.read(ROOT)
    if store.digest(root) != found.root_digest:
        raise ChangedError(path, ROOT)
    submission = _document(bundle, ROOT, root)
    audit = Audit(submission["submission_id"], store.digest(root), order)
    if found.verdict == "invalid":
        audit.refused = found.findings
        return audit
    if order.all_within > 0:
        audit.minutes = _minutes(order, [_described(bundle, d) for d in submission["results"]])
        audit.order = order = dataclasses.replace(order, sample=None if audit.minutes <= order.all_within else order.sample)
    wrong = nonces.fault(_policy(order), submission["created"], result.header("audit")["created"])
    if wrong is not None:
        raise VxpError(f"the nonce cannot be taken for {path}: {wrong}")
    with computing(order.threads):
        for described in submission["results"]:
            _result(audit, bundle, submission, described, progress or Quiet())
    return audit


def _policy(order: Order) -> dict[str, Any]:
    """What a statement says of the draw."""
    if order.sample is None:  # nothing is drawn
        return {"sample": None, "nonce": order.nonce.digits, "source": "all"}
    return {"sample": order.sample} | order.nonce.policy()


def _minutes(order: Order, documents: Sequence[Mapping[str, Any]]) -> float:
    """What it took to score, and where maps are made again to explain, by the results' own words."""
    parts = ("score", "explain") if order.regenerate is not None else ("score",)
    return sum(float(d["cost"][part]["seconds"]) for d in documents for part in parts if part in d["cost"]) / 60


# ----------------------------------------------------------------------------------------- what is read, and its digests


class ChangedError(VxpError):
    """A file is no longer the one that was validated."""

    def __init__(self, root: Path, path: str, why: str = "its bytes are not those that the root digest binds") -> None:
        super().__init__(f"{root} changed while it was checked: {path}: {why}. Copy it to a place where nobody writes, and "
                         "verify it there")


def _held(bundle: Bundle, described: Mapping[str, Any], folder: str = "") -> bytes:
    """The bytes of a file, read once and compared with the digest that binds it before anything is made of them: the
    validation read them in a process of its own, and since then another file may lie there. ChangedError for another."""
    path = f"{folder}/{described['path']}" if folder else str(described["path"])
    try:
        return bundle.described({**described, "path": path})
    except VxpError as error:
        raise ChangedError(bundle.root, path, str(error)) from None


def _document(bundle: Bundle, path: str, data: bytes) -> dict[str, Any]:
    try:
        document = vxp_schemas.loads(data)
        vxp_schemas.validate(document)
    except vxp_schemas.SchemaError as error:
        raise VxpError(f"{bundle.root}: {path}: {error}") from None
    return dict(document)


def _described(bundle: Bundle, described: Mapping[str, Any]) -> dict[str, Any]:
    """The document that a descriptor binds."""
    return _document(bundle, described["path"], _held(bundle, described))


# ------------------------------------------------------------------------------------------------------------ one result


@dataclass(eq=False)
class Claim:
    """One result of the bundle with what is needed to compute it again."""

    document: Mapping[str, Any]
    manifest: Mapping[str, Any]
    folder: str
    items: arrays.Table
    samples: arrays.Table
    task: Task
    model: Model
    source: str
    """What the model was loaded by."""
    bundle: Bundle

    @property
    def name(self) -> str:
        return str(self.document["result_id"])

    def maps(self, rows: Sequence[int]) -> Tensor:
        """The stored maps of these rows, float32, read from their places. The table of items, which is in memory, binds each
        by its digest, so that no shard has to be held: ChangedError where bytes have another."""
        places = [(int(self.items["shard"][i]), int(self.items["shard_row"][i])) for i in rows]
        found: dict[int, np.ndarray] = {}
        for number in sorted({shard for shard, _ in places}):
            path = f"{self.folder}/{self.manifest['shards'][number]['descriptor']['path']}"
            facts = self.manifest["shards"][number]["tensors"]["values"]
            dtype, shape = arrays.DTYPES[facts["dtype"]], facts["shape"][1:]
            size = dtype.itemsize * math.prod(shape)
            try:
                with self.bundle.stream(path) as stream:
                    start = arrays.tensors(stream, self.bundle.size(path))["values"].start
                    for i, (shard, row) in zip(rows, places, strict=True):
                        if shard == number:
                            stream.seek(start + row * size)
                            data = stream.read(size)
                            if hashlib.sha256(data).digest() != self.items["payload_digest"][i]:
                                raise VxpError(f"the map of row {i} is not the one that items.parquet binds")
                            found[i] = np.frombuffer(data, dtype).reshape(shape).astype(np.float32)
            except (arrays.Malformed, KeyError, VxpError) as error:
                raise ChangedError(self.bundle.root, path, str(error)) from None
        return torch.from_numpy(np.stack([found[i] for i in rows]))


def _result(
    audit: Audit, bundle: Bundle, submission: Mapping[str, Any], described: Mapping[str, Any], progress: Progress,
) -> None:
    document = _described(bundle, described)
    name = str(document["result_id"])

    manifest = _described(bundle, document["set"])
    folder = document["set"]["path"].rpartition("/")[0]
    signatures = [s["signature"] for s in document["scores"]]
    try:
        task, model, source = _task(audit.order, _own_task(bundle, submission, described), document)
        items = _table(_held(bundle, manifest["items"], folder), arrays.ITEMS)
        samples = _table(_held(bundle, document["samples"]), arrays.samples_columns(signatures))
        claim = Claim(document, manifest, folder, items, samples, task, model, source, bundle)
        if not _items(audit, claim):
            return
        rows = _rows(audit, claim)
        progress.stage(f"computing {name} again", len(rows))
        engine = _engine(audit.order, claim, progress)
        with _explainer(audit.order, claim, engine) as maker:
            _Again(audit, claim, maker, engine, rows, progress).compare()
    except ChangedError:
        raise
    except Exception as error:  # whatever a stranger's numbers provoke is no verdict
        why = str(error) if isinstance(error, VxpError) else f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"
        audit.not_checked.append({"what": f"result {name}", "reason": plain(why) or type(error).__name__})
        audit.left_out = True


def _table(data: bytes, columns: Mapping[str, str]) -> arrays.Table:
    return arrays.table(io.BytesIO(data), len(data), columns, None)


def _own_task(
    bundle: Bundle, submission: Mapping[str, Any], described: Mapping[str, Any],
) -> Mapping[str, Any] | None:
    """The document of a task that the registry does not have, which lies beside the result."""
    path = f"{described['path'].rpartition('/')[0]}/task.json"
    return next((_described(bundle, d) for d in submission["documents"] if d["path"] == path), None)


def _task(
    order: Order, own: Mapping[str, Any] | None, document: Mapping[str, Any],
) -> tuple[Task, Model, str]:
    """Task and model of this machine that have the digests of the result, and the name that the model was loaded by."""
    limit = document["settings"]["limit"]
    name = f"{document['task']['id']}@{document['task']['version']}"
    if order.images is not None:
        if order.model is None:
            raise VxpError("--images needs --model: a name or file.py:factory")
        source = order.model
        model = models.load(source, device=order.device)
        task = tasks.opened(order.images, model)
        if own is not None and own["dataset"]["digest"] == task.dataset["digest"]:
            task = dataclasses.replace(task, document=own)  # the same images in a folder of another name
    else:
        task = tasks.load(name, model=order.model, data=order.data)
        source = task.model
        model = models.load(source, device=order.device)
    task = task.limited(limit)
    for what, here, there in (("task", task.reference, document["task"]),
                              ("model", dict(vxp_schemas.reference(model.document)), document["model"])):
        if here != there:
            raise VxpError(f"the {what} here is {here['id']}@{here['version']} {here['digest'][:19]}..., and the result is of "
                           f"{there['id']}@{there['version']} {there['digest'][:19]}...")
    return task, model, source


def _engine(order: Order, claim: Claim, progress: Progress) -> Engine:
    twin = models.relabelled(claim.model.id)
    return Engine(claim.model.module, order.batch_size, order.precision, progress.rows,
                  relabelled=None if twin is None else twin.to(order.device))


def _items(audit: Audit, claim: Claim) -> bool:
    """Whether the rows are the task's items with its clusters and targets. The validator knows the items of registered
    tasks only; here are those of any."""
    path = f"{claim.folder}/{claim.manifest['items']['path']}"
    add, here = audit.findings.add, claim.task.items
    names = [item.id for item in here]
    if claim.items["item_id"] != names:
        row = next((i for i, (a, b) in enumerate(zip(claim.items["item_id"], names, strict=False)) if a != b),
                   min(claim.items.rows, len(names)))
        add("VXP-C007", path, f"row {row}", f"other items or another order ({claim.items.rows} rows)",
            f"the task's {len(names)} items in its order")
        return False
    for row, item in enumerate(here):
        where = f"row {row}, item {item.id}"
        if claim.items["cluster"][row] != item.cluster:
            add("VXP-C008", path, where, str(claim.items["cluster"][row]), f"{item.cluster}, the task's")
        wanted = claim.items["prediction"][row] if item.target is None else item.target
        if claim.items["target"][row] != wanted:
            add("VXP-C009", path, where, f"target {claim.items['target'][row]}",
                "the model's prediction" if item.target is None else "the class of the task's list")
    return True


def _rows(audit: Audit, claim: Claim) -> list[int]:
    n = claim.items.rows
    chosen = sampling.drawn(audit.root_digest, audit.order.nonce.digits, claim.name, n, audit.order.sample)
    audit.smallest_share = max(audit.smallest_share, sampling.smallest_share(n, len(chosen)))
    outer = sampling.extremes([claim.samples[s["signature"]] for s in claim.document["scores"]])
    return sorted({*chosen, *outer})


@contextmanager
def _explainer(order: Order, claim: Claim, engine: Engine) -> Iterator[_Maker]:
    """The explainer that the reviewer named, at the system's parameters, in a process of its own; else one that cannot
    explain again."""
    facts = claim.document["explainer"]
    if order.regenerate is None:
        yield _Maker(explainers.absent(facts), False, "process")
        return
    with apart.running(order.regenerate, facts, claim.source, claim.bundle.root, engine, device=order.device,
                       threads=order.threads, timeout=order.explain_timeout) as (bound, isolation):
        yield _Maker(bound, result.system_digest(bound) == claim.manifest["system"], isolation)


@dataclass(frozen=True, eq=False)
class _Maker:
    """What makes maps again: same: whether it says that it is the system of the bundle; isolation: how it runs."""

    explainer: BoundExplainer
    same: bool
    isolation: str


# ------------------------------------------------------------------------------------------------- computing it once more


@dataclass(eq=False)
class _Again:
    """The chosen rows of one result, computed again and compared."""

    audit: Audit
    claim: Claim
    maker: _Maker
    engine: Engine
    rows: Sequence[int]
    progress: Progress

    def __post_init__(self) -> None:
        order, claim = self.audit.order, self.claim
        self.explainer = self.maker.explainer
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

    def _metric(self, score: Mapping[str, Any]) -> Bound | None:
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
                data = _held(claim.bundle, claim.document[kind])
                tensors = arrays.tensors(io.BytesIO(data), len(data))
                found |= {f"{kind}/{name}": arrays.values(io.BytesIO(data), t) for name, t in tensors.items()}
        return found

    @property
    def whole(self) -> bool:
        """Whether every item of the set is computed again."""
        return len(self.rows) == self.claim.items.rows

    def compare(self) -> None:
        for first in range(0, len(self.rows), UNIT):
            self._unit(self.rows[first : first + UNIT])
            self.progress.items(len(self.rows[first : first + UNIT]))
        self._conclude()
        self._coarse()
        self._flags()

    def batch(self, rows: Sequence[int]) -> Batch:
        """The items of these rows with the bundle's targets."""
        claim = self.claim
        some = dataclasses.replace(claim.task, items=tuple(claim.task.items[i] for i in rows))
        targets = torch.tensor([int(claim.items["target"][i]) for i in rows])
        return some.load(0, len(rows), claim.model).batch(targets).to(self.audit.order.device)

    def case(self, batch: Batch, maps: Tensor) -> Case:
        facts = self.claim.document["explainer"]
        return Case(batch, maps.to(batch.inputs.device), facts["resample"], facts["signed"])

    def _unit(self, rows: Sequence[int]) -> None:
        claim = self.claim
        batch = self.batch(rows)
        known = self.engine.baseline(batch, ())
        self._unchanged(rows, batch, known[Unchanged()])
        maps = claim.maps(rows)
        made = [i for i, row in enumerate(rows) if claim.items["status"][row] == OK]
        if self.explainer.available:
            if made:
                self._maps(rows, batch, maps, made)
            self._failures(rows, batch)
        found = self.engine.score([Job(self.case(batch, maps), tuple(self.metrics), self.explainer)], known)[0]
        for bound in self.metrics:
            self._scores(bound, found[bound.signature], rows)

    def _where(self, row: int) -> str:
        return f"row {row}, item {self.claim.items['item_id'][row]}"

    def _unchanged(self, rows: Sequence[int], batch: Batch, known: Tensor) -> None:
        """Prediction and target score of the unchanged input."""
        claim, tolerance = self.claim, tolerances.of_target_score(self.precisions)
        logits = self.engine.predict(batch.inputs)
        probability = known[:, READOUTS.index("log-probability")].exp().tolist()
        path = f"{claim.folder}/{claim.manifest['items']['path']}"
        for i, row in enumerate(rows):
            stated, predicted = float(claim.items["target_score"][row]), int(claim.items["prediction"][row])
            best = int(logits[i].argmax())
            broken = claim.items["status"][row] == BROKEN
            if broken == bool(torch.isfinite(logits[i]).all()):
                self.audit.findings.add("VXP-R003", path, f"{self._where(row)}, status", claim.items["status"][row],
                                        "the output here is finite" if broken else f"{BROKEN}: the output here is not finite")
            elif abs(stated - probability[i]) > tolerance:
                self.audit.findings.add("VXP-R003", path, f"{self._where(row)}, target_score", f"{stated:.6g}, here "
                                        f"{probability[i]:.6g}", f"a difference of at most {tolerance:g}")
            # two classes as likely as each other may change places
            elif best != predicted and float(logits[i].softmax(0)[best] - logits[i].softmax(0)[predicted]) > tolerance:
                self.audit.findings.add("VXP-R003", path, f"{self._where(row)}, prediction", f"class {predicted}, here {best}",
                                        "the model's prediction for the task's image")

    def _maps(self, rows: Sequence[int], batch: Batch, maps: Tensor, made: Sequence[int]) -> None:
        """Maps made again beside the stored ones, of the items that have one."""
        from scipy.stats import spearmanr  # takes a second to import, which no other command needs

        with self.engine.arithmetic(batch.inputs.device):
            again = self.explainer(self.claim.model.module, batch.select(made)).cpu()
        if again.shape[1:] != maps.shape[1:]:
            self.audit.findings.add("VXP-R005", f"{self.claim.folder}/set.json", "", f"maps of {list(maps.shape[1:])}, here "
                                    f"{list(again.shape[1:])}", "maps of the grid that the named explainer makes")
            return
        limit = tolerances.of_maps(self.precisions)
        for i, map_ in zip(made, again, strict=True):
            spread = float(maps[i].max() - maps[i].min())
            off = float((maps[i] - map_).abs().max())
            self.map_off.append(off / spread if spread > 0 else float(off > 0))
            rank = spearmanr(maps[i].flatten(), map_.flatten()).statistic if spread > 0 else 1.0
            self.ranks.append(0.0 if math.isnan(rank) else float(rank))
            if limit is not None and not self.map_off[-1] <= limit:
                self.beyond.setdefault("maps", []).append(
                    (self._where(rows[i]), f"{self.map_off[-1]:.3g} of the map's range off, rank correlation "
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
                                        f"{self._where(row)}, status", f"{stated}, here {here}",
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
                self.status[signature].append((self._where(row), f"{stated}, here {here}", "the status computed again"))
                continue
            value, again = float(claim.samples[signature][row]), float(outcome.values[i])
            if stated != OK or (math.isnan(value) and math.isnan(again)):
                continue
            off = (value - again) / max(1.0, abs(again))
            # a number on one side only is as far off as can be said
            self.differences[signature].append(off if math.isfinite(off) else 1e300)
            if not abs(off) <= limit:
                self.beyond[signature].append((self._where(row), f"{value:.8g}, here {again:.8g}",
                                               f"a difference of at most {limit:g}"))
        for kind, again_ in (("curves", outcome.curve), ("statistics", outcome.statistics)):
            if again_ is not None:
                self._beside(kind, signature, again_, limit, rows)

    def _beside(self, kind: str, signature: str, again: Tensor, limit: float, rows: Sequence[int]) -> None:
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
                self.apart[signature].append((path, f"{self._where(row)}, {signature}", f"{off:.3g} off",
                                              f"at most {limit:g}"))

    def _conclude(self) -> None:
        """Findings from what lies beyond the tolerance, where it is more than rounding can explain."""
        claim, audit = self.claim, self.audit
        for bound in self.metrics:
            signature = bound.signature
            limit = tolerances.of_score(bound.signature, self.precisions)
            differences, beyond, status = self.differences[signature], self.beyond[signature], self.status[signature]
            sizes = [abs(d) for d in differences]
            within = [d for d in differences if abs(d) <= limit]
            bias, most = float(np.mean(within or [0.0])), tolerances.of_bias(within, limit)
            audit.scores.append({
                "result": claim.name, "signature": signature, "n": len(differences) + len(status),
                "tolerance": limit, "largest": max(sizes, default=0.0), "mean": float(np.mean(sizes or [0.0])),
                "beyond": len(beyond) + len(status), "bias": bias, "bias_limit": most, "recomputed": self._summary(bound)})
            if not abs(bias) <= most:
                audit.findings.add("VXP-R008", claim.document["samples"]["path"], signature, f"scores that are {bias:+.3g} off "
                                   f"in the mean of {len(within)} items", f"at most {most:.3g}: rounding is to both sides")
            for path, where, said, expected in self.apart[signature]:
                audit.findings.add("VXP-R006", path, where, said, expected)
            for code, found in (("VXP-R001", beyond), ("VXP-R002", status)):
                for where, said, expected in found:
                    audit.findings.add(code, claim.document["samples"]["path"], f"{where}, {signature}", said, expected)
        if self.map_off:
            self._conclude_maps()

    def _coarse(self) -> None:
        """A precision whose tolerance is wide raises no evidence by agreement within it: the submitter chooses the set's, and
        could move scores by it. Computed again in fp32, all of the set's scores are there to be read instead."""
        claimed, here = self.precisions
        why = None
        if here != tolerances.ORDER[0]:
            why = f"this audit computed in {here}, within whose tolerance scores can be moved: verify in {tolerances.ORDER[0]}"
        elif claimed != tolerances.ORDER[0] and not self.whole:
            why = (f"its scores were computed in {claimed}, within whose tolerance they can be moved: a sample does not tell, "
                   "verify all items with --all")
        if why is not None:
            self.audit.not_checked.append({"what": f"result {self.claim.name}", "reason": why})
            self.audit.left_out = True

    def _summary(self, bound: Bound) -> dict[str, Any]:
        """What the items that were computed again give for a score: of a whole set the aggregate of chapter 7, of a sample
        the number without an interval."""
        task, metric, whole = self.claim.task, bound.metric, self.whole
        parts = self.found[bound.signature]
        status = [state for part in parts for state in part.status]
        clusters = [str(self.claim.items["cluster"][row]) for row in self.rows]
        if metric.reduce is None:
            numbers = stats.summary(torch.cat([p.values for p in parts]).numpy(), status, clusters, better=metric.better,
                                    range=metric.range, binary=metric.binary, seed=task.seed, inference=task.inference)
        else:
            kept = torch.cat([p.statistics for p in parts if p.statistics is not None])
            numbers = stats.set_summary(metric.reduce, kept, status, clusters, range=metric.range, level=task.inference.level,
                                        interval=whole)
        said = {"whole": whole, "n": len(status), "statuses": numbers["statuses"]}
        said |= {"mean": numbers["mean"]} if "mean" in numbers else {}
        return said | ({"ci": dict(numbers["ci"]) | {"cluster_key": task.cluster_key}} if whole and "ci" in numbers else {})

    def _conclude_maps(self) -> None:
        limit, beyond = tolerances.of_maps(self.precisions), self.beyond.get("maps", [])
        if limit is None:
            why = (f"maps in {' and '.join(dict.fromkeys(self.precisions))} differ too much to be compared (here by "
                   f"{max(self.map_off):.2g} of their range): verify in fp32")
            self.audit.not_checked.append({"what": f"{self.claim.name}: maps", "reason": why})
            return
        self.audit.maps.append({
            "result": self.claim.name, "explainer": str(self.audit.order.regenerate), "same_system": self.maker.same,
            "isolation": self.maker.isolation, "n": len(self.map_off), "tolerance": limit, "largest": max(self.map_off),
            "spearman": min(self.ranks), "beyond": len(beyond)})
        for where, said, expected in beyond:
            self.audit.findings.add("VXP-R005", f"{self.claim.folder}/set.json", where, said, expected)
        if not self.maker.same and not beyond:
            facts = self.claim.document["explainer"]
            self.audit.findings.add("VXP-F016", f"{self.claim.folder}/set.json", "/system", f"the same maps are made by "
                                    f"{self.audit.order.regenerate}, which is not the system of the bundle",
                                    f"the system document of the bundle, which says {facts['id']}")

    # --------------------------------------------------------------------------------------------------------------- flags

    def _flags(self) -> None:
        """Whether inverted maps, or the maps of neighbouring rows, score clearly better."""
        chosen = next((b for name in ONE_BY_ONE for b in self.metrics if b.metric.id == name), None)
        good = [row for row in self.rows if self.claim.items["status"][row] == OK]
        step = max(1, len(good) // TRIED)
        rows = good[::step][:TRIED]
        self._likeness(rows)
        if chosen is None or len(rows) < stats.FEW_CLUSTERS:
            why = "no score of faithfulness shows it" if chosen is None else f"{len(rows)} items are too few"
            self.audit.not_checked.append({"what": f"{self.claim.name}: inverted or moved maps", "reason": why})
            return
        own = np.array([float(self.claim.samples[chosen.signature][row]) for row in rows])
        clusters = [str(self.claim.items["cluster"][row]) for row in rows]
        n = self.claim.items.rows
        for code, what, sign, step in (("VXP-F004", "negated", -1, 0), ("VXP-F008", "of the next row", 1, 1),
                                       ("VXP-F008", "of the row before", 1, -1)):
            other = np.concatenate([self._scored(chosen, unit, sign * self.claim.maps([(i + step) % n for i in unit]))
                                    for unit in _parts(rows)])
            found = stats.paired(other, own, clusters) if np.isfinite(other - own).sum() >= stats.FEW_CLUSTERS else None
            if found is None:
                continue
            better = found.delta > 0 if chosen.metric.better == "higher" else found.delta < 0
            if better and found.p < 0.01 and found.n_clusters >= stats.FEW_CLUSTERS:
                self.audit.findings.add(code, f"{self.claim.folder}/set.json", chosen.signature,
                                        f"maps {what} score {found.delta:+.4f} on {len(rows)} items (p = {found.p:.4f})",
                                        "the stored maps to score best")

    def _likeness(self, rows: Sequence[int]) -> None:
        """Whether the maps are a reference that depends on the image alone, or on the truth."""
        admitted = explainers.references(self.claim.task.truth, self.claim.task.kind.id)
        for name in (n for n in IMAGE_DEPENDENT if n in admitted and n in explainers.catalogue()):
            like = []
            for unit in _parts(rows):
                maps = self.claim.maps(unit)
                made = explainers.bind(name)(self.claim.model.module, self.batch(unit)).cpu()
                pooled = self.claim.task.kind.pooled(made, maps.shape[1:])
                like += [float(np.corrcoef(a.flatten(), b.flatten())[0, 1]) for a, b in zip(maps, pooled, strict=True)
                         if a.min() < a.max() and b.min() < b.max()]
            share = float(np.mean(np.array(like) > ALIKE)) if like else 0.0
            if share >= 0.1:
                self.audit.findings.add("VXP-F003", f"{self.claim.folder}/set.json", name, f"{share:.0%} of {len(like)} maps "
                                        f"correlate above {ALIKE} with the reference {name}", "maps that come from the model")

    def _scored(self, bound: Bound, rows: Sequence[int], maps: Tensor) -> np.ndarray:
        batch = self.batch(rows)
        outcome = self.engine.score([Job(self.case(batch, maps), (bound,), self.explainer)])[0][bound.signature]
        return np.array([v if s == OK else np.nan for v, s in zip(outcome.values.tolist(), outcome.status, strict=True)])


def _parts(rows: Sequence[int]) -> Iterator[Sequence[int]]:
    return (rows[first : first + UNIT] for first in range(0, len(rows), UNIT))


__all__ = ["ALL_MINUTES", "SAMPLE", "Audit", "ChangedError", "Order", "verify"]
