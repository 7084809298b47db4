"""The protocol of L-CAM and TAME: the task imagenet-val-lcam against a plain loop written from the published steps, and
where the three published threshold rules part."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
import vxp_schemas
from oracles import masking
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision import transforms
from vxp import models, tasks
from vxp.core import VxpError
from vxp.datasets import imagenet_val_list
from vxp.metrics._masked import TIES
from vxp.runs import commands
from vxp.runs.context import Quiet

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
LIST = {"ILSVRC2012_val_00012566.JPEG": (300, 420), "ILSVRC2012_val_00010011.JPEG": (500, 375),
        "ILSVRC2012_val_00040588.JPEG": (224, 260), "ILSVRC2012_val_00000007.JPEG": (640, 300)}

MODEL = '''
import torch
from torch import nn

def factory():
    torch.manual_seed(5)
    module = nn.Sequential(nn.Conv2d(3, 8, 7, stride=8), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(128, 6))
    for layer in (module[0], module[4]):
        nn.init.normal_(layer.weight, std=0.25)
    nn.init.normal_(module[4].bias, std=2.5)  # so that less of an image may also be more of its class
    return module, {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225), "input_size": (224, 224)}
'''

EXPLAINERS = '''
import torch

def attention(model, batch):
    """Pre-sigmoid maps at attention resolution, the target's own: as L-CAM hands them to the evaluation."""
    grid = model[0](batch.inputs)[:, :3].detach()
    return (grid * (1 + batch.targets.view(-1, 1, 1, 1))).sum(1)[:, ::2, ::2] - 1

def steps(model, batch):
    """A smooth map in a few steps: plateaus that hold the threshold."""
    smooth = torch.nn.functional.avg_pool2d(batch.inputs.mean(1, keepdim=True), 41, 1, 20)[:, 0]
    low, high = smooth.amin((1, 2), keepdim=True), smooth.amax((1, 2), keepdim=True)
    return ((smooth - low) / (high - low) * 6).round()

def sparse(model, batch):
    """What a ReLU leaves: fewer positions than are to be kept."""
    return (batch.inputs.mean(1) - 0.9).clamp_min(0)
'''


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four made images, smooth in parts, with a list in another order than their names."""
    folder = tmp_path_factory.mktemp("lcam")
    (folder / "data").mkdir()
    for seed, (name, (width, height)) in enumerate(LIST.items()):
        generator = np.random.default_rng(seed)
        coarse = Image.fromarray(generator.integers(0, 256, (9, 9, 3), dtype=np.uint8))
        coarse.resize((width, height), Image.Resampling.BICUBIC).save(folder / "data" / name, "JPEG", quality=95)
    (folder / "data" / "Evaluation_2000.txt").write_text("".join(f"{name} {i}\n" for i, name in enumerate(LIST)))
    (folder / "model.py").write_text(MODEL)
    (folder / "method.py").write_text(EXPLAINERS)
    return folder


@pytest.fixture
def _four(monkeypatch: pytest.MonkeyPatch) -> None:
    """The card for a list of four images."""
    whole: Callable[[str, str], dict[str, Any]] = vxp_schemas.registry_document

    def smaller(kind: str, name: str) -> dict[str, Any]:
        document = dict(whole(kind, name))
        return document | {"budget": {**document["budget"], "items": len(LIST)}} if kind == "tasks" else document

    monkeypatch.setattr(vxp_schemas, "registry_document", smaller)
    monkeypatch.setattr(imagenet_val_list, "PUBLISHED", {})


# ------------------------------------------------------------------------------------------- the loop, step after step


def loop(place: Path, explain: Callable[..., Tensor], v: int) -> dict[str, list[float]]:
    """AD, IC and AG of every image of the list in order of name, as fractions."""
    network = models.load(f"{place}/model.py:factory").module
    prepare = transforms.Compose([transforms.Resize(256), transforms.CenterCrop(224), transforms.ToTensor()])
    normalise = transforms.Normalize(MEAN, STD)
    found: dict[str, list[float]] = {"average-drop": [], "increase-in-confidence": [], "average-gain": []}
    for name in sorted(line.split()[0] for line in (place / "data" / "Evaluation_2000.txt").read_text().splitlines()):
        x = prepare(Image.open(place / "data" / name).convert("RGB"))
        with torch.no_grad():
            p = network(normalise(x)[None]).double().softmax(1)[0]
        c = int(p.argmax())
        S = explain(network, normalise(x)[None], c)
        S = (S - S.min()) / (S.max() - S.min())
        S = F.interpolate(S[None, None], (224, 224), mode="bilinear", align_corners=False)[0, 0]
        masked = thresholded(S.numpy(), v)
        with torch.no_grad():
            after = float(network(normalise(x * torch.from_numpy(masked))[None]).double().softmax(1)[0, c])
        Y = float(p[c])
        found["average-drop"].append(max(0.0, Y - after) / Y)
        found["increase-in-confidence"].append(float(after > Y))
        found["average-gain"].append(max(0.0, after - Y) / (1 - Y))
    return found


def thresholded(S: np.ndarray, v: int) -> np.ndarray:
    """The lowest (100 - v) % zeroed; of what is left above v % the surplus among the threshold's equals, in raster order."""
    if v == 100:
        return S
    out = S.copy()
    percent = (100 - v) / 100
    n = int(S.size * percent)
    t = np.sort(S, axis=None)[n - 1]
    out[out < t] = 0
    surplus = np.count_nonzero(out) - math.ceil((1 - percent) * S.size)
    for y, x in np.argwhere(t == S):
        if surplus > 0:
            out[y, x] = 0
            surplus -= 1
    return out


def given(place: Path, name: str) -> Callable[..., Tensor]:
    """The explainer of the file for one image and class: map [h, w]."""
    method = models.from_file(f"{place}/method.py:{name}")

    class Alone:
        def __init__(self, inputs: Tensor, target: int) -> None:
            self.inputs, self.targets = inputs, torch.tensor([target])

    def explain(network: nn.Module, inputs: Tensor, target: int) -> Tensor:
        with torch.no_grad():
            return torch.as_tensor(method(network, Alone(inputs, target))[0])

    return explain


@pytest.mark.usefixtures("_four")
def test_the_task_gives_what_the_published_steps_give(place: Path, tmp_path: Path) -> None:
    names = ("attention", "steps", "sparse")
    order = commands.Order("imagenet-val-lcam", None, f"{place}/model.py:factory", place / "data",
                           tuple(f"{place}/method.py:{name}" for name in names), (), "cpu", "fp32", None, 8, 1)
    commands.run_(order, tmp_path / "out", Quiet())
    rises = 0.0
    for name in names:
        (path,) = (tmp_path / "out").glob(f"results/*-{name}-*/result.json")
        document = vxp_schemas.loads(path.read_bytes())
        columns = pq.read_table(path.parent / "samples.parquet").to_pydict()
        assert columns["item_id"] == sorted(LIST)
        assert len(document["scores"]) == 9
        means = {score["signature"]: score["mean"] for score in document["scores"]}
        for v in (100, 50, 15):
            for metric, values in loop(place, given(place, name), v).items():
                signature = f"{metric}@2|keep:{v}|mask:soft|fill:black|ties:tame"
                assert columns[signature] == pytest.approx(values, abs=2e-6), (name, signature)
                assert means[signature] == pytest.approx(sum(values) / len(LIST), abs=2e-6)
                rises += sum(values) if metric == "increase-in-confidence" else 0
    assert 0 < rises < 9 * len(LIST)  # both answers of the comparison were met


@pytest.mark.usefixtures("_four")
def test_the_rule_of_ties_matters_on_the_maps_in_steps(place: Path) -> None:
    model = models.load(f"{place}/model.py:factory")
    task = tasks.load("imagenet-val-lcam", model=model.id, data=place / "data")
    inputs = task.load(0, len(LIST), model).inputs
    for i in range(len(LIST)):
        steps = given(place, "steps")(model.module, inputs[i : i + 1], 0)
        flat = ((steps - steps.min()) / (steps.max() - steps.min())).flatten()
        kept = {rule: TIES[rule](flat, 50) for rule in TIES}
        assert int(kept["tame"].sum()) == int(kept["index"].sum()) == 25_088
        assert not torch.equal(kept["tame"], kept["index"])  # the first of equals fall, the first of equals stay
        assert int(kept["p-tame"].sum()) < 25_088 < int(kept["t-tame"].sum())


def test_the_card_takes_the_published_list_and_says_so(place: Path) -> None:
    card = vxp_schemas.registry_document("tasks", "imagenet-val-lcam")
    assert card["targets"] == "predicted"
    assert [m.split("|")[1:] for m in card["metrics"]] == [[f"keep:{v}", "ties:tame"] for _ in range(3) for v in (100, 50, 15)]
    with pytest.raises(VxpError, match=r"Evaluation_2000\.txt: 4 images, expected 2000 as the card of imagenet-val-lcam@1"):
        tasks.load("imagenet-val-lcam", data=place / "data")


# ----------------------------------------------------------------------------------- where the published rules part

P = 224 * 224
KEPT = {"tame": {50: 25_088, 15: 7_527}, "t-tame": {50: 32_947, 15: 13_022}, "p-tame": {50: 13_022, 15: 1_012}}
"""Positions kept of a quantised smooth map, as measured on the published scripts."""


def smooth() -> Tensor:
    """[224, 224] without equal values: a tilted bump."""
    y, x = torch.meshgrid(torch.arange(224.0, dtype=torch.float64), torch.arange(224.0, dtype=torch.float64), indexing="ij")
    return torch.exp(-((y - 97.3) ** 2 + (x - 131.7) ** 2) / (2 * 60**2)) + 1e-6 * y + 1e-9 * x


def quantised() -> Tensor:
    """The smooth map in four levels.

    At 50 % the threshold lies on a plateau: t-tame keeps all of it and what is above, p-tame only what is above. So the
    plateau has 32,947 - 13,022 positions and 13,022 lie above. At 15 % the threshold lies on the next one, which has
    13,022 - 1,012 positions below the 1,012 of the top.
    """
    sizes = [P - KEPT["t-tame"][50], KEPT["t-tame"][50] - KEPT["p-tame"][50],
             KEPT["t-tame"][15] - KEPT["p-tame"][15], KEPT["p-tame"][15]]
    assert sizes == [17_229, 19_925, 12_010, 1_012]
    levels = torch.repeat_interleave(torch.tensor([0, 1 / 3, 2 / 3, 1]), torch.tensor(sizes))
    flat = smooth().flatten()
    assert len(flat.unique()) == P
    out = torch.empty(P)
    out[flat.argsort()] = levels
    return out.view(224, 224)


def left(soft: Tensor, rule: str, keep: int) -> int:
    """Positions of the mask that are not 0."""
    flat = soft.float().flatten()
    return int(torch.count_nonzero(torch.where(TIES[rule](flat, keep), flat, torch.zeros(()))))


@pytest.mark.parametrize("rule", KEPT)
@pytest.mark.parametrize("keep", [50, 15])
def test_on_plateaus_the_published_rules_keep_different_numbers(rule: str, keep: int) -> None:
    assert left(quantised(), rule, keep) == KEPT[rule][keep]
    # within the rule of this standard the number is the stated share
    assert left(quantised(), "index", keep) == KEPT["tame"][keep]


@pytest.mark.parametrize("rule", TIES)
def test_on_a_map_without_equal_values_they_agree(rule: str) -> None:
    soft = smooth().flatten().argsort().argsort().view(224, 224) / P + 1e-6
    assert len(soft.unique()) == P
    assert [left(soft, rule, keep) for keep in (100, 50, 15)] == [50_176, 25_088, 7_527]


@pytest.mark.parametrize("rule", TIES)
def test_a_sparse_map_keeps_fewer_than_the_share(rule: str) -> None:
    ranks = smooth().flatten().argsort().argsort().view(224, 224).float()
    sparse = (ranks - (P - 14_674) + 1).clamp_min(0) / 14_674
    assert left(sparse, rule, 50) == 14_674
    assert left(sparse, rule, 15) == 7_527


def test_the_loop_of_this_file_keeps_what_tame_keeps() -> None:
    for keep in (50, 15):
        assert np.count_nonzero(thresholded(quantised().numpy(), keep)) == KEPT["tame"][keep]


@pytest.mark.parametrize(("grid", "kept"), [((320, 320), 15_361), ((300, 300), 13_501), ((240, 240), 8_641), ((48, 80), 577),
                                            ((20, 20), 61), ((224, 224), 7_527)])
@pytest.mark.parametrize("rule", ["harness", "oracle"])
def test_the_bound_of_tame_is_that_of_its_script(rule: str, grid: tuple[int, int], kept: int) -> None:
    """The script keeps up to ceil((1 - 0.85)*(H*W)), and 1 - 0.85 is more than 0.15; a plateau shows where it stops."""
    flat = torch.full((grid[0] * grid[1],), 0.5)
    flat[::10] = 1
    chosen = TIES["tame"](flat, 15) if rule == "harness" else masking.by_tame(flat.view(grid).numpy(), 15).ravel()
    assert int(torch.as_tensor(chosen).sum()) == kept
