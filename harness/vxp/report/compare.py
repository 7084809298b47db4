"""Compare results pair by pair, and each with the references beside it: the same items, differences with intervals,
corrected for how many are made. Whoever says which methods are tied for best asks here."""

from __future__ import annotations

import io
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Literal, cast

import numpy as np
from rich.table import Table
from rich.text import Text
from vxp_schemas import typed

from vxp import stats, validation
from vxp.bundles import ROOT, Bundle, open_bundle
from vxp.core import OK, VxpError
from vxp.documents import store
from vxp.report import looked
from vxp.runs import result
from vxp.validation import arrays


@dataclass(frozen=True, eq=False)
class Samples:
    """A result document with its per-sample scores; origin: the submission or result that it comes from. lost: by
    signature, per item, whether it has no number and could have one (12.7.8). references: those that were scored beside it on
    the same items, by their ids."""

    name: str
    origin: str
    document: typed.Result
    items: list[str]
    clusters: list[str]
    values: dict[str, np.ndarray]
    kept: dict[str, stats.Kept]
    lost: dict[str, np.ndarray] = field(default_factory=dict)
    references: dict[str, Samples] = field(default_factory=dict)

    @property
    def inference(self) -> stats.Inference:
        return stats.Inference.of(self.document["inference"])

    @property
    def sequential(self) -> bool:
        """Whether its run stopped when a question was decided, so that only the looks' own tests hold (7.5)."""
        return "sequential" in self.document

    def with_values(self, signature: str, values: np.ndarray) -> Samples:
        """The same with other numbers of one score."""
        return replace(self, values=self.values | {signature: values})


@dataclass(frozen=True)
class Row:
    """One paired difference a - b, of means over items or of numbers of the set; detectable is the smallest difference
    that the test finds with 80 % power."""

    signature: str
    level: str
    a: str
    b: str
    better: str
    paired: stats.Paired
    p_adjusted: float
    separated: bool
    detectable: float | None

    @property
    def winner(self) -> str:
        return self.a if (self.paired.delta > 0) == (self.better == "higher") else self.b


@dataclass(frozen=True)
class Score:
    """One score in all systems that have it: their numbers, all pairs, an interval of ranks for each, who is not separated
    from the best, and each system against the references beside it."""

    signature: str
    level: str
    better: str
    means: Mapping[str, float]
    rows: tuple[Row, ...]
    ranks: Mapping[str, tuple[int, int]]
    tied_for_best: tuple[str, ...]
    against: tuple[Row, ...]


@dataclass(frozen=True)
class Group:
    """Results of one task and model, and so of the same items. sequential: of results that stopped when a question was decided
    what was asked and found, in words."""

    task: typed.Ref
    model: typed.Ref
    names: tuple[str, ...]
    items: int
    clusters: int
    inference: stats.Inference
    scores: tuple[Score, ...]
    sequential: str = ""

    @property
    def rows(self) -> list[Row]:
        return [row for score in self.scores for row in score.rows]

    @property
    def few_clusters(self) -> bool:
        return self.clusters < self.inference.min_clusters

    def marked(self) -> dict[str, tuple[str, ...]]:
        """By signature the systems that a table marks as tied for best (7.4.4): nobody where there are too few clusters to
        tell any apart, where only one system has a number, or where nobody was tested."""
        return {s.signature: s.tied_for_best if not self.few_clusters and len(s.means) > 1 and any(
            row.paired.method != "none" for row in s.rows) else () for s in self.scores}


# ---------------------------------------------------------------------------------------------------------------- reading


def read(path: Path) -> Samples:
    """A result by its result.json or the folder that holds it; VxpError says what is wrong with it."""
    file = path / "result.json" if path.is_dir() else path
    if path.is_dir() and not file.is_file():
        found = [str(result_.parent) for result_ in sorted(path.glob("results/*/result.json"))]
        raise VxpError(f"{path} is no result, expected the folder of one, its result.json, or a bundle"
                       + (f"; the results of this run are {', '.join(found)}" if found else ""))
    document = store.read_document(file, typed.Result)
    return _samples(document, str(document["result_id"]), partial(store.read_described, file.parent.parent.parent))


def of_bundle(bundle: Bundle, *, references: bool = True, only: str | None = None) -> list[Samples]:
    """Every result of a bundle, or that of one id, with the references beside it or without; VxpError says what is wrong with
    it."""
    documents = [bundle.document(described["path"], typed.Result) for described in bundle.submission["results"]]
    documents = [document for document in documents if only in (None, document["result_id"])]
    origin = str(bundle.submission["submission_id"])
    return [_samples(document, origin, bundle.described, references=references) for document in documents]


def _all_of(paths: Sequence[Path]) -> Iterator[Samples]:
    """What results and bundles hold; VxpError for a bundle that does not conform."""
    bundles = [path for path in paths if (path.is_file() and path.suffix != ".json") or (path / ROOT).is_file()]
    for path, found in validation.all_apart(bundles, "consistency"):
        if found.exit_code != 0:
            command = shlex.join(["vxp", "validate", str(path)])
            raise VxpError(f"{path} is {found.verdict}, so that its numbers mean nothing: {command} says why")
    for path in paths:
        yield from of_bundle(open_bundle(path)) if path in bundles else [read(path)]


def _samples(
    document: typed.Result, origin: str, read: Callable[[typed.Descriptor], bytes], *, references: bool = True
) -> Samples:
    signatures = [s["signature"] for s in document["scores"]]
    described = document["samples"]
    table = _read_table(read(described), arrays.samples_columns(signatures), described.get("rows"),
                        f"{described['path']} of {origin}")
    kept = result.read_kept(read, document, {s: table[f"{s}#status"] for s in signatures})
    own = Samples(document["explainer"]["id"], origin, document, table["item_id"], table["cluster"],
                  {s: np.asarray(table[s], float) for s in signatures}, kept,
                  {s: _lost(table[f"{s}#status"]) for s in signatures})
    return replace(own, references=_references(own, read)) if references else own


def _read_table(data: bytes, columns: Mapping[str, str], rows: int | None, file: str) -> arrays.Table:
    """A table of a result; VxpError, which names the file, where it is another or larger than it may be."""
    try:
        return arrays.table(io.BytesIO(data), len(data), columns, rows)
    except arrays.Malformed as error:
        raise VxpError(f"{file}: got {error.found}, expected {error.expected}") from None
    except VxpError as error:
        raise VxpError(f"{file}: {error}") from None


ITS_OWN = frozenset({
    "undefined:empty-truth", "undefined:full-truth", "undefined:one-frame", "undefined:no-mass", "undefined:too-few-regions",
    "undefined:saturated", "undefined:unsure", "undefined:no-rise", "undefined:single-class", "undefined:too-few-fragments",
    "undefined:too-few-frames", "undefined:no-label", "undefined:empty-summary", "failed:model-non-finite"})
"""Statuses that an item has for every explanation, by its image, its truth and the model (12.7.8); those of `not-run` too."""


def _lost(statuses: Sequence[str]) -> np.ndarray:
    return np.array([s != OK and s not in ITS_OWN and not s.startswith("not-run:") for s in statuses], bool)


def _references(own: Samples, read: Callable[[typed.Descriptor], bytes]) -> dict[str, Samples]:
    """The references beside a result, from its own files."""
    described = own.document.get("reference_samples")
    if described is None:
        return {}
    n = len(own.items)
    places = result.reference_rows(own.document, n)
    table = _read_table(read(described), arrays.REFERENCES, len(places) * n, f"{described['path']} of {own.origin}")
    for (name, signature), rows in places.items():
        listed = {"explainer": [name] * n, "signature": [signature] * n, "item_id": own.items, "cluster": own.clusters}
        wrong = next((c for c, cells in listed.items() if table[c][rows] != cells), None)
        if wrong is not None:
            raise VxpError(f"{described['path']} of {own.origin}: got another {wrong} in the rows {rows.start} to {rows.stop}, "
                           f"expected {signature} of {name} on the result's items: score the set again")
    kept = result.read_kept(read, own.document, {f"{name}/{s}": table["status"][rows] for (name, s), rows in places.items()},
                            "reference_statistics")
    found = {}
    for reference in own.document["references"]:
        name, scores = reference["explainer"], reference["scores"]
        values = {s: np.asarray(table["value"][rows], float) for (of, s), rows in places.items() if of == name}
        # of a reference no score says what it is
        document = cast(typed.Result, {**own.document, "scores": scores, "result_id": reference["result_id"]})
        found[name] = Samples(name, own.origin, document, own.items, own.clusters, values,
                              {s: kept[f"{name}/{s}"] for s in values if f"{name}/{s}" in kept},
                              {s: _lost(table["status"][rows]) for (of, s), rows in places.items() if of == name})
    return found


# -------------------------------------------------------------------------------------------------------------- comparing


def compare(paths: Sequence[Path]) -> list[Group]:
    """Results and bundles, in groups of one task and model; within a group all pairs on every score that both have, and
    each with the references beside it. Of one result alone the latter.

    VxpError where nothing can be compared: numbers of other tasks, models or items are not comparable.
    """
    found = list(_all_of(paths))
    if len(found) == 1 and found[0].references:
        return [group(found)]
    if len(found) < 2:
        raise VxpError(f"compare needs two results or more, or one with references beside it, got {len(found)} without: give "
                       "results, their folders, or bundles")
    together: dict[str, list[Samples]] = {}
    for samples in found:
        together.setdefault(f"{samples.document['task']} {samples.document['model']}", []).append(samples)
    groups = [group(some) for some in together.values() if len(some) > 1]
    if not groups:
        first, other = found[:2]
        what: Literal["task", "model"] = "task" if first.document["task"] != other.document["task"] else "model"
        raise VxpError(f"{other.origin} is not comparable with {first.origin}: its {what} is {other.document[what]}, expected "
                       f"{first.document[what]}")
    return groups


def group(results: Sequence[Samples], *, intervals: bool = True) -> Group:
    """All pairs of results of one task and model on every score that both have, adjusted over the pairs and scores of one
    family (7.4.3); and all results against their references, adjusted over those pairs and scores of one family.
    Scores of which neither direction is better are left out.

    intervals=False leaves out those of differences, which cost more than the tests. VxpError where items differ.
    """
    first = results[0]
    for other in results[1:]:
        if other.items != first.items:
            raise VxpError(f"{other.origin} is not comparable with {first.origin}: other items ({len(other.items)}, "
                           f"{len(first.items)})")
    names = _names(results)
    known = {s["signature"]: s for r in reversed(results) for s in reversed(r.document["scores"])}
    compared = [s for s in reversed(known.values()) if s["better"] != "neither"]
    shared = [s for s in compared if sum(s["signature"] in r.values for r in results) > 1
              or any(s["signature"] in r.values and r.references for r in results)]
    scores: list[Score] = []
    for family in result.families(first.document["task"], shared):
        some = [s for s in shared if s["family"] == family]
        scores += _family(some, dict(zip(names, results, strict=True)), intervals)
    return Group(first.document["task"], first.document["model"], names, len(first.items), len(set(first.clusters)),
                 first.inference, tuple(scores), looked.words(first.document))


def _names(results: Sequence[Samples]) -> tuple[str, ...]:
    """The method's id, or where it comes from as well where one id is there twice."""
    ids = [r.name for r in results]
    long = [r.name if ids.count(r.name) == 1 else f"{r.name} ({r.origin})" for r in results]
    return tuple(n if long.count(n) == 1 else f"{n} {long[:i].count(n) + 1}" for i, n in enumerate(long))


Case = tuple[typed.ResultScore, str, Samples, str, Samples]
"""A score, and two systems under their names."""


def _family(scores: Sequence[typed.ResultScore], systems: Mapping[str, Samples], intervals: bool) -> list[Score]:
    """The scores of one family: what is tested together is corrected together."""
    pairs: list[Case] = [(s, a, systems[a], b, systems[b]) for s in scores for a, b in combinations(_having(s, systems), 2)]
    beside: list[Case] = [(s, a, own, b, reference) for s in scores for a, own in _having(s, systems).items()
                          for b, reference in own.references.items() if s["signature"] in reference.values]
    rows, against = _tested(pairs, intervals), _tested(beside, intervals)
    return [_score(s, [r for r in rows if r.signature == s["signature"]], _having(s, systems),
                   [r for r in against if r.signature == s["signature"]]) for s in scores]


def _tested(cases: Sequence[Case], intervals: bool) -> list[Row]:
    """The differences of these pairs, with p adjusted over all of them."""
    if cases and cases[0][2].sequential:
        return _looked(cases)
    each: dict[int, tuple[stats.Paired, float | None] | None] = {}
    for place in sorted(range(len(cases)), key=lambda place: _unequal(cases[place])):  # as many differences, the same draws
        score, _, first, _, second = cases[place]
        each[place] = (_of_set(first, second, score["signature"]) if score["level"] == "set"
                       else _of_items(first, second, score["signature"], intervals))
    found = [(score, a, b, *tested) for place, (score, a, _, b, _) in enumerate(cases) if (tested := each[place]) is not None]
    inference = cases[0][2].inference if cases else stats.STANDARD
    adjusted = inference.adjusted([p.p for _, _, _, p, _ in found])
    return [Row(s["signature"], s["level"], a, b, s["better"], p, q, inference.separated(q, p.n_clusters), least)
            for (s, a, b, p, least), q in zip(found, adjusted, strict=True)]


def _unequal(case: Case) -> int:
    """How many items have two numbers that differ."""
    score, _, first, _, second = case
    apart = first.values[score["signature"]] - second.values[score["signature"]]
    return int(np.count_nonzero(np.nan_to_num(apart)))


def _looked(cases: Sequence[Case]) -> list[Row]:
    """The differences of sequential results as their looks found them, and without a test what nobody asked for."""
    rows = []
    for score, a, first, b, second in cases:
        found = looked.paired(first.document, second.document["result_id"], score["signature"])
        apart = first.values[score["signature"]] - second.values[score["signature"]]
        if found is None and score["level"] == "sample" and np.isfinite(apart).any():
            n, clusters = int(np.isfinite(apart).sum()), stats.count_of_clusters(first.clusters, np.isfinite(apart))
            found = stats.Paired(float(np.nanmean(apart)), None, 1.0, None, n, clusters, "none"), 1.0
        if found is not None:
            paired, p = found
            separated = paired.method != "none" and first.inference.separated(p, paired.n_clusters)
            rows.append(Row(score["signature"], score["level"], a, b, score["better"], paired, p, separated, None))
    return rows


def difference(score: typed.ResultScore, a: Samples, b: Samples) -> stats.Paired:
    """The paired difference a - b of a score of the set or of its items, without its interval; p = 1 where there is none."""
    tested = _of_set(a, b, score["signature"]) if score["level"] == "set" else _of_items(a, b, score["signature"], False)
    return stats.Paired(0.0, None, 1.0, None, 0, 0, "none") if tested is None else tested[0]


def _having(score: typed.ResultScore, systems: Mapping[str, Samples]) -> dict[str, Samples]:
    return {name: samples for name, samples in systems.items() if score["signature"] in samples.values}


def _score(
    score: typed.ResultScore, rows: Sequence[Row], systems: Mapping[str, Samples], against: Sequence[Row]
) -> Score:
    stated = {name: {s["signature"]: s for s in r.document["scores"]}[score["signature"]] for name, r in systems.items()}
    means = {name: float(s["mean"]) for name, s in stated.items() if "mean" in s}
    if len(systems) < 2:
        return Score(score["signature"], score["level"], score["better"], means, (), {}, (), tuple(against))
    pairs = [stats.Pair(r.a, r.b, r.paired, r.p_adjusted, r.separated) for r in rows]
    ranks, tied = stats.ranking(means, pairs, score["better"])
    return Score(score["signature"], score["level"], score["better"], means, tuple(rows), ranks, tied, tuple(against))


def _of_items(a: Samples, b: Samples, signature: str, intervals: bool) -> tuple[stats.Paired, float | None] | None:
    """Difference of the means over the items where both have a number; None without such items."""
    first, second = a.values[signature], b.values[signature]
    if not (np.isfinite(first) & np.isfinite(second)).any():
        return None
    how = a.inference
    return (stats.paired(first, second, a.clusters, inference=how, intervals=intervals),
            stats.minimum_detectable(first, second, a.clusters, level=how.level))


def _of_set(a: Samples, b: Samples, signature: str) -> tuple[stats.Paired, float | None] | None:
    """Difference of the numbers of the set over the items where both have a part; None without such numbers."""
    reduce = result.reduction(signature)
    if signature not in a.kept or signature not in b.kept:
        return None  # not run, so that there is nothing to reduce
    if reduce is None:  # its metric is not installed here in this version: the stored numbers, and no test
        means = [{s["signature"]: s.get("mean", np.nan) for s in x.document["scores"]}[signature] for x in (a, b)]
        missing = stats.Paired(means[0] - means[1], None, 1.0, None, len(a.items), 0, "none")
        return None if np.isnan(missing.delta) else (missing, None)
    found = stats.set_paired(reduce, a.kept[signature], b.kept[signature], a.clusters, level=a.inference.level)
    return None if np.isnan(found.delta) else (found, stats.set_minimum_detectable(found))


# ---------------------------------------------------------------------------------------------------------------- showing


def tables(group: Group, *, references: bool = False) -> list[Table]:
    """A table per score for a terminal; what cannot be told apart is said, not ranked. references: also the rows against
    them, which a result alone has anyway."""
    rows = {s.signature: s.rows + (s.against if references or len(group.names) == 1 else ()) for s in group.scores}
    return [_table(score, rows[score.signature], group.inference) for score in group.scores if rows[score.signature]]


def _table(score: Score, rows: Sequence[Row], inference: stats.Inference) -> Table:
    title = f"{score.signature} (number of the set)" if score.level == "set" else score.signature
    table = Table(title=Text(title), title_justify="left", box=None, padding=(0, 1, 0, 0), caption=_best(score),
                  caption_justify="left")
    table.add_column("a - b", min_width=17)
    for column in ("delta", f"{100 * inference.level:g} % interval", "p", "effect", "MDD"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("verdict", min_width=14)
    for row in rows:
        table.add_row(f"{row.a} - {row.b}", *_cells(row, inference))
    return table


def _best(score: Score) -> str | None:
    tied = score.tied_for_best
    if len(score.means) < 2 or all(row.paired.method == "none" for row in score.rows):
        return None
    if len(tied) == len(score.means):
        return "nothing is separated from the best"
    return f"tied for best: {', '.join(tied)}" if len(tied) > 1 else f"best: {tied[0]}"


def _cells(row: Row, inference: stats.Inference) -> list[str]:
    ci = row.paired.ci
    wins = "a" if row.winner == row.a else "b"
    few = row.paired.n_clusters < inference.min_clusters
    return [
        f"{row.paired.delta:+.4f}",
        "" if ci is None else f"\\[{ci.lo:+.4f}, {ci.hi:+.4f}]",  # the backslash keeps Rich from reading markup
        "" if row.paired.method == "none" else f"{row.p_adjusted:.4f}",
        "" if row.paired.effect_size is None else f"{row.paired.effect_size:+.2f}",
        "" if row.detectable is None else f"{row.detectable:.4f}",
        f"{wins} is better" if row.separated else "no test" if row.paired.method == "none" else "few clusters" if few
        else "not separated",
    ]


def as_json(groups: Sequence[Group]) -> bytes:
    """The comparison as JSON, with the fields of Group, Score and Row."""
    return result.plain_json({"groups": [asdict(g) for g in groups]})


__all__ = ["ITS_OWN", "Group", "Row", "Samples", "Score", "as_json", "compare", "difference", "group", "of_bundle", "read",
           "tables"]
