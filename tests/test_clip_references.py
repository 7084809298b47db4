"""The references of clips (clause 6.4.2); their maps are held to the vectors in test_conformance."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from vxp import explainers
from vxp.core import Batch, VxpError


def test_the_references_of_clips_and_of_images() -> None:
    assert explainers.references(("mask",), "heatmap3d") == [
        "random", "random-coarse", "centre-gaussian", "edges", "motion", "oracle", "oracle-binary"]
    assert explainers.references((), "heatmap3d") == ["random", "random-coarse", "centre-gaussian", "edges", "motion"]
    assert explainers.references(("mask",)) == ["random", "centre-gaussian", "edges", "oracle", "oracle-binary"]
    assert explainers.references(()) == ["random", "centre-gaussian", "edges"]


def test_references_are_admitted_by_what_they_declare() -> None:
    known = explainers.catalogue()
    assert {name: known[name].kinds for name in explainers.REFERENCES} == dict(explainers.REFERENCES)
    assert {name for name, found in known.items() if found.reference} == set(explainers.REFERENCES)


def made(name: str, batch: Batch) -> Tensor:
    return explainers.bind(name)(torch.nn.Identity(), batch)


def some(T: int = 5) -> Batch:
    raw = torch.rand(2, 3, T, 6, 8, generator=torch.Generator().manual_seed(T))
    return Batch(("a", "b"), raw, torch.zeros(2, dtype=torch.long), seed=4)


@pytest.mark.parametrize("name", ["random", "random-coarse", "centre-gaussian", "edges", "motion"])
def test_references_do_not_depend_on_the_neighbours(name: str) -> None:
    batch = some()
    both = made(name, batch)
    assert both.dtype == torch.float32
    assert torch.equal(both[1:], made(name, batch.select([1])))


def test_coarse_noise_is_smooth_and_of_half_the_frames() -> None:
    assert made("random-coarse", some(5)).shape == (2, 3, 4, 4)
    assert made("random-coarse", some(1)).shape == (2, 1, 4, 4)
    assert explainers.catalogue()["random-coarse"].resample == "trilinear"
    with pytest.raises(VxpError, match="'random-coarse' makes heatmap3d, and images need heatmap2d"):
        made("random-coarse", Batch(("a",), torch.rand(1, 3, 6, 8), torch.zeros(1, dtype=torch.long)))


def test_edges_of_a_clip_are_those_of_its_frames() -> None:
    batch = some()
    found = made("edges", batch)
    for t in range(5):
        assert torch.equal(found[:, t], made("edges", Batch(batch.ids, batch.inputs[:, :, t], batch.targets)))


def test_motion_is_where_the_picture_changes() -> None:
    raw = torch.zeros(1, 3, 4, 5, 5)
    raw[:, :, 1, 2, 2] = 1.0
    batch = Batch(("a",), raw, torch.zeros(1, dtype=torch.long))
    found = made("motion", batch)[0]
    assert found[:, 2, 2].tolist() == pytest.approx([1.0, 1.0, 0.5, 0.0])
    assert found.sum() == pytest.approx(2.5)
    backwards = made("motion", Batch(("a",), raw.flip(2), batch.targets))[0]
    assert torch.equal(backwards, found.flip(0))
    assert not made("motion", some(1)).any()
