"""One's own clips: how files are decoded, frozen and sampled, and what is refused."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import vxp
from bundle_tools import commanded
from clip_files import (
    FRAMES,
    HEIGHT,
    MODEL,
    NAMES,
    SIZE,
    WIDTH,
    copied,
    digest,
    encoded,
    folder,
    made_desk,
    picture,
    planes,
    y4m,
)
from PIL import Image
from vxp import datasets, models, tasks
from vxp.core import VxpError
from vxp.datasets import _video, _yuv, own_clips


def opened(clips: Path, size: tuple[int, ...] = SIZE, names: Sequence[str] = ()) -> tuple[list[datasets.Item], datasets.Source]:
    return own_clips.opened(clips, size, names)


# ---------------------------------------------------------------------------------------------------------------- decoding


def test_the_digest_is_that_of_the_planes_whatever_holds_them(tmp_path: Path) -> None:
    """The planes one after the other, rows without padding, as FFmpeg's `-f rawvideo` writes them."""
    frames = planes(size=(33, 25))  # chroma of half as many rows and columns, rounded up
    for path in (y4m(tmp_path / "a.y4m", frames), encoded(tmp_path / "a.mkv", frames, "ffv1")):
        video = _video.surveyed(path, [(0, None), (3, 7)])
        assert (video.frames, video.rate, video.format.size) == (FRAMES, 25, (33, 25))
        assert video.digests == {(0, None): f"sha256:{digest(frames)}", (3, 7): f"sha256:{digest(frames[3:7])}"}
        assert _video.read(path, video.format, (3, 7), [4])[1] == f"sha256:{digest(frames[3:7])}"


def test_a_container_changes_nothing(tmp_path: Path) -> None:
    first = encoded(tmp_path / "a.mp4", planes())
    seen = [_video.surveyed(path) for path in (first, *(copied(first, tmp_path / f"a.{end}") for end in ("mkv", "ts", "mov")))]
    assert [video.digests for video in seen] == [seen[0].digests] * 4
    assert {(video.frames, video.rate) for video in seen} == {(FRAMES, 25)}


@pytest.mark.parametrize(("rate", "end"), [(Fraction(30000, 1001), "mkv"), (Fraction(60), "webm"), (Fraction(15), "avi"),
                                           (Fraction(24000, 1001), "mp4")])
def test_the_rate_is_the_declared_one_where_frames_keep_to_it(tmp_path: Path, rate: Fraction, end: str) -> None:
    """Matroska and WebM round times to milliseconds."""
    codec = {"webm": "libvpx", "avi": "mpeg4"}.get(end, "libx264")
    assert _video.surveyed(encoded(tmp_path / f"a.{end}", planes(), codec, rate=rate)).rate == rate


def exact(y: int, u: int, v: int, matrix: str, levels: str) -> list[Fraction]:
    """Red, green and blue of one position by the definition of BT.601 and BT.709, without rounding."""
    red, blue = {"bt601": (Fraction("0.299"), Fraction("0.114")), "bt709": (Fraction("0.2126"), Fraction("0.0722"))}[matrix]
    if levels == "limited":
        luma, cb, cr = Fraction(y - 16, 219), Fraction(u - 128, 224), Fraction(v - 128, 224)
    else:
        luma, cb, cr = Fraction(y, 255), Fraction(u - 128, 255), Fraction(v - 128, 255)
    r, b = luma + 2 * (1 - red) * cr, luma + 2 * (1 - blue) * cb
    g = (luma - red * r - blue * b) / (1 - red - blue)
    return [255 * min(max(value, Fraction(0)), Fraction(1)) for value in (r, g, b)]


@pytest.mark.parametrize("matrix", _yuv.MATRICES)
@pytest.mark.parametrize("levels", _yuv.LEVELS)
def test_colours_are_those_of_the_definition(matrix: str, levels: str) -> None:
    rng = np.random.default_rng(1)
    y, u, v = (rng.integers(0, 256, (1, 500), dtype=np.uint8) for _ in range(3))
    y[0, :4], u[0, :4], v[0, :4] = [0, 16, 235, 255], 128, 128
    ours = _yuv.rgb([y, u, v], matrix, levels)
    assert ours.dtype == np.uint8
    for k in range(500):
        theirs = exact(int(y[0, k]), int(u[0, k]), int(v[0, k]), matrix, levels)
        # the coefficients are exact to 2^-17, so a sum is to 0.006
        assert all(abs(int(a) - b) <= 0.507 for a, b in zip(ours[0, k], theirs, strict=True)), k
    black, white = (0, 255) if levels == "full" else (16, 235)
    assert ours[0, list(y[0, :4]).index(black)].tolist() == [0] * 3
    assert ours[0, list(y[0, :4]).index(white)].tolist() == [255] * 3


def test_the_coefficients_are_those_of_the_standard() -> None:
    """Clause 4.4.3 prints them."""
    page = (Path(__file__).resolve().parents[1] / "spec" / "04-explanandum.md").read_text()
    printed = re.findall(r"^\| `(bt\d+)` \| `(\w+)` \| (\d+) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$", page, re.M)
    assert {(matrix, levels): tuple(map(int, rest)) for matrix, levels, *rest in printed} == {
        (matrix, levels): _yuv.coefficients(matrix, levels) for matrix in _yuv.MATRICES for levels in _yuv.LEVELS}


@pytest.mark.parametrize(("said", "rows", "expected"), [
    ((2, 0), 24, ("bt601", "limited")), ((2, 0), 578, ("bt709", "limited")), ((1, 1), 24, ("bt709", "limited")),
    ((6, 2), 578, ("bt601", "full")), ((5, 0), 24, ("bt601", "limited"))])
def test_matrix_and_levels_are_as_declared_or_by_the_rule(
    tmp_path: Path, said: tuple[int, int], rows: int, expected: tuple[str, str],
) -> None:
    frames = planes(frames=2, size=(32, rows))
    path = encoded(tmp_path / "a.mkv", frames, matrix=said[0], levels=said[1])
    video = _video.surveyed(path)
    assert (video.format.matrix, video.format.levels) == expected
    [picture], _ = _video.read(path, video.format, (0, 2), [1])
    with av.open(str(path)) as container:
        decoded = list(container.decode(video=0))[1].to_ndarray()  # Y above U above V
    whole = [decoded[:rows], decoded[rows:].reshape(2, rows // 2, 16)[0], decoded[rows:].reshape(2, rows // 2, 16)[1]]
    assert np.array_equal(picture, _yuv.rgb(whole, *expected))


def test_a_turned_clip_stands_upright(tmp_path: Path) -> None:
    upright = _video.surveyed(encoded(tmp_path / "a.mp4", planes()))
    turned = _video.surveyed(copied(tmp_path / "a.mp4", tmp_path / "b.mp4", 90))
    assert (upright.format.size, turned.format.size) == ((WIDTH, HEIGHT), (HEIGHT, WIDTH))
    assert turned.digests == upright.digests
    [one], _ = _video.read(tmp_path / "a.mp4", upright.format, (0, 1), [0])
    [other], _ = _video.read(tmp_path / "b.mp4", turned.format, (0, 1), [0])
    with av.open(str(tmp_path / "b.mp4")) as container:  # by how much FFmpeg turns it to the left
        degrees = next(container.decode(video=0)).rotation
    assert degrees % 360 in (90, 270)
    assert np.array_equal(other, np.rot90(one, degrees // 90))


def test_frames_lie_in_the_middle_of_equal_parts() -> None:
    assert own_clips.sampled(0, 16, 16) == list(range(16))
    assert own_clips.sampled(0, 12, 4) == [1, 4, 7, 10]
    assert own_clips.sampled(5, 16, 2) == [7, 13]
    for n in range(1, 40):
        for T in range(1, n + 1):
            found = own_clips.sampled(3, 3 + n, T)
            assert sorted(set(found)) == found
            assert [i - 3 for i in found] == [int(Fraction(2 * k + 1, 2 * T) * n) for k in range(T)]


# --------------------------------------------------------------------------------------------------------- folder, manifest


def test_a_folder_gives_items_whose_facts_are_frozen(tmp_path: Path) -> None:
    items, source = opened(folder(tmp_path / "clips"))
    assert [(i.id, i.cluster, i.target) for i in items] == [("a-one.y4m", "a-one.y4m", None), ("b.mp4", "b.mp4", None),
                                                            ("c.mkv", "c.mkv", None)]
    assert items[0].recipe == {
        "file": "a one.y4m", "planes_sha256": digest(planes(0)), "range": [0, 12], "frames": 12, "width": 32, "height": 24,
        "rate": "25", "planes": "yuv420p", "matrix": "bt601", "levels": "limited", "turns": 0, "sampled": [1, 4, 7, 10]}
    assert items[2].recipe["sampled"] == [2, 7, 12, 17]
    assert source.truth == ("mask",)
    sample = source.load(items[0])
    assert (sample.image.shape, sample.image.dtype) == ((3, *SIZE), torch.uint8)
    # 32 x 24 becomes 21 x 16, of which the middle 16 columns are left
    for t, k in enumerate(items[0].recipe["sampled"]):
        whole = Image.fromarray(_yuv.rgb(planes(0)[k], "bt601", "limited")).resize((21, 16), Image.Resampling.BILINEAR)
        assert np.array_equal(sample.image[:, t].permute(1, 2, 0), np.asarray(whole)[:, 2:18])
    assert not sample.truth["mask"].any()
    mask = source.load(items[1]).truth["mask"]
    assert (mask.shape, mask.dtype) == (SIZE, torch.bool)
    cut = [Image.fromarray(np.load(tmp_path / "clips" / "masks" / "b.npy")[k] * 255).resize((21, 16), Image.Resampling.NEAREST)
           for k in (1, 4, 7, 10)]
    assert np.array_equal(mask, np.stack([np.asarray(one)[:, 2:18] > 0 for one in cut]))


FULL = ("path,label,target,mask,cluster,id,start,end,fps,size,sha256\n"
        "clips/b.mp4,right,0,clips/masks/b.npy,p1,first,,,25,32x24,\n"
        "clips/c.mkv,,,,,early,,10,,,\n"
        "clips/c.mkv,,still,,,late,10.0,20,25.0,,\n")


def manifest(place: Path, text: str) -> Path:
    folder(place / "clips")
    (place / "set.csv").write_text(text)
    return place / "set.csv"


def test_a_manifest_cuts_ranges_out_of_files(tmp_path: Path) -> None:
    items, source = opened(manifest(tmp_path, FULL), names=NAMES)
    assert [(i.id, i.cluster, i.target, i.label) for i in items] == [
        ("early", "clips/c.mkv", None, ()), ("first", "p1", 0, (1,)), ("late", "clips/c.mkv", 2, ())]
    assert [i.recipe["range"] for i in items] == [[0, 10], [0, 12], [10, 20]]
    assert items[2].recipe["sampled"] == [11, 13, 16, 18]
    assert items[0].recipe["planes_sha256"] != items[2].recipe["planes_sha256"]
    (tmp_path / "one.csv").write_text("path\nclips/c.mkv\n")
    [whole], every = opened(tmp_path / "one.csv", (20, 16, 16))
    assert torch.equal(source.load(items[2]).image, every.load(whole).image[:, [11, 13, 16, 18]])
    pq.write_table(pa.table({
        "path": ["clips/b.mp4", "clips/c.mkv", "clips/c.mkv"], "label": ["right", None, None], "target": ["0", None, "still"],
        "mask": ["clips/masks/b.npy", None, None], "cluster": ["p1", None, None], "id": ["first", "early", "late"],
        "start": pa.array([None, None, 10.0]), "end": pa.array([None, 10, 20])}), tmp_path / "set.parquet")
    assert opened(tmp_path / "set.parquet", names=NAMES)[0] == items


def test_clips_of_one_file_are_one_cluster(tmp_path: Path) -> None:
    task = tasks.opened_clips(manifest(tmp_path, FULL), loaded(tmp_path))
    assert (task.id, task.dataset["id"], task.cluster_key) == ("open-clips.set-csv", "clips-set-csv", "cluster")
    assert [kind.id for kind in task.kinds] == ["heatmap3d"]
    assert task.document["targets"] == "list"


def loaded(place: Path, name: str = "clip") -> models.Model:
    (place / "model.py").write_text(MODEL)
    return models.load(f"{place / 'model.py'}:{name}", clips=True)


# ----------------------------------------------------------------------------------------------------------------- refusals


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(made_desk(tmp_path))
    return tmp_path


RUN = "run --model model.py:clip -e saliency -m gini --batch-size 4 --threads 1 --device cpu --out out"


def cut(path: Path, share: float) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])


def spoiled(path: Path) -> None:
    """Random bytes in the middle of the pictures."""
    whole = bytearray(path.read_bytes())
    place = whole.find(b"mdat") + 1000
    whole[place : place + 60] = np.random.default_rng(1).integers(0, 256, 60, dtype=np.uint8).tobytes()
    path.write_bytes(whole)


def sound(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())


BAD = {
    "too few frames": (lambda p: y4m(p.with_suffix(".y4m"), planes(frames=3)),
                       "a clip of 3 frames, expected at least 4, which the model is shown: take a longer clip, or fewer frames "
                       "with --frames"),
    "cut off, index at the end": (lambda p: cut(encoded(p, planes()), 0.6), "not a video that can be read"),
    "cut off, matroska": (lambda p: cut(encoded(p.with_suffix(".mkv"), planes(frames=24), "ffv1"), 0.6),
                          r"\d+ frames, expected 23 by its own header: it is cut off"),
    "damaged": (lambda p: spoiled(encoded(p, planes(frames=24))), r"damaged or cut off: frame \d+ cannot be decoded"),
    "uneven": (lambda p: encoded(p, planes(), times=[0, 1, 2, 3, 4, 5, 6, 10, 11, 12, 13, 14]),
               r"a variable frame rate \(frame \d+ lies .* expected a constant one: convert it, ffmpeg"),
    "no video at all": (lambda p: p.write_text("not a video\n" * 50), "not a video that can be read"),
    "empty": (lambda p: p.write_bytes(b""), "an empty file of 0 bytes, expected a video"),
    "an image": (picture, "not a video that can be read"),
    "sound only": (sound, "no video in it but audio, expected moving pictures: leave it out"),
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_file_is_refused_and_nothing_is_written(desk: Path, what: str) -> None:
    make, said = BAD[what]
    make(desk / "clips" / "bad.mp4")  # type: ignore[no-untyped-call]
    printed = commanded(f"{RUN} --clips clips", code=2)
    assert "clips/bad." in printed
    assert re.search(said, printed), printed
    assert not (desk / "out").exists()


@pytest.mark.parametrize(("row", "said"), [
    ("clips/b.mp4,,,,,,,,24,,", r"line 2: clips/b.mp4 has 25 frames per second, expected 24 as stated: correct the row"),
    ("clips/b.mp4,,,,,,,,,64x48,", r"line 2: clips/b.mp4 has frames of 32x24, expected 64x48 as stated"),
    ("clips/b.mp4,,,,,,,,,,sha256:00", r"line 2: the planes of clips/b.mp4 have sha256:\w{64}, expected sha256:00 as stated"),
    ("clips/b.mp4,,,,,,4,13,,,", r"line 2: clips/b.mp4 has 12 frames, got start 4 and end 13, expected 0 <= start < end <= 12"),
    ("clips/b.mp4,,,,,,4,4,,,", r"got start 4 and end 4"),
    ("clips/b.mp4,,,,,,-1,4,,,", r"line 2: the start '-1', expected the number of a frame"),
    ("clips/b.mp4,,,,,,9,12,,,", r"line 2: a clip of 3 frames, expected at least 4"),
    ("clips/b.mp4,,,,,,,,fast,,", r"line 2: the fps 'fast', expected a number such as 25, 29.97 or 30000/1001"),
    ("clips/b.mp4,up,,,,,,,,,", r"line 2: the label 'up', expected 0 to 2 or a class name of the model"),
    ("clips/none.mp4,,,,,,,,,,", r"line 2: clips/none.mp4: no such file, expected a video"),
    ("clips/b.mp4,,,clips/masks/b.npy,,,0,8,,,", r"the mask clips/masks/b.npy has the shape \[12, 24, 32\], expected \[8, "),
    ("clips/b.mp4,,,clips/b.mp4,,,,,,,", r"clips/b.mp4: the mask cannot be read"),
    ("clips/c.mkv,,,,,,0,9,,,\nclips/c.mkv,,,,,,9,20,,,", r"line 3: the id 'clips/c.mkv' is there twice"),
    (",,,,,,,,,,", "line 2: no path, expected the path of a clip"),
])
def test_a_bad_row_is_refused_by_file_and_line(desk: Path, row: str, said: str) -> None:
    (desk / "set.csv").write_text(f"path,{','.join(c for c in own_clips.COLUMNS if c != 'path')}\n{row}\n")
    printed = commanded(f"{RUN} --clips set.csv", code=2)
    assert re.search(said, printed), printed
    assert not (desk / "out").exists()


@pytest.mark.parametrize(("given", "said"), [
    ("--clips none", "--clips none: not a folder, expected a folder of video files or a manifest"),
    ("--clips empty", "--clips empty: no clip in it, expected files that end in .avi, .m4v"),
    ("--clips none.csv", "--clips none.csv: no such file, expected a manifest"),
    ("--clips clips --images clips", "one of the four"),
    ("--clips clips --layout tbchw", "no layout is called 'tbchw'; did you mean 'btchw'"),
    ("--clips clips --fusion median", "no fusion is called 'median'; did you mean 'mean'"),
    ("--clips clips --frames 13", "a clip of 12 frames, expected at least 13"),
    ("--images clips", "model own-model takes clips of 4 frames, and this takes images"),
])
def test_what_cannot_be_meant_is_refused(desk: Path, given: str, said: str) -> None:
    (desk / "empty").mkdir()
    printed = commanded(f"{RUN} {given}", code=2)
    assert said in printed, printed
    assert not (desk / "out").exists()


@pytest.mark.parametrize(("model", "said"), [
    ("model.py:first", "the model takes clips as [B, T, C, H, W] and was given (1, 3, 4, 16, 16), [B, C, T, H, W]: wrap it, "
                       "vxp.frames_first(model), or on the command line --layout btchw"),
    ("model.py:wrong", "the model takes clips and was given an image (1, 3, 16, 16): let the factory say input_size (T, H, W)"),
    ("model.py:clip|fusion:mean", "model own-model takes clips by itself, got the fusion 'mean'"),
    ("shapes-cnn|layout:btchw", "model shapes-cnn takes images, got the layout 'btchw'"),
    ("model.py:clip|frame:4", "no parameter 'frame'; did you mean 'frames'"),
    ("model.py:clip|frames:0", "got frames '0', expected a number of frames, from 1 on"),
])
def test_a_model_that_takes_something_else_is_told_from_its_failure(desk: Path, model: str, said: str) -> None:
    printed = commanded(f"run --clips clips --model '{model}' -e saliency --out out", code=2)
    assert said in printed, printed
    assert not (desk / "out").exists()


def test_the_notebook_says_the_same_of_layouts(desk: Path) -> None:
    clip, image = torch.rand(2, 3, 4, 16, 16), torch.rand(2, 3, 16, 16)
    made = {name: models.from_file(f"model.py:{name}")()[0] for name in ("clip", "first", "image")}
    with pytest.raises(VxpError, match=r"takes clips as \[B, T, C, H, W\].*vxp\.frames_first\(model\)"):
        vxp.explain(made["first"], clip, "saliency")
    with pytest.raises(VxpError, match=r"takes images \[B, C, H, W\] and was given clips .*vxp\.late_fusion\(model\)"):
        vxp.explain(made["image"], clip, "saliency")
    with pytest.raises(VxpError, match="takes clips and was given an image"):
        vxp.explain(made["clip"], image, "saliency")
    assert vxp.explain(vxp.frames_first(made["first"]), clip, "saliency").shape == (2, 4, 16, 16)


def test_a_file_that_changes_after_the_run_began_is_refused(tmp_path: Path) -> None:
    items, source = opened(folder(tmp_path / "clips"))
    y4m(tmp_path / "clips" / "a one.y4m", planes(7))
    with pytest.raises(VxpError, match=rf"a one\.y4m: its planes have sha256:{digest(planes(7))}, expected "
                                       rf"sha256:{digest(planes(0))}, which were frozen when the run began"):
        source.load(items[0])


def test_a_stream_that_changes_on_its_way_is_refused(tmp_path: Path) -> None:
    """The packets of two encoders in one stream, which H.264 in a transport stream allows."""
    with av.open(str(tmp_path / "both.ts"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 24, "yuv420p"
        other = av.CodecContext.create("libx264", "w")
        other.width, other.height, other.pix_fmt, other.time_base = 48, 32, "yuv420p", Fraction(1, 25)
        for encoder, first in ((stream, 0), (other, 4)):
            for k in (*range(first, first + 4), None):
                frame = None if k is None else av.VideoFrame(48 if first else 32, 32 if first else 24, "yuv420p")
                if frame is not None:
                    frame.pts, frame.time_base = k, Fraction(1, 25)
                for packet in encoder.encode(frame):
                    packet.stream = stream
                    container.mux(packet)
    with pytest.raises(VxpError, match=r"frame 4 is yuv420p 48 x 32 .*the frames before it yuv420p 32 x 24"):
        _video.surveyed(tmp_path / "both.ts")


def test_names_that_become_equal_are_refused(tmp_path: Path) -> None:
    for name in ("a b.y4m", "a-b.y4m"):
        y4m(tmp_path / name, planes())
    with pytest.raises(VxpError, match=r"both become the item 'a-b\.y4m'"):
        opened(tmp_path)


def test_a_mask_needs_its_clip(tmp_path: Path) -> None:
    folder(tmp_path)
    np.save(tmp_path / "masks" / "z.npy", np.zeros((FRAMES, HEIGHT, WIDTH)))
    with pytest.raises(VxpError, match=r"z\.npy: a mask of 0 clips, expected one clip of this name"):
        opened(tmp_path)


def test_planes_of_another_kind_are_refused(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "rgb.mkv"), "w") as container:
        stream = container.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 32, 24, "bgr0"
        container.mux(stream.encode(av.VideoFrame(32, 24, "bgr0")))
        container.mux(stream.encode())
    with pytest.raises(VxpError, match=r"rgb\.mkv: planes of the kind bgr0, expected 8-bit YUV, such as yuv420p: convert it"):
        _video.surveyed(tmp_path / "rgb.mkv")


def test_without_the_decoder_the_command_says_what_to_install(desk: Path) -> None:
    """In a process of its own, in which importing PyAV fails as where it is not installed."""
    said = f"import sys; sys.modules['av'] = None; sys.argv = {['vxp', *shlex.split(f'{RUN} --clips clips')]}\n"
    done = subprocess.run([sys.executable, "-c", said + "from vxp import cli; cli.main()"], capture_output=True, text=True,
                          check=False)
    assert (done.returncode, "pip install 'vxp[video]'" in done.stderr) == (2, True), done.stderr
    assert "clips are read with PyAV, which is not installed" in done.stderr
    assert not (desk / "out").exists()
