"""What explanations in words are worth: how near a text is to another, and how many of its claims name causes."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Literal

import torch
from torch import Tensor

from vxp.core import VxpError
from vxp.documents.words import Claim, composed
from vxp.models.sentences import encoder

Found = tuple[Tensor, dict[str, Tensor]]
Match = Literal["pair", "attribute"]
MATCHES: tuple[Match, ...] = ("pair", "attribute")
"""What of a claim is compared: attribute and value, or the attribute alone."""
Causes = Collection[tuple[str, str]] | Collection[str]
"""What caused an output: attributes with their values, or attributes alone."""
EMPTY, NO_CLAIM, NO_CAUSE = "empty-text", "no-claim", "no-cause"


def text_overlap(a: Sequence[str], b: Sequence[str]) -> Found:
    """Cosine of the embeddings of two texts, for each pair (Eleftheriadis et al. 2025, arXiv:2509.26225).

    Values float64 [B] in [-1, 1], and where they are undefined, bool [B]: `empty-text` where, in Unicode NFC, either text is
    empty or white space. Of a long text the first 256 tokens are compared. VxpError for lists that differ in length, and where
    the encoder is not installed. The paper encodes by all-mpnet-base-v2 and by SimCSE; here it is `vxp.models.sentences`, whose
    cosines are other ones and do not compare with the paper's.
    """
    if isinstance(a, str) or isinstance(b, str) or len(a) != len(b):
        raise VxpError(f"got {_number(a)} and {_number(b)} to compare, expected two lists with as many texts")
    pairs = [(composed(one), composed(other)) for one, other in zip(a, b, strict=True)]
    empty = torch.tensor([not (one.strip() and other.strip()) for one, other in pairs], dtype=torch.bool)
    there = [pair for pair, without in zip(pairs, empty.tolist(), strict=True) if not without]
    values = torch.full((len(pairs),), torch.nan, dtype=torch.float64)
    if there:
        texts = list(dict.fromkeys(text for pair in there for text in pair))
        of = dict(zip(texts, encoder().embed(texts).double(), strict=True))
        values[~empty] = torch.stack([_cosine(of[one], of[other]) for one, other in there])
    return values, {EMPTY: empty}


def _number(texts: Sequence[str]) -> str:
    return "one text" if isinstance(texts, str) else f"{len(texts)} texts"


def _cosine(x: Tensor, y: Tensor) -> Tensor:
    cosine: Tensor = x @ y / (x.norm() * y.norm())
    return cosine.clamp(-1, 1)


def claim_precision(claims: Iterable[Claim], causes: Causes, *, match: Match = "pair") -> float | None:
    """The share of the claimed causes that are causes, |claimed and causal|/|claimed|, of one item.

    Claimed is what a claim of the role `cause` names; what several claims name counts once. Attributes and values are compared
    letter by letter, in Unicode NFC. Range [0, 1]. None, `no-claim`, where nothing is claimed to be a cause. VxpError for an
    unknown match, and for causes without values where these are compared.
    """
    named, true = _claimed(claims, match), _causal(causes, match)
    return len(named & true) / len(named) if named else None


def claim_recall(claims: Iterable[Claim], causes: Causes, *, match: Match = "pair") -> float | None:
    """The share of the causes that are claimed, |claimed and causal|/|causal|, of one item; as `claim_precision`, but None,
    `no-cause`, where nothing is a cause."""
    named, true = _claimed(claims, match), _causal(causes, match)
    return len(named & true) / len(true) if true else None


def _claimed(claims: Iterable[Claim], match: Match) -> set[tuple[str, ...]]:
    return {_compared(claim.pair, match) for claim in claims if claim.role == "cause"}


def _causal(causes: Causes, match: Match) -> set[tuple[str, ...]]:
    if isinstance(causes, str):
        raise VxpError(f"the causes are the text {causes!a:.80}, expected a list of attributes or of (attribute, value)")
    found = [(cause,) if isinstance(cause, str) else tuple(cause) for cause in causes]
    if match == "pair" and any(len(cause) != 2 for cause in found):
        wrong = next(cause for cause in found if len(cause) != 2)
        raise VxpError(f"a cause is {wrong!a:.80}, expected (attribute, value): give the values, or compare by "
                       "match='attribute'")
    return {_compared(tuple(map(composed, cause)), match) for cause in found}


def _compared(named: tuple[str, ...], match: Match) -> tuple[str, ...]:
    if match not in MATCHES:
        raise VxpError(f"match is {match!r}, expected {' or '.join(MATCHES)}")
    return named if match == "pair" else named[:1]


__all__ = ["EMPTY", "MATCHES", "NO_CAUSE", "NO_CLAIM", "Causes", "Match", "claim_precision", "claim_recall", "text_overlap"]
