"""Data sets: items are made again to the pixel, truth is exact, and bad data is named."""

import hashlib
import io
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import vxp_schemas
from PIL import Image
from torchvision.transforms import CenterCrop, Compose, Resize
from vxp import datasets
from vxp.core import VxpError, doors
from vxp.datasets import Item, _images, imagenet_val, mosaic_photos, photos, stamps
from vxp.kinds import decoded
from vxp.maintain import freeze, registry

needs_photos = pytest.mark.skipif(bool(photos.PHOTOS_SOURCE.missing()), reason="needs the photos of vxp[demo]")
needs_stamps = pytest.mark.skipif(bool(stamps.missing()), reason="needs the stamps: vxp data get stamps")
CARDS = vxp_schemas.registry("tasks").values()


def source_of(task: str) -> datasets.Source:
    return datasets.source(vxp_schemas.registry_document("tasks", task)["dataset"]["id"])


FROZEN = [pytest.param(id, marks=pytest.mark.skipif(bool(absent), reason=str(absent)))
          for id, absent in ((c["id"], source_of(c["id"]).missing()) for c in CARDS if "items" in c)]
"""The tasks whose items are listed, each where its data is on this machine."""
DOCUMENTED = [id for id, found in datasets.sources().items()
              if f"{id}@{found.version}" in vxp_schemas.registry("datasets")]


def rows(task: str) -> list[dict[str, Any]]:
    card = vxp_schemas.registry_document("tasks", task)
    loaded: list[dict[str, Any]] = json.loads(vxp_schemas.registry_bytes(card["items"]["path"]))
    return loaded


def items(task: str) -> list[Item]:
    return [Item(r["item_id"], r["cluster"], r["recipe"], r["target"], tuple(r["label"])) for r in rows(task)]


def picture(folder: Path, name: str, size: tuple[int, int] = (30, 20), seed: int = 0, **options: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / name, **options)
    return folder / name


# ----------------------------------------------------------------------------------------------------------- catalogue


def test_sources_are_found_by_scan() -> None:
    found = datasets.sources()
    assert {"photos", "mosaic-photos", "stamps", "imagenet-val"} <= set(found)
    assert all(id == source.id for id, source in found.items())
    assert datasets.source("photos@2") is found["photos"]


@pytest.mark.parametrize("name", ["photo", "photos@1"])
def test_an_unknown_data_set_is_named_with_the_nearest(name: str) -> None:
    with pytest.raises(VxpError, match="photos"):
        datasets.source(name)


def test_a_folder_for_a_data_set_that_reads_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VxpError, match="leave --data out"):
        datasets.at(datasets.source("photos"), tmp_path)
    with pytest.raises(VxpError, match=re.escape(f"no folder {tmp_path / 'none'}")):
        datasets.at(datasets.source("stamps"), tmp_path / "none")


def test_a_data_set_without_a_rule_of_its_own_needs_a_list() -> None:
    with pytest.raises(VxpError, match="expected `items`"):
        datasets.own_items({"id": "photos"}, datasets.source("photos"))


def test_every_data_set_of_a_card_has_a_document() -> None:
    assert {card["dataset"]["id"] for card in CARDS} <= set(DOCUMENTED)


@pytest.mark.parametrize("id", DOCUMENTED)
def test_the_document_and_the_source_agree(id: str) -> None:
    document, source = vxp_schemas.registry_document("datasets", id), datasets.source(id)
    assert (document["id"], document["version"]) == (source.id, source.version)
    assert tuple(document["truth"]) == source.truth
    assert not source.access or document == registry.dataset_document(source), "run `python -m vxp.maintain.registry datasets`"


def test_a_document_follows_its_declaration_and_keeps_the_files_that_it_names() -> None:
    stored = vxp_schemas.registry_document("datasets", "photos")
    made = registry.dataset_document(replace(datasets.source("photos"), access="packages", cluster="photo", licence="CC0-1.0"))
    assert (made["license"], made["title"], made["cluster_key"]) == ("CC0-1.0", datasets.source("photos").about, "photo")
    assert {key: made[key] for key in ("files", "packages", "decoder", "about")} == {
        key: stored[key] for key in ("files", "packages", "decoder", "about")}
    assert set(made) == set(stored)


# -------------------------------------------------------------------------------------------------------- frozen lists


@pytest.mark.parametrize("task", FROZEN)
def test_every_frozen_item_is_made_again_to_the_pixel(task: str) -> None:
    card, source = vxp_schemas.registry_document("tasks", task), source_of(task)
    for row, item in zip(rows(task), items(task), strict=True):
        sample = source.load(item)
        pixels = sample.image.movedim(0, -1).contiguous().numpy()
        assert hashlib.sha256(pixels.tobytes()).hexdigest() == row["pixel_sha256"], item.id
        assert sample.image.dtype == torch.uint8
        if sample.timeline is None or len(card["input_size"]) == 3:  # else the model is given features of the frames
            assert list(sample.image.shape) == [3, *card["input_size"]]
        assert set(card["truth"]) <= set(sample.truth)
        for key in card["truth"]:
            truth = sample.truth[key]
            assert key == "present" or truth.any()
            if key in doors.RENDERED:
                assert truth.dtype == torch.uint8
                assert list(truth.shape[-3:]) == [3, *card["input_size"]]
            elif key == "texts":
                assert decoded(truth).text
            else:
                assert truth.dtype == torch.bool
                expected = [len(card["concepts"])] if key == "present" else card["input_size"]
                assert list(truth.shape[-len(expected):]) == expected


@pytest.mark.parametrize("task", ["photos", "mosaic-photos", "stamps"])
def test_lists_are_in_canonical_order_and_the_target_is_right(task: str) -> None:
    listed = rows(task)
    ids = [row["item_id"] for row in listed]
    assert ids == sorted(set(ids), key=str.encode)
    assert all(row["target"] in row["label"] for row in listed)
    shares = set(Counter(row["cluster"] for row in listed).values())
    assert shares == ({1} if task == "stamps" else {4})


def test_stamps_are_sixty_clusters_and_photos_six() -> None:
    assert len({row["cluster"] for row in rows("stamps")}) == 60
    assert len({row["cluster"] for row in rows("photos")}) == 6


@pytest.mark.parametrize("task", ["photos", "mosaic-photos", "stamps"])
def test_frozen_items_are_candidates_of_the_seed(task: str) -> None:
    card = vxp_schemas.registry_document("tasks", task)
    candidates = {item.id: item for item in islice(datasets.source(task).propose(card["seed"]), 200)}
    for item in items(task):
        assert dict(candidates[item.id].recipe) == item.recipe
        assert candidates[item.id].label == item.label


@pytest.mark.parametrize("task", ["photos", "mosaic-photos", "stamps"])
def test_candidates_depend_on_the_seed_and_on_no_global_generator(task: str) -> None:
    source = datasets.source(task)
    np.random.seed(1)
    torch.manual_seed(1)
    before = np.random.get_state()[1].copy(), torch.get_rng_state()
    one = list(islice(source.propose(5), 20))
    assert (np.random.get_state()[1] == before[0]).all()
    assert torch.equal(torch.get_rng_state(), before[1])
    torch.manual_seed(2)
    assert list(islice(source.propose(5), 20)) == one
    assert [i.recipe for i in islice(source.propose(6), 20)] != [i.recipe for i in one]


def philox(key: int) -> list[int]:
    """The first block of Philox4x64-10 (Salmon 2011) whose counter is 1, in plain integers."""
    k0, k1, low = key % 2**64, key >> 64, 2**64 - 1
    c0, c1, c2, c3 = 1, 0, 0, 0
    for _ in range(10):
        left, right = 0xD2E7470EE14C6C93 * c0, 0xCA5A826395121157 * c2
        c0, c1, c2, c3 = (right >> 64) ^ c1 ^ k0, right & low, (left >> 64) ^ c3 ^ k1, left & low
        k0, k1 = (k0 + 0x9E3779B97F4A7C15) & low, (k1 + 0xBB67AE8584CAA73B) & low
    return [c0, c1, c2, c3]


def test_candidates_are_drawn_by_philox_keyed_by_names() -> None:
    key = int.from_bytes(hashlib.sha256(b'[0,"a",1]').digest()[:16], "little")
    expected = [(word >> 11) / 2**53 for word in philox(key)]
    assert list(islice(_images.uniforms(0, "a", 1), 4)) == expected
    assert [_images.between(u, 2, 4) for u in (0.0, 0.34, 0.67, 0.999999)] == [2, 3, 4, 4]


@pytest.mark.parametrize("task", FROZEN)
def test_the_list_is_frozen_again_byte_for_byte(task: str) -> None:
    pytest.importorskip("efficientnet_lite_pytorch")
    told = io.StringIO()
    assert freeze.main([task, "--check"], told) == 0, told.getvalue()
    assert told.getvalue() == f"{task}: as stored\n"


# -------------------------------------------------------------------------------------------------------------- freeze


def proposals(seed: int) -> Iterator[Item]:
    for turn in range(4):
        for name in "ba":
            yield Item(f"{name}/{turn}", name, {"value": turn}, None, (1, 2))


def card(**changes: Any) -> dict[str, Any]:
    return {"id": "toy", "version": 1, "dataset": {"id": "toy"}, "targets": "predicted", "seed": 0,
            "budget": {"items": 2}} | changes


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> None:
    made = replace(datasets.source("photos"), id="toy", share=1, propose=proposals, missing=lambda: None,
                   load=lambda item: datasets.Sample(torch.full((3, 1, 1), item.recipe["value"], dtype=torch.uint8)))
    monkeypatch.setattr(datasets, "source", lambda name: made)


@pytest.mark.usefixtures("toy")
def test_freezing_keeps_the_first_right_candidates_of_each_cluster() -> None:
    frozen = freeze.frozen(card(), lambda image: torch.eye(9)[int(image[0, 0, 0])])
    assert [(r["item_id"], r["target"]) for r in frozen] == [("a/1", 1), ("b/1", 1)]
    assert frozen[0]["pixel_sha256"] == hashlib.sha256(bytes([1, 1, 1])).hexdigest()
    assert json.loads(freeze.listed(frozen)) == frozen


@pytest.mark.usefixtures("toy")
def test_freezing_says_how_many_it_found() -> None:
    with pytest.raises(VxpError, match="only 2 items among 60 candidates, expected 3"):
        freeze.frozen(card(budget={"items": 3}), lambda image: torch.eye(9)[int(image[0, 0, 0])])


# -------------------------------------------------------------------------------------------------------------- photos


@needs_photos
def test_a_crop_is_pillows_bilinear_of_the_box_then_the_flip() -> None:
    for item in items("photos")[::5]:
        photo = photos.PHOTOS[item.recipe["photo"]]
        left, top, side = item.recipe["box"]
        whole = Image.open(photos.located(photo.path)).convert("RGB")  # type: ignore[arg-type]
        assert whole.size == (photo.width, photo.height)
        cut = np.asarray(whole.crop((left, top, left + side, top + side)).resize((224, 224), Image.Resampling.BILINEAR))
        expected = cut[:, ::-1] if item.recipe["flip"] else cut
        assert np.array_equal(photos.load(item).image.permute(1, 2, 0).numpy(), expected)


@needs_photos
def test_a_photo_of_other_bytes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    path = photos.PHOTOS["chelsea"].path
    monkeypatch.setattr(_images, "digests", lambda dataset: {path: "sha256:" + "0" * 64})
    photos.photograph.cache_clear()
    with pytest.raises(VxpError, match=r"chelsea\.png: sha256:596aa1e7.*expected sha256:0000.*scikit-image"):
        photos.photograph(path, "photos")
    photos.photograph.cache_clear()


def test_absent_photos_are_named_with_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(photos, "package_folder", lambda module: None)
    said = photos.PHOTOS_SOURCE.missing() or ""
    assert "skimage/data/chelsea.png" in said
    assert "pip install scikit-image scikit-learn" in said
    photos.photograph.cache_clear()
    with pytest.raises(VxpError, match="pip install scikit-image"):
        photos.photograph("skimage/data/coffee.png", "photos")


# ------------------------------------------------------------------------------------------------------------- mosaics


@needs_photos
def test_a_mosaic_is_four_items_of_photos_and_its_truth_is_one_cell() -> None:
    images = {json.dumps(i.recipe, sort_keys=True): photos.load(i).image for i in items("photos")}
    for item in items("mosaic-photos"):
        sample, tiles = mosaic_photos.load(item), item.recipe["tiles"]
        assert len({tile["photo"] for tile in tiles}) == 4
        assert item.cluster == tiles[item.recipe["cell"]]["photo"]
        assert item.target == photos.PHOTOS[item.cluster].label
        truth = np.zeros((448, 448), dtype=bool)
        for cell, tile in enumerate(tiles):
            y, x = divmod(cell, 2)
            window = np.s_[y * 224 : y * 224 + 224, x * 224 : x * 224 + 224]
            assert torch.equal(sample.image[:, *window], images[json.dumps(tile, sort_keys=True)])
            truth[window] = cell == item.recipe["cell"]
        assert np.array_equal(sample.truth["mask"].numpy(), truth)
        assert np.array_equal(sample.truth["cells"].numpy(), truth)


# -------------------------------------------------------------------------------------------------------------- stamps


@needs_stamps
def test_a_stamp_covers_its_ground_by_its_alpha_and_the_truth_is_alpha_above_127() -> None:
    folder = stamps.located()
    for item in items("stamps")[::7]:
        recipe, sample = item.recipe, stamps.load(item)
        whole = Image.open(folder / f"{recipe['stamp']}.png").convert("RGBA")  # type: ignore[operator]
        alpha = np.asarray(whole)[..., 3] > 127
        ys, xs = np.nonzero(alpha.any(1))[0], np.nonzero(alpha.any(0))[0]
        cut = whole.crop((xs[0], ys[0], xs[-1] + 1, ys[-1] + 1))
        scale = recipe["size"] / max(cut.size)
        cut = cut.resize((round(cut.width * scale), round(cut.height * scale)), Image.Resampling.BILINEAR)
        left, top = recipe["window"]
        ground = Image.open(photos.located(stamps.GROUNDS[recipe["ground"]])).convert("RGB")  # type: ignore[arg-type]
        pixels = np.asarray(ground)[top : top + 224, left : left + 224].astype(float)
        truth = np.zeros((224, 224), dtype=bool)
        x0, y0 = recipe["place"]
        for y in range(cut.height):
            for x in range(cut.width):
                *color, opacity = cut.getpixel((x, y))  # type: ignore[misc]
                truth[y0 + y, x0 + x] = opacity > 127
                pixels[y0 + y, x0 + x] += (np.array(color) - pixels[y0 + y, x0 + x]) * opacity / 255
        assert np.array_equal(sample.truth["mask"].numpy(), truth), item.id
        assert np.abs(sample.image.permute(1, 2, 0).numpy() - pixels).max() <= 0.5 + 1e-9, item.id


def test_the_mapping_holds_117_stamps_of_imagenet_classes() -> None:
    assert len(stamps.mapping()) == 117
    assert all(0 <= c < 1000 for classes in stamps.mapping().values() for c in classes)
    assert stamps.mapping()["animals/marsupials/koala"] == (105,)


def test_absent_stamps_say_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("VXP_STAMPS", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(stamps, "INSIDE", Path("nowhere/stamps"))
    assert "vxp data get stamps" in (stamps.missing() or "")
    monkeypatch.setenv("VXP_STAMPS", str(tmp_path))
    assert str(tmp_path) in (stamps.missing() or "")
    assert str(tmp_path) in (datasets.at(stamps.STAMPS, tmp_path).missing() or "")


@needs_stamps
def test_a_stamp_of_other_bytes_is_refused(tmp_path: Path) -> None:
    item = items("stamps")[0]
    picture((tmp_path / item.recipe["stamp"]).parent, Path(item.recipe["stamp"]).name + ".png")
    with pytest.raises(VxpError, match=re.escape(f"{tmp_path / item.recipe['stamp']}.png: sha256:")):
        datasets.at(stamps.STAMPS, tmp_path).load(item)


# ---------------------------------------------------------------------------------------------------------- own images


def test_own_images_are_resized_by_the_shorter_side_and_cropped_around_the_centre(tmp_path: Path) -> None:
    wide = picture(tmp_path, "wide one.png", (60, 30))
    tall = picture(tmp_path, "tall.JPG", (40, 90), format="JPEG")
    (tmp_path / "notes.txt").write_text("not an image")
    found, source = datasets.folder(tmp_path, (16, 16))
    assert [(i.id, i.target, i.label) for i in found] == [("tall.JPG", None, ()), ("wide-one.png", None, ())]
    assert found[0].recipe == {"file": "tall.JPG", "sha256": vxp_schemas.file_digest(tall)}
    assert source.truth == ()
    by_hand = np.asarray(Image.open(wide).resize((32, 16), Image.Resampling.BILINEAR))[:, 8:24]
    assert np.array_equal(source.load(found[1]).image.permute(1, 2, 0).numpy(), by_hand)
    assert source.load(found[0]).image.shape == (3, 16, 16)


def test_masks_go_the_same_way_with_nearest_neighbours(tmp_path: Path) -> None:
    picture(tmp_path, "a.png", (60, 30))
    picture(tmp_path, "b.png", (30, 30))
    mask = np.zeros((30, 60), dtype=np.uint8)
    mask[:, 30:] = 255
    mask[:15, 30:] = 127
    (tmp_path / "masks").mkdir()
    Image.fromarray(mask).save(tmp_path / "masks" / "a.png")
    found, source = datasets.folder(tmp_path, (10, 10))
    assert source.truth == ("mask",)
    expected = np.zeros((10, 10), dtype=bool)
    expected[5:, 5:] = True
    assert np.array_equal(source.load(found[0]).truth["mask"].numpy(), expected)
    assert not source.load(found[1]).truth["mask"].any()


def test_an_image_is_turned_as_its_exif_says(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    path = picture(tmp_path, "a.png", (20, 10), exif=exif)
    found, source = datasets.folder(tmp_path, (20, 10))
    expected = np.rot90(np.asarray(Image.open(path)), k=-1)
    assert np.array_equal(source.load(found[0]).image.permute(1, 2, 0).numpy(), expected)


def test_bad_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(VxpError, match="not a folder"):
        datasets.folder(tmp_path / "none", (8, 8))
    with pytest.raises(VxpError, match="no image in it"):
        datasets.folder(tmp_path, (8, 8))


def test_unreadable_images_are_named(tmp_path: Path) -> None:
    whole = picture(tmp_path / "cut", "cut.jpg", (200, 200))
    whole.write_bytes(whole.read_bytes()[:2000])
    picture(tmp_path / "text", "text.png").write_bytes(b"not an image")
    (tmp_path / "deep").mkdir()
    Image.fromarray(np.zeros((8, 8), dtype=np.uint16)).save(tmp_path / "deep" / "deep.png")
    for name, why in [("cut/cut.jpg", "cannot be decoded"), ("text/text.png", "not an image"),
                      ("deep/deep.png", "8 bits per channel")]:
        with pytest.raises(VxpError, match=f"{re.escape(str(tmp_path / name))}.*{why}"):
            datasets.folder((tmp_path / name).parent, (8, 8))


def test_bad_masks_and_equal_names_are_named(tmp_path: Path) -> None:
    picture(tmp_path, "a.png", (30, 20))
    picture(tmp_path / "masks", "a.png", (20, 30))
    with pytest.raises(VxpError, match=r"masks/a\.png: 20 x 30 pixels, expected 30 x 20"):
        datasets.folder(tmp_path, (8, 8))
    (tmp_path / "masks" / "a.png").rename(tmp_path / "masks" / "b.png")
    with pytest.raises(VxpError, match=r"masks/b\.png: a mask without an image"):
        datasets.folder(tmp_path, (8, 8))
    (tmp_path / "masks" / "b.png").rename(tmp_path / "masks" / "a.png")
    picture(tmp_path, "a.jpg", (30, 20))
    with pytest.raises(VxpError, match="several images of this name"):
        datasets.folder(tmp_path, (8, 8))
    (tmp_path / "masks" / "a.png").unlink()
    picture(tmp_path, "x y.png")
    picture(tmp_path, "x-y.png")
    with pytest.raises(VxpError, match=r"'x y\.png' and 'x-y\.png' both become the item 'x-y\.png'"):
        datasets.folder(tmp_path, (8, 8))


# ------------------------------------------------------------------------------------------------------------ ImageNet


TASK = {"id": "imagenet-val-2000", "version": 1, "budget": {"items": 3}}


def test_the_images_are_drawn_by_the_hash_of_their_names() -> None:
    names = [f"ILSVRC2012_val_{i:08d}.JPEG" for i in range(1, 50_001)]
    hashes = {n: hashlib.sha256(b"imagenet-val-2000@1/" + n.encode()).hexdigest() for n in names}
    chosen = imagenet_val.drawn("imagenet-val-2000@1", 2000)
    assert chosen == sorted(chosen)
    assert len(set(chosen)) == 2000
    limit = max(hashes[n] for n in chosen)
    assert {n for n in names if hashes[n] <= limit} == set(chosen)


@pytest.mark.parametrize("layout", ["one folder", "a folder per class"])
def test_imagenet_is_read_in_both_layouts(tmp_path: Path, layout: str) -> None:
    names = imagenet_val.drawn("imagenet-val-2000@1", 3)
    sizes = [(500, 375), (333, 400), (260, 600)]
    for i, (name, size) in enumerate(zip(names, sizes, strict=True)):
        picture(tmp_path if layout == "one folder" else tmp_path / f"n0000000{i}", name, size, seed=i)
    source = datasets.at(datasets.source("imagenet-val"), tmp_path)
    assert source.missing() is None
    found = datasets.own_items(TASK, source)
    assert [(i.id, i.target, i.label) for i in found] == [(name, None, ()) for name in names]
    same = Compose([Resize(256), CenterCrop(224)])
    for item in found:
        path = next(tmp_path.rglob(item.id))
        expected = np.asarray(same(Image.open(path).convert("RGB")))
        assert np.array_equal(source.load(item).image.permute(1, 2, 0).numpy(), expected)


def test_labels_are_the_ranks_of_a_thousand_class_folders(tmp_path: Path) -> None:
    drawn = imagenet_val.drawn("imagenet-val-2000@1", 3)
    others = iter(f"ILSVRC2012_val_{i:08d}.JPEG" for i in range(1, 50_001))
    for i in range(1000):
        name = drawn[i // 100] if i in (0, 100, 200) else next(n for n in others if n not in drawn)
        folder = tmp_path / f"n{i:08d}"
        folder.mkdir()
        (folder / name).touch()
    found = datasets.own_items(TASK, datasets.at(datasets.source("imagenet-val"), tmp_path))
    assert [item.label for item in found] == [(0,), (100,), (200,)]


def test_absent_imagenet_says_what_to_put_where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VXP_IMAGENET", raising=False)
    source = datasets.source("imagenet-val")
    assert "VXP_IMAGENET=DIR" in (source.missing() or "")
    with pytest.raises(VxpError, match=r"ILSVRC2012_val_00000001\.JPEG"):
        datasets.own_items(TASK, source)
    monkeypatch.setenv("VXP_IMAGENET", str(tmp_path / "gone"))
    assert f"{tmp_path / 'gone'}: no such folder" in (source.missing() or "")
    assert "no file ILSVRC2012_val_*.JPEG" in (datasets.at(source, tmp_path).missing() or "")
    first = imagenet_val.drawn("imagenet-val-2000@1", 3)
    picture(tmp_path / "data", first[0])
    with pytest.raises(VxpError, match=f"2 of the 3 images .* first {first[1]}, {first[2]}"):
        datasets.own_items(TASK, datasets.at(source, tmp_path / "data"))
