"""`vxp.show`: what is drawn, and from which numbers."""

import numpy as np
import pytest
import torch
import vxp
from PIL import Image
from torch import Tensor, nn
from vxp.report import pictures

MEAN, STD = (0.4, 0.5, 0.6), (0.2, 0.25, 0.3)


@pytest.fixture
def inputs() -> Tensor:
    raw = torch.rand(2, 3, 16, 20, generator=torch.Generator().manual_seed(1))
    return (raw - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)


def photo(inputs: Tensor, i: int) -> Image.Image:
    raw = inputs[i] * torch.tensor(STD).view(3, 1, 1) + torch.tensor(MEAN).view(3, 1, 1)
    return Image.fromarray((raw.clamp(0, 1) * 255).round().byte().permute(1, 2, 0).numpy())


def test_every_map_lies_over_its_own_image_as_in_the_report(inputs: Tensor) -> None:
    generator = torch.Generator().manual_seed(2)
    maps = {"signed": torch.randn(2, 4, 5, generator=generator), "mass": torch.rand(2, 1, 16, 20, generator=generator).numpy()}
    figure = vxp.show(inputs, maps, normalization=(MEAN, STD), titles=["cat", "dog"])
    drawn = np.array(figure.axes).reshape(2, 3)
    assert [axes.get_title() for axes in drawn[0]] == ["image", "signed", "mass"]
    assert [axes.get_ylabel() for axes in drawn[:, 0]] == ["cat", "dog"]
    for i in range(2):
        pixels = [axes.images[0].get_array() for axes in drawn[i]]
        assert np.abs(pixels[0].astype(int) - np.asarray(photo(inputs, i)).astype(int)).max() <= 1
        background = Image.fromarray(pixels[0])
        assert (pixels[1] == np.asarray(pictures.overlay(background, maps["signed"][i].numpy(), True))).all()
        assert (pixels[2] == np.asarray(pictures.overlay(background, maps["mass"][i, 0], False))).all()


def test_curves_are_those_of_the_items_that_are_ok(inputs: Tensor) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(960, 3))
    maps = torch.rand(2, 16, 20, generator=torch.Generator().manual_seed(2))
    maps[1] = 0.5  # constant: no curve of it counts
    scores = vxp.score(model, inputs, maps, normalization=(MEAN, STD),
                       metrics=["deletion|steps:4", "gini", "insertion|steps:4"])
    figure = vxp.show(inputs, maps, scores, normalization=(MEAN, STD))
    panels = figure.axes[4:]
    assert [axes.get_title() for axes in panels] == ["deletion", "insertion"]
    curve = scores["deletion"].curve
    assert curve is not None
    line = panels[0].lines[0]
    assert line.get_xdata() == pytest.approx(scores["deletion"].x)
    assert line.get_ydata() == pytest.approx(curve[0].numpy())
    assert f"{scores['deletion'].mean:.3f}" in line.get_label()
    two = vxp.show(inputs, {"a": maps, "b": maps}, {"a": scores, "b": scores}, normalization=(MEAN, STD))
    assert len(two.axes[6].lines) == 2


@pytest.mark.parametrize(("change", "says"), [
    ({"attributions": torch.rand(3, 4, 4)}, r"expected \[2, h, w\]"),
    ({"attributions": torch.rand(2, 3, 4, 4)}, "pass pool="),
    ({"titles": ["one"]}, "titles: got 1, expected 2"),
    ({"scores": {"other": vxp.Scores({})}}, r"got those of \['other'\]"),
    ({"attributions": {"a": torch.rand(2, 4, 4), "b": torch.rand(2, 4, 4)}, "scores": vxp.Scores({})}, "of one explainer"),
])
def test_what_does_not_fit_is_named(inputs: Tensor, change: dict, says: str) -> None:
    with pytest.raises(vxp.VxpError, match=says):
        vxp.show(inputs, **{"attributions": torch.rand(2, 4, 4)} | change)


def test_a_clip_has_strips_and_relevance_over_time() -> None:
    generator = torch.Generator().manual_seed(1)
    clips, dense = torch.rand(2, 3, 6, 16, 20, generator=generator), torch.rand(2, 6, 16, 20, generator=generator)
    maps = {"signed": torch.randn(2, 3, 4, 5, generator=generator), "mass": dense.numpy()}
    figure = vxp.show(clips, maps, titles=["walk", "run"])
    drawn = np.array(figure.axes).reshape(2, 4)
    assert [axes.get_ylabel() for axes in drawn[0]] == ["clip", "signed", "mass", "relevance"]
    assert [axes.get_title() for axes in drawn[:, 0]] == ["walk", "run"]
    for i in range(2):
        frames = [Image.fromarray((clips[i, :, t] * 255).round().byte().permute(1, 2, 0).numpy()) for t in range(6)]
        strip = np.asarray(drawn[i, 0].images[0].get_array())
        assert strip.shape == (16, 6 * 22 - 2, 3)
        assert np.abs(strip[:, 22:42].astype(int) - np.asarray(frames[1]).astype(int)).max() <= 1
        ours = [Image.fromarray(strip[:, 22 * t : 22 * t + 20]) for t in range(6)]
        over = pictures.side_by_side(pictures.overlays(ours, maps["mass"][i], False))
        assert np.array_equal(drawn[i, 2].images[0].get_array(), np.asarray(over))
        lines = drawn[i, 3].lines
        assert lines[0].get_ydata() == pytest.approx(pictures.over_time(maps["signed"][i].numpy(), 6))
        mass = maps["mass"][i].reshape(6, -1).sum(1)
        assert lines[1].get_ydata() == pytest.approx(mass / mass.sum())


def test_curves_of_metrics_stand_below_clips() -> None:
    torch.manual_seed(0)
    model, clips = nn.Sequential(nn.Flatten(), nn.Linear(3 * 4 * 64, 3)), torch.rand(1, 3, 4, 8, 8)
    maps = torch.rand(1, 4, 8, 8)
    scores = vxp.score(model, clips, maps, metrics=["st-deletion|steps:4", "gini"])
    figure = vxp.show(clips, maps, scores)
    assert [axes.get_title() for axes in figure.axes[3:]] == ["st-deletion"]
    assert figure.axes[3].lines[0].get_ydata() == pytest.approx(scores["st-deletion"].curve[0].numpy())
    with pytest.raises(vxp.VxpError, match=r"attributions: got \(1, 8, 8\) float32, expected"):
        vxp.show(clips, maps[:, 0])
