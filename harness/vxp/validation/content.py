"""Level content: rows, items, maps and scores are what the standard and the task say."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import vxp_schemas
from vxp_schemas import typed

from vxp import division
from vxp.catalogue import nearest
from vxp.documents import RULES, Beside, Listed, listed, reference_rows, referred, rules, words
from vxp.errors import OK
from vxp.validation import arrays, divided
from vxp.validation.arrays import Table
from vxp.validation.looks import ALIKE, MAPS, MOVED_ALIKE, Looker, Maps, alike, moved
from vxp.validation.state import AResult, ASet, State

FIVE = 5
CHANNELS = 3
"""Of an image."""
MAX_MAP = 64 * 2**20
"""Bytes of a map of zeros that is made to be hashed, whatever a manifest claims."""
SLACK = 1e-9
"""What rounding may leave beyond the end of a range."""


def check(state: State, looker: Looker) -> None:
    for found in state.sets:
        _shards(state, found)
        divided.check(state, found, expected_items(state, found))
        if found.items is not None:
            _items(state, found, found.items)
            if id(found) in looker.maps:
                _maps(state, found, found.items, looker.maps[id(found)])
            elif state.record:
                _copies(state, found, found.items)
        else:
            state.not_checked(f"items of {found.path}", "the table of items could not be read")
    for result in state.results:
        if result.samples is not None:
            _samples(state, result, result.samples)
            _arrays(state, result, result.samples)
            if result.reference_samples is not None:
                _references(state, result, result.samples, result.reference_samples)
        else:
            state.not_checked(f"scores of {result.path}", "the table of samples could not be read")


def _shards(state: State, found: ASet) -> None:
    """Shards tile the rows in order, on one grid."""
    row = 0
    grids = {tuple(t.shape[1:]) for t in found.shards if t is not None}
    for number, shard in enumerate(found.document["shards"]):
        where = f"/shards/{number}"
        name = f"payload/{number:05d}.safetensors"
        if shard["descriptor"]["path"] != name:
            state.findings.add("VXP-C003", found.path, where, f"the path {shard['descriptor']['path']}", f"{name}")
        if shard["first_row"] != row:
            state.findings.add("VXP-C003", found.path, where, f"first_row {shard['first_row']}",
                               f"first_row {row}, after the rows of the shards before it")
        row += shard["rows"]
    if found.items is not None and row != found.items.rows:
        state.findings.add("VXP-C003", found.path, "/shards", f"{row} rows of maps", f"{found.items.rows}, one for every item")
    if len(grids) > 1:
        state.findings.add("VXP-C001", found.path, "/shards", f"maps of the grids {sorted(grids)}", "one grid in a set")
    rule, rules = found.document["explainer"]["resample"], list(RULES.get(found.document["kind"], ()))
    rules += [] if found.document["kind"] == "temporal" else ["none"]
    if rule not in rules:
        state.findings.add("VXP-C015", found.path, "/explainer/resample", repr(rule),
                           f"{', '.join(rules)}, the rules of {found.document['kind']}")
    task, grid = state.entry("tasks", found.document["task"], state.taken_of(found)), next(iter(grids), None)
    if task is not None and found.document["kind"] not in task["kinds"]:
        state.findings.add("VXP-C025", found.path, "/kind", found.document["kind"],
                           f"{', '.join(task['kinds'])}, which the task admits")
    wanted = None if task is None or rule != "none" else _unresampled(found.document["kind"], task)
    if wanted is not None and grid is not None and list(grid) != wanted:
        state.findings.add("VXP-C015", found.path, "/explainer/resample", f"'none' with explanations of {list(grid)}",
                           f"explanations of {wanted}, as the task's input asks")
    if found.document["quantization"] != "none":
        state.findings.add("VXP-C014", found.path, "/quantization", found.document["quantization"], "'none' in version 1.0")


def _unresampled(kind: typed.ExplanationKind, task: typed.Task) -> list[int] | None:
    """The grid of explanations of a kind that are resampled by nothing; None where it is the explainer's own."""
    space = list(task["input_size"])
    match kind:
        case "regions" | "regions3d":
            return [2, *space]
        case "counterfactual":
            return [CHANNELS, *space]
        case "text":
            return [words.CAPACITY]
        case "rules":
            return [rules.CAPACITY]
        case "prototypes":
            return None
        case "concepts":
            return [len(task.get("concepts", []))]
    return space


def expected_items(state: State, found: ASet) -> list[Listed] | None:
    """The items of the set's task, under its limit; None where nobody here has the list."""
    taken = state.taken_of(found)
    task = vxp_schemas.registry("tasks").get(f"{found.document['task']['id']}@{found.document['task']['version']}")
    if task is None or "items" not in task or referred(task, taken) != found.document["task"]:
        return None
    items = listed(task["items"]["path"])
    return items if taken is None else [items[i] for i in division.places([item["cluster"] for item in items], taken,
                                                                           task["seed"])]


def _empty(state: State, path: str, table: Table, allowed: Sequence[str] = ()) -> bool:
    """Whether no column has empty cells that must not."""
    bad = {name: n for name, n in table.empty.items() if name not in allowed}
    for name, n in bad.items():
        state.findings.add("VXP-C004", path, f"column {name}", f"{n} empty cells", "a value in every row")
    return not bad


def _where(rows: Iterator[int] | Sequence[int] | np.ndarray, table: Table) -> Iterator[tuple[str, int]]:
    for i in rows:
        yield f"row {int(i)}, item {ascii(table['item_id'][int(i)])[1:-1][:128]}", int(i)


def _items(state: State, found: ASet, items: Table) -> None:
    path, add = found.items_path, state.findings.add
    if not _empty(state, path, items):
        return
    n = items.rows
    for where, i in _where(np.flatnonzero(items["row"] != np.arange(n)), items):
        add("VXP-C005", path, where, f"row {items['row'][i]}", "rows numbered 0, 1, 2, ...")
    for where, i in _where([i for i in range(n) if items["repeat"][i] != 0], items):
        add("VXP-C013", path, f"{where}, repeat", str(items["repeat"][i]), "0 in version 1.0")
    _places(state, found, items)
    _identity(state, found, items)
    _cells(state, found, items)
    counts = found.document["n_items"]
    if counts["present"] != n:
        add("VXP-C014", found.path, "/n_items/present", str(counts["present"]), f"{n}, the rows of items.parquet")
    if counts["expected"] and abs(found.document["coverage"] - counts["present"] / counts["expected"]) > 1e-9:
        add("VXP-C014", found.path, "/coverage", str(found.document["coverage"]),
            f"{counts['present']} of {counts['expected']}")


def _places(state: State, found: ASet, items: Table) -> None:
    """Row i lies where the shards, read in order, have their i-th map."""
    # one by one: a manifest may claim more rows than memory holds
    places = ((number, row) for number, shard in enumerate(found.document["shards"]) for row in range(shard["rows"]))
    rows = zip(items["item_id"], items["shard"], items["shard_row"], strict=True)
    for i, ((item, shard, row), place) in enumerate(zip(rows, places, strict=False)):
        if (shard, row) != place:
            state.findings.add("VXP-C010", found.items_path, f"row {i}, item {ascii(item)[1:-1][:128]}",
                               f"shard {shard}, row {row} (its map is in shard {place[0]}, row {place[1]})",
                               "shard and shard_row where the shards, read in order, have the row's map")


def _identity(state: State, found: ASet, items: Table) -> None:
    """The items are the task's, each once, in its order, with its clusters and targets."""
    path, add = found.items_path, state.findings.add
    names = items["item_id"]
    seen: set[str] = set()
    for where, i in _where(range(items.rows), items):
        if names[i] in seen:
            add("VXP-C006", path, where, "the item again", "each item once")
        seen.add(names[i])
        if items["explanation_id"][i] != f"{names[i]}/{items['repeat'][i]}":
            add("VXP-C013", path, f"{where}, explanation_id", ascii(items["explanation_id"][i])[:200], "<item_id>/<repeat>")
    expected = expected_items(state, found)
    if expected is None:
        state.not_checked(f"items of {found.path} against the task's list",
                          "the list is not in the registry: the task is unregistered, unknown or of the reviewer's own copy")
        return
    wanted = [item["item_id"] for item in expected]
    if found.document["n_items"]["expected"] != len(wanted):
        add("VXP-C014", found.path, "/n_items/expected", str(found.document["n_items"]["expected"]), f"{len(wanted)} items")
    if names != wanted:
        known = set(wanted)
        missing, extra = [w for w in wanted if w not in seen], [n for n in names if n not in known]
        if missing:
            add("VXP-C007", path, "", f"{len(missing)} items missing: {', '.join(missing[:FIVE])}",
                f"the task's {len(wanted)} items")
        if extra:
            add("VXP-C007", path, "", f"{len(extra)} items too many: {', '.join(ascii(e)[1:-1][:128] for e in extra[:FIVE])}",
                f"the task's {len(wanted)} items")
        if not missing and not extra:
            first = next((i for i, (a, b) in enumerate(zip(names, wanted, strict=False)) if a != b), len(wanted))
            add("VXP-C007", path, f"row {first}", f"item {names[first] if first < len(names) else 'missing'}",
                f"item {wanted[first] if first < len(wanted) else 'none'}: the task's order of items")
        return
    model = state.entry("models", found.document["model"])
    classes = model is None or divided.output_of(model) == "classes"
    for where, i in _where(range(items.rows), items):
        item = expected[i]
        if items["cluster"][i] != item["cluster"]:
            add("VXP-C008", path, where, f"{ascii(items['cluster'][i])[:200]} (in the task {item['cluster']!r})",
                "the task's clusters")
        fixed = item["target"]
        source = "list" if fixed is not None else "predicted" if classes else "none"
        if items["target_source"][i] != source:
            add("VXP-C009", path, f"{where}, target_source", ascii(items["target_source"][i])[:200],
                f"{source}, the task's policy")
        if items["target"][i] != (items["prediction"][i] if fixed is None else fixed):
            right = items["prediction"][i] if fixed is None else fixed
            add("VXP-C009", path, where, f"target {items['target'][i]} (right is {right})",
                "the model's prediction" if fixed is None else "the class of the task's list")


def _cells(state: State, found: ASet, items: Table) -> None:
    """Classes, probabilities and costs lie in their ranges; statuses are known."""
    path, add = found.items_path, state.findings.add
    model = state.entry("models", found.document["model"])
    classes = None if model is None else int(model["classes"]["count"])
    if classes is None:
        state.not_checked(f"classes of {found.path}", "nobody here has the model's document")
    scores, times = items["target_score"], items["runtime_ms"]
    without = np.array([source == "none" for source in items["target_source"]], bool)
    for column in ("target", "prediction"):
        bad = (items[column] < 0) | ((items[column] >= classes) if classes is not None else False)
        for where, i in _where(np.flatnonzero(bad & ~without), items):
            add("VXP-C013", path, f"{where}, {column}", str(items[column][i]), f"a class from 0 to {(classes or 2**31) - 1}")
        for where, i in _where(np.flatnonzero((items[column] != -1) & without), items):
            add("VXP-C013", path, f"{where}, {column}", str(items[column][i]), "-1, where there is no target")
    # a sum of probabilities in single precision may pass 1 by its last bits
    for where, i in _where(np.flatnonzero(~((scores >= 0) & (scores <= 1 + 1e-5)) & ~without), items):
        add("VXP-C013", path, f"{where}, target_score", str(scores[i]), "a probability from 0 to 1")
    for where, i in _where(np.flatnonzero(~np.isfinite(scores) & without), items):
        add("VXP-C013", path, f"{where}, target_score", str(scores[i]), "the mean score of the steps, a finite number")
    for where, i in _where(np.flatnonzero(~((times >= 0) & np.isfinite(times))), items):
        add("VXP-C013", path, f"{where}, runtime_ms", str(times[i]), "a time that is not negative")
    for column in ("n_forwards", "n_backwards"):
        for where, i in _where(np.flatnonzero(items[column] < 0), items):
            add("VXP-C013", path, f"{where}, {column}", str(items[column][i]), "a number of passes, not negative")
    for where, i in _where(range(items.rows), items):
        status = items["status"][i]
        if status != OK and not (status.startswith("failed:") and status in vxp_schemas.STATUSES):
            add("VXP-C011", path, where, ascii(status)[:200],
                f"one of ok, {', '.join(s for s in vxp_schemas.STATUSES if s.startswith('failed:'))}")
        if items["target_source"][i] not in ("predicted", "label", "list", "none"):
            add("VXP-C013", path, f"{where}, target_source", ascii(items["target_source"][i])[:200],
                "predicted, label, list or none")


def _maps(state: State, found: ASet, items: Table, maps: Maps) -> None:
    n = min(items.rows, len(maps.infinite))
    ok = np.array([s == OK for s in items["status"]], bool)[:n]
    shards = found.document["shards"]
    starts = np.cumsum([0, *(s["rows"] for s in shards)])
    for where, i in _where(np.flatnonzero(maps.infinite[:n]), items):
        number = int(np.searchsorted(starts, i, side="right")) - 1
        state.findings.add("VXP-C002", found.inside(shards[number]["descriptor"]["path"]), where,
                           f"{maps.infinite[i]} values that are NaN or infinite", "finite values")
    filled = ~ok & ((maps.lowest[:n] != 0) | (maps.highest[:n] != 0))
    for where, i in _where(np.flatnonzero(filled), items):
        state.findings.add("VXP-C012", found.items_path, where, f"values from {maps.lowest[i]:g} to {maps.highest[i]:g} with "
                           f"status {items['status'][i]}", "a map of zeros")
    if len(ok) and not ok.any():
        state.findings.add("VXP-C016", found.items_path, "", f"{len(ok)} items, none with the status ok",
                           "a map of at least one item")
    if found.document["kind"] in MAPS:
        _flags(state, found, items, maps, ok)


def _likeness(state: State, found: ASet, small: Sequence[np.ndarray]) -> None:
    """The flag of maps that are one map but for noise, or one map but for noise and shifts."""
    near, shifted = alike(small), moved(small)
    if near >= 0.5:
        state.findings.add("VXP-F002", found.path, "values", f"{near:.0%} of {len(small)} sampled maps correlate above {ALIKE} "
                           "with another item's", "maps that depend on the item")
    elif shifted >= MOVED_ALIKE:
        state.findings.add("VXP-F002", found.path, "values", f"sampled maps correlate with each other by {shifted:.3f} in the "
                           "mean, where one is shifted to fit the other", f"maps that depend on the item, below {MOVED_ALIKE}")


def _copies(state: State, found: ASet, items: Table) -> None:
    """Copies of one map by their digests, where the maps lie elsewhere. Of constant maps only those of zeros can be told."""
    if found.document["kind"] not in MAPS:  # the same words or scores of concepts may be right for several items
        return
    facts = found.document["shards"][0]["tensors"].get("values")
    known = facts is not None and facts["dtype"] in arrays.DTYPES
    size = arrays.DTYPES[facts["dtype"]].itemsize * math.prod(facts["shape"][1:]) if facts is not None and known else 0
    flat = hashlib.sha256(bytes(min(size, MAX_MAP))).digest()
    digests = [d for d, s in zip(items["payload_digest"], items["status"], strict=True) if s == OK and d != flat]
    _repeated(state, found, digests)


def _repeated(state: State, found: ASet, digests: Sequence[bytes]) -> bool:
    """The flag of maps that are copies, byte for byte; whether it was raised."""
    repeated = len(digests) - len(set(digests))
    if repeated:
        state.findings.add("VXP-F002", found.path, "payload_digest", f"{repeated} of {len(digests)} maps are a copy of another "
                           "item's", "maps that depend on the item")
    return repeated > 0


def _flags(state: State, found: ASet, items: Table, maps: Maps, ok: np.ndarray) -> None:
    n, path, add = len(ok), found.path, state.findings.add
    constant = ok & (maps.lowest[:n] == maps.highest[:n])
    if constant.any():
        add("VXP-F001", path, f"row {int(np.flatnonzero(constant)[0])}", f"{int(constant.sum())} of {n} maps are constant",
            "maps that differ between positions")
    digests = [d for d, good, flat in zip(items["payload_digest"], ok, constant, strict=False) if good and not flat]
    if not _repeated(state, found, digests):
        _likeness(state, found, maps.small)
    if found.document["explainer"]["signed"] and ok.any() and not (maps.lowest[:n][ok] < 0).any():
        add("VXP-F015", path, "/explainer/signed", f"true, and none of {int(ok.sum())} maps has a negative value",
            "negative values where something speaks against the target")
    if not found.document["explainer"]["signed"] and (maps.lowest[:n] < 0).any():
        add("VXP-F010", path, "/explainer/signed", f"{int((maps.lowest[:n] < 0).sum())} of {n} maps have negative values, "
            f"the lowest {maps.lowest[:n].min():g}", "no negative values where signed is false")
    if maps.centre:
        like = float(np.mean(np.array(maps.centre) > 0.99))
        if like >= 0.1:
            add("VXP-F003", path, "centre-gaussian", f"{like:.0%} of {len(maps.centre)} sampled maps correlate above 0.99 with "
                "the centre-Gaussian", "maps that come from the model")
        sizes = np.array([size for size, _, _ in maps.finer])
        noise = float(np.mean((np.abs(maps.neighbours) < 0.05) & (sizes >= 784)))
        if noise >= 0.5:
            add("VXP-F003", path, "random", f"{noise:.0%} of {len(sizes)} sampled maps have neighbours as different as noise",
                "maps that come from the model")
        few = float(np.mean([kinds * 4 < size and kinds <= 256 for size, kinds, _ in maps.finer]))
        if few >= 0.5:
            middle = int(np.median([kinds for _, kinds, _ in maps.finer]))
            add("VXP-F005", path, "values", f"{few:.0%} of {len(sizes)} sampled maps have at most 256 different values, the "
                f"median {middle}", "values that order the positions")
        hidden = float(np.mean([single > 1024 and single >= 32 * half for _, single, half in maps.finer]))
        if hidden >= 0.1:
            add("VXP-F009", path, "values", f"{hidden:.0%} of {len(sizes)} sampled maps have 32 times as many values at single "
                "as at half precision", "maps whose values fit their precision")


def _samples(state: State, result: AResult, samples: Table) -> None:
    path, add = result.samples_path, state.findings.add
    scores = {s["signature"]: s for s in result.document["scores"]}
    if not _empty(state, path, samples, tuple(scores)):
        return
    found = state.set_of(result)
    if found is not None and found.items is not None:
        for column in ("item_id", "cluster", "target", "explanation_id", "repeat"):
            ours, theirs = list(samples[column]), list(found.items[column])
            if ours != theirs:
                differ = (i for i, (a, b) in enumerate(zip(ours, theirs, strict=False)) if a != b)
                i = next(differ, min(len(ours), len(theirs)))
                here, there = (ascii(cells[i])[:200] if i < len(cells) else "no row" for cells in (ours, theirs))
                add("VXP-C020", path, f"row {i}, column {column}", f"{here} ({len(ours)} rows)",
                    f"{there} ({len(theirs)} rows), as in {found.items_path}")
    for signature, score in scores.items():
        _score(state, path, samples, signature, score)


def _references(state: State, result: AResult, samples: Table, references: Table) -> None:
    """A row for every reference, score and item, in this order; values and statuses as those of the result itself."""
    path, n = result.document["reference_samples"]["path"], samples.rows
    if not _empty(state, path, references, ("value",)):
        return
    rows = reference_rows(result.document, n)
    expected = {
        "explainer": [name for name, _ in rows for _ in range(n)], "signature": [s for _, s in rows for _ in range(n)],
        "item_id": list(samples["item_id"]) * len(rows), "cluster": list(samples["cluster"]) * len(rows)}
    for column, wanted in expected.items():
        there = list(references[column])
        if there != wanted:
            differ = (i for i, (a, b) in enumerate(zip(there, wanted, strict=False)) if a != b)
            i = next(differ, min(len(there), len(wanted)))
            here, right = (ascii(cells[i])[:200] if i < len(cells) else "no row" for cells in (there, wanted))
            state.findings.add("VXP-C024", path, f"row {i}, column {column}", f"{here} ({len(there)} rows)",
                               f"{right} ({len(wanted)} rows), every reference, score and item as {result.path} lists them")
            return
    scores = {s["signature"]: s for s in result.document["scores"]}
    for (name, signature), part in rows.items():
        if signature in scores:  # VXP-K018 says where a reference has a score that the result has not
            own = Table(n, {"item_id": samples["item_id"], signature: references["value"][part],
                            f"{signature}#status": references["status"][part]}, {})
            _score(state, path, own, signature, scores[signature], of=f"{name}, ")


def _score(
    state: State, path: str, samples: Table, signature: str, score: typed.ResultScore, *, of: str = ""
) -> None:
    values, status = samples[signature], samples[f"{signature}#status"]
    known = np.array([s in vxp_schemas.STATUSES for s in status], bool)
    ok = np.array([s == OK for s in status], bool)
    add = state.findings.add
    for where, i in _where(np.flatnonzero(~known), samples):
        near = nearest(str(status[i]), list(vxp_schemas.STATUSES))
        add("VXP-C011", path, f"{of}{where}, {signature}", ascii(status[i])[:200] + near,
            "ok, or a status of the standard's list that begins with undefined:, failed: or not-run:")
    number = np.isfinite(values)
    # a metric of the set has a number of its own for an item only where the item says one by itself
    wrong = (number & ~ok) | (ok & ~number if score["level"] == "sample" else np.zeros(len(ok), bool)) | np.isinf(values)
    for where, i in _where(np.flatnonzero(wrong), samples):
        add("VXP-C021", path, f"{of}{where}, {signature}", f"{values[i]} with status {ascii(status[i])[1:-1][:100]}",
            "a finite number exactly where the status is ok")
    low, high = (open_ if end is None else end for end, open_ in zip(score["range"], (-np.inf, np.inf), strict=True))
    outside = number & ((values < low - SLACK) | (values > high + SLACK))
    for where, i in _where(np.flatnonzero(outside), samples):
        add("VXP-C022", path, f"{of}{where}, {signature}", repr(float(values[i])), f"a number from {low} to {high}")


def _arrays(state: State, result: AResult, samples: Table) -> None:
    """Curves [N, S + 1] with their x, statistics [N, D], by signature; those of references by `<explainer>/<signature>`."""
    own = {s["signature"] for s in result.document["scores"]}
    beside = {f"{name}/{signature}" for name, signature in reference_rows(result.document, samples.rows)}
    add = state.findings.add
    found: dict[Beside, Mapping[str, arrays.Tensor] | None] = {
        "curves": result.curves, "statistics": result.statistics, "reference_statistics": result.reference_statistics}
    for kind, tensors in found.items():
        if tensors is None:
            continue
        signatures = beside if kind == "reference_statistics" else own
        path = result.document[kind]["path"]
        for name, tensor in tensors.items():
            signature, mark, _ = name.partition("#x") if kind == "curves" else (name, "", "")
            partner = tensors.get(f"{signature}#x") if kind == "curves" else None
            if signature not in signatures:
                add("VXP-C023", path, f"tensor {ascii(name)[1:-1][:200]}", "no score of this signature", "tensors by signature")
            elif mark:
                if signature not in tensors or len(tensor.shape) != 1:
                    add("VXP-C023", path, f"tensor {name}", f"shape {list(tensor.shape)}", "the x of a curve [S + 1]")
            elif not tensor.shape or tensor.shape[0] != samples.rows:
                add("VXP-C023", path, f"tensor {name}", f"shape {list(tensor.shape)}", f"{samples.rows} rows, one per item")
            elif kind == "curves" and (len(tensor.shape) != 2 or partner is None or tensor.shape[1:] != partner.shape):
                add("VXP-C023", path, f"tensor {name}", f"shape {list(tensor.shape)}", "[N, S + 1] beside its x [S + 1]")


__all__ = ["Looker", "arrays", "check", "expected_items"]
