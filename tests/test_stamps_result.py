"""The whole, on real cut-outs with exact masks: a method that reads the model beats chance, the truth tops localisation."""

from pathlib import Path

import pytest
from vxp import explainers
from vxp.report import compare
from vxp.runs import commands
from vxp.runs.commands import Order
from vxp.runs.context import Quiet

METRICS = ("insertion|steps:7", "pointing-game", "energy-pointing-game", "relevance-rank")
ITEMS = 24
"""Of 60, each another stamp: as many as tell Grad-CAM from noise ten times as surely as is asked for."""


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """grad-cam and the references, with the fewest rows that show it (7 steps)."""
    out = tmp_path_factory.mktemp("stamps") / "out"
    order = Order("stamps", None, None, None, ("grad-cam",), METRICS, "cpu", "fp32", ITEMS, 16, 1)
    paths = commands.run_(order, out, Quiet())
    return {compare.read(path).name: path for path in paths}


def test_grad_cam_beats_random_and_the_oracle_tops_localisation(finished: dict[str, Path]) -> None:
    scores = {name: {s["metric"]["id"]: s for s in compare.read(path).document["scores"]} for name, path in finished.items()}
    cam, chance = (scores[name]["energy-pointing-game"]["ci"] for name in ("grad-cam", "random"))
    assert cam["n_clusters"] == ITEMS
    assert cam["lo"] > chance["hi"]
    for metric in ("pointing-game", "energy-pointing-game", "relevance-rank"):
        best = max(scores, key=lambda name: scores[name][metric]["mean"])
        assert best in explainers.ORACLES
        for oracle in explainers.ORACLES:
            assert scores[oracle][metric]["mean"] == pytest.approx(1.0)


def test_the_paired_difference_is_separated(finished: dict[str, Path]) -> None:
    rows = {row.signature.split("@")[0]: row for row in compare.compare([finished["grad-cam"], finished["random"]])[0].rows}
    for metric in ("insertion", "energy-pointing-game"):
        assert rows[metric].separated
        assert rows[metric].p_adjusted < 0.005
        assert rows[metric].paired.delta > 0
        assert rows[metric].paired.ci is not None
        assert rows[metric].paired.ci.lo > 0
