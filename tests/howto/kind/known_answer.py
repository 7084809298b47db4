"""Scores of columns: made by an explainer, spread over the image, and refused by what is not defined for them."""

import pytest
import torch
import vxp
from torch import Tensor, nn
from vxp import Batch, VxpError, explain, explainer, score
from vxp.core import Case
from vxp.kinds import KINDS, MAPS


@explainer("brightness", signed=False, passes=0, kinds=("columns",), source="made up for this page")
def brightness(model: nn.Module, batch: Batch) -> Tensor:
    return batch.inputs.mean((1, 2))


IMAGES = (torch.arange(4.0) / 4).expand(2, 3, 8, 4).contiguous()
MODEL = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 4, 2)).eval()


def test_an_explainer_says_where_across() -> None:
    maps = explain(MODEL, IMAGES, brightness, normalization=vxp.Normalization())
    assert maps.tolist() == [[0.0, 0.25, 0.5, 0.75]] * 2
    with pytest.raises(VxpError, match="'brightness' makes columns, and clips need heatmap3d"):
        explain(nn.Sequential(nn.Flatten(), nn.Linear(3 * 2 * 8 * 4, 2)), torch.stack([IMAGES, IMAGES], 2), brightness)


@pytest.mark.parametrize(("rule", "columns"), [("bilinear", [0.0, 0.5, 1.5, 2.0]), ("nearest", [0.0, 0.0, 2.0, 2.0])])
def test_a_score_holds_for_its_whole_column(rule: str, columns: list[float]) -> None:
    case = Case(Batch(("a", "b"), IMAGES, torch.zeros(2, dtype=torch.long)), torch.tensor([[0.0, 2.0]] * 2), rule, False)
    assert case.kind is KINDS["columns"]
    torch.testing.assert_close(case.map, torch.tensor(columns).expand(2, 8, 4))


def test_a_metric_of_maps_over_positions_is_not_run() -> None:
    assert "columns" not in MAPS
    found = score(MODEL, IMAGES, torch.rand(2, 4), metrics=("gini",), normalization=vxp.Normalization())
    assert found["gini"].status == ("not-run:kind",) * 2
