"""Clips made for tests, by hand (YUV4MPEG2) or by PyAV's encoders, and models that take them."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray
from PIL import Image

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
            times: Sequence[int] | None = None, matrix: int = 2, levels: int = 0) -> Path:
    """The same through an encoder of FFmpeg, which need not give the same bytes twice; times are in ticks of a frame."""
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = frames[0][0].shape
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.colorspace, stream.codec_context.color_range = matrix, levels
        stream.codec_context.gop_size, stream.codec_context.thread_count = 4, 1
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


def copied(path: Path, to: Path, turn: int = 0) -> Path:
    """The packets of a file in another container, as they are; turned by so many degrees."""
    with av.open(str(path)) as source, av.open(str(to), "w") as container:
        stream = container.add_stream_from_template(source.streams.video[0])
        if turn:
            stream.set_display_rotation(turn)
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                container.mux(packet)
    return to


def digest(frames: Sequence[Planes]) -> str:
    return hashlib.sha256(b"".join(plane.tobytes() for frame in frames for plane in frame)).hexdigest()


NAMES = ("left", "right", "still")


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


def picture(path: Path) -> None:
    Image.fromarray(np.zeros((24, 32, 3), np.uint8)).save(path.with_suffix(".png"))
    path.with_suffix(".png").rename(path)


def made_desk(place: Path) -> Path:
    """A working folder with three clips and the models."""
    folder(place / "clips")
    (place / "model.py").write_text(MODEL)
    return place
