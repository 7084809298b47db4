"""What the commands share: the programs, the consoles, options, and what is said at the end."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from vxp.cli import mistakes
from vxp.errors import VxpError

if TYPE_CHECKING:
    from vxp.runs.cluster import Place

STOPPED = 130
"""Exit code of a run that Ctrl-C stopped."""

app = typer.Typer(name="vxp", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
                  help="Explain vision models and score the explanations by one protocol.")
data_app = typer.Typer(no_args_is_help=True, help="Get data that a task needs.")
app.add_typer(data_app, name="data")
board_app = typer.Typer(no_args_is_help=True, help="Keep records of submissions and build the leaderboard from them.")
app.add_typer(board_app, name="leaderboard")

console = Console()
errors = Console(stderr=True)

TaskName = Annotated[str | None, typer.Argument(metavar="TASK", help="A registered task, such as photos (see vxp list tasks).")]
Explainers = Annotated[list[str], typer.Option("--explainer", "-e", help="Name, name|parameter:value or file.py:name; "
                                               "repeatable; 'all' for every installed method.")]
Out = Annotated[Path, typer.Option("--out", "-o", callback=mistakes.folder, help="Folder to write; the same "
                                       "command goes on in the same folder.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Precision = Annotated[str, typer.Option(help="fp32 (reference), tf32 or bf16; declared in the result.")]
Compile = Annotated[bool, typer.Option("--compile", help="Have torch.compile make what predicts, which takes minutes to begin "
                                       "with; declared in the result.")]
ChannelsLast = Annotated[bool | None, typer.Option("--channels-last/--no-channels-last", help="How the weights of convolutions "
                                                   "lie; by default so on a CPU. Declared in the result.")]
Limit = Annotated[int | None, typer.Option(min=1, help="N items only, of every cluster in turn: the first of each, then the "
                                                "second of each; the result is open, and flagged `limited`.")]
Until = Annotated[str | None, typer.Option(help="Stop as soon as this is decided: separated (every pair of explainers, and "
                                           "each from the reference random), or width:W (every difference known to W); with "
                                           ":SCORE behind it by that score or metric alone. The result is open, and flagged "
                                           "`sequential`.")]
Metrics = Annotated[list[str] | None, typer.Option("--metrics", "-m", help="Metrics as id or id|parameter:value, separated "
                                                   "by commas or repeated; by default the task's own.")]
BatchSize = Annotated[int | None, typer.Option(min=1, help="Rows per model batch; by default the fastest.")]
Memory = Annotated[str | None, typer.Option(help="Bytes that the rows of a model batch take at most, such as 500MB; by default "
                                            "2GB.")]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads; by default one per core.")]
Executor = Annotated[str, typer.Option(help="Who does the units of work: local, this process; or ray, the workers of a Ray "
                                       "cluster (pip install 'vxp[ray]').")]
Address = Annotated[str | None, typer.Option(help="Of the head of the Ray cluster, HOST:PORT; by default the cluster of this "
                                             "machine, or one that is begun here for the run.")]
Workers = Annotated[int | None, typer.Option(min=1, help="Workers of the cluster; by default as many as there is room for.")]
GpusPerWorker = Annotated[float | None, typer.Option(min=0.0, help="GPUs of a worker, also a part of one, such as 0.5; by "
                                                     "default 1 on --device cuda.")]
Images = Annotated[Path | None, typer.Option(help="Your own images instead of TASK (an open task): a folder, a manifest (.csv, "
                                             ".parquet), or ID:DIR, your copy of a data set such as voc, coco or "
                                             "imagenet-val.")]
Clips = Annotated[Path | None, typer.Option(help="Your own clips instead of TASK (an open task): a folder of video files, "
                                            "or a manifest (.csv, .parquet); needs the extra `video`.")]
Features = Annotated[Path | None, typer.Option(help="Features of your own videos instead of TASK (an open task): an .h5 file "
                                               "as for TVSum and SumMe; needs the extra `h5`.")]
Concepts = Annotated[Path | None, typer.Option(help="Examples of concepts beside --images: a folder for each, with the folders "
                                               "on and off, or with images beside a folder random; explanations are then "
                                               "scores of these concepts.")]
Frames = Annotated[int | None, typer.Option(min=1, help="Frames of a clip that the model is shown; by default the model's own "
                                            "number, or 16.")]
Layout = Annotated[str | None, typer.Option(help="How your model takes clips: bcthw, or btchw as those of transformers.")]
Fusion = Annotated[str | None, typer.Option(help="How a model of images sees clips: its logits for every frame, fused by "
                                            "log-mean-exp (the default), mean or max.")]
ModelName = Annotated[str | None, typer.Option("--model", help="A model by name or file.py:factory, instead of the task's.")]
Results = Annotated[list[Path], typer.Argument(metavar="RESULT|BUNDLE ...", help="result.json or its folder, or a bundle.")]
Data = Annotated[Path | None, typer.Option(help="Where your copy of the task's data is (ImageNet).")]
Records = Annotated[Path, typer.Option(help="The folder of the records.")]


def place(executor: str, address: str | None, workers: int | None, gpus: float | None) -> Place | None:
    """Where the workers of a cluster are; None for this process. VxpError for options that do not go together."""
    if executor not in ("local", "ray"):
        raise VxpError(f"--executor {executor!r} is unknown; expected local or ray")
    if executor == "ray":
        from vxp.runs.cluster import Place

        return Place(address, workers, gpus)
    given = {"--address": address, "--workers": workers, "--gpus-per-worker": gpus}
    if named := [name for name, value in given.items() if value is not None]:
        raise VxpError(f"{', '.join(named)} is for the workers of a cluster: add --executor ray, or leave it out")
    return None


def next_(done: str, what: str, command: str) -> None:
    """Say what was done, and the command that goes on."""
    console.print(f"{done}\n{what}: {command}", soft_wrap=True, highlight=False, markup=False)


def pair(text: str) -> tuple[str, str | float | int | bool]:
    """`name:value` as a parameter: a number or truth value where it reads as one."""
    name, colon, value = text.partition(":")
    if not colon or not name:
        raise VxpError(f"--parameter {text!r}: expected name:value")
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return name, kind(value)
    return name, {"true": True, "false": False}.get(value.lower(), value)


def split(asked: list[str] | None) -> tuple[str, ...]:
    return tuple(part.strip() for text in asked or () for part in text.split(",") if part.strip())
