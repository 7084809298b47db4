"""Data sets of the user's own copy, on small made folders of the same layout: items, images, truth and errors."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import json
import re
import shlex
import shutil
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import vxp_schemas
from PIL import Image
from torch import nn
from torchvision.transforms import CenterCrop, Compose, Resize
from vxp import datasets, division, models, tasks
from vxp.cli import app
from vxp.core import VxpError
from vxp.datasets import coco, fashion_mnist, imagenet_val, voc
from vxp.datasets._images import Fit, cover
from vxp.datasets.manifest import COLUMNS
from vxp.explainers import bind
from vxp.runs import run
from vxp.runs.context import Context, Settings

SIZE = (32, 32)
COPIES = ("voc", "coco", "imagenet-val-boxes", "fashion-mnist")


def picture(path: Path, size: tuple[int, int], seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def xml(path: Path, size: tuple[int, int], objects: list[tuple[str, tuple[int, int, int, int]]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    boxes = "".join(f"<object><name>{name}</name><bndbox><xmin>{x0}</xmin><ymin>{y0}</ymin><xmax>{x1}</xmax><ymax>{y1}</ymax>"
                    "</bndbox><part><name>head</name></part></object>" for name, (x0, y0, x1, y1) in objects)
    path.write_text(f"<annotation><size><width>{size[0]}</width><height>{size[1]}</height></size>{boxes}</annotation>")


def made_voc(folder: Path) -> Path:
    """Two images: a wide one with a cat (twice) and a smaller dog, and one of void only."""
    root = folder / "VOCdevkit" / "VOC2012"
    picture(root / "JPEGImages" / "a.jpg", (64, 32))
    picture(root / "JPEGImages" / "b.jpg", (32, 32), 1)
    mask = np.zeros((32, 64), dtype=np.uint8)
    mask[4:20, 10:30] = voc.CLASSES.index("cat") + 1
    mask[4:20, 30:32] = 255
    mask[24:30, 0:12] = voc.CLASSES.index("dog") + 1
    for name, values in (("a", mask), ("b", np.full((32, 32), 255, dtype=np.uint8))):
        (root / "SegmentationClass").mkdir(exist_ok=True)
        coloured = Image.fromarray(values)
        coloured.putpalette([value for i in range(256) for value in (i, 255 - i, i // 2)])
        coloured.save(root / "SegmentationClass" / f"{name}.png")
    xml(root / "Annotations" / "a.xml", (64, 32),
        [("cat", (11, 5, 20, 20)), ("cat", (21, 5, 32, 20)), ("dog", (1, 25, 12, 30))])
    xml(root / "Annotations" / "b.xml", (32, 32), [])
    named = root / "ImageSets" / "Segmentation" / "val.txt"
    named.parent.mkdir(parents=True)
    named.write_text("b\na\n")
    return folder


def made_coco(folder: Path, **changes: Any) -> Path:
    """A wide image with a bus (polygon), a crowd of buses (run lengths) and a larger dining table; one without objects."""
    picture(folder / "val2017" / "000001.jpg", (64, 32))
    picture(folder / "val2017" / "000002.jpg", (32, 32), 1)
    crowd = np.zeros((32, 64), dtype=bool)
    crowd[0:4, 30:40] = True
    document = {
        "images": [{"id": 1, "file_name": "000001.jpg", "width": 64, "height": 32},
                   {"id": 2, "file_name": "000002.jpg", "width": 32, "height": 32}],
        "categories": [{"id": 67, "name": "dining table"}, {"id": 6, "name": "bus"}],
        "annotations": [
            {"id": 11, "image_id": 1, "category_id": 6, "iscrowd": 0, "area": 80, "bbox": [20, 8, 10, 8],
             "segmentation": [[20, 8, 30, 8, 30, 16, 20, 16]]},
            {"id": 10, "image_id": 1, "category_id": 6, "iscrowd": 1, "area": 40, "bbox": [30, 0, 10, 4],
             "segmentation": {"size": [32, 64], "counts": runs(crowd)}},
            {"id": 12, "image_id": 1, "category_id": 67, "iscrowd": 0, "area": 200.5, "bbox": [40, 10, 20, 20],
             "segmentation": [[40, 10, 60, 10, 60, 30]]},
        ],
    } | changes
    (folder / "annotations").mkdir(exist_ok=True)
    (folder / "annotations" / "instances_val2017.json").write_text(json.dumps(document))
    return folder


def runs(mask: np.ndarray) -> list[int]:
    """Run lengths down the columns, of 0 first, one pixel after another."""
    counts, value = [0], False
    for pixel in mask.T.ravel():
        if bool(pixel) != value:
            counts.append(0)
            value = not value
        counts[-1] += 1
    return counts


def made_imagenet(folder: Path) -> Path:
    names = ["ILSVRC2012_val_00000007", "ILSVRC2012_val_00000003"]
    for i, (name, size) in enumerate(zip(names, [(500, 375), (300, 450)], strict=True)):
        picture(folder / f"{name}.JPEG", size, i)
    xml(folder / "val" / f"{names[0]}.xml", (500, 375), [("n01440764", (0, 10, 99, 374)), ("n01440764", (200, 100, 299, 199))])
    xml(folder / "val" / f"{names[1]}.xml", (150, 225), [("n02000000", (0, 0, 149, 20))])
    return folder


def made_fashion(folder: Path, *, gz: bool = True) -> Path:
    inside = folder / "FashionMNIST" / "raw"
    inside.mkdir(parents=True)
    images = np.random.default_rng(0).integers(0, 256, (3, 28, 28), dtype=np.uint8)
    for name, content in ((fashion_mnist.IMAGES, struct.pack(">4B3I", 0, 0, 8, 3, 3, 28, 28) + images.tobytes()),
                          (fashion_mnist.LABELS, struct.pack(">4BI3B", 0, 0, 8, 1, 3, 9, 0, 4))):
        (inside / (name + ".gz" * gz)).write_bytes(gzip.compress(content) if gz else content)
    return folder


MADE = {"voc": made_voc, "coco": made_coco, "imagenet-val-boxes": made_imagenet, "fashion-mnist": made_fashion}


def opened(folder: Path, id: str, names: tuple[str, ...] = (), size: tuple[int, int] = SIZE) -> Any:
    return datasets.opened(Path(f"{id}:{folder}"), size, names)


# ------------------------------------------------------------------------------------------------------------ geometry


def test_boxes_go_where_the_masks_pixels_go() -> None:
    whole = np.zeros((30, 60), dtype=bool)
    whole[10:20, 20:50] = True
    fit = cover(60, 30, (60, 60))  # twice the size, then the middle half of the width
    assert (fit.across, fit.down, fit.place) == (120, 60, (30, 0))
    mask = fit.mask(whole)
    boxes = fit.boxes([(20, 10, 50, 20), (0, 0, 15, 30), (14, 0, 16, 1)], 60, 30)
    assert boxes.tolist() == [[10, 20, 60, 40], [0, 0, 2, 2]]  # clipped; the one that the crop takes away is gone
    assert boxes.dtype == torch.int64
    ys, xs = torch.where(mask)
    assert [int(xs.min()), int(ys.min()), int(xs.max()) + 1, int(ys.max()) + 1] == boxes[0].tolist()


def test_a_box_is_relative_to_the_size_that_is_given_and_goes_to_the_nearest_edge() -> None:
    assert Fit(10, 10, (10, 10)).boxes([(12, 13, 47, 48)], 100, 100).tolist() == [[1, 1, 5, 5]]
    assert Fit(10, 10, (10, 10)).boxes([], 100, 100).shape == (0, 4)


def test_a_polygon_holds_the_pixels_whose_centre_lies_in_it() -> None:
    square = coco.polygon_mask(np.array([[2, 1], [6, 1], [6, 4], [2, 4]], dtype=float), 8, 8)
    expected = np.zeros((8, 8), dtype=bool)
    expected[1:4, 2:6] = True
    assert np.array_equal(square, expected)
    corners = np.array([[0.3, 0.2], [7.9, 3.2], [3.3, 7.7], [4.1, 3.9]])
    found = coco.polygon_mask(corners, 8, 8)
    for y in range(8):
        for x in range(8):
            assert found[y, x] == within(x + 0.5, y + 0.5, corners.tolist()), (x, y)
    outside = coco.polygon_mask(np.array([[-5, -5], [20, -5], [20, 20], [-5, 20]], dtype=float), 8, 8)
    assert outside.all()


def within(x: float, y: float, corners: list[list[float]]) -> bool:
    """By the number of edges that a ray to the right crosses."""
    crossings = 0
    for (x0, y0), (x1, y1) in zip(corners, corners[1:] + corners[:1], strict=True):
        if (y0 > y) != (y1 > y) and x < x0 + (y - y0) / (y1 - y0) * (x1 - x0):
            crossings += 1
    return crossings % 2 == 1


# ------------------------------------------------------------------------------------------------------------ registry


@pytest.mark.parametrize("id", [*COPIES, "imagenet-val-list"])
def test_the_document_and_the_source_agree(id: str) -> None:
    document, source = vxp_schemas.registry_document("datasets", id), datasets.source(id)
    assert (document["id"], document["version"], document["status"]) == (source.id, source.version, "template")
    assert tuple(document["truth"]) == source.truth


@pytest.mark.parametrize("id", COPIES)
def test_items_load_and_their_recipes_are_json(tmp_path: Path, id: str) -> None:
    items, source = opened(MADE[id](tmp_path), id)
    assert [item.id for item in items] == sorted({item.id for item in items}, key=str.encode)
    for item in items:
        assert json.loads(json.dumps(dict(item.recipe))) == item.recipe
        assert re.fullmatch(r"[A-Za-z0-9._/-]{1,128}", item.id)
        sample = source.load(item)
        assert (sample.image.dtype, sample.image.shape) == (torch.uint8, (3, *SIZE))
        assert tuple(sample.truth) == source.truth
        if "mask" in sample.truth:
            assert (sample.truth["mask"].dtype, sample.truth["mask"].shape) == (torch.bool, SIZE)


@pytest.mark.parametrize("id", ["voc", "coco", "fashion-mnist"])
def test_a_card_draws_its_items_by_hash(tmp_path: Path, id: str) -> None:
    source = datasets.at(datasets.source(id), MADE[id](tmp_path))
    card = {"id": "some", "version": 1, "input_size": [224, 224], "budget": {"items": 1}}
    (item,) = datasets.own_items(card, source)
    assert source.load(item).image.shape == (3, 224, 224)
    every = [i.id for i in opened(tmp_path, id)[0]]
    assert item.id == min(every, key=lambda name: hashlib.sha256(f"some@1/{name}".encode()).hexdigest())
    with pytest.raises(VxpError, match="some@1 has 9 items"):
        datasets.own_items(card | {"budget": {"items": 9}}, source)


def test_a_card_on_imagenet_with_boxes_draws_the_images_of_imagenet_val(tmp_path: Path) -> None:
    (name,) = imagenet_val.drawn("some@1", 1)
    picture(tmp_path / name, (300, 300))
    xml(tmp_path / "val" / f"{Path(name).stem}.xml", (300, 300), [("n01440764", (0, 0, 149, 299))])
    source = datasets.at(datasets.source("imagenet-val-boxes"), tmp_path)
    (item,) = datasets.own_items({"id": "some", "version": 1, "budget": {"items": 1}}, source)
    assert (item.id, source.load(item).truth["boxes"].tolist()) == (name, [[0, 0, 112, 224]])


@pytest.mark.parametrize("id", COPIES)
def test_an_empty_folder_is_told_what_belongs_into_it(tmp_path: Path, id: str) -> None:
    with pytest.raises(VxpError, match=rf"{id}:.*expected .*"):
        opened(tmp_path, id)
    assert datasets.at(datasets.source(id), tmp_path).missing()


def test_an_unknown_data_set_or_a_folder_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(VxpError, match="'vocs'; did you mean 'voc'"):
        opened(tmp_path, "vocs")
    with pytest.raises(VxpError, match="no data set of one's own copy is called 'photos'"):
        opened(tmp_path, "photos")
    with pytest.raises(VxpError, match="no folder"):
        opened(tmp_path / "none", "voc")


# ----------------------------------------------------------------------------------------------------------------- VOC


def test_of_a_voc_image_the_class_that_covers_most_is_the_truth(tmp_path: Path) -> None:
    items, source = opened(made_voc(tmp_path), "voc")
    (item,) = items  # b shows no class
    assert (item.id, item.cluster, item.target, item.label) == ("a/cat", "a", None, ())
    sample = source.load(item)
    expected = np.zeros(SIZE, dtype=bool)
    expected[4:20, 0:14] = True  # columns 16 to 47 of 64; void is not truth
    assert np.array_equal(sample.truth["mask"].numpy(), expected)
    assert sample.truth["boxes"].tolist() == [[0, 4, 4, 20], [4, 4, 16, 20]]
    root = tmp_path / "VOCdevkit" / "VOC2012"
    by_hand = np.asarray(Image.open(root / "JPEGImages" / "a.jpg").convert("RGB"))[:, 16:48]
    assert np.array_equal(sample.image.permute(1, 2, 0).numpy(), by_hand)
    assert opened(root, "voc")[0][0].recipe == item.recipe


def test_a_model_that_names_all_classes_of_voc_explains_each(tmp_path: Path) -> None:
    names = ("background", *voc.CLASSES)
    items, source = opened(made_voc(tmp_path), "voc", names)
    assert [(i.id, i.cluster, i.target, i.label) for i in items] == [("a/cat", "a", 8, (8,)), ("a/dog", "a", 12, (12,))]
    # the crop takes the dog away: its truth is empty
    dog = source.load(items[1])
    assert not dog.truth["mask"].any()
    assert dog.truth["boxes"].shape == (0, 4)


def test_a_label_is_known_where_the_model_names_the_class(tmp_path: Path) -> None:
    items, _ = opened(made_voc(tmp_path), "voc", ("sofa", "cat"))
    assert [(i.target, i.label) for i in items] == [(None, (1,))]


def test_without_a_list_the_images_of_voc_are_those_with_a_mask(tmp_path: Path) -> None:
    made_voc(tmp_path)
    (tmp_path / "VOCdevkit" / "VOC2012" / "ImageSets" / "Segmentation" / "val.txt").unlink()
    assert [item.id for item in opened(tmp_path, "voc")[0]] == ["a/cat"]


def test_bad_files_of_voc_are_named(tmp_path: Path) -> None:
    root = made_voc(tmp_path) / "VOCdevkit" / "VOC2012"
    (root / "Annotations" / "a.xml").write_text("<annotation><size/></annotation>")
    with pytest.raises(VxpError, match=r"a\.xml: no size/width in <annotation>"):
        opened(tmp_path, "voc")
    (root / "Annotations" / "a.xml").write_text("<annotation>")
    with pytest.raises(VxpError, match=r"a\.xml: no element found"):
        opened(tmp_path, "voc")
    Image.fromarray(np.zeros((8, 8), dtype=np.uint8)).save(root / "SegmentationClass" / "a.png")
    with pytest.raises(VxpError, match=r"a\.png: 8 x 8 pixels, expected 64 x 32"):
        opened(tmp_path, "voc")
    picture(root / "SegmentationClass" / "a.png", (64, 32))
    with pytest.raises(VxpError, match=r"a\.png: pixels of Pillow's mode 'RGB'"):
        opened(tmp_path, "voc")


# ---------------------------------------------------------------------------------------------------------------- COCO


def test_of_a_coco_image_the_category_of_the_largest_area_is_the_truth(tmp_path: Path) -> None:
    items, source = opened(made_coco(tmp_path), "coco")
    assert [(i.id, i.cluster, i.target, i.label) for i in items] == [("000001/dining-table", "000001", None, ())]
    triangle = coco.polygon_mask(np.array([[40, 10], [60, 10], [60, 30]], dtype=float), 32, 64)[:, 16:48]
    assert np.array_equal(source.load(items[0]).truth["mask"].numpy(), triangle)
    assert source.load(items[0]).truth["boxes"].tolist() == [[24, 10, 32, 30]]


def test_a_model_that_names_all_categories_explains_each_and_crowds_have_no_box(tmp_path: Path) -> None:
    items, source = opened(made_coco(tmp_path), "coco", ("bus", "dining table"))
    assert [(i.id, i.target) for i in items] == [("000001/bus", 0), ("000001/dining-table", 1)]
    expected = np.zeros((32, 64), dtype=bool)
    expected[8:16, 20:30] = expected[0:4, 30:40] = True
    bus = source.load(items[0])
    assert np.array_equal(bus.truth["mask"].numpy(), expected[:, 16:48])
    assert bus.truth["boxes"].tolist() == [[4, 8, 14, 16]]


def test_a_change_of_the_annotations_changes_the_recipe(tmp_path: Path) -> None:
    before = opened(made_coco(tmp_path), "coco")[0][0].recipe
    path = tmp_path / "annotations" / "instances_val2017.json"
    path.write_text(path.read_text().replace("60, 30]", "60, 29]"))
    after = opened(tmp_path, "coco")[0][0].recipe
    assert before["sha256"] == after["sha256"]
    assert before["truth_sha256"] != after["truth_sha256"]


def test_of_several_splits_of_coco_the_validation_split_is_read(tmp_path: Path) -> None:
    made_coco(tmp_path)
    path = tmp_path / "annotations" / "instances_val2017.json"
    (path.parent / "instances_train2017.json").write_text("not read")
    assert len(opened(tmp_path, "coco")[0]) == 1
    path.rename(path.parent / "instances_test2017.json")
    with pytest.raises(VxpError, match="2 files annotations/instances_"):
        opened(tmp_path, "coco")


def test_bad_annotations_of_coco_are_named(tmp_path: Path) -> None:
    made_coco(tmp_path, categories=[{"id": 6, "name": "bus"}])
    with pytest.raises(VxpError, match=r"instances_val2017\.json: KeyError 67"):
        opened(tmp_path, "coco")
    made_coco(tmp_path, images=[{"id": 1, "file_name": "000001.jpg", "width": 60, "height": 32}])
    with pytest.raises(VxpError, match=r"000001\.jpg: \(64, 32\) pixels, expected \(60, 32\)"):
        opened(tmp_path, "coco")
    with pytest.raises(VxpError, match="compressed"):
        coco.mask_of({"size": [2, 2], "counts": "12"}, 2, 2, "x")
    with pytest.raises(VxpError, match="run lengths of 3 pixels"):
        coco.mask_of({"size": [2, 2], "counts": [1, 2]}, 2, 2, "x")


# ------------------------------------------------------------------------------------------------------------ ImageNet


def test_boxes_of_imagenet_go_through_resize_and_crop(tmp_path: Path) -> None:
    items, source = opened(made_imagenet(tmp_path), "imagenet-val-boxes", size=(224, 224))
    assert [item.id for item in items] == ["ILSVRC2012_val_00000003.JPEG", "ILSVRC2012_val_00000007.JPEG"]
    tall, wide = (source.load(item) for item in items)
    # 500 x 375 becomes 341 x 256, of which the columns from 58 (half of 117, to even) and the rows from 16 are left;
    # pixels 0..99 are [0, 100)
    across, down = 341 / 500, 256 / 375
    first = [0, 0, round(100 * across) - 58, 224]
    second = [round(200 * across) - 58, round(100 * down) - 16, round(300 * across) - 58, round(200 * down) - 16]
    assert wide.truth["boxes"].tolist() == [first, second]
    mask = np.zeros((224, 224), dtype=bool)
    for x0, y0, x1, y1 in (first, second):
        mask[y0:y1, x0:x1] = True
    assert np.array_equal(wide.truth["mask"].numpy(), mask)
    # the file gives another size than the image has: 256 x 384 of 150 x 225, rows from 80 on
    assert tall.truth["boxes"].shape == (0, 4)
    assert not tall.truth["mask"].any()
    same = Compose([Resize(256), CenterCrop(224)])
    expected = np.asarray(same(Image.open(tmp_path / items[1].id).convert("RGB")))
    assert np.array_equal(wide.image.permute(1, 2, 0).numpy(), expected)


def test_all_validation_images_of_a_folder_are_opened_at_the_models_size(tmp_path: Path) -> None:
    items, source = opened(made_imagenet(tmp_path), "imagenet-val", size=(56, 56))
    assert [item.recipe["size"] for item in items] == [[56, 56], [56, 56]]
    same = Compose([Resize(64), CenterCrop(56)])
    for item in items:
        expected = np.asarray(same(Image.open(tmp_path / item.id).convert("RGB")))
        assert np.array_equal(source.load(item).image.permute(1, 2, 0).numpy(), expected)
    with pytest.raises(VxpError, match="56 x 60 pixels: expected a model of a square input"):
        imagenet_val.fit(500, 375, (56, 60))


def test_images_and_boxes_lie_as_the_archive_of_the_localisation_task_unpacks(tmp_path: Path) -> None:
    plain = made_imagenet(tmp_path / "plain")
    for place, pattern in (("Data", "*.JPEG"), ("Annotations", "val/*.xml")):
        inside = tmp_path / "kaggle" / "ILSVRC" / place / "CLS-LOC" / "val"
        inside.mkdir(parents=True)
        for path in plain.glob(pattern):
            path.rename(inside / path.name)
    assert len(opened(tmp_path / "kaggle", "imagenet-val-boxes")[0]) == 2
    next((tmp_path / "kaggle").rglob("*_00000007.xml")).unlink()
    with pytest.raises(VxpError, match=r"00000007\.xml: no such file"):
        opened(tmp_path / "kaggle", "imagenet-val-boxes")


def listed(folder: Path, text: str) -> datasets.Source:
    folder.mkdir(exist_ok=True)
    (folder / "Evaluation_2000.txt").write_text(text)
    return datasets.at(datasets.source("imagenet-val-list"), made_imagenet(folder))


CARD: Mapping[str, Any] = {"id": "mine", "version": 1, "budget": {"items": 2}}


def test_a_list_gives_the_images_in_order_of_name_with_its_labels(tmp_path: Path) -> None:
    source = listed(tmp_path, "ILSVRC2012_val_00000007.JPEG 248 \n\nILSVRC2012_val_00000003.JPEG\n")
    assert source.missing() is None
    items = datasets.own_items(CARD, source)
    assert [(i.id, i.target, i.label) for i in items] == [("ILSVRC2012_val_00000003.JPEG", None, ()),
                                                          ("ILSVRC2012_val_00000007.JPEG", None, (248,))]
    assert source.load(items[0]).image.shape == (3, 224, 224)


@pytest.mark.parametrize(("text", "why"), [
    ("ILSVRC2012_val_00000007.JPEG 248\nval_3.JPEG 1\n", "line 2: got 'val_3.JPEG 1'"),
    ("ILSVRC2012_val_00000007.JPEG\nILSVRC2012_val_00000007.JPEG\n", "line 2: .* is there twice"),
    ("ILSVRC2012_val_00000007.JPEG\n", "1 images, expected 2 as the card of mine@1 says"),
    ("ILSVRC2012_val_00000007.JPEG\nILSVRC2012_val_00000008.JPEG\n", "1 of the 2 images of mine@1 .* 00000008"),
])
def test_bad_lists_are_named(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(VxpError, match=why.replace(" 00000008", " ILSVRC2012_val_00000008")):
        datasets.own_items(CARD, listed(tmp_path, text))


def test_the_list_may_lie_elsewhere_and_the_published_one_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = listed(tmp_path / "data", "ILSVRC2012_val_00000007.JPEG\nILSVRC2012_val_00000003.JPEG\n")
    (tmp_path / "data" / "Evaluation_2000.txt").rename(tmp_path / "elsewhere.txt")
    assert "Evaluation_2000.txt: no such file" in (source.missing() or "")
    monkeypatch.setenv("VXP_IMAGENET_LIST", str(tmp_path / "elsewhere.txt"))
    assert len(datasets.own_items(CARD, source)) == 2
    with pytest.raises(VxpError, match=r"expected sha256:4fcd068a.*, the list of imagenet-val-lcam@1"):
        datasets.own_items({**CARD, "id": "imagenet-val-lcam"}, source)


# ------------------------------------------------------------------------------------------------------- Fashion-MNIST


@pytest.mark.parametrize("gz", [True, False])
def test_fashion_mnist_is_grey_at_the_models_size(tmp_path: Path, gz: bool) -> None:
    items, source = opened(made_fashion(tmp_path, gz=gz), "fashion-mnist", size=(28, 28))
    assert [(i.id, i.target, i.label) for i in items] == [("t10k/00000", None, (9,)), ("t10k/00001", None, (0,)),
                                                          ("t10k/00002", None, (4,))]
    images = np.random.default_rng(0).integers(0, 256, (3, 28, 28), dtype=np.uint8)
    for item, image in zip(items, images, strict=True):
        assert np.array_equal(source.load(item).image.numpy(), np.stack([image] * 3))
    larger, source = opened(tmp_path / "FashionMNIST" / "raw", "fashion-mnist", size=(56, 56))
    expected = np.asarray(Image.fromarray(images[0]).convert("RGB").resize((56, 56), Image.Resampling.BILINEAR))
    assert np.array_equal(source.load(larger[0]).image.permute(1, 2, 0).numpy(), expected)


def test_bad_idx_files_are_named(tmp_path: Path) -> None:
    path = made_fashion(tmp_path, gz=False) / "FashionMNIST" / "raw" / fashion_mnist.IMAGES
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    fashion_mnist._array.cache_clear()
    with pytest.raises(VxpError, match=r"holds 2351 values for the shape \[3, 28, 28\]"):
        opened(tmp_path, "fashion-mnist")
    path.rename(path.with_suffix(".gz"))
    fashion_mnist._array.cache_clear()
    with pytest.raises(VxpError, match="cannot be read"):
        opened(tmp_path, "fashion-mnist")


# ------------------------------------------------------------------------------------------------------------ manifest


NAMES = ("cat", "dog")


def made_manifest(folder: Path, text: str) -> Path:
    picture(folder / "photos" / "a one.png", (64, 32))
    picture(folder / "photos" / "b.png", (32, 32), 1)
    mask = np.zeros((32, 64), dtype=np.uint8)
    mask[:, 40:] = 255
    Image.fromarray(mask).save(folder / "a-mask.png")
    (folder / "set.csv").write_text(text)
    return folder / "set.csv"


FULL = "path,label,target,mask,cluster,id\nphotos/b.png,,,,p1,\nphotos/a one.png,dog,0,a-mask.png,p1,first\n"


def test_a_manifest_gives_items_with_targets_masks_and_clusters(tmp_path: Path) -> None:
    path = made_manifest(tmp_path, FULL)
    items, source = datasets.opened(path, SIZE, NAMES)
    assert [(i.id, i.cluster, i.target, i.label) for i in items] == [("first", "p1", 0, (1,)), ("photos/b.png", "p1", None, ())]
    assert items[0].recipe == {
        "file": "photos/a one.png", "sha256": vxp_schemas.file_digest(tmp_path / "photos" / "a one.png"),
        "mask": "a-mask.png", "mask_sha256": vxp_schemas.file_digest(tmp_path / "a-mask.png")}
    assert source.truth == ("mask",)
    sample = source.load(items[0])
    expected = np.zeros(SIZE, dtype=bool)
    expected[:, 24:] = True
    assert np.array_equal(sample.truth["mask"].numpy(), expected)
    assert np.array_equal(sample.image.permute(1, 2, 0).numpy(),
                          np.asarray(Image.open(tmp_path / "photos" / "a one.png"))[:, 16:48])
    assert not source.load(items[1]).truth["mask"].any()


def test_parquet_says_the_same_as_csv(tmp_path: Path) -> None:
    path = made_manifest(tmp_path, FULL)
    pq.write_table(pa.table({
        "path": ["photos/b.png", "photos/a one.png"], "label": pa.array([None, 1.0]), "target": pa.array([None, 0]),
        "mask": [None, "a-mask.png"], "cluster": ["p1", "p1"], "id": ["", "first"]}), tmp_path / "set.parquet")
    assert datasets.opened(tmp_path / "set.parquet", SIZE, NAMES)[0] == datasets.opened(path, SIZE, NAMES)[0]


def test_a_manifest_of_paths_alone_is_enough(tmp_path: Path) -> None:
    items, source = datasets.opened(made_manifest(tmp_path, "path\nphotos/b.png\nphotos/a one.png\n"), SIZE, ())
    assert [(i.id, i.cluster) for i in items] == [("photos/a-one.png", "photos/a-one.png"), ("photos/b.png", "photos/b.png")]
    assert source.truth == ()


@pytest.mark.parametrize(("text", "why"), [
    ("path,masks\nphotos/b.png,\n", r"set\.csv: the column 'masks' is unknown; did you mean 'mask'\?"),
    ("label\n0\n", r"set\.csv: the columns are label, expected path"),
    ("path\n", r"set\.csv: no row in it"),
    ("path,label\nphotos/b.png\n", r"set\.csv, line 2: 1 values, expected 2"),
    ("path,label\n,1\n", r"set\.csv, line 2: no path"),
    ("path\nphotos/b.png\nphotos/c.png\n", r"set\.csv, line 3: .*photos/c\.png: no such file"),
    ("path\nphotos/b.png\n\nphotos/b.png\n", r"set\.csv, line 4: the id 'photos/b\.png' is there twice"),
    ("path,label\nphotos/b.png,dof\n", r"set\.csv, line 2: the label 'dof'; did you mean 'dog'\?, expected 0 to 1 or a class"),
    ("path,target\nphotos/b.png,2\n", r"set\.csv, line 2: the target '2', expected 0 to 1"),
    ("path,mask\nphotos/b.png,a-mask.png\n", r"set\.csv, line 2: .*a-mask\.png: 64 x 32 pixels, expected 32 x 32"),
    ("path,id\nphotos/b.png,ä\n", r"set\.csv, line 2: the id 'ä'"),
    ('path\n"photos/b.png', r"set\.csv: .*expected a CSV file"),
])
def test_faults_of_a_manifest_name_file_and_line(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(VxpError, match=why):
        datasets.opened(made_manifest(tmp_path, text), SIZE, NAMES)


def test_files_that_are_no_manifest_are_named(tmp_path: Path) -> None:
    for name in ("none.csv", "none.parquet"):
        with pytest.raises(VxpError, match=f"{name}: no such file"):
            datasets.opened(tmp_path / name, SIZE, ())
    (tmp_path / "text.parquet").write_text("text")
    with pytest.raises(VxpError, match=r"text\.parquet: .*expected a Parquet file"):
        datasets.opened(tmp_path / "text.parquet", SIZE, ())


# ----------------------------------------------------------------------------------------------------------- open task


def tiny(names: tuple[str, ...] = ()) -> models.Model:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(),
                           nn.Linear(16, len(names) or 10)).eval()
    normalization = models.loading.SHAPES
    document = models.described(module,
                                models.Card(id="own-tiny", title="tiny", license="not stated", symbol="tiny",
                                            status="unregistered"),
                                models.Takes(SIZE, normalization, len(names) or 10))
    return models.Model("own-tiny", module, normalization, SIZE, names, document)


@pytest.mark.parametrize("id", COPIES)
def test_a_copy_runs_as_an_open_task(tmp_path: Path, id: str) -> None:
    names = voc.CLASSES if id == "voc" else ()
    model = tiny(names)
    task = tasks.opened(Path(f"{id}:{MADE[id](tmp_path / 'data')}"), model)
    assert (task.id, task.dataset["id"]) == (f"open-{id}", f"own-{id}")
    assert task.document["targets"] == ("list" if id == "voc" else "predicted")
    assert ("max-box-acc-v2" in task.metrics) == (id != "fashion-mnist")
    localisation = ["energy-pointing-game", "max-box-acc-v2|thresholds:10"] if task.truth else []
    written = run.run(Context.of(task, model, tmp_path / "out", Settings(batch_size=4), ["gini", *localisation]),
                      [bind("saliency")])
    results = {d["explainer"]["id"]: d for d in (vxp_schemas.loads(path.read_bytes()) for path in written)}
    assert ("oracle" in results) == bool(task.truth)
    for document in results.values():
        vxp_schemas.validate(document)
        assert division.words(document) == "open: own images"
    if id == "voc":  # one item of two has its truth in the crop, and the truth itself is found there
        energy = results["oracle"]["scores"][1]
        assert energy["statuses"] == {"ok": 1, "undefined:empty-truth": 1}
        assert energy["mean"] == 1
        by_saliency = results["saliency"]["scores"]
        assert [score["statuses"] for score in by_saliency[:2]] == [{"ok": 2}, {"ok": 1, "undefined:empty-truth": 1}]


def test_boxes_of_items_are_padded_with_boxes_without_area(tmp_path: Path) -> None:
    model = tiny(voc.CLASSES)
    task = tasks.opened(Path(f"voc:{made_voc(tmp_path)}"), model)
    boxes = task.load(0, 2, model).truth["boxes"]
    assert boxes.tolist() == [[[0, 4, 4, 20], [4, 4, 16, 20]], [[0] * 4, [0] * 4]]


def test_a_target_that_is_not_known_is_none_and_never_a_number(tmp_path: Path) -> None:
    for i, name in enumerate("ab"):
        picture(tmp_path / "set" / f"{name}.png", SIZE, i)
    model = tiny(NAMES)
    task = tasks.opened(tmp_path / "set", model)
    loaded = task.load(0, 2, model)
    assert loaded.frozen == (None, None)
    with pytest.raises(VxpError, match=r"got no target for a\.png, b\.png, expected one for every item"):
        task.batch(0, 2, model)
    some = dataclasses.replace(task, items=(task.items[0], dataclasses.replace(task.items[1], target=0)))
    with pytest.raises(VxpError, match=r"got no target for a\.png, expected"):
        some.batch(0, 2, model)
    targets = some.load(0, 2, model).targets(torch.tensor([2, 1]))
    assert (targets.tolist(), targets.dtype) == ([2, 0], torch.int64)
    every = dataclasses.replace(some, items=some.items[1:] * 2).batch(0, 2, model)
    assert every.targets.tolist() == [0, 0]
    batch = loaded.batch(targets)
    assert batch.targets.tolist() == [2, 0]
    assert torch.equal(batch.inputs, loaded.inputs)
    assert (batch.ids, batch.clusters) == (("a.png", "b.png"), ("a.png", "b.png"))


def test_clusters_of_a_manifest_are_what_the_statistics_resample(tmp_path: Path) -> None:
    task = tasks.opened(made_manifest(tmp_path, FULL), tiny(NAMES))
    assert (task.id, task.dataset["id"], task.cluster_key) == ("open-set-csv", "manifest-set-csv", "cluster")
    assert task.document["targets"] == "list"
    assert task.document["title"] == "The images of the manifest set.csv"


# ---------------------------------------------------------------------------------------------------------- the how-to

PAGE = Path(__file__).resolve().parents[1] / "docs" / "howto" / "own-data.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(), re.M | re.S)


def lines() -> list[str]:
    return [line for block in blocks("sh") for line in block.splitlines() if "--images" in line]


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what the page's commands name."""
    picture(tmp_path / "my-photos" / "one.png", (40, 30))
    made_voc(tmp_path)
    for name, make in (("COCO", made_coco), ("ILSVRC", made_imagenet), ("FASHION", made_fashion)):
        (tmp_path / name).mkdir()
        make(tmp_path / name)
    (manifest,) = blocks("csv")
    (tmp_path / "study.csv").write_text(manifest.replace("malignant", "7").replace("benign", "3"))
    for i, row in enumerate(manifest.splitlines()[1:]):
        values = row.split(",")
        picture(tmp_path / values[0], (40, 30), i)
        if values[3]:
            picture(tmp_path / values[3], (40, 30), i)
    shutil.copy(Path(__file__).parent / "howto" / "model.py", tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("line", lines())
def test_the_commands_of_the_page_run(desk: Path, line: str) -> None:
    words = shlex.split(line)[1:]
    app([*words, "--metrics", "gini", "--limit", "1", "--batch-size", "2", "--threads", "1", "--device", "cpu"],
        standalone_mode=False)
    (path,) = (desk / words[-1]).glob("results/*-grad-cam-*/result.json")
    document = vxp_schemas.loads(path.read_bytes())
    assert document["division"] == "open"
    # the factory's weights are random, so a map may be zero
    assert document["scores"][0]["statuses"] in ({"ok": 1}, {"undefined:zero-map": 1})


def test_the_manifest_of_the_page_is_read(desk: Path) -> None:
    (manifest,) = blocks("csv")
    (desk / "study.csv").write_text(manifest)
    items, source = datasets.opened(Path("study.csv"), SIZE, ("benign", "malignant"))
    assert [(i.id, i.cluster, i.target, i.label) for i in items] == [
        ("p2", "patient-2", 1, (1,)), ("scans/p1-left.png", "patient-1", None, (0,)),
        ("scans/p1-right.png", "patient-1", None, (1,))]
    assert source.truth == ("mask",)


def test_the_page_names_every_copy_and_column() -> None:
    text = PAGE.read_text()
    readable = [name for name, source in datasets.sources().items() if source.listed is not None]
    assert sorted(readable) == sorted([*COPIES, "imagenet-val"])
    assert all(f"| `{name}` |" in text for name in [*readable, *COLUMNS])
