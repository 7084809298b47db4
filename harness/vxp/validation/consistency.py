"""Level consistency: documents refer to each other and to the registry, and every aggregate follows from its samples."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any, Final

import numpy as np
import torch
import vxp_schemas
from packaging.version import InvalidVersion, Version

from vxp import division, metrics, stats
from vxp.core import OK, Metric, VxpError
from vxp.documents import referred
from vxp.explainers import REFERENCES, references
from vxp.models.loading import RELABELLED
from vxp.runs import result
from vxp.validation import arrays, statements
from vxp.validation.arrays import Table
from vxp.validation.state import AResult, ASet, Document, State

RTOL = 1e-9
"""Aggregates computed again on another machine differ by the order of sums only."""
RTOL_CI = 1e-6


def check(state: State) -> None:
    for found in state.sets:
        _entries(state, found.path, found.document, state.limit_of(found))
        _system(state, found)
    for path, document in state.documents.items():
        _own_name(state, path, document)
    for result_ in state.results:
        document = result_.document
        _entries(state, result_.path, document, document["settings"]["limit"])
        _pair(state, result_)
        for number, score in enumerate(document["scores"]):
            _metric(state, result_.path, f"/scores/{number}", score)
        _division(state, result_)
        _references(state, result_)
        _settings(state, result_)
        if result_.samples is not None:
            _aggregates(state, result_, result_.samples)
        found_set = state.set_of(result_)
        if found_set is not None and found_set.items is not None:
            _cost(state, result_, found_set.items)
    _whole(state)
    statements.check(state)


# ------------------------------------------------------------------------------------------------------------ references


def _entries(state: State, path: str, document: Document, limit: int | None) -> None:
    """Task, data set and model are entries of the registry, or lie in the bundle, by digest."""
    task = _entry(state, path, document, "task", "VXP-K001", limit)
    model = _entry(state, path, document, "model", "VXP-K003", None)
    if task is None:
        return
    add = state.findings.add
    if document["dataset"] != task["dataset"]:
        add("VXP-K002", path, "/dataset", _named(document["dataset"]), f"{_named(task['dataset'])}, the task's")
    registered = _registered("dataset", task["dataset"])
    if registered is not None and vxp_schemas.reference(registered) != task["dataset"]:
        add("VXP-K002", path, "/task", f"a task on {_named(task['dataset'])}",
            f"{_named(vxp_schemas.reference(registered))}, the registry's, or a data set with a name of its own")
    admitted = [task["model"], *task.get("also_models", [])]
    if model is not None and document["model"] not in admitted and document.get("division") == "closed":
        add("VXP-K003", path, "/model", _named(document["model"]), " or ".join(map(_named, admitted)))
    for kind, entry in (("task", task), ("model", model)):
        if entry is not None and entry["status"] == "template":
            add("VXP-K013", path, f"/{kind}", f"{entry['id']}@{entry['version']}, a template", "an entry with digests")


def _entry(state: State, path: str, document: Document, kind: str, code: str, limit: int | None) -> Document | None:
    reference = document[kind]
    found = state.entry(f"{kind}s", reference, limit)
    registered = _registered(kind, reference)
    if found is not None and (registered is None or referred(registered, limit) == reference):
        return found
    if registered is None:  # a template has no digests; whoever filled them in states them in a document of the bundle
        registered = vxp_schemas.registry(f"{kind}s").get(f"{reference['id']}@{reference['version']}")
    if registered is not None:
        # a document in the bundle does not take the name of what everybody can look up
        expected = f"{_named(referred(registered, limit))}, the registry's" + (f" under the limit {limit}" if limit else "")
        state.findings.add(code, path, f"/{kind}", _named(reference), expected)
    else:
        state.findings.add("VXP-K021", path, f"/{kind}", f"{_named(reference)} in neither registry nor bundle",
                           f"its document in the bundle, as results/<id>/{kind}.json")
    return None


CODES: Final[Mapping[str, str]] = {"task": "VXP-K001", "dataset": "VXP-K002", "model": "VXP-K003"}


def _own_name(state: State, path: str, document: Document) -> None:
    """A document of the bundle leaves the registry's names to the registry, in every version, and its lists of items too."""
    kind = document["type"].split("/")[-2]
    named = {kind: document}
    if kind == "task":
        named["dataset"] = document["dataset"]
        if "items" in document:
            state.findings.add("VXP-K001", path, "/items", ascii(document["items"]["path"])[1:-1], "items_digest: a list of "
                               "items in the registry is that of a registered task")
    for what, reference in named.items():
        taken = {name.partition("@")[0] for name in vxp_schemas.registry(f"{what}s")}
        name = f"{reference['id']}@{reference['version']}"
        # under a registered version itself the digests decide
        if reference["id"] in taken and name not in vxp_schemas.registry(f"{what}s"):
            state.findings.add(CODES[what], path, "/id" if what == kind else f"/{what}", f"the {what} {name}, which the "
                               "registry does not have", f"a name of its own: versions of {reference['id']} are the registry's")


def _registered(kind: str, reference: Mapping[str, Any]) -> Document | None:
    """The registry's entry of this name, where it is one with digests."""
    found = vxp_schemas.registry(f"{kind}s").get(f"{reference['id']}@{reference['version']}")
    return found if found is not None and found["status"] != "template" else None


def _named(reference: Mapping[str, Any]) -> str:
    return f"{reference['id']}@{reference['version']} {reference['digest'][:19]}..."


def _system(state: State, found: ASet) -> None:
    if state.system is None:
        state.not_checked(f"system of {found.path}", "system.json could not be read")
        return
    add = state.findings.add
    own = result.identity(state.system)
    if found.document["system"] != own:
        add("VXP-K004", found.path, "/system", found.document["system"], f"{own}, the digest of system.json")
    method, explainer = state.system["method"], found.document["explainer"]
    if [method[k] for k in ("name", "parameters", "family")] != [explainer[k] for k in ("id", "parameters", "family")]:
        add("VXP-K008", found.path, "/explainer", f"{explainer['id']} {explainer['parameters']}",
            f"{method['name']} {method['parameters']}, as system.json says")
    if state.system["normalization"] != found.document["semantics"]["normalized"]:
        add("VXP-K008", found.path, "/semantics/normalized", found.document["semantics"]["normalized"],
            f"{state.system['normalization']}, as system.json says")
    if explainer["reference"] or method["family"] == "reference" or explainer["id"] in REFERENCES:
        add("VXP-K012", found.path, "/explainer/reference", f"{explainer['id']}, a fixed reference",
            "a method, under a name of its own: references stand beside every result")


def _pair(state: State, result_: AResult) -> None:
    """Result and set are of the same task, data, model and explainer."""
    found = state.set_of(result_)
    document = result_.document
    if found is None:
        state.findings.add("VXP-K017", result_.path, "/set", document["set"]["path"], "a set that submission.json lists")
        return
    for field, code in (("task", "VXP-K007"), ("dataset", "VXP-K007"), ("model", "VXP-K007"), ("explainer", "VXP-K008")):
        ours, theirs = document[field], found.document[field]
        if ours != theirs:
            apart = [k for k in {**ours, **theirs} if ours.get(k) != theirs.get(k)]
            said, expected = (", ".join(f"{k} {d.get(k)}" for k in apart)[:300] for d in (ours, theirs))
            state.findings.add(code, result_.path, f"/{field}", said, f"{expected}, as in {found.path}")
    if document["result_id"] != found.document["set_id"]:
        state.findings.add("VXP-K007", result_.path, "/result_id", document["result_id"],
                           f"{found.document['set_id']}, the set's")


# --------------------------------------------------------------------------------------------------------------- metrics


def _metric(state: State, path: str, where: str, score: Mapping[str, Any]) -> None:
    """The score's metric is the registry's, its signature is whole, its facts are the metric's."""
    add = state.findings.add
    signature = score["signature"]
    name = signature.partition("|")[0]
    known = vxp_schemas.registry("metrics").get(name)
    if known is None:
        plugin = metrics.catalogue().get(name.partition("@")[0])
        if plugin is None or plugin.name != name:
            state.not_checked(f"the metric of {signature}", f"{name} is neither in the registry nor installed here")
            return
        known = result.metric_document(plugin)
    reference = vxp_schemas.reference(known)
    if score["metric"] != reference:
        add("VXP-K005", path, f"{where}/metric", _named(score["metric"]), f"{_named(reference)}, the registry's")
    for field in ("family", "better", "range", "level"):
        if score[field] != known[field]:
            add("VXP-K014", path, f"{where}/{field}", f"{score[field]}", f"{known[field]}, the metric's")
    try:
        wanted = metrics.bind(signature).signature
    except VxpError as error:
        add("VXP-K006", path, f"{where}/signature", ascii(signature)[1:-1][:300], f"a signature of {name} ({error})")
        return
    if wanted != signature:
        add("VXP-K006", path, f"{where}/signature", signature, wanted)


def _division(state: State, result_: AResult) -> None:
    """What the closed division asks for."""
    document = result_.document
    if document["division"] != "closed":
        return

    def lacks(where: str, found: str, expected: str) -> None:
        state.findings.add("VXP-K012", result_.path, where, found, expected)

    for reason in division.of_result(document):
        # another model is VXP-K003
        if reason.where != "/model":
            lacks(reason.where, reason.words, reason.expected)
    task = vxp_schemas.registry("tasks").get(f"{document['task']['id']}@{document['task']['version']}")
    if task is None:
        return
    found = state.set_of(result_)
    if found is not None and found.document["coverage"] != 1:
        lacks("/set", f"coverage {found.document['coverage']}", "a row for every item of the task")
    beside = {r["explainer"] for r in document["references"]}
    needed = set(references(task["truth"], task["kinds"][0]))
    if not needed <= beside:
        lacks("/references", f"the references {', '.join(sorted(beside)) or 'none'}", f"all of {', '.join(sorted(needed))}")


def _references(state: State, result_: AResult) -> None:
    signatures = {s["signature"]: s for s in result_.document["scores"]}
    seen = set()
    if result_.document["references"] and "reference_samples" not in result_.document:
        state.findings.add("VXP-K018", result_.path, "/references", "references without their scores per item",
                           "references.parquet, described as reference_samples")
    for number, reference in enumerate(result_.document["references"]):
        where = f"/references/{number}"
        if reference["explainer"] in seen:
            state.findings.add("VXP-K018", result_.path, where, f"{reference['explainer']} twice", "each reference once")
        seen.add(reference["explainer"])
        has = [score["signature"] for score in reference["scores"]]
        lacking = [s for s in signatures if s not in has]
        if lacking or len(set(has)) < len(has):
            state.findings.add("VXP-K018", result_.path, where, f"{len(lacking)} scores missing"
                               + (f": {', '.join(lacking[:5])}" if lacking else ", one twice"),
                               f"each of the result's {len(signatures)} scores once")
        for score in reference["scores"]:
            own = signatures.get(score["signature"])
            if own is None:
                state.findings.add("VXP-K018", result_.path, where, f"a score {score['signature']}", "scores of the result")
            elif score["n"] != own["n"]:
                state.findings.add("VXP-K018", result_.path, where, f"{score['n']} items in {score['signature']}",
                                   f"{own['n']}")


def _settings(state: State, result_: AResult) -> None:
    document, path = result_.document, result_.path
    seed, limit = document["settings"]["seed"], document["settings"]["limit"]
    task = state.entry("tasks", document["task"], limit)
    if task is not None and seed != task["seed"]:
        state.findings.add("VXP-K015", path, "/settings/seed", str(seed), f"{task['seed']}, the task's")
    _selection(state, result_)
    _harness(state, path, "/harness/version", document["harness"]["version"])
    own = _inference(state, document)
    if asdict(own) != document["inference"]:
        state.findings.add("VXP-K015", path, "/inference", f"{document['inference']}", f"{asdict(own)}, the task's")
    if limit is not None and "limited" not in document["flags"]:
        state.findings.add("VXP-K019", path, "/flags", f"{document['flags']}", "the flag limited: not all items were scored")
    if document["generator"].get("dirty") or document["harness"].get("dirty"):
        commit = str(document["harness"].get("commit", "unknown"))[:12]
        state.findings.add("VXP-F013", path, "/harness", f"commit {commit} with changes that it does not have",
                           "a commit without changes")
    for number, checkout in enumerate((result_.environment or {}).get("git", [])):
        if checkout["dirty"] and "diff_digest" not in checkout:
            state.findings.add("VXP-F013", document["environment"]["path"], f"/git/{number}",
                               f"{checkout['name']} at {checkout['commit'][:12]} with changes, and no digest of them",
                               "a commit without changes, or the digest of the difference from it")


def _harness(state: State, path: str, where: str, said: str) -> None:
    """A version of this harness is one that could have been released before the validator's own."""
    own = Version(version("vxp"))
    try:
        newer = Version(said) > own
    except InvalidVersion:
        state.findings.add("VXP-K028", path, where, ascii(said)[1:-1], f"a version such as {own}")
        return
    if newer:
        state.findings.add("VXP-F017", path, where, said, f"at most {own}, which checks here")


def _selection(state: State, result_: AResult) -> None:
    """What a limited result says of the items that it has, and of those that its task has."""
    limit, said = result_.document["settings"]["limit"], result_.document.get("selection")
    if result_.samples is None:
        return
    if limit is None:
        if said is not None:
            state.findings.add("VXP-K015", result_.path, "/selection", json.dumps(said), "no selection: no limit was set")
        return
    there = {"items": result_.samples.rows, "clusters": len({str(c) for c in result_.samples["cluster"]})}
    task = _registered("task", result_.document["task"])
    if task is not None and "items" in task:
        items = vxp_schemas.loads(vxp_schemas.registry_bytes(task["items"]["path"]))
        there |= {"of_items": len(items), "of_clusters": len({item["cluster"] for item in items})}
    if said is None or any(said[key] != value for key, value in there.items()):
        state.findings.add("VXP-K015", result_.path, "/selection", json.dumps(said), f"{json.dumps(there)}, as the rows say")


def _inference(state: State, document: Document) -> stats.Inference:
    """What the task's card fixes, or where nobody here has the card what the result says of it."""
    task = state.entry("tasks", document["task"], document["settings"]["limit"])
    return stats.Inference.of(document["inference"] if task is None else task["statistics"])


# ------------------------------------------------------------------------------------------------------------ aggregates


def _aggregates(state: State, result_: AResult, samples: Table) -> None:
    """Counts, means and intervals computed again from the rows, and held against the document."""
    document = result_.document
    clusters = [str(c) for c in samples["cluster"]]
    inference = _inference(state, document)
    if inference.few(clusters):
        state.findings.add("VXP-F007", result_.path, "", f"{len(set(clusters))} clusters", f"{inference.min_clusters} or more")
        if "few-clusters" not in document["flags"]:
            state.findings.add("VXP-K019", result_.path, "/flags", f"{document['flags']}", "the flag few-clusters")
    task = state.entry("tasks", document["task"], document["settings"]["limit"])
    for number, score in enumerate(document["scores"]):
        signature = score["signature"]
        rows = Rows(signature, signature, "statistics", samples[signature], samples[f"{signature}#status"])
        _could_have_run(state, result_, number, score, task)
        _aggregate(state, result_, f"/scores/{number}", score, rows, clusters, task,
                   ("mean", "mean_worst_bound", "median", "sd"))
    found = result_.reference_samples
    places = result.reference_rows(document, samples.rows)
    if found is None or found.rows != len(places) * samples.rows:
        return  # VXP-K018 or VXP-C024 says so
    for number, reference in enumerate(document["references"]):
        for index, score in enumerate(reference["scores"]):
            place = reference["explainer"], score["signature"]
            rows = Rows(score["signature"], "/".join(place), "reference_statistics", found["value"][places[place]],
                        found["status"][places[place]])
            _aggregate(state, result_, f"/references/{number}/scores/{index}", score, rows, clusters, task, ("mean",))
    _ties(state, result_, found, places)


def _could_have_run(state: State, result_: AResult, number: int, score: Mapping[str, Any], task: Document | None) -> None:
    """A score that was left out for a reason that the task, the system or the metric does not have."""
    metric = _installed(score["signature"])
    if metric is None or task is None:
        return
    limit = task["budget"].get("max_passes_per_map")
    passes = int(state.system["method"]["needs"]["passes_per_map"]) if state.system is not None else 0
    holds = {"not-run:kind": not set(metric.kinds) & set(task["kinds"]),
             "not-run:no-truth": not set(metric.truth) & set(task["truth"]),
             "not-run:budget": metric.re_explains and limit is not None and passes > limit,
             "not-run:reference": False, "not-run:no-explainer": metric.re_explains,
             "not-run:no-relabelled-model": metric.needs_relabelled and result_.document["model"]["id"] not in RELABELLED}
    for status in score["statuses"]:
        if not holds.get(status, True):
            state.findings.add("VXP-K027", result_.path, f"/scores/{number}/statuses", f"{status}: {score['signature']}",
                               "a number, or the reason that holds")


@dataclass(frozen=True, eq=False)
class Rows:
    """The numbers per item of one score, of the result itself or of a reference, and where its statistics are."""

    signature: str
    tensor: str
    field: str
    values: np.ndarray
    status: Sequence[Any]


def _aggregate(
    state: State, result_: AResult, where: str, score: Mapping[str, Any], rows: Rows, clusters: Sequence[str],
    task: Document | None, fields: Sequence[str],
) -> None:
    status = [str(s) for s in rows.status]
    counts = dict(Counter(status))
    if score["n"] != len(status) or score["statuses"] != counts:
        state.findings.add("VXP-K009", result_.path, where, f"n {score['n']}, {score['statuses']}",
                           f"n {len(status)}, {counts}")
    known = _installed(rows.signature)
    if known is None:
        state.not_checked(f"aggregate of {rows.signature}", "its metric is not installed here in this version")
        return
    again = _again(state, result_, rows, status, clusters, known)
    if again is None:
        return
    for field in fields:
        if not _same(score.get(field), again.get(field), RTOL):
            state.findings.add("VXP-K010", result_.path, f"{where}/{field}", f"{score.get(field)} for {rows.signature}",
                               f"{again.get(field)}, computed from the samples")
    for problem, expected in _interval(score.get("ci"), again.get("ci"), task):
        state.findings.add("VXP-K011", result_.path, f"{where}/ci", f"{problem} for {rows.signature}", expected)


def _installed(signature: str) -> Metric | None:
    known = metrics.catalogue().get(signature.partition("@")[0])
    return known if known is not None and known.name == signature.partition("|")[0] else None


def _ties(state: State, result_: AResult, found: Table, places: Mapping[tuple[str, str], slice]) -> None:
    """The flag of scores in which no reference differs from another."""
    for number, score in enumerate(result_.document["scores"]):
        signature, metric = score["signature"], _installed(score["signature"])
        if metric is None or metric.reduce is not None:
            continue
        numbers = [found["value"][place] for (_, s), place in places.items() if s == signature]
        raised, wanted = result.TIE in score.get("flags", ()), result.can_tie(metric) and stats.tie(numbers)
        if raised != wanted:
            state.findings.add("VXP-K019", result_.path, f"/scores/{number}/flags", f"{score.get('flags', 'none')}",
                               f"the flag {result.TIE}: all references have the same numbers" if wanted else
                               f"no flag {result.TIE}: the references differ")


KNOWN: Final[dict[str, Mapping[str, Any]]] = {}
"""Aggregates by what they are computed from: the references of one task are the same in all of its results."""


def _again(
    state: State, result_: AResult, rows: Rows, status: Sequence[str], clusters: Sequence[str], metric: Metric,
) -> Mapping[str, Any] | None:
    """The aggregate of one score, computed again."""
    seed, inference = int(result_.document["settings"]["seed"]), _inference(state, result_.document)
    if metric.reduce is None:
        values = np.where([s == OK for s in status], rows.values, np.nan)
        facts = repr((metric.name, seed, inference, status, clusters)).encode(errors="surrogatepass")
        key = hashlib.sha256(facts + values.tobytes()).hexdigest()
        if key not in KNOWN:
            KNOWN[key] = stats.summary(values, status, clusters, stats.Scale.of(metric),
                                       seed=seed, inference=inference)
        return KNOWN[key]
    tensor = (getattr(result_, rows.field) or {}).get(rows.tensor)
    if tensor is None:
        if any(s == OK for s in status):
            state.findings.add("VXP-C023", result_.path, f"/{rows.field}", f"no statistics of {rows.tensor}",
                               "what the metric of the set keeps of every item")
            return None
        return {}
    with state.bundle.stream(result_.document[rows.field]["path"]) as stream:
        kept = torch.from_numpy(arrays.values(stream, tensor).copy())
    if kept.ndim < 2 or len(kept) != len(status):
        return None  # VXP-C023 says so
    try:
        return stats.set_summary(metric.reduce, kept, status, clusters, range=metric.range, level=inference.level)
    except (VxpError, ValueError, RuntimeError, IndexError) as error:
        state.findings.add("VXP-C023", result_.document[rows.field]["path"], f"tensor {rows.tensor}",
                           f"shape {list(kept.shape)}, which does not reduce ({' '.join(str(error).split())[:200]})",
                           "the statistics that the metric keeps")
        return None


def _same(found: float | None, again: float | None, rtol: float) -> bool:
    if found is None or again is None:
        return found is None and again is None
    return math.isclose(found, again, rel_tol=rtol, abs_tol=rtol)


def _interval(
    found: Mapping[str, Any] | None, again: Mapping[str, Any] | None, task: Document | None,
) -> Iterator[tuple[str, str]]:
    """What differs in an interval, and what was expected."""
    if found is None or again is None:
        if again is not None:
            yield "no interval", f"one by {again['method']}"
        elif found is not None:
            yield "an interval", "none: too few clusters"
        return
    for field in ("level", "method", "resamples", "seed", "n_clusters"):
        if found[field] != again[field]:
            yield f"{field} {found[field]}", f"{again[field]}"
    for field in ("lo", "hi"):
        if not _same(found[field], again[field], RTOL_CI):
            yield f"{field} {found[field]}", f"{again[field]}, computed from the samples"
    if task is not None and found["cluster_key"] != task["cluster_key"]:
        yield f"cluster_key {found['cluster_key']}", f"{task['cluster_key']}, the task's"


def _cost(state: State, result_: AResult, items: Table) -> None:
    """The cost of explaining is the sum over rows; and what cannot be is flagged."""
    cost, path = result_.document["cost"]["explain"], result_.path
    for field, column in (("forward_rows", "n_forwards"), ("backward_rows", "n_backwards")):
        total = int(items[column].astype(np.int64).sum())
        if cost[field] != total:
            state.findings.add("VXP-K016", path, f"/cost/explain/{field}", str(cost[field]), f"{total}, the sum of {column}")
    if cost["maps"] != items.rows:
        state.findings.add("VXP-K016", path, "/cost/explain/maps", str(cost["maps"]), f"{items.rows} rows")
    seconds = float(items["runtime_ms"].astype(float).sum()) / 1000
    if not math.isclose(cost["seconds"], seconds, rel_tol=1e-3, abs_tol=1e-6):
        state.findings.add("VXP-K016", path, "/cost/explain/seconds", str(cost["seconds"]),
                           f"{seconds:.6g}, the sum of runtime_ms")
    if state.system is None:
        return
    needed = int(state.system["method"]["needs"]["passes_per_map"])
    made = np.array([s == OK for s in items["status"]], bool)
    passes = items["n_forwards"].astype(np.int64) + items["n_backwards"]
    if not made.any():
        return
    # passes of maps that were made together are shared out, so only their sum is exact; and the declared number holds for
    # 224 px: windows that are scaled to a smaller input may be a few less
    if int(passes[made].sum()) < 0.8 * needed * int(made.sum()):
        state.findings.add("VXP-F006", path, "n_forwards", f"{passes[made].mean():.3g} passes a map",
                           f"{needed}, as system.json says")
    elif not passes[made].any():  # references alone explain a model without asking it, and no bundle is of one
        state.findings.add("VXP-F006", path, "n_forwards", f"no pass in {int(made.sum())} maps", "passes of the model")
    timeless = int((items["runtime_ms"][made] <= 0).sum())
    if timeless:
        state.findings.add("VXP-F006", path, "runtime_ms", f"{timeless} maps in no time", "a time above 0")


# ---------------------------------------------------------------------------------------------------- the bundle as whole


def _whole(state: State) -> None:
    if state.submission is None:
        return
    add = state.findings.add
    scored = [r.document["set"]["path"] for r in state.results]
    for found in state.sets:
        if scored.count(found.path) != 1:
            add("VXP-K017", found.path, "", f"{scored.count(found.path)} results of this set", "one result for every set")
    tasks = Counter((s.document["task"]["id"], s.document["task"]["digest"], s.document["model"]["digest"]) for s in state.sets)
    for (name, _, _), n in tasks.items():
        if n > 1:
            add("VXP-K022", "submission.json", "/sets", f"{n} sets of task {name}", "one set of a task and model")
    open_ = [r.path for r in state.results if r.document["division"] == "open"]
    if state.submission["division"] == "closed" and open_:
        add("VXP-K012", "submission.json", "/division", f"closed, with open results ({', '.join(open_[:3])})", "open")
    if state.submission["division"] == "open" and not open_ and state.results:
        add("VXP-K012", "submission.json", "/division", "open, with closed results only", "closed")
    if state.system is not None:
        _code(state, state.system["implementation"])


def _code(state: State, implementation: Document) -> None:
    known = set(implementation)
    if not known & {"commit", "source_digest", "container_digest"} and not known >= {"package", "version"}:
        state.findings.add("VXP-K020", "system.json", "/implementation", f"only {', '.join(implementation)}",
                           "a package with its version, a commit, or the digest of source or container")
