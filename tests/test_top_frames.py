"""The metrics of top frames for scores of parts, of clips and of sequences; those of maps are in test_clip_metrics."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import vxp
from fragment_videos import FRAGMENTS, D, maps, parts, same, scored, variants, videos
from torch import Tensor, nn
from vxp.core import Batch, Case, Normalization, VxpError
from vxp.kinds import Resample
from vxp.metrics import catalogue

TOP = {id: metric for id, metric in catalogue().items() if "temporal" in metric.kinds and metric.outputs == ("classes",)}



class Pooled(nn.Module):
    """Logits of the mean over the steps, after a step that sees its neighbours."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(5)
        self.conv, self.head = nn.Conv1d(D, 4, 3, padding=1), nn.Linear(4, 3)
        with torch.no_grad():
            for p in self.parameters():
                p.normal_(0.0, 1.0, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.conv(x)).mean(2) * 3)


def of_classes(as_clips: bool) -> tuple[nn.Module, Batch]:
    class OfClips(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Pooled()

        def forward(self, clips: Tensor) -> Tensor:
            return self.inner(clips.mean((3, 4)))

    batch = videos(FRAGMENTS["four"], False)
    inputs = batch.inputs[..., None, None].expand(-1, -1, -1, 2, 2).contiguous() if as_clips else batch.inputs
    labels = torch.tensor([[0, 2], [1, -1], [-1, -1]])
    return OfClips() if as_clips else Pooled(), Batch(
        batch.ids, inputs, torch.tensor([0, 1, 2]), batch.normalization if not as_clips else Normalization(), 7,
        parts=batch.parts, labels=labels)


@pytest.mark.parametrize("unit", ["fragment", "frame"])
@pytest.mark.parametrize("name", TOP)
def test_metric_of_top_frames_equals_its_oracle_for_scores_of_parts(name: str, unit: Resample) -> None:
    model, batch = of_classes(as_clips=True)
    assert catalogue()[name].kinds == ("heatmap3d", "temporal")
    same(model, Case(batch, maps(batch, unit), unit), name, [*variants(name), {"top": 11}, {"top": 12}])


@pytest.mark.parametrize("name", TOP)
def test_sequences_of_features_have_the_scores_of_clips(name: str) -> None:
    native = maps(videos(FRAGMENTS["four"], False), "fragment")
    for variant in variants(name):
        (of_clips,), (of_features,) = (
            scored(model, Case(batch, native, "fragment"), (name, variant)).values()
            for model, batch in (of_classes(True), of_classes(False)))
        assert of_clips.status == of_features.status
        assert of_clips.values.tolist() == pytest.approx(of_features.values.tolist(), abs=1e-6, nan_ok=True)


def test_labels_decide_fidelity_and_the_third_video_has_none() -> None:
    model, batch = of_classes(as_clips=False)
    said = model(batch.inputs).argmax(1)
    right = Batch(batch.ids, batch.inputs, batch.targets, batch.normalization, parts=batch.parts, labels=said[:, None])
    case = Case(right, torch.rand(3, 4), "fragment")
    minus, plus = scored(model, case, *(f"fidelity-{end}|removal:remove|top:4" for end in ("minus", "plus"))).values()
    assert set(minus.values.tolist()) | set(plus.values.tolist()) <= {0.0, 1.0}, "right on the whole clip"
    (found,) = scored(model, Case(batch, torch.rand(3, 4), "fragment"), "fidelity-minus").values()
    assert found.status[2] == "undefined:no-label"
    assert batch.select([1, 0]).known_labels().tolist() == [[1, -1], [0, 2]]


def test_an_event_in_one_frame_by_hand() -> None:
    """The mean of a feature of the frames is the logit; frame 2 has all of it."""
    class Mean(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.stack([x[:, 0].mean(1) - 1, torch.zeros(len(x))], 1)

    inputs = torch.zeros(1, 1, 4)
    inputs[0, 0, 2] = 8.0
    batch = Batch(("a",), inputs, torch.tensor([0]), Normalization((0.0,), (1.0,)), labels=torch.tensor([[0]]))
    names = ("top-p-average-drop|removal:remove|readout:sigmoid", "top-p-increase|removal:remove",
             "fidelity-minus|removal:remove", "fidelity-plus|removal:remove")

    def values(*weights: float) -> list[float]:
        return [float(one.values) for one in scored(Mean(), Case(batch, torch.tensor([weights]), "frame"), *names).values()]

    assert values(0, 0, 1, 0) == [0, 1, 0, 1]  # 7 of 1, and without it -1
    logistic = [1 / (1 + np.exp(-z)) for z in (1.0, -1.0)]
    assert values(1, 0, 0, 0) == pytest.approx([1 - logistic[1] / logistic[0], 0, 1, 0])


def test_labels_are_given_in_memory() -> None:
    model, batch = of_classes(as_clips=True)
    inputs = (batch.inputs + 1) / 2
    said = model(inputs).argmax(1).tolist()
    given: dict[str, Any] = {"targets": [0, 1, 2], "metrics": ["fidelity-minus|top:11"], "fragments": parts(FRAGMENTS["four"])}
    weights = torch.rand(3, 4, generator=torch.Generator().manual_seed(2))
    right, wrong = ([[said[0], 1], said[1], []], [(said[0] + 1) % 3, [(said[1] + 1) % 3], said[2]])
    found = [vxp.score(model, inputs, weights, labels=labels, **given)["fidelity-minus"] for labels in (right, wrong)]
    assert [one.status for one in found] == [("ok", "ok", "undefined:no-label"), ("ok",) * 3]
    assert all(value >= 0 for value in found[0].values[:2])
    assert all(value <= 0 for value in found[1].values[:2])
    assert vxp.score(model, inputs, weights, **given)["fidelity-minus"].status == ("undefined:no-label",) * 3
    for labels in ([0, 1], ["a", "b", "c"], [0, 1, -1]):
        with pytest.raises(VxpError, match=r"labels: got .*, expected the correct class of each of 3 items"):
            vxp.score(model, inputs, weights, labels=labels, **given)
