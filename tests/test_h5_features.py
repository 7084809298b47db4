"""Features of one's own videos in an h5 file: what becomes of a whole one, and what is said of every other."""

from __future__ import annotations

import hashlib
import re
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
import vxp_schemas
from hypothesis import given, settings
from hypothesis import strategies as st
from vxp import datasets
from vxp.core import VxpError
from vxp.datasets import h5_features
from vxp.documents import shots

STEP, WIDTH = 15, 6
EDGES = (0, 30, 75, 135, 200)
"""Of the shots of a video of 200 frames."""
WHOLE = ("picks", "n_frames", "n_steps", "change_points", "n_frame_per_seg")

Arrays = dict[str, Any]


def video(seed: int = 0, edges: tuple[int, ...] = EDGES, people: int = 3, width: int = WIDTH) -> Arrays:
    """The arrays of a video as the shared files have them: numbers of frames int32, summaries float32."""
    draw, n = np.random.default_rng(seed), edges[-1]
    picks = np.arange(0, n, STEP, dtype=np.int32)
    users = (draw.random((people, n)) < 0.2).astype(np.float32)
    users[:, 0] = 1
    return {
        "features": draw.random((len(picks), width), np.float32), "gtscore": draw.random(len(picks), np.float32),
        "user_summary": users, "picks": picks, "n_steps": len(picks), "n_frames": n,
        "change_points": np.array([(a, b - 1) for a, b in pairwise(edges)], np.int32),
        "n_frame_per_seg": np.array([b - a for a, b in pairwise(edges)], np.int32)}


def written(path: Path, **videos: Arrays) -> Path:
    with h5py.File(path, "w") as file:
        for key, arrays in videos.items():
            for name, values in arrays.items():
                file.create_dataset(f"{key}/{name}", data=values)
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return written(tmp_path / "made.h5", video_1=video(), video_10=video(1, (0, 60, 100)), video_2=video(2))


# ---------------------------------------------------------------------------------------------------------------- whole


def test_a_video_is_an_item_with_its_shots(file: Path) -> None:
    items, source = h5_features.opened(file)
    assert [item.id for item in items] == ["video_1", "video_10", "video_2"]
    assert all(item.cluster == item.id and item.target is None and item.label == () for item in items)
    assert (source.id, source.truth, source.missing()) == ("h5-features", ("users",), None)
    recipe, made = items[0].recipe, video()
    half_open = [[0, 30], [30, 75], [75, 135], [135, 200]]

    def digest(values: np.ndarray) -> str:
        return f"sha256:{hashlib.sha256(values.tobytes()).hexdigest()}"

    assert recipe == {
        "file": "made.h5", "sha256": f"sha256:{hashlib.sha256(file.read_bytes()).hexdigest()}", "video": "video_1",
        "n_frames": 200, "steps": 14, "users": 3, "segments": half_open, "segments_digest": shots.digest(half_open),
        "picks_digest": digest(made["picks"].astype("<i8")), "features_digest": digest(made["features"].astype("<f4")),
        "users_digest": digest(made["user_summary"].astype("u1"))}
    assert h5_features.segments(items[0]) == ((0, 30), (30, 75), (75, 135), (135, 200))
    vxp_schemas.canonical(recipe)


def test_a_sample_is_features_and_the_summaries_of_people(file: Path) -> None:
    items, source = h5_features.opened(file)
    for item, made in zip(items, (video(), video(1, (0, 60, 100)), video(2)), strict=True):
        sample = source.load(item)
        assert (sample.image.dtype, tuple(sample.image.shape)) == (torch.float32, (WIDTH, len(made["picks"])))
        assert sample.image.is_contiguous()
        assert np.array_equal(sample.image.numpy(), made["features"].T)
        assert sample.truth["users"].dtype == torch.bool
        assert np.array_equal(sample.truth["users"].numpy(), made["user_summary"] == 1)
        assert sample.timeline is not None
        assert (sample.timeline.frames, sample.timeline.picks) == (made["n_frames"], tuple(made["picks"]))
        assert sample.timeline.fragments == h5_features.segments(item)
        inside = [next(i for i, (a, b) in enumerate(made["change_points"]) if a <= pick <= b) for pick in made["picks"]]
        assert {unit: of.tolist() for unit, of in sample.timeline.parts().items()} == {"fragment": inside}


def test_items_of_one_size_go_through_a_model_together(file: Path) -> None:
    items, source = h5_features.opened(file)
    assert source.alike is not None
    sizes = [source.alike(item) for item in items]
    assert sizes[0] == sizes[2] != sizes[1]


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_what_is_written_is_what_is_read(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    lengths = data.draw(st.lists(st.integers(STEP, 60), min_size=1, max_size=6))
    edges = tuple(sum(lengths[:i]) for i in range(len(lengths) + 1))
    made = video(data.draw(st.integers(0, 9)), edges, data.draw(st.integers(1, 4)), data.draw(st.integers(1, 5)))
    number = data.draw(st.sampled_from(["<i4", ">i8", "<u2", "<f4"]))
    stored = {key: np.asarray(made[key], number) for key in WHOLE}
    stored["user_summary"] = made["user_summary"].astype(data.draw(st.sampled_from(["?", "u1", "<f8"])))
    stored["features"] = made["features"].astype(data.draw(st.sampled_from(["<f4", ">f4", "<f8"])))
    left_out = data.draw(st.sets(st.sampled_from(["gtscore", "n_steps", "n_frame_per_seg"])))
    whole = {key: value for key, value in (made | stored).items() if key not in left_out}
    path = written(tmp_path_factory.mktemp("h5") / "a.h5", v=whole)
    (item,), source = h5_features.opened(path)
    plain, _ = h5_features.opened(written(path.with_name("b.h5"), v=made))
    assert {k: v for k, v in item.recipe.items() if k not in ("file", "sha256")} == {
        k: v for k, v in plain[0].recipe.items() if k not in ("file", "sha256")}
    assert h5_features.segments(item) == tuple(pairwise(edges))
    assert np.array_equal(source.load(item).image.numpy(), made["features"].T)


def test_a_file_without_people_has_no_truth(tmp_path: Path) -> None:
    arrays = {key: value for key, value in video().items() if key in h5_features.NEEDED}
    items, source = h5_features.opened(written(tmp_path / "a.h5", v=arrays))
    assert source.truth == ()
    assert source.load(items[0]).truth == {}
    assert not {"users", "users_digest"} & set(items[0].recipe)


def test_what_else_a_video_has_is_left_alone_and_its_name_is_kept(tmp_path: Path) -> None:
    extra = {"video_name": "Air_Force\u202eOne", "gtsummary": np.zeros(3), "more/of/this": np.zeros(3)}
    (item,), _ = h5_features.opened(written(tmp_path / "a.h5", v=video() | extra))
    assert item.recipe["name"] == r"Air_Force\u202eOne"


@pytest.mark.parametrize("options", [{"compression": "gzip", "shuffle": True, "fletcher32": True}, {"compression": "lzf"},
                                     {"chunks": (5, 2)}])
def test_packed_arrays_are_read(options: dict[str, Any], tmp_path: Path) -> None:
    path, arrays = tmp_path / "a.h5", video()
    written(path, v={key: value for key, value in arrays.items() if key != "features"})
    with h5py.File(path, "a") as opened:
        opened.create_dataset("v/features", data=arrays["features"], **options)
    (item,), source = h5_features.opened(path)
    assert np.array_equal(source.load(item).image.numpy(), arrays["features"].T)


# --------------------------------------------------------------------------------------------------------------- refused


def changed(key: str, value: Any) -> Callable[[Arrays], None]:
    return lambda arrays: arrays.update({key: value})


def at(key: str, index: Any, value: float) -> Callable[[Arrays], None]:
    def change(arrays: Arrays) -> None:
        arrays[key][index] = value

    return change


def cut(key: str, *index: slice) -> Callable[[Arrays], None]:
    return lambda arrays: arrays.update({key: arrays[key][index]})


HALF_OPEN = np.array([(0, 30), (30, 75), (75, 135), (135, 200)])
REFUSED: list[tuple[str, Callable[[Arrays], Any], str]] = [
    *((f"no {key}", lambda arrays, key=key: arrays.pop(key), f"no {key}, got .*, expected features, picks, .*: add it")
      for key in h5_features.NEEDED),
    ("features flat", changed("features", np.zeros(14)), r"features: got the shape \[14\], expected \[n_steps, D\]"),
    ("features none", changed("features", np.zeros((0, 6))), r"features: got the shape \[0, 6\], expected \[n_steps, D\]"),
    ("features NaN", at("features", (3, 1), np.nan), "features: got NaN or infinite values in 1 of 14 steps, first in step 3"),
    ("features inf", at("features", (13, 5), -np.inf), "features: got NaN or infinite .* first in step 13, expected finite"),
    ("features vast", changed("features", np.full((14, 2), 1e300)), "features: got NaN or infinite values in 14 of 14 steps"),
    ("features complex", changed("features", np.zeros((14, 6), complex)), "features: got values of complex128, expected"),
    ("features words", changed("features", np.array([[b"a"] * 6] * 14)), r"features: got values of \|S1, expected"),
    ("features empty", changed("features", h5py.Empty("f")), "features: got no values, expected an array of numbers"),
    ("features group", lambda arrays: arrays.update({"features/inner": arrays.pop("features")}),
     "features: got a group, expected an array of numbers"),
    ("steps cut", cut("features", slice(13)), r"picks: got the shape \[14\], expected \[13\], the frame of each of"),
    ("picks beyond", at("picks", 13, 200), "picks: got .* to 200, expected frames that rise .* lie below n_frames, 200"),
    ("picks fall", at("picks", 3, 200), "picks: got .* expected frames that rise"),
    ("picks before", at("picks", 0, -1), r"picks: got \[-1, 15, 30\] to 195, expected frames that rise from 0 on"),
    ("picks in seconds", changed("picks", np.arange(14) / 2), "picks: got 0.5, expected whole numbers of frames: multiply by"),
    ("picks NaN", changed("picks", np.full(14, np.nan)), "picks: got nan, expected whole numbers"),
    ("n_frames two", changed("n_frames", [200, 200]), r"n_frames: got the shape \[2\], expected \[\], one number"),
    ("n_frames none", changed("n_frames", 0), "n_frames: got 0, expected the number of frames of the video, from 1 to"),
    ("n_frames vast", changed("n_frames", 2**40), f"n_frames: got {2**40}, expected the number of frames"),
    ("n_frames less", changed("n_frames", 190), "picks: got .* to 195, expected .* lie below n_frames, 190"),
    ("n_frames more", changed("n_frames", 210), r"change_points .*: the frames \[200, 210\) lie in no fragment"),
    ("shots flat", changed("change_points", np.array(EDGES)), r"change_points: got the shape \[5\], expected \[S, 2\]"),
    ("shots none", changed("change_points", np.zeros((0, 2))), r"change_points: got the shape \[0, 2\], expected \[S, 2\]"),
    ("shots half-open", changed("change_points", HALF_OPEN),
     r"change_points: got half-open ranges, the last one \[135, 200\], expected inclusive ends, the last 199: take 1 from"),
    ("shots gap", at("change_points", (1, 0), 35), r"change_points .*: the frames \[30, 35\) lie in no fragment"),
    ("shots overlap", at("change_points", (1, 0), 25), r"change_points .*: fragments 0 and 1 overlap in the frames \[25, 30\)"),
    ("shots beyond", at("change_points", (3, 1), 204), "change_points .*: fragment 3 ends at 205, beyond the 200 frames"),
    ("shots short", at("change_points", (3, 1), 150), r"change_points .*: the frames \[151, 200\) lie in no fragment"),
    ("shots reversed", at("change_points", (1, 1), 20), "change_points .*: fragment 1 starts at 30, after its end 21"),
    ("shots from 1", changed("change_points", np.add(HALF_OPEN, (1, 0))),
     "change_points: got frames counted from 1, the last one 200, expected frames counted from 0: take 1 from every start"),
    ("one shot half-open", changed("change_points", np.array([(0, 200)])), r"change_points: got half-open ranges, the last"),
    ("shots in seconds", changed("change_points", HALF_OPEN / 25), "change_points: got 1.2, expected whole numbers of frames"),
    ("a shot unseen", changed("change_points", np.array([(0, 29), (30, 31), (32, 44), (45, 199)])),
     r"change_points: got shot 2, frames \[32, 45\), which holds no frame of picks, .*: join it to a neighbour"),
    ("steps miscounted", changed("n_steps", 15), "n_steps: got 15, expected 14, the rows of features"),
    ("steps counted twice", changed("n_steps", [14, 14]), r"n_steps: got the shape \[2\], expected \[\], one number"),
    ("scores short", cut("gtscore", slice(13)), r"gtscore: got the shape \[13\], expected \[14\], a score for each of"),
    ("scores NaN", at("gtscore", 2, np.nan), "gtscore: got NaN or infinite values, expected finite scores"),
    ("shots miscounted", at("n_frame_per_seg", 2, 61), "n_frame_per_seg: got 61 for shot 2, expected 60 as change_points has"),
    ("shots of others", cut("n_frame_per_seg", slice(3)), r"n_frame_per_seg: got the shape \[3\], expected \[4\]"),
    ("people turned", changed("user_summary", np.ones((200, 3))),
     r"user_summary: got the shape \[200, 3\], expected \[U, 200\], .*: exchange its axes"),
    ("people short", cut("user_summary", slice(None), slice(190)), r"user_summary: got the shape \[3, 190\], expected \[U"),
    ("people none", changed("user_summary", np.zeros((0, 200))), r"user_summary: got the shape \[0, 200\], expected \[U"),
    ("people score", at("user_summary", (1, 7), 3.5), "user_summary: got 3.5, expected 1 in the frames of a summary"),
    ("people NaN", at("user_summary", (1, 7), np.nan), "user_summary: got nan, expected 1 in the frames"),
    ("people idle", at("user_summary", 2, 0), "user_summary: got a summary without a frame, that of row 2, expected at"),
]


@pytest.mark.parametrize(("change", "said"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_a_video_that_is_not_whole_is_refused(change: Callable[[Arrays], Any], said: str, tmp_path: Path) -> None:
    """With file, video and key, what was got and expected, and what to do."""
    arrays = video()
    change(arrays)
    path = written(tmp_path / "a.h5", video_1=video(), video_3=arrays)
    with pytest.raises(VxpError, match=f"^{re.escape(str(path))}, video_3[,:] ?{said}") as error:
        h5_features.opened(path)
    assert re.search(r"[eE]xpected .", str(error.value))


def test_people_of_some_videos_only_are_refused(tmp_path: Path) -> None:
    alone = {key: value for key, value in video().items() if key != "user_summary"}
    with pytest.raises(VxpError, match="b: no user_summary, which 2 of the 3 videos have, expected it of all or of none"):
        h5_features.opened(written(tmp_path / "a.h5", a=video(), b=alone, c=video()))


def test_features_of_two_widths_are_refused(tmp_path: Path) -> None:
    with pytest.raises(VxpError, match="b, features: got 7 numbers per step, expected 6 as a has: take features of one model"):
        h5_features.opened(written(tmp_path / "a.h5", a=video(), b=video(width=7)))


def test_two_videos_of_one_item_are_refused(tmp_path: Path) -> None:
    with pytest.raises(VxpError, match="the videos 'a b' and 'a-b' both become the item 'a-b', expected different names"):
        h5_features.opened(written(tmp_path / "a.h5", **{"a b": video(), "a-b": video()}))


def test_a_file_that_is_none_is_refused(tmp_path: Path, file: Path) -> None:
    path = tmp_path / "other.h5"
    with pytest.raises(VxpError, match=r"other\.h5: no such file, expected an HDF5 file"):
        h5_features.opened(path)
    path.write_bytes(b"")
    with pytest.raises(VxpError, match=r"other\.h5: an empty file of 0 bytes, expected an HDF5 file: replace"):
        h5_features.opened(path)
    path.write_text("path,score\n" * 99)
    with pytest.raises(VxpError, match=r"other\.h5: cannot be read \(.*signature.*\), expected a whole HDF5 file: replace"):
        h5_features.opened(path)
    path.write_bytes(file.read_bytes()[:-2000])
    with pytest.raises(VxpError, match=r"other\.h5: cannot be read \(.*truncated.*\), expected a whole HDF5 file: replace"):
        h5_features.opened(path)
    with pytest.raises(VxpError, match="no video in it, expected a group per video with features, picks, n_frames, chang"):
        h5_features.opened(written(path))


def test_an_array_where_a_video_is_expected_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "a.h5", v=video())
    with h5py.File(path, "a") as opened:
        opened["features"] = np.zeros((3, 3))
    with pytest.raises(VxpError, match=r"a\.h5, features: an array, expected a group of arrays, one group per video"):
        h5_features.opened(path)


def test_a_damaged_array_is_refused(tmp_path: Path) -> None:
    path = with_features(tmp_path / "a.h5", lambda group: group.create_dataset("features", data=video()["features"],
                                                                              compression="gzip", fletcher32=True))
    with h5py.File(path) as opened:
        chunk = opened["v/features"].id.get_chunk_info(0)
    raw = bytearray(path.read_bytes())
    raw[chunk.byte_offset + chunk.size // 2] ^= 255
    path.write_bytes(raw)
    with pytest.raises(VxpError, match=r"v, features: cannot be read \(.*\), expected a whole HDF5 file: replace the"):
        h5_features.opened(path)


# ------------------------------------------------------------------------------------------------------ nothing from outside


def with_features(path: Path, put: Callable[[h5py.Group], Any]) -> Path:
    written(path, v={key: value for key, value in video().items() if key != "features"})
    with h5py.File(path, "a") as opened:
        put(opened["v"])
    return path


def test_a_link_is_not_followed(tmp_path: Path, file: Path) -> None:
    for link in (h5py.ExternalLink(str(file), "video_1/features"), h5py.SoftLink("/v/gtscore")):
        path = with_features(tmp_path / "a.h5", lambda group, link=link: group.__setitem__("features", link))
        with pytest.raises(VxpError, match=r"v, features: a link, which may lead to another file, expected .* without links"):
            h5_features.opened(path)
    with h5py.File(tmp_path / "b.h5", "w") as opened:
        opened["v"] = h5py.ExternalLink(str(file), "video_1")
    with pytest.raises(VxpError, match=r"b\.h5, v: a link, which may lead to another file"):
        h5_features.opened(tmp_path / "b.h5")


def test_values_in_other_files_are_not_read(tmp_path: Path, file: Path) -> None:
    (tmp_path / "secret.bin").write_bytes(video()["features"].tobytes())
    outside = with_features(tmp_path / "a.h5", lambda group: group.create_dataset(
        "features", (14, WIDTH), np.float32, external=[(str(tmp_path / "secret.bin"), 0, h5py.h5f.UNLIMITED)]))
    layout = h5py.VirtualLayout((14, WIDTH), np.float32)
    layout[:] = h5py.VirtualSource(str(file), "video_1/features", shape=(14, WIDTH))
    virtual = with_features(tmp_path / "b.h5", lambda group: group.create_virtual_dataset("features", layout))
    for path in (outside, virtual):
        with pytest.raises(VxpError, match="v, features: its values lie in other files, expected what the file itself holds"):
            h5_features.opened(path)


def test_a_filter_that_is_a_program_is_refused(tmp_path: Path) -> None:
    """Blosc's number, optional, so that h5py writes without it."""
    def put(group: h5py.Group) -> None:
        plan = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plan.set_chunk((14, WIDTH))
        plan.set_filter(32001, h5py.h5z.FLAG_OPTIONAL)
        space = h5py.h5s.create_simple((14, WIDTH))
        h5py.h5d.create(group.id, b"features", h5py.h5t.NATIVE_FLOAT, space, plan)

    with pytest.raises(VxpError, match="features: packed with the HDF5 filter 32001, which would be loaded as a program"):
        h5_features.opened(with_features(tmp_path / "a.h5", put))


def test_what_a_file_only_claims_is_not_reserved(tmp_path: Path) -> None:
    """Terabytes of features of which no byte is stored."""
    path = with_features(tmp_path / "a.h5", lambda group: group.create_dataset(
        "features", (14, 2**37), np.float32, chunks=(1, 1024)))
    with pytest.raises(VxpError, match=rf"v, features: an array \[14, {2**37}\] of {14 * 2**39} bytes, expected at most"):
        h5_features.opened(path)


# --------------------------------------------------------------------------------------------------------- changed, absent


@pytest.mark.parametrize(("change", "said"), [
    (at("features", (0, 0), 9), "features_digest"), (at("user_summary", (0, 1), 1), "users_digest"),
    (at("picks", 1, 16), "picks_digest")])
def test_a_file_that_changes_under_a_run_is_refused(change: Callable[[Arrays], None], said: str, file: Path) -> None:
    items, source = h5_features.opened(file)
    arrays = video()
    arrays["user_summary"][0, 1] = 0
    written(file, video_1=arrays)
    items, source = h5_features.opened(file)
    change(arrays)
    written(file, video_1=arrays)
    with pytest.raises(VxpError, match=f"video_1: other {said} than were frozen when the run began: the file has changed"):
        source.load(items[0])


def test_a_video_that_goes_is_named(file: Path) -> None:
    items, source = h5_features.opened(file)
    written(file, video_2=video())
    with pytest.raises(VxpError, match=r"no video 'video_1'; did you mean 'video_2'.* that of the item video_1: the file"):
        source.load(items[0])


def test_without_h5py_it_is_said_what_to_install(file: Path) -> None:
    """In a process of its own, in which importing h5py fails as where it is not installed; all else works without."""
    code = ("import sys\nsys.modules['h5py'] = None\nfrom pathlib import Path\nfrom vxp import datasets\n"
            f"print(len(datasets.sources()))\ndatasets.h5_features.opened(Path({str(file)!r}))")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == str(len(datasets.sources()))
    assert "VxpError: h5 files are read with h5py, which is not installed" in done.stderr
    assert "pip install 'vxp[h5]'" in done.stderr


# ------------------------------------------------------------------------------------------------------------- the registry


@pytest.mark.parametrize(("id", "videos"), [("tvsum", 50), ("summe", 25)])
def test_the_known_sets_are_templates(id: str, videos: int) -> None:
    document = vxp_schemas.registry_document("datasets", id)
    assert (document["status"], document["access"], document["n_items"]) == ("template", "user-copy", videos)
    assert id in (Path(__file__).parents[1] / "THIRD_PARTY.md").read_text()
    for key in (*h5_features.NEEDED, "user_summary"):
        assert key in document["about"]
