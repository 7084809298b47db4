"""The videos of montage, the features of their frames, and the summariser that is trained on them."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from dataclasses import replace
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import vxp_schemas
from PIL import Image
from scipy.stats import kendalltau
from torch import Tensor, nn
from vxp import models
from vxp.core import VxpError
from vxp.datasets import Item, montage, photos
from vxp.documents import shots
from vxp.maintain import freeze, train_montage
from vxp.models import frame_features, loading
from vxp.models.frame_features import Features, features, fragment_of, picked
from vxp.models.summariser import Summariser, fragment_means, novelty, probe_features

needs_photos = pytest.mark.skipif(bool(montage.MONTAGE.missing()), reason="needs the photos of vxp[demo]")


@cache
def listed() -> list[dict[str, Any]]:
    loaded: list[dict[str, Any]] = json.loads(vxp_schemas.registry_bytes("sets/montage@1.json"))
    return loaded


@cache
def proposed() -> dict[str, Item]:
    return {item.id: item for item in montage.propose(0)}


# -------------------------------------------------------------------------------------------------------------------- data


def test_the_list_is_what_the_seed_proposes() -> None:
    assert [row["item_id"] for row in listed()] == sorted(proposed(), key=str.encode)
    for row in listed():
        assert row["recipe"] == proposed()[row["item_id"]].recipe
    assert Counter(row["recipe"]["split"] for row in listed()) == {"training": 40, "held-out": 20}


def test_the_document_has_the_list_by_its_digest() -> None:
    document, raw = vxp_schemas.registry_document("datasets", "montage"), vxp_schemas.registry_bytes("sets/montage@1.json")
    assert document["items"] == {"path": "sets/montage@1.json", "size": len(raw), "rows": 60,
                                 "digest": f"sha256:{hashlib.sha256(raw).hexdigest()}"}
    assert freeze.with_items(document, raw) == Path(
        vxp_schemas.__file__).parent.joinpath("registry", "datasets", "montage@1.json").read_bytes()
    assert {file["path"] for file in document["files"]} == {
        path for split in montage.PHOTOS.values() for path, *_ in split.values()}


def test_shots_partition_the_frames_and_their_list_has_a_digest() -> None:
    for item in proposed().values():
        segments = montage.segments(item)
        assert len(segments) == 10
        assert (segments[0][0], segments[-1][1]) == (0, montage.FRAMES)
        assert all(one[1] == other[0] for one, other in pairwise(segments))
        assert all(montage.SHORTEST <= end - start <= montage.LONGEST for start, end in segments)
        text = json.dumps([list(s) for s in segments], separators=(",", ":")).encode()
        assert shots.digest(segments) == f"sha256:{hashlib.sha256(text).hexdigest()}"
    lengths = {end - start for item in proposed().values() for start, end in montage.segments(item)}
    assert lengths == set(range(montage.SHORTEST, montage.LONGEST + 1))


def test_some_footage_is_redundant_and_some_is_not() -> None:
    seen = Counter(tuple(sorted(Counter(shot["photo"] for shot in item.recipe["shots"]).values(), reverse=True))
                   for item in proposed().values())
    assert set(seen) == set(montage.PARTITIONS)
    assert all(partition[-1] == 1 and partition[0] >= 3 for partition in seen)


def test_held_out_footage_comes_from_photos_that_training_has_not() -> None:
    assert not set(montage.PHOTOS["held-out"]) & set(montage.PHOTOS["training"])
    used: dict[str, set[str]] = {"held-out": set(), "training": set()}
    for item in proposed().values():
        used[item.recipe["split"]] |= {shot["photo"] for shot in item.recipe["shots"]}
    assert {split: found == set(montage.PHOTOS[split]) for split, found in used.items()} == {"held-out": True, "training": True}


@needs_photos
def test_a_video_is_its_photos_moved_by_whole_pixels() -> None:
    for name in ("held-out/03", "training/17"):
        item = proposed()[name]
        video = montage.load(item).image
        assert (video.dtype, tuple(video.shape)) == (torch.uint8, (3, montage.FRAMES, montage.SIZE, montage.SIZE))
        for shot, (start, end) in zip(item.recipe["shots"], montage.segments(item), strict=True):
            path = photos.located(montage.PHOTOS[item.recipe["split"]][shot["photo"]][0])
            assert path is not None
            scene = np.asarray(Image.open(path).convert("RGB"))
            (left, top), (across, down) = shot["window"], shot["pan"]
            for t in range(start, end):
                x, y = left + across * (t - start), top + down * (t - start)
                assert min(x, y) >= 0
                expected = scene[y : y + montage.SIZE, x : x + montage.SIZE]
                assert np.array_equal(video[:, t].permute(1, 2, 0).numpy(), expected)


@needs_photos
def test_videos_of_the_list_are_made_again_to_the_pixel() -> None:
    some = {row["item_id"]: row for row in listed()[::6]}
    again = freeze.whole(replace(montage.MONTAGE, propose=lambda seed: (proposed()[name] for name in some)))
    assert len(again) == 10
    for row in again:
        assert row == some[str(row["item_id"])]


# ---------------------------------------------------------------------------------------------------------------- features


class Seen(nn.Module):
    """A model of images whose representation is the mean of every channel, and the number of images that it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3, 2)
        self.images = 0

    def forward(self, x: Tensor) -> Tensor:
        self.images += len(x)
        logits: Tensor = self.head(x.mean((2, 3)))
        return logits


def small() -> models.Model:
    lite0 = vxp_schemas.registry_document("models", "efficientnet-lite0")
    return models.Model("small", Seen().eval(), loading.LITE0, (8, 8), (), lite0)


def test_features_are_what_the_last_layer_sees_of_every_sixth_frame(tmp_path: Path) -> None:
    video = torch.randint(256, (3, 50, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    model = small()
    found = features(model, video, folder=tmp_path)
    assert found.picks == (0, 6, 12, 18, 24, 30, 36, 42, 48)
    expected = ((video[:, ::6].double() - 127) / 128).mean((2, 3)).T
    torch.testing.assert_close(found.values.double(), expected, atol=1e-6, rtol=0)
    assert found.digest == f"sha256:{hashlib.sha256(found.values.numpy().tobytes()).hexdigest()}"


def test_features_are_kept_by_content(tmp_path: Path) -> None:
    video = torch.randint(256, (3, 30, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    model = small()
    one, again = features(model, video, folder=tmp_path), features(model, video, folder=tmp_path)
    assert model.module.images == 5
    assert one.digest == again.digest
    changed = video.clone()
    changed[0, 6, 0, 0] ^= 1
    assert features(model, changed, folder=tmp_path).digest != one.digest
    assert model.module.images == 10
    for file in tmp_path.iterdir():
        file.write_bytes(b"half a file")
    assert features(model, video, folder=tmp_path).digest == one.digest
    assert model.module.images == 15


def test_a_model_without_features_is_refused(tmp_path: Path) -> None:
    pooling = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
    model = models.Model("none", pooling, loading.LITE0, (8, 8), (), small().document)
    with pytest.raises(VxpError, match="model none has no linear layer"):
        features(model, torch.zeros(3, 6, 8, 8, dtype=torch.uint8), folder=tmp_path)


def test_fragments_of_picked_frames() -> None:
    assert fragment_of(picked(20, 6), [(0, 6), (6, 13), (13, 20)]).tolist() == [0, 1, 1, 2]
    with pytest.raises(VxpError, match="frame 12 lies in no segment"):
        fragment_of((0, 12), [(0, 12)])


def test_novelty_by_hand() -> None:
    """Two shots of one direction, and one at a right angle to both; the second shot is the mean of two frames."""
    x = torch.tensor([[1.0, 0.0], [2.0, 1.0], [2.0, -1.0], [0.0, 3.0]])
    of = torch.tensor([0, 1, 1, 2])
    assert fragment_means(x, of).tolist() == [[1, 0], [2, 0], [0, 3]]
    assert novelty(x, of).tolist() == pytest.approx([0, 0, 1])


# -------------------------------------------------------------------------------------------------------------- summariser


def by_definition(model: Summariser, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scores and attention in plain loops."""
    state = {name: value.double().numpy() for name, value in model.state_dict().items()}
    unit = lambda v: v / np.linalg.norm(v)  # noqa: E731
    h = [unit(state["project.weight"] @ unit(row)) for row in x]
    n, far = len(x), len(state["distance"]) - 1
    attention, scores = np.zeros((n, n)), np.zeros(n)
    for i in range(n):
        for j in range(n):
            attention[i, j] = np.exp(state["sharpness"] * (h[i] @ h[j]) + state["distance"][min(abs(i - j), far)])
        attention[i] /= attention[i].sum()
        y = unit(sum(attention[i, j] * h[j] for j in range(n)))
        scores[i] = 1 / (1 + np.exp((state["weight"] * h[i] * y).sum() - state["bias"]))
    return scores, attention


@cache
def summariser() -> Summariser:
    return loading.montage_summariser()


@pytest.mark.parametrize("n", [1, 5, 40])
def test_the_summariser_is_its_definition(n: int) -> None:
    x = probe_features()[:2, :n]
    with torch.no_grad():
        scores, attention = summariser()(x), summariser().attention(x)
        torch.testing.assert_close(summariser()(x[1]), scores[1])
        torch.testing.assert_close(summariser().attention(x[1]), attention[1])
    for i in range(2):
        wanted, attended = by_definition(summariser(), x[i].double().numpy())
        np.testing.assert_allclose(scores[i].numpy(), wanted, atol=1e-5)
        np.testing.assert_allclose(attention[i].numpy(), attended, atol=1e-5)
    assert attention.sum(-1).sub(1).abs().max() < 1e-5


def test_features_of_another_width_are_refused() -> None:
    with pytest.raises(VxpError, match=r"\(4, 7\), expected \[n, 1280\]"):
        summariser()(torch.zeros(4, 7))


def test_the_registered_document_is_the_shipped_summariser() -> None:
    document = vxp_schemas.registry_document("models", "montage-summariser")
    assert document["output"] == "sequence"
    assert document["state_dict_digest"] == models.state_dict_digest(summariser())
    inputs = probe_features()
    assert document["probe"]["inputs_digest"] == "sha256:" + hashlib.sha256(inputs.numpy().tobytes()).hexdigest()
    expected = torch.tensor(document["probe"]["logits"])
    with torch.no_grad():
        got = summariser()(inputs)[:, : expected.shape[1]]
    torch.testing.assert_close(got, expected, atol=document["probe"]["atol"], rtol=0)
    shipped = Path(loading.__file__).parents[1] / "assets" / "montage-summariser.safetensors"
    assert shipped.stat().st_size < 1_000_000


@needs_photos
def test_the_shipped_summariser_ranks_novelty_in_footage_of_other_photos(tmp_path: Path) -> None:
    """And what needs no training does not: how far a shot is from the mean of its video."""
    pytest.importorskip("efficientnet_lite_pytorch", reason="needs vxp[demo]")
    held_out = train_montage.seen(train_montage.items("held-out"), tmp_path)
    taus, plain = [], []
    for x, of in held_out:
        with torch.no_grad():
            made = fragment_means(summariser()(x), of)
        wanted = novelty(x, of)
        shots = fragment_means(x, of)
        taus.append(kendalltau(made, wanted).statistic)
        plain.append(kendalltau(1 - torch.cosine_similarity(shots, shots.mean(0)[None]), wanted).statistic)
    print(f"tau_b held out: {np.mean(taus):.3f}, distance from the mean {np.mean(plain):.3f}")
    assert len(taus) == 20
    assert np.mean(taus) >= 0.55
    assert np.mean(plain) < 0.4
    log = json.loads((Path(loading.__file__).parents[1] / "assets" / "montage-summariser.json").read_text())
    assert np.mean(taus) == pytest.approx(log["tau_b"]["held_out"], abs=0.02)
    assert train_montage.agreement(summariser(), held_out) == pytest.approx(np.mean(taus), abs=1e-6)


def test_it_looks_over_its_own_shot() -> None:
    """The learnt number of a distance is low within a shot and highest beyond: what is near is alike anyway."""
    distance = summariser().distance.detach()
    assert distance[:4].max() < distance[5:].min()


def test_training_gives_the_same_weights_again() -> None:
    generator = torch.Generator().manual_seed(0)
    videos = [(torch.rand(20, 30, generator=generator), torch.arange(20) // 2) for _ in range(3)]
    recipe = train_montage.Recipe(steps=6, batch=2)
    torch.manual_seed(5)
    (one, log), (other, again) = train_montage.train(videos, recipe), train_montage.train(videos, recipe)
    assert log == again
    assert all(torch.equal(value, other.state_dict()[key]) for key, value in one.state_dict().items())
    assert not torch.equal(one.distance, Summariser(30).distance)


def test_training_cuts_new_videos_of_shots_that_are_whole() -> None:
    shots = [[torch.full((1 + i % 3, 4), float(10 * v + i)) for i in range(10)] for v in range(5)]
    recipe = train_montage.Recipe(videos=2)
    for seed in range(5):
        torch.manual_seed(seed)
        x, of = train_montage._cut(shots, recipe)
        numbers = [sorted({float(v) for v in x[of == i, 0]}) for i in range(10)]
        assert all(len(found) == 1 for found in numbers)
        flat = [int(found[0]) for found in numbers]
        assert len(set(flat)) == 10
        assert len({number // 10 for number in flat}) <= 2
        for i, number in enumerate(flat):
            assert int((of == i).sum()) == 1 + number % 10 % 3


def test_the_digest_of_features_is_of_their_bytes() -> None:
    assert Features(torch.zeros(1, 1), (0,)).digest == f"sha256:{hashlib.sha256(bytes(4)).hexdigest()}"
    assert frame_features.STEP == 6
