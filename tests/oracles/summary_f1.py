"""F1 of a summary (Gygli et al. 2014, Song et al. 2015), of the scores of an explanation."""

from collections.abc import Sequence

import numpy as np

from oracles import fragments, sequences


def summary_f1(
    attribution: np.ndarray, parts: Sequence[int], shots: Sequence[tuple[int, int]], truth: np.ndarray, *, dialect: str,
    users: str,
) -> float:
    """The best set of fragments against the frames that people took."""
    made = fragments.best(sequences.weights(attribution, parts), shots, truth.shape[1], dialect=dialect)
    people = [{int(t) for t in np.flatnonzero(row)} for row in truth]
    return fragments.agreement(made, people, dialect=dialect, users=users)


VARIANTS = [{"dialect": dialect, "users": users} for dialect in ("dr-dsn", "dsnet", "ca-sum") for users in ("avg", "max")]
