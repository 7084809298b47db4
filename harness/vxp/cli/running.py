"""Commands that explain and score."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer
import vxp_schemas
from rich.filesize import decimal
from rich.table import Table

from vxp.cli import mistakes
from vxp.cli.options import (
    Address,
    BatchSize,
    ChannelsLast,
    Clips,
    Compile,
    Concepts,
    Data,
    Device,
    Executor,
    Explainers,
    Features,
    Frames,
    Fusion,
    GpusPerWorker,
    Images,
    Layout,
    Limit,
    Memory,
    Metrics,
    ModelName,
    Out,
    Precision,
    TaskName,
    Threads,
    Until,
    Workers,
    app,
    console,
    data_app,
    errors,
    next_,
    pair,
    place,
    split,
)
from vxp.errors import VxpError
from vxp.runs import progress


@app.command()
def run(
    task: TaskName = None, explainer: Explainers = [], out: Out = Path("vxp-run"), images: Images = None,  # noqa: B006
    model: ModelName = None, metrics: Metrics = None, device: Device = "auto", precision: Precision = "fp32",
    limit: Limit = None, batch_size: BatchSize = None, memory: Memory = None, threads: Threads = None, data: Data = None,
    clips: Clips = None, features: Features = None, frames: Frames = None, layout: Layout = None, fusion: Fusion = None,
    compile: Compile = False, channels_last: ChannelsLast = None, until: Until = None, executor: Executor = "local",
    address: Address = None, workers: Workers = None, gpus_per_worker: GpusPerWorker = None, concepts: Concepts = None,
) -> None:
    """Explain a task's items and score the explanations: one result per explainer, the references included."""
    from vxp.runs import commands

    if not explainer:
        raise VxpError("no explainer: name one with --explainer (see vxp list explainers), or --explainer all")
    model = commands.formed(model, frames, layout, fusion)
    where = place(executor, address, workers, gpus_per_worker)
    order = commands.Order(task, images, model, data, tuple(explainer), split(metrics), device, precision, limit,
                           batch_size, threads, memory, clips, compile, channels_last, where, until, features, concepts)
    with progress.shown(errors) as shown:
        paths = commands.run_(order, out, shown)
    _finish(out, paths)


@app.command()
def plan(
    task: TaskName = None, explainer: Explainers = [], images: Images = None, model: ModelName = None,  # noqa: B006
    metrics: Metrics = None, device: Device = "auto", limit: Limit = None, data: Data = None, clips: Clips = None,
    features: Features = None, frames: Frames = None, layout: Layout = None, fusion: Fusion = None, until: Until = None,
    items: Annotated[int | None, typer.Option(min=1, help="Plan for so many items in place of the task's.")] = None,
    rate: Annotated[float | None, typer.Option(min=0.001, help="Model passes a second of one worker, as a run shows them "
                                               "(rows/s): adds the hours.")] = None,
    workers: Annotated[int, typer.Option(min=1, help="Workers that share the passes.")] = 1, concepts: Concepts = None,
    json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Say what a run takes, without a map or a score: units, rows, model passes, bytes and, with --rate, hours.

    A unit is a file of maps or scores of 8 items. Rows asked are those that the metrics of all explainers ask for, rows run
    those that are run, each once; rows shared are read by all explainers. Model passes are the rows, the explainers' own
    passes and those of maps made again; a backward pass counts as one. Bytes are those of the contents: maps at most, on the
    input grid. A metric that chooses by an answer what it asks next is counted with made-up answers. `--explainer all` takes
    what declares itself for this model; a run tries each, and may leave some out. With `--until` a run takes as many items as
    its question needs: the plan says when it looks, and what it takes at most.
    """
    from vxp.runs import commands

    if not explainer:
        raise VxpError("no explainer: name one with --explainer (see vxp list explainers), or --explainer all")
    model = commands.formed(model, frames, layout, fusion)
    order = commands.Order(task, images, model, data, tuple(explainer), split(metrics), device, limit=limit, clips=clips,
                           until=until, features=features, concepts=concepts)
    found = commands.plan(order, items)
    hours = None if rate is None else found.hours(rate, workers)
    if json:
        said = found.document() | ({} if hours is None else {"rate": rate, "workers": workers, "hours": hours})
        console.print_json(data=said)
        return
    references, size, most = sum(one.reference for one in found.explainers), found.bytes, "at most " if found.looks else ""
    looks = [(f"look {number}", f"after {look.items:,} items of {look.clusters:,} clusters, {look.passes:,} model passes"
              + ("" if rate is None else f", {found.hours(rate, workers, look.passes):,.2f} hours"))
             for number, look in enumerate(found.looks, 1)]
    lines = [
        ("items", f"{most}{found.items:,} in {found.ranges:,} ranges"), *looks,
        ("explainers", f"{len(found.explainers)}, {references} of them references"),
        ("units", f"{most}{found.units:,} files of work"),
        ("rows", f"{most}{found.rows_asked:,} asked, {found.rows_run:,} run, {found.rows_shared:,} of them shared by all "
                 "explainers"),
        ("model passes", f"{most}{found.passes:,}"),
        ("bytes", f"maps at most {decimal(size.maps)}, shared rows {decimal(size.shared)}, scores {decimal(size.scores)}"),
        ("hours", "with --rate ROWS_PER_SECOND" if hours is None or rate is None else
         f"{most}{hours:,.2f} with {workers} worker{'' if workers == 1 else 's'} of {rate:g} passes/s"),
    ]
    shown = Table.grid(padding=(0, 2))
    for name, text in lines:
        shown.add_row(name, text)
    each = Table("explainer", *("scores", "rows asked", "rows run", "maps again", "model passes"), box=None)
    each.columns[0].overflow = "fold"
    for column in each.columns[1:]:
        column.justify = "right"
    for one in found.explainers:
        each.add_row(one.name, *(f"{n:,}" for n in (one.scores, one.asked, one.run, one.again, one.passes)))
    console.print(shown, each)


@app.command()
def explain(
    task: TaskName = None, explainer: Explainers = [], out: Out = Path("vxp-set"), images: Images = None,  # noqa: B006
    model: ModelName = None, device: Device = "auto", precision: Precision = "fp32", limit: Limit = None,
    batch_size: BatchSize = None, memory: Memory = None, threads: Threads = None, data: Data = None,
    clips: Clips = None, features: Features = None, frames: Frames = None, layout: Layout = None, fusion: Fusion = None,
    compile: Compile = False,
    channels_last: ChannelsLast = None, executor: Executor = "local", address: Address = None, workers: Workers = None,
    gpus_per_worker: GpusPerWorker = None, concepts: Concepts = None,
) -> None:
    """Write one explanation set: the maps of one explainer for a task."""
    from vxp.runs import commands

    if len(explainer) != 1:
        raise VxpError(f"an explanation set has one explainer, got {len(explainer)}: name one with --explainer")
    model = commands.formed(model, frames, layout, fusion)
    where = place(executor, address, workers, gpus_per_worker)
    order = commands.Order(task, images, model, data, tuple(explainer), (), device, precision, limit, batch_size, threads,
                           memory, clips, compile, channels_last, where, features=features, concepts=concepts)
    with progress.shown(errors) as shown:
        path = commands.explain(order, out, shown)
    next_(f"Wrote {path}", "Score it", commands.to_score(order, out))


@app.command()
def fit(
    explainer: Annotated[str, typer.Argument(help="Name, or name|parameter:value of its training, such as tame|epochs:8.")],
    model: Annotated[str, typer.Option("--model", help="The model to explain: by name or file.py:factory.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The weights to write, NAME.safetensors; their card is NAME.json.")],
    data: Annotated[str | None, typer.Option(help="A data set to train on, such as stamps-training.")] = None,
    images: Images = None,
    count: Annotated[int, typer.Option("--count", "-n", min=1, help="How many images, of those that the model gets "
                                       "right.")] = 2000,
    recipe: Annotated[str | None, typer.Option(help="Published parameters by backbone (vgg16, resnet50, ...); by default "
                                               "those for the model.")] = None,
    seed: Annotated[int, typer.Option(min=0)] = 0, device: Device = "auto", precision: Precision = "fp32",
    threads: Threads = None,
) -> None:
    """Train an explainer for a model. The same command goes on after the last epoch that was finished."""
    from vxp.runs import commands

    lesson = commands.Lesson(explainer, model, data, images, count, recipe, seed, device, precision, threads)
    with progress.shown(errors) as shown:
        card = commands.fit(lesson, out, shown)
    use = shlex.quote(f"{card['explainer']}|weights:{out}")
    last = ", ".join(f"{name} {value:g}" for name, value in card["log"][-1].items()) if card["log"] else "no epoch"
    console.print(f"Wrote {out} and its card: {len(card['trained_classes'])} classes, last epoch {last}\n"
                  f"Use it: --explainer {use}", soft_wrap=True, markup=False, highlight=False)


@app.command()
def score(
    set_: Annotated[Path, typer.Argument(metavar="SET", callback=mistakes.folder, help="A folder that vxp explain "
                                             "wrote.")],
    out: Out = Path("vxp-scores"), metrics: Metrics = None, explainer: Explainers = [],  # noqa: B006
    images: Images = None, model: ModelName = None, device: Device = "auto", precision: Precision = "fp32",
    limit: Limit = None, batch_size: BatchSize = None, memory: Memory = None, threads: Threads = None, data: Data = None,
    clips: Clips = None, features: Features = None, frames: Frames = None, layout: Layout = None, fusion: Fusion = None,
    compile: Compile = False,
    channels_last: ChannelsLast = None, executor: Executor = "local", address: Address = None, workers: Workers = None,
    gpus_per_worker: GpusPerWorker = None, concepts: Concepts = None,
) -> None:
    """Score a stored explanation set beside the references."""
    from vxp.runs import commands

    model = commands.formed(model, frames, layout, fusion)
    where = place(executor, address, workers, gpus_per_worker)
    order = commands.Order(None, images, model, data, tuple(explainer), split(metrics), device, precision, limit,
                           batch_size, threads, memory, clips, compile, channels_last, where, features=features,
                           concepts=concepts)
    with progress.shown(errors) as shown:
        paths = commands.score(order, set_, out, shown)
    _finish(out, paths)


@app.command("import")
def import_(
    task: TaskName = None,
    maps: Annotated[Path | None, typer.Option(help="A .safetensors or .npy with all maps [N, h, w], of clips [N, t, h, w], in "
                                              "the task's order, or a folder with a file for each item; of scores of parts of "
                                              "videos a .json or .csv.")] = None,
    name: Annotated[str, typer.Option(help="Id of the method: a-z 0-9 . _ -.")] = "",
    signed: Annotated[bool | None, typer.Option("--signed/--unsigned", help="Whether negative values mean evidence "
                                                "against.")] = None,
    out: Out = Path("vxp-set"),
    resample: Annotated[str, typer.Option(help="How maps grow to the input: bilinear, nearest or none; frames of maps of "
                                       "clips whose steps of time stay apart. Of parts of videos their unit: fragment, frame "
                                       "or second.")] = "bilinear",
    class_independent: Annotated[bool, typer.Option("--class-independent", help="Maps do not depend on the class.")] = False,
    family: Annotated[str, typer.Option(help="gradient, cam, perturbation, attention, ... or other.")] = "other",
    source: Annotated[str, typer.Option(help="The paper or other source of the method.")] = "",
    parameter: Annotated[list[str] | None, typer.Option(help="name:value; repeatable.")] = None,
    repo: Annotated[str, typer.Option(help="Address of the repository of the code.")] = "",
    commit: Annotated[str, typer.Option(help="Commit of the code.")] = "",
    forwards: Annotated[int, typer.Option(min=0, help="Forward passes per map.")] = 0,
    backwards: Annotated[int, typer.Option(min=0, help="Backward passes per map.")] = 0,
    milliseconds: Annotated[float, typer.Option("--ms", min=0, help="Milliseconds per map.")] = 0.0,
    draws: Annotated[bool, typer.Option("--draws", help="The method draws random numbers.")] = False,
    explanandum: Annotated[str | None, typer.Option(help="What scores of the parts of videos explain: mean-score, rank-order, "
                                                    "frame-score or class; where their file does not say.")] = None,
    inclusive: Annotated[bool, typer.Option("--inclusive", help="Ends of parts are inclusive, where their file does not "
                                            "say.")] = False,
    kind: Annotated[str | None, typer.Option(help="What the explanations are: regions, counterfactual, ...; by default the "
                                             "first kind that the task admits.")] = None,
    images: Images = None, model: ModelName = None, device: Device = "auto", precision: Precision = "fp32",
    limit: Limit = None, batch_size: BatchSize = None, memory: Memory = None, threads: Threads = None, data: Data = None,
    clips: Clips = None, features: Features = None, frames: Frames = None, layout: Layout = None, fusion: Fusion = None,
) -> None:
    """Make an explanation set of maps that were made elsewhere (vxp data export writes the images and classes)."""
    from vxp.runs import commands, importing

    if maps is None or not name or signed is None:
        raise VxpError("import needs --maps FILE|DIR, --name METHOD, and --signed or --unsigned: only you know them")
    given = dict(pair(text) for text in parameter or [])
    method = importing.Method(name, signed, resample, not class_independent, family, source, given, repo, commit, forwards,
                                  backwards, milliseconds, not draws, explanandum, inclusive, kind)
    model = commands.formed(model, frames, layout, fusion)
    order = commands.Order(task, images, model, data, (), (), device, precision, limit, batch_size, threads, memory, clips,
                           features=features)
    with progress.shown(errors) as shown:
        path = commands.import_(order, maps, method, out, shown)
    next_(f"Wrote {path}", "Score it", commands.to_score(order, out))


@data_app.command("get")
def get(name: Annotated[str, typer.Argument(help="What to get: stamps.")]) -> None:
    """Find or fetch the data of a task into the shared cache."""
    from vxp.maintain import data_get

    console.print(f"{name}: {data_get.get(name)}", soft_wrap=True)


@data_app.command("export")
def export(
    task: TaskName = None, out: Out = Path("vxp-items"), images: Images = None, model: ModelName = None,
    device: Device = "auto", limit: Limit = None, data: Data = None,
    clips: Clips = None, features: Features = None, frames: Frames = None, layout: Layout = None, fusion: Fusion = None,
) -> None:
    """Write a task's images, or frames of clips, as PNG and the classes to explain as CSV, for methods outside Python."""
    from vxp.runs import commands

    model = commands.formed(model, frames, layout, fusion)
    order = commands.Order(task, images, model, data, (), (), device, "fp32", limit, 16, None, None, clips,
                           features=features)
    with progress.shown(errors) as shown:
        path = commands.export(order, out, shown)
    what = (f"a row per part of a video into {out / 'scores.csv'}: video,start,end,score, with its item_id and half-open frames"
            if (out / "videos.json").exists() else
            f"a map per row into {out / 'maps'}: 00000.npy, ... (or .safetensors, or grey .png)")
    next_(f"Wrote {path}\nWrite {what}",
          "Maps come back with (--unsigned where they have no negative evidence)", commands.to_import(order, out))


def _finish(out: Path, paths: list[Path]) -> None:
    from vxp import report
    from vxp.report.read import read

    run = read(out)
    console.print(report.heading(run), highlight=False, markup=False, soft_wrap=True)
    for shown in report.console_tables(run, console.width):
        console.print(shown)
    if marks := report.legend(run):
        console.print(marks, highlight=False, soft_wrap=True)
    first = vxp_schemas.loads(paths[0].read_bytes())
    console.print("Scores:")
    for score in first["scores"]:
        console.print(f"  {score['signature']}", highlight=False, markup=False, soft_wrap=True)
    rows = first["cost"]["run"]
    console.print(f"Rows: {rows['rows_asked']} asked, {rows['rows_run']} run, {rows['rows_shared']} of them for all "
                  f"{rows['explainers']} explainers", highlight=False, soft_wrap=True)
    console.print(f"Results: {out / 'results'}\nReport:  {report.write(run)}", soft_wrap=True)
