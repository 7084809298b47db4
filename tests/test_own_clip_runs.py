"""Models of clips by name, and one's own clips from run to verification."""

from __future__ import annotations

import json
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
import vxp
import vxp_schemas
from bundle_tools import STATEMENT, commanded
from clip_files import MODEL, NAMES, SIZE, folder, made_desk, picture, planes, y4m
from PIL import Image
from safetensors.numpy import load_file
from safetensors.torch import save_file
from vxp import division, models
from vxp.core import VxpError
from vxp.datasets import own_clips
from vxp.models import clips as of_clips
from vxp.models import torchvision_video


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(made_desk(tmp_path))
    return tmp_path


# ------------------------------------------------------------------------------------------------------------------- models


def test_a_model_of_images_is_fused_as_its_document_says(desk: Path) -> None:
    image = models.load("model.py:image")
    for name, fusion, frames in (("model.py:image", "log-mean-exp", 16), ("model.py:image|fusion:max|frames:5", "max", 5)):
        model = models.load(name, clips=True)
        vxp_schemas.validate(model.document)
        assert (model.document["fusion"], model.document["input"]["size"]) == (fusion, [frames, 16, 16])
        assert (model.input_size, model.class_names, model.id) == ((frames, 16, 16), NAMES, f"own-model-{fusion}")
        clip = torch.rand(2, 3, frames, 16, 16)
        apart = torch.stack([image.module(frame) for frame in clip.unbind(2)], 1)
        assert torch.allclose(model.module(clip), of_clips.FUSIONS[fusion](apart), atol=1e-6)
        again = models.load(models.settled(name, model), clips=True)
        assert again.document == model.document
    assert "fusion" not in models.load("model.py:clip", clips=True).document


def test_a_layout_stands_in_the_document(desk: Path) -> None:
    model = models.load("model.py:first|layout:btchw")
    vxp_schemas.validate(model.document)
    assert model.document["input"]["layout"] == "btchw"
    same, clip = models.load("model.py:clip"), torch.rand(2, 3, 4, 16, 16)
    assert torch.allclose(model.module(clip), same.module(clip), atol=1e-6)
    assert "layout" not in same.document["input"]


def test_another_number_of_frames_is_another_document(desk: Path) -> None:
    model, longer = models.load("motion-net"), models.load("motion-net|frames:12")
    assert (longer.input_size, longer.document["status"], longer.id) == ((12, 32, 32), "unregistered", "motion-net-12-frames")
    assert longer.digest == model.digest
    assert models.load("motion-net|frames:8").document == model.document


def test_a_clip_model_of_torchvision_takes_weights_of_a_file(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = torchvision.models.video.mc3_18(weights=None, num_classes=3)
    file = tmp_path / "mine.safetensors"
    save_file(module.state_dict(), file)
    model = models.load(f"torchvision/mc3_18@{file}|frames:2")
    vxp_schemas.validate(model.document)
    assert (model.id, model.input_size) == ("torchvision-mc3-18-mine", (2, 112, 112))
    assert model.normalization.mean == (0.43216, 0.394666, 0.37645)
    assert model.document["classes"] == {"count": 3}
    resize = model.document["input"]["preprocessing"][0]["parameters"]
    assert resize == {"height": 128, "width": 171, "interpolation": "bilinear"}
    clip = torch.rand(1, 3, 2, 112, 112)
    with torch.no_grad():
        assert torch.allclose(model.module(clip), module.eval()(clip), atol=1e-5)


def test_what_torchvision_lacks_is_named() -> None:
    with pytest.raises(VxpError, match=r"did you mean 'torchvision/r3d_18'"):
        models.load("r3d_18")
    with pytest.raises(VxpError, match=r"torchvision r3d_18 has no weights 'KINETICS'; did you mean 'KINETICS400_V1'"):
        models.load("torchvision/r3d_18:KINETICS")
    with pytest.raises(VxpError, match=r"torchvision/s3d: its weights are not on this machine, .*s3d-d76dad2f\.pth"):
        models.load("torchvision/s3d")


# ---------------------------------------------------------------------------------------------------- from run to verification


METRICS = "st-deletion|steps:4,frame-insertion,mask-auc,t-pointing,entropy,deletion|steps:4"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three clips with a fused model of images, and its bundle."""
    place = tmp_path_factory.mktemp("own")
    folder(place / "clips")
    (place / "model.py").write_text(MODEL)
    (place / "statement.json").write_text(json.dumps(STATEMENT | {"submission_id": "own-clips"}))
    commanded(f"run --clips {place / 'clips'} --model {place / 'model.py'}:image --frames 4 --fusion mean -e grad-cam "
              f"-m {METRICS} --out {place / 'run'} --batch-size 8 --threads 1 --device cpu")
    commanded(f"seal {place / 'run'} -e grad-cam --submission {place / 'statement.json'} --out {place / 'bundle'}")
    return place


def test_a_run_of_own_clips_has_scores_and_strips(whole: Path) -> None:
    [path] = (whole / "run").glob("results/*-grad-cam-*/result.json")
    found = json.loads(path.read_bytes())
    vxp_schemas.validate(found)
    statuses = {s["metric"]["id"]: s["statuses"] for s in found["scores"]}
    assert statuses["st-deletion"] == {"ok": 3}
    assert statuses["mask-auc"] == {"ok": 1, "undefined:empty-truth": 2}
    assert statuses["deletion"] == {"not-run:kind": 3}
    assert found["task"]["id"] == "open-clips.clips"
    task, model = (json.loads((whole / "run" / name).read_bytes()) for name in ("task.json", "model.json"))
    assert (task["kinds"], task["input_size"], task["cluster_key"]) == (["heatmap3d"], [4, 16, 16], "clip")
    assert (model["fusion"], model["input"]["size"]) == ("mean", [4, 16, 16])
    page = (whole / "run" / "report.html").read_text()
    assert page.count('class="strips"') == page.count("relevance over time, ") == 3
    assert division.words(found) == "open: own clips"
    assert "vxp run --clips CLIPS --model MODEL" in page


def test_a_bundle_of_own_clips_is_made_again(whole: Path, tmp_path: Path) -> None:
    assert "(0 errors, 0 warnings" in commanded(f"validate {whole / 'bundle'}")
    moved = shutil.copytree(whole / "clips", tmp_path / "elsewhere")  # the folder's name is not what is compared
    commanded(f"verify {whole / 'bundle'} --all --clips {moved} --model {whole / 'model.py'}:image --frames 4 --fusion mean "
              f"--regenerate grad-cam --threads 1 --batch-size 8 --out {tmp_path / 'audit.json'}")
    said = json.loads((tmp_path / "audit.json").read_bytes())["predicate"]
    assert (said["verdict"], said["evidence"]) == ("reproduced", "E3")


def test_other_clips_are_not_taken_for_those_of_the_bundle(whole: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(whole / "clips", tmp_path / "clips")
    y4m(moved / "a one.y4m", planes(7))
    printed = commanded(f"verify {whole / 'bundle'} --all --clips {moved} --model {whole / 'model.py'}:image --frames 4 "
                        f"--fusion mean --threads 1 --out {tmp_path / 'audit.json'}", code=3)
    assert re.search(r"the task here is open-clips\.clips@1 sha256:\w+\.\.\., and the result is of", printed), printed


def test_an_image_metric_and_a_clip_metric_change_places(desk: Path) -> None:
    picture(desk / "photos.png")
    (desk / "photos").mkdir()
    (desk / "photos.png").rename(desk / "photos" / "a.png")
    commanded("run --images photos --model model.py:image -e saliency -m gini,st-deletion|steps:4 --batch-size 4 --threads 1 "
              "--device cpu --out images")
    [path] = (desk / "images").glob("results/*-saliency-*/result.json")
    statuses = {s["metric"]["id"]: s["statuses"] for s in json.loads(path.read_bytes())["scores"]}
    assert statuses["st-deletion"] == {"not-run:kind": 1}


def test_maps_of_clips_go_out_and_come_back(desk: Path) -> None:
    own = "--clips clips --model model.py:first --layout btchw --device cpu"
    printed = commanded(f"data export {own} --out items")
    assert "vxp import --clips clips --model 'model.py:first|layout:btchw' --maps items/maps" in printed
    assert sorted(p.name for p in (desk / "items" / "clips" / "00001").iterdir()) == [f"{k:05d}.png" for k in range(4)]
    items, source = own_clips.opened(desk / "clips", SIZE, ())
    for k in range(4):
        drawn = np.asarray(Image.open(desk / "items" / "clips" / "00001" / f"{k:05d}.png"))
        assert np.array_equal(drawn, source.load(items[1]).image[:, k].permute(1, 2, 0))
    maps = np.random.default_rng(0).random((3, 2, 4, 4), np.float32)
    np.save("maps.npy", maps)
    commanded(f"import {own} --maps maps.npy --name mine --signed --resample frames --out set")
    found = json.loads((desk / "set" / "set.json").read_bytes())
    assert (found["kind"], found["explainer"]["resample"]) == ("heatmap3d", "frames")
    [shard] = (desk / "set").glob("payload/*.safetensors")
    assert np.array_equal(load_file(shard)["values"], maps)
    commanded("score set --clips clips --model 'model.py:first|layout:btchw' -m gini --threads 1 --device cpu --out scores")
    for given, said in (("maps.npy --resample none", r"got maps of \[2, 4, 4\]; --resample none needs \[4, 16, 16\]"),
                        ("flat.npy", r"got an array \[3, 4, 4\], expected \[3, t, h, w\]")):
        np.save("flat.npy", maps[:, 0])
        assert re.search(said, commanded(f"import {own} --maps {given} --name mine --signed --out other", code=2))
        assert not (desk / "other").exists()


def test_maps_of_another_rank_are_refused_in_the_notebook(desk: Path) -> None:
    model = models.load("model.py:clip").module
    with pytest.raises(VxpError, match=r"attributions: got \(2, 16, 16\) float32, expected"):
        vxp.score(model, torch.rand(2, 3, 4, 16, 16), torch.rand(2, 16, 16), metrics=("gini",))


# ---------------------------------------------------------------------------------------------------------------- the how-to

PAGE = Path(__file__).resolve().parents[1] / "docs" / "howto" / "clips.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(), re.M | re.S)


@pytest.fixture
def page_desk(desk: Path) -> Path:
    """A folder with what the page's commands name."""
    (desk / "clips").rename(desk / "my-clips")
    for name in ("a one.y4m", "b.mp4"):
        (desk / "my-clips" / name).unlink()
    shutil.rmtree(desk / "my-clips" / "masks")
    for name in ("video.py", "model.py"):
        shutil.copy(Path(__file__).parent / "howto" / name, desk)
    (manifest,) = blocks("csv")
    (desk / "clips.csv").write_text(manifest)
    # whatever the name promises, FFmpeg looks at what a file holds
    y4m(desk / "walks" / "day.mp4", planes(0, 16, (64, 48)))
    y4m(desk / "walks" / "long.mp4", planes(1, 40))
    (desk / "masks").mkdir()
    np.save(desk / "masks" / "day.npy", np.ones((16, 48, 64), bool))
    return desk


@pytest.mark.parametrize("line", [line for block in blocks("sh") for line in block.splitlines()])
def test_the_commands_of_the_page_run(page_desk: Path, line: str) -> None:
    # the images of model.py are large, and two frames show as much as sixteen
    frames = " --frames 2" if "model.py" in line else ""
    words = line.partition(" ")[2] + frames
    commanded(f"{words} -m gini --limit 1 --batch-size 2 --threads 1 --device cpu")
    out = page_desk / shlex.split(line)[-1]
    document = json.loads(next(out.glob("results/*/result.json")).read_bytes())
    assert division.words(document).startswith("open: own clips")
    model = json.loads((out / "model.json").read_bytes())
    expected = {"clips": (16, None), "cut": (8, None), "fused": (2, "log-mean-exp")}[out.name]
    assert (model["input"]["size"][0], model.get("fusion")) == expected


def test_the_manifest_of_the_page_is_read(page_desk: Path) -> None:
    items, source = own_clips.opened(Path("clips.csv"), (16, 32, 32), NAMES)
    assert [(i.id, i.cluster, i.target, i.label) for i in items] == [
        ("long-a", "walks/long.mp4", 0, ()), ("long-b", "walks/long.mp4", 0, ()),
        ("walks/day.mp4", "walks/day.mp4", None, (1,))]
    assert source.truth == ("mask",)


def test_the_page_names_every_column_and_model() -> None:
    assert all(f"`{name}`" in PAGE.read_text() for name in torchvision_video.builders())
    assert blocks("csv")[0].splitlines()[0].split(",") == list(own_clips.COLUMNS)
