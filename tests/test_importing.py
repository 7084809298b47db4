"""Maps made elsewhere become a set, a result and a bundle as good as any; documents of other versions are said to be so."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import safetensors.numpy
import vxp_schemas
from bundle_tools import STATEMENT
from PIL import Image
from vxp import audit, models, tasks
from vxp.bundles import sealing
from vxp.core import VxpError
from vxp.documents import migrate
from vxp.runs import importing, map_files, run
from vxp.runs.context import Context, Quiet, Settings
from vxp.runs.importing import Method
from vxp.validation import validate

LIMIT = 6
SETTINGS = Settings(batch_size=8, threads=1, limit=LIMIT)
METHOD = Method("my-method", signed=False, family="gradient", parameters={"sigma": 0.5, "norm": "l2"}, forwards=1, backwards=1,
                milliseconds=2.5, commit="0123456789abcdef0123456789abcdef01234567")


def items() -> list[str]:
    return [item.id for item in tasks.load("shapes").items[:LIMIT]]


def imported(maps: Path, out: Path, method: Method = METHOD) -> Path:
    task = tasks.load("shapes")
    return importing.import_(Context.of(task, models.load(task.model), out, SETTINGS, progress=Quiet()), maps, method)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("items") / "out"
    task = tasks.load("shapes")
    importing.export(Context.of(task, models.load(task.model), out, SETTINGS, progress=Quiet()))
    return out


def outside(exported: Path, folder: Path) -> Path:
    """What a lab without Python does: read images and classes, write a map for each row."""
    folder.mkdir()
    for row in csv.DictReader((exported / "items.csv").open()):
        image = np.asarray(Image.open(exported / row["file"]).convert("L"), float)
        np.save(folder / f"{int(row['row']):05d}.npy", np.abs(np.gradient(image)[0]) + np.abs(np.gradient(image)[1]))
    return folder


def test_images_and_classes_go_out(exported: Path) -> None:
    rows = list(csv.DictReader((exported / "items.csv").open()))
    task = tasks.load("shapes")
    model = models.load(task.model)
    loaded = task.load(0, LIMIT, model)
    assert [r["item_id"] for r in rows] == items()
    assert [int(r["target"]) for r in rows] == [
        p if t is None else t for t, p in zip(loaded.frozen, model.module(loaded.inputs).argmax(1).tolist(), strict=True)]
    for i, row in enumerate(rows):
        image = np.asarray(Image.open(exported / row["file"]))
        assert np.array_equal(image, task.source.load(task.items[i]).image.permute(1, 2, 0).numpy())


def test_maps_from_outside_go_all_the_way(exported: Path, tmp_path: Path) -> None:
    """Import, score, seal, validate, verify: without the explainer, so that evidence ends at E2."""
    imported(outside(exported, tmp_path / "maps"), tmp_path / "set")
    task = tasks.load("shapes")
    model = models.load(task.model)
    run.score_set(Context.of(task, model, tmp_path / "scores", SETTINGS, ("entropy", "deletion|steps:4",
                                                                          "max-sensitivity|samples:1")), tmp_path / "set")
    (tmp_path / "said.json").write_text(json.dumps(STATEMENT))
    bundle = tmp_path / "b.tar"
    sealing.seal([tmp_path / "scores"], "my-method", tmp_path / "said.json", bundle)
    found = validate(bundle)
    assert not [f for f in found.findings if f["severity"] != "flag"], found.findings
    assert found.evidence == "E1"
    again = audit.verify(bundle, audit.Order(sample=None, nonce=audit.nonces.own("00")))
    assert (again.verdict, again.evidence) == ("reproduced", "E2")
    document = json.loads(next((tmp_path / "scores").glob("results/*my-method*/result.json")).read_bytes())
    assert document["explainer"]["parameters"] == {"sigma": 0.5, "norm": "l2"}
    assert document["cost"]["explain"] | {"seconds": 0} == {"forward_rows": LIMIT, "backward_rows": LIMIT, "maps": LIMIT,
                                                            "seconds": 0}
    assert document["cost"]["explain"]["seconds"] == pytest.approx(0.0025 * LIMIT)
    stated = {s["signature"].partition("@")[0]: s["statuses"] for s in document["scores"]}
    assert stated["max-sensitivity"] == {"not-run:no-explainer": LIMIT}


@pytest.mark.parametrize("form", ["npy", "safetensors", "by-id", "folder-by-id", "folder-by-row", "png"])
def test_every_form_gives_the_same_maps(form: str, tmp_path: Path) -> None:
    maps = np.random.default_rng(0).integers(0, 256, (LIMIT, 7, 5)).astype(np.float32)
    path = tmp_path / {"npy": "m.npy", "safetensors": "m.safetensors", "by-id": "m.safetensors"}.get(form, "m")
    if form == "npy":
        np.save(path, maps)
    elif form == "safetensors":
        safetensors.numpy.save_file({"values": maps.astype(np.float16)}, path)
    elif form == "by-id":
        safetensors.numpy.save_file(dict(zip(items(), maps, strict=True)), path)
    else:
        for i, (item, values) in enumerate(zip(items(), maps, strict=True)):
            name = item if form == "folder-by-id" else str(i)
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            if form == "png":
                Image.fromarray(values.astype(np.uint8)).save(path / f"{name}.png")
            else:
                np.save(path / f"{name}.npy", values)
    assert np.array_equal(map_files.read_maps(path, items()).numpy(), maps)


def test_a_map_that_is_not_finite_is_a_failed_row(tmp_path: Path) -> None:
    maps = np.random.default_rng(0).random((LIMIT, 8, 8))
    maps[2, 0, 0] = np.nan
    np.save(tmp_path / "m.npy", maps)
    imported(tmp_path / "m.npy", tmp_path / "set")
    table = pq.read_table(tmp_path / "set" / "items.parquet").to_pydict()
    assert table["status"] == ["ok", "ok", "failed:non-finite-map", "ok", "ok", "ok"]


@pytest.mark.parametrize(("name", "values", "said"), [
    ("m.npy", np.zeros((3, 8, 8)), r"got an array \[3, 8, 8\], expected \[6, h, w\]"),
    ("m.npy", np.zeros((LIMIT, 3, 8, 8)), "expected"),
    ("m.npy", np.zeros((LIMIT, 8, 8), complex), "expected real numbers"),
    ("m.npy", np.array([object()] * LIMIT), "cannot be read"),
    ("m.pt", np.zeros(3), "expected a file that ends in"),
])
def test_what_is_wrong_with_maps_is_said(name: str, values: np.ndarray, said: str, tmp_path: Path) -> None:
    with (tmp_path / name).open("wb") as file:
        np.save(file, values, allow_pickle=True)
    with pytest.raises(VxpError, match=said):
        imported(tmp_path / name, tmp_path / "set")
    assert not (tmp_path / "set").exists()


def test_missing_and_unknown_items_are_named(tmp_path: Path) -> None:
    named = {i: np.zeros((4, 4), np.float32) for i in [*items()[1:], "stranger"]}
    safetensors.numpy.save_file(named, tmp_path / "m.safetensors")
    with pytest.raises(VxpError, match=rf"1 items without a map \({items()[0]}\) and 1 maps of no item \(stranger\)"):
        map_files.read_maps(tmp_path / "m.safetensors", items())
    (tmp_path / "maps").mkdir()
    np.save(tmp_path / "maps" / "who.npy", np.zeros((4, 4)))
    with pytest.raises(VxpError, match="no item of the task is called 'who'"):
        map_files.read_maps(tmp_path / "maps", items())


@pytest.mark.parametrize(("change", "said"), [
    ({"name": "Not An Id"}, "cannot be stated"), ({"family": "magic"}, "cannot be stated"),
    ({"name": "saliency"}, "is an installed explainer"), ({"resample": "cubic"}, "is unknown"),
    ({"resample": "none"}, "the size of the input"),
])
def test_a_method_that_cannot_be_stated_is_refused(change: dict[str, str], said: str, tmp_path: Path) -> None:
    from dataclasses import replace

    np.save(tmp_path / "m.npy", np.random.default_rng(0).random((LIMIT, 8, 8)))
    with pytest.raises(VxpError, match=said):
        imported(tmp_path / "m.npy", tmp_path / "set", replace(METHOD, **change))
    assert not (tmp_path / "set").exists()


# -------------------------------------------------------------------------------------------------------------- migration


def test_a_document_of_this_version_needs_nothing(tmp_path: Path) -> None:
    example = Path(__file__).parent / "schema_examples" / "result.json"
    assert "nothing was written" in migrate.migrate(example, tmp_path / "new.json")
    assert not (tmp_path / "new.json").exists()


def test_an_unknown_version_is_refused_and_a_known_one_brought_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = json.loads((Path(__file__).parent / "schema_examples" / "result.json").read_bytes())
    old |= {"spec_version": "1.0.0-draft.0", "remarks": old.pop("flags")}
    path = tmp_path / "old.json"
    path.write_text(json.dumps(old))
    with pytest.raises(VxpError, match=r"is of version 1\.0\.0-draft\.0"):
        migrate.migrate(path, tmp_path / "new.json")
    assert not (tmp_path / "new.json").exists()
    monkeypatch.setattr(migrate, "STEPS", {"1.0.0-draft.0": (vxp_schemas.SPEC_VERSION, lambda d: {
        **{k: v for k, v in d.items() if k != "remarks"}, "flags": d["remarks"]})})
    before = path.read_bytes()
    migrate.migrate(path, tmp_path / "new.json")
    new = json.loads((tmp_path / "new.json").read_bytes())
    vxp_schemas.validate(new)
    assert new["derived_from"] == vxp_schemas.file_digest(path)
    assert new["scores"] == old["scores"]
    assert path.read_bytes() == before
    with pytest.raises(VxpError, match="is never overwritten"):
        migrate.migrate(path, tmp_path / "new.json")


def test_of_the_first_draft_what_has_no_scores_is_brought_here_and_what_has_is_refused(tmp_path: Path) -> None:
    for kind, fits in (("system", True), ("model", True), ("result", False), ("set", False)):
        old = json.loads((Path(__file__).parent / "schema_examples" / f"{kind}.json").read_bytes())
        path, new = tmp_path / f"{kind}.json", tmp_path / f"{kind}-new.json"
        path.write_text(json.dumps(old | {"spec_version": "1.0.0-draft.1"}))
        if fits:
            migrate.migrate(path, new)
            found = json.loads(new.read_bytes())
            assert found["spec_version"] == "1.0.0-draft.2" == vxp_schemas.SPEC_VERSION
            assert found["derived_from"] == vxp_schemas.file_digest(path)
        else:
            with pytest.raises(VxpError, match=r"not migrated.*changelog.*vxp run"):
                migrate.migrate(path, new)
            assert not new.exists()


@pytest.mark.parametrize("text", ["{", '{"a": 1}', "[]", '{"spec_version": "1.0.0-draft.2", "type": "elsewhere"}'])
def test_what_is_no_document_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "d.json").write_text(text)
    with pytest.raises(VxpError, match=r"d\.json"):
        migrate.migrate(tmp_path / "d.json", tmp_path / "new.json")


# ------------------------------------------------------------------------------------------------------- other kinds


def made_elsewhere(task: str, maps: Path, out: Path, kind: str | None = None) -> Path:
    card = tasks.load(task)
    method = Method("my-method", signed=False, resample="none", family="other", kind=kind)
    settings = Settings(batch_size=8, threads=1, limit=2)
    return importing.import_(Context.of(card, models.load(card.model), out, settings, progress=Quiet()), maps, method)


def values(path: Path) -> np.ndarray:
    stored = safetensors.numpy.load_file(path.parent / "payload" / "00000.safetensors")["values"]
    return np.asarray(stored)


def test_counterfactuals_come_in_as_pictures(tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    pictures = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3), np.uint8)
    for i, picture in enumerate(pictures):
        Image.fromarray(picture).save(folder / f"{i:05d}.png")
    path = made_elsewhere("shapes-foils", folder, tmp_path / "set")
    assert np.array_equal(values(path), pictures.transpose(0, 3, 1, 2))
    assert json.loads(path.read_text())["kind"] == "counterfactual"


def test_words_come_in_as_json_or_text(tmp_path: Path) -> None:
    folder = tmp_path / "words"
    folder.mkdir()
    (folder / "00000.json").write_text('{"text": "It hangs on shot 1.", "claims": [{"attribute": "shot", "value": "1", '
                                       '"role": "cause"}]}')
    (folder / "00001.txt").write_text("Two\nlines.\n")
    path = made_elsewhere("montage-words", folder, tmp_path / "set")
    documents = [json.loads(bytes(row).rstrip(b"\0")) for row in values(path)]
    assert documents[0]["claims"] == [{"attribute": "shot", "role": "cause", "value": "1"}]
    assert documents[1] == {"claims": [], "text": "Two lines."}


def test_regions_and_concepts_come_in_as_arrays(tmp_path: Path) -> None:
    planes = np.zeros((2, 2, 64, 64), np.float32)
    planes[:, 0, :, 32:], planes[:, 1, :, 32:] = 1, 0.5
    np.save(tmp_path / "regions.npy", planes)
    path = made_elsewhere("figures", tmp_path / "regions.npy", tmp_path / "regions")
    assert json.loads(path.read_text())["kind"] == "regions"
    assert np.array_equal(values(path), planes)
    np.save(tmp_path / "maps.npy", np.ones((2, 64, 64), np.float32))
    path = made_elsewhere("figures", tmp_path / "maps.npy", tmp_path / "maps", "heatmap2d")
    assert json.loads(path.read_text())["kind"] == "heatmap2d"
    np.save(tmp_path / "concepts.npy", np.ones((2, 8), np.float32))
    assert values(made_elsewhere("shapes-factors", tmp_path / "concepts.npy", tmp_path / "concepts")).tolist() == [[1] * 8] * 2


@pytest.mark.parametrize(("task", "given", "kind", "said"), [
    ("shapes-foils", np.zeros((2, 3, 64, 64), np.float32), None, "float32, expected uint8"),
    ("shapes-foils", np.zeros((2, 3, 32, 32), np.uint8), None, r"returned \(2, 3, 32, 32\), expected \(2, 3, 64, 64\)"),
    ("figures", np.full((2, 2, 64, 64), 0.5, np.float32), None, "expected whole numbers"),
    ("shapes-factors", np.zeros((2, 5), np.float32), None, "a score for each of round, ring, red"),
    ("shapes-factors", np.zeros((2, 8), np.float32), "regions", "admits explanations of the kind concepts, got regions"),
    ("montage-words", np.zeros((2, 8192), np.uint8), None, "explanation in words"),
])
def test_what_is_of_another_kind_is_refused(tmp_path: Path, task: str, given: np.ndarray, kind: str | None, said: str) -> None:
    np.save(tmp_path / "given.npy", given)
    with pytest.raises(VxpError, match=said):
        made_elsewhere(task, tmp_path / "given.npy", tmp_path / "set", kind)
    assert not (tmp_path / "set" / "set.json").exists()
