"""Maps of when: made by an explainer, resampled to the clip, and refused by what is not defined for them."""

import pytest
import torch
import vxp
from torch import Tensor, nn
from vxp import Batch, VxpError, explain, explainer, score
from vxp.core import Case
from vxp.kinds import KINDS, MAPS


@explainer("brightness", signed=False, resample="trilinear", passes=0, kinds=("temporal",), source="made up for this page")
def brightness(model: nn.Module, batch: Batch) -> Tensor:
    return batch.inputs.mean((1, 3, 4))


CLIPS = (torch.arange(4.0) / 4).view(1, 1, 4, 1, 1).expand(2, 3, 4, 8, 6).contiguous()
MODEL = nn.Sequential(nn.Flatten(), nn.Linear(3 * 4 * 8 * 6, 2)).eval()


def test_an_explainer_says_when() -> None:
    maps = explain(MODEL, CLIPS, brightness, normalization=vxp.Normalization())
    assert maps.tolist() == [[0.0, 0.25, 0.5, 0.75]] * 2
    with pytest.raises(VxpError, match="'brightness' makes temporal, and images need heatmap2d"):
        explain(nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 6, 2)), CLIPS[:, :, 0], brightness)


@pytest.mark.parametrize(("rule", "frames"), [("trilinear", [0.0, 0.5, 1.5, 2.0]), ("nearest", [0.0, 0.0, 2.0, 2.0])])
def test_a_value_holds_for_its_whole_frame(rule: str, frames: list[float]) -> None:
    case = Case(Batch(("a", "b"), CLIPS, torch.zeros(2, dtype=torch.long)), torch.tensor([[0.0, 2.0]] * 2), rule, False)
    assert case.kind is KINDS["temporal"]
    torch.testing.assert_close(case.map, torch.tensor(frames).view(1, 4, 1, 1).expand(2, 4, 8, 6))


def test_coarser_maps_are_means_over_places_and_frames() -> None:
    assert KINDS["temporal"].pooled(CLIPS[:, 0], (2,)).tolist() == [[0.125, 0.625]] * 2


def test_a_metric_of_maps_over_positions_is_not_run() -> None:
    assert "temporal" not in MAPS
    found = score(MODEL, CLIPS, torch.rand(2, 4), metrics=("gini",), normalization=vxp.Normalization())
    assert found["gini"].status == ("not-run:kind",) * 2
