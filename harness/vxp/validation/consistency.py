"""Level consistency: documents refer to each other and to the registry, and every aggregate follows from its samples."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import version
from typing import Final, TypedDict, TypeVar, cast

import numpy as np
import vxp_schemas
from packaging.version import InvalidVersion, Version
from vxp_schemas import Registered, typed

from vxp import division, metrics
from vxp.core import OK, VxpError
from vxp.documents import Taken, listed, referred
from vxp.explainers import REFERENCES, references
from vxp.runs import result
from vxp.validation import sequential, statements
from vxp.validation.aggregates import Aggregates, inference_of
from vxp.validation.arrays import Table
from vxp.validation.state import AResult, ASet, Card, State

T = TypeVar("T")


def check(state: State) -> None:
    for found in state.sets:
        _entries(state, found.path, found.document, state.taken_of(found))
        _system(state, found)
    for path, card in state.documents.items():
        _own_name(state, path, card)
    for result_ in state.results:
        document = result_.document
        _entries(state, result_.path, document, Taken.of(document["settings"]))
        _pair(state, result_)
        for number, score in enumerate(document["scores"]):
            _metric(state, result_.path, f"/scores/{number}", score)
        _division(state, result_)
        _references(state, result_)
        _settings(state, result_)
        if result_.samples is not None:
            Aggregates.of(state, result_, result_.samples).check(result_.samples)
            sequential.check(state, result_, inference_of(state, document))
        found_set = state.set_of(result_)
        if found_set is not None and found_set.items is not None:
            _cost(state, result_, found_set.items)
    _whole(state)
    statements.check(state)


def _entries(state: State, path: str, document: typed.Set | typed.Result, taken: Taken | None) -> None:
    """Task, data set and model are entries of the registry, or lie in the bundle, by digest."""
    task = _entry(state, path, "task", document["task"], state.entry("tasks", document["task"], taken), taken)
    model = _entry(state, path, "model", document["model"], state.entry("models", document["model"]), None)
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


def _entry(state: State, path: str, kind: str, reference: typed.Ref, found: T | None, taken: Taken | None) -> T | None:
    """The entry that was found by digest, unless it takes the name of a registered one; None with a finding."""
    registered = _registered(kind, reference)
    if found is not None and (registered is None or referred(registered, taken) == reference):
        return found
    if registered is None:  # a template has no digests; whoever filled them in states them in a document of the bundle
        registered = vxp_schemas.registry(f"{kind}s").get(f"{reference['id']}@{reference['version']}")
    if registered is not None:
        # a document in the bundle does not take the name of what everybody can look up
        expected = f"{_named(referred(registered, taken))}, the registry's" + (f" of {taken.items} items" if taken else "")
        state.findings.add(CODES[kind], path, f"/{kind}", _named(reference), expected)
    else:
        state.findings.add("VXP-K021", path, f"/{kind}", f"{_named(reference)} in neither registry nor bundle",
                           f"its document in the bundle, as results/<id>/{kind}.json")
    return None


FLAGS: Final[Mapping[str, str]] = {
    "limited": "not all items were scored", "sequential": "the run stopped when its question was decided"}
"""What a result is flagged with that has not the task's items in its order."""
CODES: Final[Mapping[str, str]] = {"task": "VXP-K001", "dataset": "VXP-K002", "model": "VXP-K003"}


class Name(TypedDict):
    """What a document of the registry, and a reference to it, is called."""

    id: str
    version: int


def _own_name(state: State, path: str, document: Card) -> None:
    """A document of the bundle leaves the registry's names to the registry, in every version, and its lists of items too."""
    kind = document["type"].split("/")[-2]
    named: dict[str, Name] = {kind: document}
    if kind == "task":
        task = cast(typed.Task, document)
        named["dataset"] = task["dataset"]
        if "items" in task:
            state.findings.add("VXP-K001", path, "/items", ascii(task["items"]["path"])[1:-1], "items_digest: a list of "
                               "items in the registry is that of a registered task")
    for what, reference in named.items():
        taken = {name.partition("@")[0] for name in vxp_schemas.registry(f"{what}s")}
        name = f"{reference['id']}@{reference['version']}"
        # under a registered version itself the digests decide
        if reference["id"] in taken and name not in vxp_schemas.registry(f"{what}s"):
            state.findings.add(CODES[what], path, "/id" if what == kind else f"/{what}", f"the {what} {name}, which the "
                               "registry does not have", f"a name of its own: versions of {reference['id']} are the registry's")


def _registered(kind: str, reference: typed.Ref) -> Registered | None:
    """The registry's entry of this name, where it is one with digests."""
    found = vxp_schemas.registry(f"{kind}s").get(f"{reference['id']}@{reference['version']}")
    return found if found is not None and found["status"] != "template" else None


def _named(reference: typed.Ref) -> str:
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
    if (method["name"], method["parameters"], method["family"]) != (
            explainer["id"], explainer["parameters"], explainer["family"]):
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
    for field in ("task", "dataset", "model", "explainer"):
        ours, theirs, code = document[field], found.document[field], "VXP-K008" if field == "explainer" else "VXP-K007"
        if ours != theirs:
            apart = [k for k in {**ours, **theirs} if ours.get(k) != theirs.get(k)]
            said, expected = (", ".join(f"{k} {d.get(k)}" for k in apart)[:300] for d in (ours, theirs))
            state.findings.add(code, result_.path, f"/{field}", said, f"{expected}, as in {found.path}")
    if document["result_id"] != found.document["set_id"]:
        state.findings.add("VXP-K007", result_.path, "/result_id", document["result_id"],
                           f"{found.document['set_id']}, the set's")


def _metric(state: State, path: str, where: str, score: typed.ResultScore) -> None:
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
    seed, taken = document["settings"]["seed"], Taken.of(document["settings"])
    task = state.entry("tasks", document["task"], taken)
    if task is not None and seed != task["seed"]:
        state.findings.add("VXP-K015", path, "/settings/seed", str(seed), f"{task['seed']}, the task's")
    _selection(state, result_)
    _harness(state, path, "/harness/version", document["harness"]["version"])
    own = inference_of(state, document)
    if asdict(own) != document["inference"]:
        state.findings.add("VXP-K015", path, "/inference", f"{document['inference']}", f"{asdict(own)}, the task's")
    flag = None if taken is None else "sequential" if taken.drawn else "limited"
    if flag is not None and flag not in document["flags"]:
        state.findings.add("VXP-K019", path, "/flags", f"{document['flags']}", f"the flag {flag}: {FLAGS[flag]}")
    if document["generator"].get("dirty") or document["harness"].get("dirty"):
        commit = str(document["harness"].get("commit", "unknown"))[:12]
        state.findings.add("VXP-F013", path, "/harness", f"commit {commit} with changes that it does not have",
                           "a commit without changes")
    for number, checkout in enumerate([] if result_.environment is None else result_.environment.get("git", [])):
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
    task = vxp_schemas.registry("tasks").get(f"{result_.document['task']['id']}@{result_.document['task']['version']}")
    if task is not None and task["status"] != "template" and "items" in task:
        items = listed(task["items"]["path"])
        there |= {"of_items": len(items), "of_clusters": len({item["cluster"] for item in items})}
    if said is None or any(said.get(key) != value for key, value in there.items()):
        state.findings.add("VXP-K015", result_.path, "/selection", json.dumps(said), f"{json.dumps(there)}, as the rows say")


def _cost(state: State, result_: AResult, items: Table) -> None:
    """The cost of explaining is the sum over rows; and what cannot be is flagged."""
    cost, path = result_.document["cost"]["explain"], result_.path
    for field in ("forward_rows", "backward_rows"):
        column = "n_forwards" if field == "forward_rows" else "n_backwards"
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


def _code(state: State, implementation: typed.Implementation) -> None:
    known = set(implementation)
    if not known & {"commit", "source_digest", "container_digest"} and not known >= {"package", "version"}:
        state.findings.add("VXP-K020", "system.json", "/implementation", f"only {', '.join(implementation)}",
                           "a package with its version, a commit, or the digest of source or container")
