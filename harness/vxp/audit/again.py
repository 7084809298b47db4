"""Compute scores of a bundle again, from its stored maps (evidence E2) and from the explainer itself (E3).

The bundle is data: the task, the data and the model come from this machine, by name and digest; code that explains is run
only where the reviewer names it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from vxp_schemas import typed

from vxp import documents, explainers, models, validation
from vxp.audit import apart, conclusions, nonces, sampling
from vxp.audit.claims import ChangedError, Claim, bound_document, held, own_task, read_document, table, task_of
from vxp.audit.flags import raise_flags
from vxp.audit.recomputing import Again, Maker
from vxp.audit.statement import ALL_MINUTES, SAMPLE, Audit, Order, policy
from vxp.bundles import ROOT, Bundle, open_bundle
from vxp.core import VxpError
from vxp.documents import store
from vxp.documents.findings import plain
from vxp.engine import Engine
from vxp.machine import computing
from vxp.runs import result
from vxp.runs.context import Progress, Quiet
from vxp.validation import arrays


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
    submission = read_document(bundle, ROOT, root, typed.Submission)
    audit = Audit(submission["submission_id"], store.digest(root), order)
    if found.verdict == "invalid":
        audit.refused = found.findings
        return audit
    if order.all_within > 0:
        audit.minutes = _minutes(order, [bound_document(bundle, d, typed.Result) for d in submission["results"]])
        audit.order = order = dataclasses.replace(order, sample=None if audit.minutes <= order.all_within else order.sample)
    wrong = nonces.fault(policy(order), submission["created"], documents.now())
    if wrong is not None:
        raise VxpError(f"the nonce cannot be taken for {path}: {wrong}")
    with computing(order.threads):
        for described in submission["results"]:
            _result(audit, bundle, submission, described, progress or Quiet())
    return audit


def _minutes(order: Order, results: Sequence[typed.Result]) -> float:
    """What it took to score, and where maps are made again to explain, by the results' own words."""
    scored = sum(d["cost"]["score"]["seconds"] for d in results)
    explained = sum(d["cost"]["explain"]["seconds"] for d in results) if order.regenerate is not None else 0.0
    return (scored + explained) / 60


def _result(
    audit: Audit, bundle: Bundle, submission: typed.Submission, described: typed.Descriptor, progress: Progress,
) -> None:
    document = bound_document(bundle, described, typed.Result)
    name = str(document["result_id"])

    manifest = bound_document(bundle, document["set"], typed.Set)
    folder = document["set"]["path"].rpartition("/")[0]
    signatures = [s["signature"] for s in document["scores"]]
    try:
        task, model, source = task_of(audit.order, own_task(bundle, submission, described), document)
        items = table(held(bundle, manifest["items"], folder), arrays.ITEMS)
        samples = table(held(bundle, document["samples"]), arrays.samples_columns(signatures))
        claim = Claim(document, manifest, folder, items, samples, task, model, source, bundle)
        if not _items(audit, claim):
            return
        rows = _rows(audit, claim)
        progress.stage(f"computing {name} again", len(rows))
        engine = _engine(audit.order, claim, progress)
        with _explainer(audit.order, claim, engine) as maker:
            again = Again(audit, claim, maker, engine, rows, progress)
            again.compare()
            conclusions.scores(again)
            conclusions.coarse(again)
            raise_flags(again)
    except ChangedError:
        raise
    except Exception as error:  # whatever a stranger's numbers provoke is no verdict
        why = str(error) if isinstance(error, VxpError) else f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"
        audit.not_checked.append({"what": f"result {name}", "reason": plain(why) or type(error).__name__})
        audit.left_out = True


def _engine(order: Order, claim: Claim, progress: Progress) -> Engine:
    return Engine(claim.model.module, order.batch_size, order.precision, progress.rows,
                  relabelled=models.relabelled(claim.model.id, order.device))


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
def _explainer(order: Order, claim: Claim, engine: Engine) -> Iterator[Maker]:
    """The explainer that the reviewer named, at the system's parameters, in a process of its own; else one that cannot
    explain again."""
    facts = claim.document["explainer"]
    if order.regenerate is None:
        yield Maker(explainers.absent(facts), False, "process")
        return
    with apart.running(order, facts, claim.manifest["kind"], claim.source, claim.bundle.root, engine) as (bound, isolation):
        yield Maker(bound, result.system_digest(bound) == claim.manifest["system"], isolation)


__all__ = ["ALL_MINUTES", "SAMPLE", "Audit", "ChangedError", "Order", "verify"]
