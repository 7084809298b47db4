"""One's own clips: how files are decoded, frozen and sampled, what is refused, and the whole way from run to verify. All clips
are made here, by hand (YUV4MPEG2) or by PyAV's encoders."""

from __future__ import annotations

import hashlib
import json
import re
import shlex
import shutil
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
import torchvision
import vxp
import vxp_schemas
from bundle_tools import STATEMENT, commanded
from numpy.typing import NDArray
from PIL import Image
from safetensors.numpy import load_file
from safetensors.torch import save_file
from vxp import datasets, division, models, tasks
from vxp.core import VxpError
from vxp.datasets import _video, _yuv, own_clips
from vxp.models import clips as of_clips

FRAMES, WIDTH, HEIGHT = 12, 32, 24
SIZE = (4, 16, 16)
Planes = list[NDArray[np.uint8]]

MODEL = '''
"""Models of clips and of images: a convolution, a mean, and a head."""
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, conv):
        super().__init__()
        torch.manual_seed(0)
        self.features = nn.Sequential(conv(3, 6, 3, padding=1), nn.ReLU())
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        return self.head(self.features(x).flatten(2).mean(2))

class Said:
    def __init__(self, logits):
        self.logits = logits

class First(Net):
    """As those of transformers: frames before channels, and the logits among other things."""
    def forward(self, x):
        return Said(super().forward(x.transpose(1, 2)))

FACTS = {"input_size": (4, 16, 16), "mean": (0.5,) * 3, "std": (0.25,) * 3, "class_names": ("left", "right", "still")}

def clip():
    return Net(nn.Conv3d), FACTS

def first():
    return First(nn.Conv3d), FACTS

def image():
    return Net(nn.Conv2d), {**FACTS, "input_size": 16}

def wrong():
    return Net(nn.Conv3d), {**FACTS, "input_size": 16}
'''


def planes(seed: int = 0, frames: int = FRAMES, size: tuple[int, int] = (WIDTH, HEIGHT)) -> list[Planes]:
    """Y, U and V of 4:2:0 frames in which a square moves over a still ground."""
    width, height = size
    rng = np.random.default_rng(seed)
    ground = rng.integers(16, 236, (height, width), dtype=np.uint8)
    chroma = rng.integers(60, 200, (2, -(-height // 2), -(-width // 2)), dtype=np.uint8)
    found = []
    for k in range(frames):
        luma = ground.copy()
        luma[4:12, k : k + 8] = 235
        found.append([luma, *chroma])
    return found


def y4m(path: Path, frames: Sequence[Planes], rate: str = "25:1") -> Path:
    """A clip written by hand, so that nobody's encoder stands between the planes and the file."""
    height, width = frames[0][0].shape
    header = f"YUV4MPEG2 W{width} H{height} F{rate} Ip A1:1 C420jpeg\n".encode()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(header + b"".join(b"FRAME\n" + b"".join(p.tobytes() for p in frame) for frame in frames))
    return path


def encoded(path: Path, frames: Sequence[Planes], codec: str = "libx264", *, rate: Fraction = Fraction(25),
            times: Sequence[int] | None = None, matrix: int = 2, levels: int = 0, turn: int = 0) -> Path:
    """The same through an encoder of FFmpeg; times are in ticks of a frame."""
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = frames[0][0].shape
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.colorspace, stream.codec_context.color_range = matrix, levels
        stream.codec_context.gop_size, stream.codec_context.thread_count = 4, 1
        if turn:
            stream.set_display_rotation(turn)
        for k, frame in enumerate(frames):
            made = av.VideoFrame(width, height, "yuv420p")
            for plane, values in zip(made.planes, frame, strict=True):
                rows = np.zeros((plane.height, plane.line_size), np.uint8)
                rows[:, : plane.width] = values
                plane.update(rows.tobytes())
            made.colorspace, made.color_range = matrix, levels
            made.pts, made.time_base = k if times is None else times[k], 1 / rate
            container.mux(stream.encode(made))
        container.mux(stream.encode())
    return path


def digest(frames: Sequence[Planes]) -> str:
    return hashlib.sha256(b"".join(plane.tobytes() for frame in frames for plane in frame)).hexdigest()


def opened(clips: Path, size: tuple[int, ...] = SIZE, names: Sequence[str] = ()) -> tuple[list[datasets.Item], datasets.Source]:
    return own_clips.opened(clips, size, names)


# ---------------------------------------------------------------------------------------------------------------- decoding


def test_the_digest_is_that_of_the_planes_whatever_holds_them(tmp_path: Path) -> None:
    """`ffmpeg -i FILE -f rawvideo - | sha256sum` prints it too: the planes one after the other, rows without padding."""
    frames = planes(size=(33, 25))  # chroma of half as many rows and columns, rounded up
    for path in (y4m(tmp_path / "a.y4m", frames), encoded(tmp_path / "a.mkv", frames, "ffv1")):
        video = _video.surveyed(path, [(0, None), (3, 7)])
        assert (video.frames, video.rate, video.format.size) == (FRAMES, 25, (33, 25))
        assert video.digests == {(0, None): f"sha256:{digest(frames)}", (3, 7): f"sha256:{digest(frames[3:7])}"}
        assert _video.read(path, video.format, (3, 7), [4])[1] == f"sha256:{digest(frames[3:7])}"


def test_a_container_changes_nothing(tmp_path: Path) -> None:
    seen = {tuple(_video.surveyed(encoded(tmp_path / f"a.{end}", planes())).digests.values()) for end in ("mp4", "mkv", "ts")}
    assert len(seen) == 1


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
    """spec 5.15 prints them."""
    assert {(m, s): _yuv.coefficients(m, s) for m in _yuv.MATRICES for s in _yuv.LEVELS} == {
        ("bt601", "limited"): (76309, 104597, 25675, 53279, 132201), ("bt601", "full"): (65536, 91881, 22553, 46802, 116130),
        ("bt709", "limited"): (76309, 117489, 13975, 34925, 138438), ("bt709", "full"): (65536, 103206, 12276, 30679, 121609)}


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
    frames = planes()
    upright = _video.surveyed(encoded(tmp_path / "a.mp4", frames))
    turned = _video.surveyed(encoded(tmp_path / "b.mp4", frames, turn=90))
    assert (upright.format.size, turned.format.size) == ((WIDTH, HEIGHT), (HEIGHT, WIDTH))
    assert turned.digests == upright.digests
    [one], _ = _video.read(tmp_path / "a.mp4", upright.format, (0, 1), [0])
    [other], _ = _video.read(tmp_path / "b.mp4", turned.format, (0, 1), [0])
    assert np.array_equal(other, np.rot90(one, turned.format.turns))
    assert turned.format.turns in (1, 3)


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


def folder(place: Path) -> Path:
    """Three clips, one with a mask, in three containers."""
    y4m(place / "a one.y4m", planes(0))
    encoded(place / "b.mp4", planes(1))
    encoded(place / "c.mkv", planes(2, frames=20))
    inside = np.zeros((FRAMES, HEIGHT, WIDTH), np.uint8)
    for k in range(FRAMES):
        inside[k, 4:12, k : k + 8] = 1
    (place / "masks").mkdir()
    np.save(place / "masks" / "b.npy", inside)
    return place


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


NAMES = ("left", "right", "still")
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
    assert (task.id, task.dataset["id"], task.cluster_key, task.kind.id) == ("open-clips.set-csv", "clips-set-csv", "cluster",
                                                                             "heatmap3d")
    assert task.document["targets"] == "list"


def loaded(place: Path, name: str = "clip") -> models.Model:
    (place / "model.py").write_text(MODEL)
    return models.load(f"{place / 'model.py'}:{name}", clips=True)


# ----------------------------------------------------------------------------------------------------------------- refusals


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with three clips and the models."""
    folder(tmp_path / "clips")
    (tmp_path / "model.py").write_text(MODEL)
    monkeypatch.chdir(tmp_path)
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


def picture(path: Path) -> None:
    Image.fromarray(np.zeros((24, 32, 3), np.uint8)).save(path.with_suffix(".png"))
    path.with_suffix(".png").rename(path)


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
    ("--clips clips --images clips", "one of the three"),
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


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_clip_model_of_torchvision_takes_weights_of_a_file(tmp_path: Path, suffix: str) -> None:
    torch.manual_seed(0)
    module = torchvision.models.video.mc3_18(weights=None, num_classes=3)
    file = tmp_path / f"mine{suffix}"
    torch.save(module.state_dict(), file) if suffix == ".pth" else save_file(module.state_dict(), file)
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
    items, source = opened(desk / "clips")
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
