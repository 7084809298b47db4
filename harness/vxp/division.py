"""Which items a limit takes, and whether a result is closed or open, with the reasons."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import vxp_schemas
from vxp_schemas import typed

from vxp.documents import OPEN, Taken, own_items

NAMED = 3
"""Metrics that are named of those that were left out."""


# --------------------------------------------------------------------------------------------------------- under a limit


@dataclass(frozen=True)
class Selection:
    """How many items and clusters a limit took, and how many the task has."""

    items: int
    of_items: int
    clusters: int
    of_clusters: int

    def document(self) -> typed.Selection:
        return {"items": self.items, "of_items": self.of_items, "clusters": self.clusters, "of_clusters": self.of_clusters}

    def __str__(self) -> str:
        return f"{self.items} of {self.of_items} items from {self.clusters} of {self.of_clusters} clusters"


def taken(clusters: Sequence[str], limit: int) -> list[int]:
    """The places of the items that a limit takes, given the cluster of every item of the task (clause 8.4.5).

    In rounds: the first item of every cluster, then the second of every cluster that has one, and so on. In a round the
    items stand as in the task's list, and so do those that are returned.
    """
    before: Counter[str] = Counter()
    rounds = []
    for place, cluster in enumerate(clusters):
        rounds.append((before[cluster], place))
        before[cluster] += 1
    return sorted(place for _, place in sorted(rounds)[:limit])


def drawn(clusters: Sequence[str], seed: int) -> list[int]:
    """The places of a task's items in the order in which a run that may stop takes them, given the cluster of every item
    (clause 7.5.3): clusters as their lots rise, the items of each as in the task's list."""
    from vxp import random  # and torch with it, which no other question here needs

    names = list(dict.fromkeys(clusters))
    lots = random.philox(random.key(seed, "", "sequential@1", "clusters"), 0, len(names))[0].tolist()
    rank = {names[j]: r for r, j in enumerate(sorted(range(len(names)), key=lambda j: (lots[j], j)))}
    return sorted(range(len(clusters)), key=lambda i: (rank[clusters[i]], i))


def places(clusters: Sequence[str], what: Taken, seed: int) -> list[int]:
    """The places of the items that were taken of a task with this seed, given the cluster of every item."""
    return drawn(clusters, seed)[:what.items] if what.drawn else taken(clusters, what.items)


def selection(clusters: Sequence[str], places: Sequence[int]) -> Selection:
    """What the items at these places are of a task whose items have these clusters."""
    return Selection(len(places), len(clusters), len({clusters[i] for i in places}), len(set(clusters)))


# --------------------------------------------------------------------------------------------------- closed or open, and why


@dataclass(frozen=True)
class Reason:
    """Why a result is open: the words for a reader, and the place in the result with what a closed one has there."""

    words: str
    where: str
    expected: str


def reasons(
    *, task: typed.Ref, model: typed.Ref, taken: Taken | None, signatures: Sequence[str],
    selected: typed.Selection | None = None,
) -> Iterator[Reason]:
    """Why a result of this task and model, by reference, with these scores is open (clause 12.2.2); none: it is closed.

    signatures: none of a run that does not score. selected: the result's `selection`, for the words.
    """
    card = _card(task)
    if card is None or card["status"] != "active":
        words = f"own {own_items(task['id'])}" if task["id"].startswith(OPEN) else (
            "a template, whose items are drawn from a copy of one's own" if card else "no task of the registry")
        yield Reason(words, "/task", "an active task of the registry")
    if taken is not None and taken.drawn:
        yield Reason(f"sequential, {Selection(**selected) if selected else f'{taken.items} items'}", "/settings/until",
                     "no question to stop at")
    elif taken is not None:
        yield Reason(str(Selection(**selected)) if selected else f"limited to {taken.items} items", "/settings/limit",
                     "null: every item of the task")
    if card is None or card["status"] != "active":
        return
    if taken is None and vxp_schemas.reference(card) != task:
        yield Reason("the task's card is not the registry's", "/task", "an active task of the registry")
    if model not in [card["model"], *card.get("also_models", ())]:
        yield Reason(f"the model {model['id']} is not the task's", "/model", str(card["model"]["id"]))
    wanted = own_scores(task)
    missing = [signature for signature in wanted if signature not in signatures]
    if missing and signatures:
        yield Reason(f"{len(missing)} of the task's {len(wanted)} scores were left out: {_named(missing)}", "/scores",
                     f"all {len(wanted)} of the task")


def own_scores(task: typed.Ref) -> list[str]:
    """The signatures of the scores that a task's card asks for; none where the registry has no such task."""
    card = _card(task)
    return [] if card is None else list(_signatures(tuple(card["metrics"])))


@cache
def _signatures(given: tuple[str, ...]) -> tuple[str, ...]:
    """Of metrics as a card names them. A board asks for those of a task once for every result."""
    from vxp import metrics  # and torch with them, which no other question here needs

    return tuple(bound.signature for bound in metrics.bind_all(list(given)))


def _card(task: typed.Ref) -> typed.Task | None:
    """The card of a task by reference; None where the registry has none."""
    try:
        return vxp_schemas.registry_document("tasks", f"{task['id']}@{task['version']}")
    except vxp_schemas.UnknownName:
        return None


def of_result(document: typed.Result) -> list[Reason]:
    """The reasons of a result document."""
    return list(reasons(task=document["task"], model=document["model"], taken=Taken.of(document["settings"]),
                        signatures=[s["signature"] for s in document["scores"]], selected=document.get("selection")))


def part(selection: typed.Selection | None, items: int) -> str:
    """What was taken of the task: by the field `selection`, or where a result has none, the number of its items."""
    return str(Selection(**selection)) if selection else f"{items} items"


def words(document: typed.Result) -> str:
    """A result's division with the reason: `closed`, or `open: own images`."""
    why = "; ".join(reason.words for reason in of_result(document))
    return f"open: {why}" if document["division"] == "open" and why else str(document["division"])


def _named(signatures: Sequence[str]) -> str:
    """The metrics of some signatures, a few by name."""
    ids = list(dict.fromkeys(signature.partition("@")[0] for signature in signatures))
    return ", ".join(ids[:NAMED]) + (f" and {len(ids) - NAMED} more" if len(ids) > NAMED else "")
