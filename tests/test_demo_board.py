"""The board of the reference explainers: real runs, sealed, audited, and the same bytes from their records everywhere."""

from __future__ import annotations

import io
import json
from pathlib import Path

from rich.console import Console
from vxp import leaderboard

BOARD = Path(__file__).resolve().parents[1] / "docs" / "leaderboard"
LIGHT = ("grad-cam", "grad-cam-plus-plus", "layer-cam", "eigen-cam", "fem", "mlfem", "saliency", "input-x-gradient", "lrp")
HEAVY = ("integrated-gradients", "smoothgrad", "occlusion", "score-cam", "ablation-cam", "rise", "extremal-perturbation",
         "lime", "kernel-shap", "sobol")
LEARNED = ("l-cam-fm", "l-cam-img", "tame")
# no class of the photos was trained; of the mosaics the methods of hundreds of passes a map are still to come
OF = {"shapes": LIGHT + HEAVY + LEARNED, "stamps": LIGHT + HEAVY + LEARNED, "photos": LIGHT + HEAVY,
      "mosaic-photos": LIGHT + HEAVY}


def test_the_board_is_what_its_records_give() -> None:
    said = io.StringIO()
    assert leaderboard.build(Console(file=said, width=200), BOARD / "records", BOARD, check=True) == 0, said.getvalue()


def test_every_reference_explainer_was_run_and_audited() -> None:
    document = json.loads((BOARD / "leaderboard.json").read_bytes())
    found = {entry["submission_id"]: entry for entry in document["submissions"]}
    assert set(found) == {f"reference-{explainer}-{task}" for task, explainers in OF.items() for explainer in explainers}
    for name, entry in found.items():
        assert entry["evidence"] in ("E2", "E3"), name
        assert entry["shown"], name
        assert not entry["refuted"], name
