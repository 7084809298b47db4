"""Text overlap: how near the text of an explanation is to the item's reference text."""

from typing import Final

from vxp.core import Case, Outcome, metric, outcome
from vxp.metrics import _texts
from vxp.metrics._claims import words
from vxp.models.sentences import DIGEST

TEXTS: Final = "texts"
"""The truth: the reference text of an item."""
ENCODER = f"all-minilm-l6-v2-{DIGEST.removeprefix('sha256:')[:8]}"
"""The pinned encoder and the first digits of its digest: cosines of another one are other scores."""


@metric("text-overlap", family="alignment", better="higher", range=(-1, 1), truth=(TEXTS,), kinds=("text",),
        outputs=("classes", "sequence"), undefined=(_texts.EMPTY,), limits={"encoder": (ENCODER,)},
        source="Eleftheriadis, Apostolidis and Mezaris 2025, arXiv:2509.26225",
        caveats=("Two texts of one template are near each other whatever they say: 0.9 and more where only the number of a "
                 "shot differs. Compare with the floor, and judge which shots are named by claim-precision and claim-recall.",
                 "A text that denies what the reference says is near it as well.",
                 "The reference says what a person would say of the item, not what decided the model's output.",
                 "Of a long text the first 256 tokens are compared. The encoder was trained on English."))
def text_overlap(case: Case, *, encoder: str = ENCODER) -> Outcome:
    """The cosine of the embeddings of the explanation's text and of the item's reference text.

    `encoder` is the pinned sentence encoder, which the extra `text` installs. Claims are not looked at. Range [-1, 1], higher
    is better. Undefined where one of the two texts is empty or white space.
    """
    said, wanted = ([one.text for one in words(rows)] for rows in (case.native, case.batch.truth[TEXTS]))
    return outcome(*_texts.text_overlap(said, wanted))
