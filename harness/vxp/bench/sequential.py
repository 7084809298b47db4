"""`python -m vxp.bench.sequential RECORDS` simulates comparisons that are looked at while items come in.

How often something is called decided where nothing differs, and how many items of stored results a question needs, taken in
many random orders.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
import vxp_schemas
from numpy.typing import NDArray

from vxp import division, stats
from vxp.errors import VxpError
from vxp.report import compare
from vxp.stats import sequential
from vxp.stats.sequential import Comparison, Differences, Until

Floats = NDArray[np.float64]
Systems = Mapping[str, compare.Samples]
Pair = tuple[str, str]
Draw = Callable[[np.random.Generator, tuple[int, ...]], Floats]
CLUSTERS = 200
REPETITIONS = 2_000
ORDERS = 101
"""Random orders in which stored scores are taken again."""
LEVEL = 0.95


# ------------------------------------------------------------------------------------------------------ where nothing differs


@dataclass(frozen=True)
class Null:
    """Differences of items whose mean is 0, in [-1, 1]: draw gives a shape; sizes: the numbers of items that clusters have;
    shared: the share of the difference that all items of a cluster have in common."""

    name: str
    draw: Draw
    sizes: tuple[int, ...] = (1,)
    shared: float = 0.0

    def differences(self, rng: np.random.Generator, shape: tuple[int, ...]) -> Differences:
        """Sums and counts [..., G] of clusters."""
        counts = rng.choice(self.sizes, size=shape)
        every = np.stack([self.draw(rng, shape) for _ in range(max(self.sizes))])
        own = np.arange(max(self.sizes)).reshape(-1, *[1] * len(shape)) < counts
        sums = (1 - self.shared) * (every * own).sum(axis=0) + self.shared * counts * self.draw(rng, shape)
        return Differences(sums, counts.astype(float), 1.0, max(self.sizes))


def _signs(share: float) -> Draw:
    """Differences of numbers that are 0 or 1: this share of the items differ, to either side as often."""
    return lambda rng, shape: rng.choice(np.array([-1.0, 0.0, 1.0]), size=shape, p=[share / 2, 1 - share, share / 2])


def _rare(share: float) -> Draw:
    """A large gain on few items and a small loss on all others."""
    return lambda rng, shape: np.where(rng.random(shape) < share, 1.0 - share, -share)


def _beta(a: float, b: float) -> Draw:
    return lambda rng, shape: np.subtract(rng.beta(a, b, size=shape), a / (a + b), dtype=np.float64)


NULLS = (
    Null("0 or 1, half of the items differ", _signs(0.5)),
    Null("0 or 1, 5 % of the items differ", _signs(0.05)),
    Null("uniform in [-1, 1]", lambda rng, shape: rng.uniform(-1, 1, size=shape)),
    Null("normal, sd 0.1", lambda rng, shape: np.clip(rng.normal(0, 0.1, size=shape), -1, 1)),
    Null("skewed, beta(0.2, 1.8)", _beta(0.2, 1.8)),
    Null("very skewed, 5 % of the items gain", _rare(0.05)),
    Null("skewed, clusters of 1 to 8 items", _beta(0.2, 1.8), tuple(range(1, 9)), 0.5),
    Null("0 or 1, clusters of 1, 2 or 20 items", _signs(0.5), (1, 2, 20), 0.5),
)


def false_decisions(null: Null, repetitions: int, seed: int) -> float:
    """Share of repetitions in which some look decides."""
    at = sequential.looks(CLUSTERS, stats.FEW_CLUSTERS)
    p = null.differences(np.random.default_rng(seed), (repetitions, CLUSTERS)).p(at)
    return float((p[:, -1] < 1 - LEVEL).mean())


def false_decisions_of_a_list(repetitions: int, seed: int, items: int = 60) -> float:
    """The same where one list with a mean of exactly 0 is taken in random orders: a skewed one."""
    rng = np.random.default_rng(seed)
    one = rng.beta(0.2, 1.8, size=items)
    taken = rng.permuted(np.tile(one - one.mean(), (repetitions, 1)), axis=1)
    p = Differences(taken, np.ones_like(taken), 1.0, 1).p(sequential.looks(items, stats.FEW_CLUSTERS))
    return float((p[:, -1] < 1 - LEVEL).mean())


def false_families(repetitions: int, seed: int, *, scores: int, differ: int = 0, binary: bool = False) -> float:
    """Share of runs in which some pair is called separated on a score on which it does not differ: all pairs of 4 systems on so
    many scores, skewed or 0 and 1, of which the first `differ` systems differ from the rest on all scores."""
    systems = 4
    rng, at = np.random.default_rng(seed), sequential.looks(CLUSTERS, stats.FEW_CLUSTERS)
    pairs, wrong = list(combinations(range(systems), 2)), 0
    equal = np.array([(i < differ) == (j < differ) for i, j in pairs])
    for _ in range(repetitions):
        # an item is as hard for all systems, and on all scores
        hard = rng.beta(0.5, 2, size=(CLUSTERS, 1, 1))
        better = 0.3 * (np.arange(systems) < differ)[None, :, None]
        size = (CLUSTERS, systems, scores)
        own = rng.random(size) < better + (1 - better) * hard if binary else \
            (hard + better + (1 - better) * rng.beta(0.2, 1.8, size=size)) / 2
        numbers = np.asarray(own, np.float64)
        apart = np.stack([numbers[:, i] - numbers[:, j] for i, j in pairs]).transpose(0, 2, 1)
        p = Differences(apart, np.ones_like(apart), 1.0, 1).p(at)[..., -1]
        adjusted = np.array(stats.STANDARD.adjusted(list(p.ravel()))).reshape(p.shape)
        wrong += bool((adjusted[equal] < 1 - LEVEL).any())
    return wrong / repetitions


# ----------------------------------------------------------------------------------------------------------- stored results


@dataclass(frozen=True)
class Needed:
    """Items that a question needed over random orders of the clusters. stopped: the share of the orders in which it was decided
    before the last item; items: those of the task."""

    median: float
    least: int
    most: int
    stopped: float
    items: int


def needed(systems: Systems, pairs: Sequence[Pair], question: Until, orders: int) -> Needed:
    """How many items of stored results separate all of these pairs, all items where nothing does."""
    first = next(iter(systems.values()))
    n, groups = len(first.items), len(set(first.clusters))
    at = sequential.looks(groups, first.inference.min_clusters)
    used, stopped = [], 0
    for seed in range(orders):
        places = division.drawn(first.clusters, seed)
        undecided = sequential.undecided(_comparisons(systems, pairs, question, places), at, question, first.inference)
        after = next((clusters for clusters, left in zip(at, undecided, strict=True) if left == 0), groups)
        taken = set(list(dict.fromkeys(first.clusters[i] for i in places))[:after])
        used.append(sum(cluster in taken for cluster in first.clusters))
        stopped += after < groups
    return Needed(float(np.median(used)), min(used), max(used), stopped / orders, n)


def _comparisons(systems: Systems, pairs: Sequence[Pair], question: Until, places: Sequence[int]) -> list[Comparison]:
    """The asked differences of stored numbers, with the items in this order."""
    document = next(s.document for s in systems.values() if not s.document["explainer"]["reference"] and s.references)
    card = vxp_schemas.registry("tasks")[f"{document['task']['id']}@{document['task']['version']}"]
    clusters = [next(iter(systems.values())).clusters[i] for i in places]
    largest = max(Counter(clusters).values())
    return [Comparison(a, b, score["signature"], sequential.differences(
                systems[a].values[score["signature"]][places], systems[b].values[score["signature"]][places], clusters,
                (score["range"][0], score["range"][1]), largest))
            for score in sequential.watched(document["scores"], question, card["primary_family"]) for a, b in pairs]


def stored(records: Path, task: str, names: Sequence[str]) -> dict[str, compare.Samples]:
    """The results of a task in the records of a board, by method, and the references beside the first."""
    found: dict[str, compare.Samples] = {}
    for name in names:
        folders = sorted(records.glob(f"reference-{name}-{task}-????????????/bundle/results/*/result.json"))
        if len(folders) != 1:
            raise VxpError(f"{records} has {len(folders)} records of {name} on {task}, expected one")
        found[name] = compare.read(folders[0])
    return {**found[names[0]].references, **found}


QUESTIONS = (
    (("grad-cam", "random"),),
    (("tame", "grad-cam"),),
    (("grad-cam", "random"), ("tame", "random"), ("tame", "grad-cam")),
)
SCORES = (None, "average-drop", "deletion", "insertion", "srg")
"""What pairs are to be separated on: the family, or a metric alone."""
WIDTHS = (0.3, 0.2, 0.1)
"""Of the interval of the first pair's difference on deletion and on insertion."""


def main(records: Path) -> None:
    """Print the tables of docs/figures.md."""
    print(f"false decisions of {REPETITIONS} repetitions, {CLUSTERS} clusters, a nominal {1 - LEVEL:.2f}")
    for seed, null in enumerate(NULLS):
        print(f"| {null.name} | {false_decisions(null, REPETITIONS, seed):.4f} |")
    print(f"| a list of 60 with a mean of 0, skewed | {false_decisions_of_a_list(REPETITIONS, 0):.4f} |")
    for binary in (False, True):
        for scores, differ in ((1, 0), (14, 0), (14, 1), (14, 2)):
            wrong = false_families(REPETITIONS, 0, scores=scores, differ=differ, binary=binary)
            what = f"{scores} scores, {'0 or 1' if binary else 'skewed'}"
            print(f"| 6 pairs, {what}, {differ} of 4 systems differ | {wrong:.4f} |")
    for task in ("stamps", "shapes"):
        systems = stored(records, task, ("grad-cam", "tame"))
        asked = [(pairs, Until(score=score)) for pairs in QUESTIONS for score in SCORES]
        asked += [(QUESTIONS[0], Until(width, score)) for width in WIDTHS for score in ("deletion", "insertion")]
        for pairs, question in asked:
            found = needed(systems, pairs, question, ORDERS)
            words = ", ".join(f"{a} and {b}" for a, b in pairs)
            print(f"| {task} | {words} | {question} | {found.median:g} | {found.least} to {found.most} | {found.stopped:.2f} | "
                  f"{found.items} |")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
