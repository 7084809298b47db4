"""The command `vxp`: parses, calls, and returns an exit code. 0 done, 1 does not conform, 2 bad input, 3 could not complete,
4 warnings under --strict, 130 stopped."""

from __future__ import annotations

import contextlib
import logging
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
import vxp_schemas
from rich.console import Console
from rich.logging import RichHandler
from rich.table import Table

import vxp
from vxp import conformance as conformity
from vxp import validation as validator
from vxp.bundles import cite as citing
from vxp.bundles import sealing
from vxp.bundles import signing as signatures
from vxp.documents import findings, store
from vxp.documents import migrate as migrating
from vxp.errors import NotWrittenError, VxpError
from vxp.runs import progress

if TYPE_CHECKING:
    # these take torch, which takes seconds to import: the package imports them where a command names them, vxp.NAME
    import vxp.audit
    import vxp.bench
    import vxp.datasets
    import vxp.explainers
    import vxp.leaderboard
    import vxp.metrics
    import vxp.models
    import vxp.report
    import vxp.tasks

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
Out = Annotated[Path, typer.Option("--out", "-o", help="Folder to write; the same command goes on in the same folder.")]
Device = Annotated[str, typer.Option(help="auto, cpu or cuda.")]
Precision = Annotated[str, typer.Option(help="fp32 (reference), tf32 or bf16; declared in the result.")]
Limit = Annotated[int | None, typer.Option(min=1, help="N items only, of every cluster in turn: the first of each, then the "
                                                "second of each; the result is open, and flagged `limited`.")]
Metrics = Annotated[list[str] | None, typer.Option("--metrics", "-m", help="Metrics as id or id|parameter:value, separated "
                                                   "by commas or repeated; by default the task's own.")]
BatchSize = Annotated[int | None, typer.Option(min=1, help="Rows per model batch; by default the fastest.")]
Memory = Annotated[str | None, typer.Option(help="Bytes that the rows of a model batch take at most, such as 500MB; by default "
                                            "2GB.")]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads; by default one per core.")]
Images = Annotated[Path | None, typer.Option(help="Your own images instead of TASK (an open task): a folder, a manifest (.csv, "
                                             ".parquet), or ID:DIR, your copy of a data set such as voc, coco or "
                                             "imagenet-val.")]
Clips = Annotated[Path | None, typer.Option(help="Your own clips instead of TASK (an open task): a folder of video files, or a "
                                            "manifest (.csv, .parquet); needs the extra `video`.")]
Frames = Annotated[int | None, typer.Option(min=1, help="Frames of a clip that the model is shown; by default the model's own "
                                            "number, or 16.")]
Layout = Annotated[str | None, typer.Option(help="How your model takes clips: bcthw, or btchw as those of transformers.")]
Fusion = Annotated[str | None, typer.Option(help="How a model of images sees clips: its logits for every frame, fused by "
                                            "log-mean-exp (the default), mean or max.")]
ModelName = Annotated[str | None, typer.Option("--model", help="A model by name or file.py:factory, instead of the task's.")]
Results = Annotated[list[Path], typer.Argument(metavar="RESULT|BUNDLE ...", help="result.json or its folder, or a bundle.")]
Data = Annotated[Path | None, typer.Option(help="Where your copy of the task's data is (ImageNet).")]


@app.command("list")
def list_(what: Annotated[str, typer.Argument(metavar="tasks|metrics|explainers|models|datasets")]) -> None:
    """List what can be named on the command line."""
    kinds = {"tasks": _tasks, "metrics": _metrics, "explainers": _explainers, "models": _models, "datasets": _datasets}
    if what not in kinds:
        raise VxpError(f"cannot list {what!r}; expected one of {', '.join(kinds)}")
    console.print(kinds[what]())


@app.command()
def run(
    task: TaskName = None, explainer: Explainers = [], out: Out = Path("vxp-run"), images: Images = None,  # noqa: B006
    model: ModelName = None, metrics: Metrics = None, device: Device = "auto", precision: Precision = "fp32",
    limit: Limit = None, batch_size: BatchSize = None, memory: Memory = None, threads: Threads = None, data: Data = None,
    clips: Clips = None, frames: Frames = None, layout: Layout = None, fusion: Fusion = None,
) -> None:
    """Explain a task's items and score the explanations: one result per explainer, the references included."""
    from vxp.runs import commands

    if not explainer:
        raise VxpError("no explainer: name one with --explainer (see vxp list explainers), or --explainer all")
    model = commands.formed(model, frames, layout, fusion)
    order = commands.Order(task, images, model, data, tuple(explainer), _split(metrics), device, precision, limit,
                           batch_size, threads, memory, clips)
    with progress.shown(errors) as shown:
        paths = commands.run_(order, out, shown)
    _finish(out, paths)


@app.command()
def explain(
    task: TaskName = None, explainer: Explainers = [], out: Out = Path("vxp-set"), images: Images = None,  # noqa: B006
    model: ModelName = None, device: Device = "auto", precision: Precision = "fp32", limit: Limit = None,
    batch_size: BatchSize = None, memory: Memory = None, threads: Threads = None, data: Data = None,
    clips: Clips = None, frames: Frames = None, layout: Layout = None, fusion: Fusion = None,
) -> None:
    """Write one explanation set: the maps of one explainer for a task."""
    from vxp.runs import commands

    if len(explainer) != 1:
        raise VxpError(f"an explanation set has one explainer, got {len(explainer)}: name one with --explainer")
    model = commands.formed(model, frames, layout, fusion)
    order = commands.Order(task, images, model, data, tuple(explainer), (), device, precision, limit, batch_size, threads,
                           memory, clips)
    with progress.shown(errors) as shown:
        path = commands.explain(order, out, shown)
    _next(f"Wrote {path}", "Score it", commands.to_score(order, out))


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
    set_: Annotated[Path, typer.Argument(metavar="SET", help="A folder that vxp explain wrote.")],
    out: Out = Path("vxp-scores"), metrics: Metrics = None, explainer: Explainers = [],  # noqa: B006
    images: Images = None, model: ModelName = None, device: Device = "auto", precision: Precision = "fp32",
    limit: Limit = None, batch_size: BatchSize = None, memory: Memory = None, threads: Threads = None, data: Data = None,
    clips: Clips = None, frames: Frames = None, layout: Layout = None, fusion: Fusion = None,
) -> None:
    """Score a stored explanation set beside the references."""
    from vxp.runs import commands

    model = commands.formed(model, frames, layout, fusion)
    order = commands.Order(None, images, model, data, tuple(explainer), _split(metrics), device, precision, limit,
                           batch_size, threads, memory, clips)
    with progress.shown(errors) as shown:
        paths = commands.score(order, set_, out, shown)
    _finish(out, paths)


@app.command("report")
def report_(folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that vxp run wrote.")]) -> None:
    """Write the report of a run again: one self-contained HTML file."""
    console.print(f"Report: {vxp.report.write(folder)}", soft_wrap=True)


@app.command()
def compare(
    results: Results, json_: Annotated[Path | None, typer.Option("--json", help="Also write it as JSON.")] = None,
    references: Annotated[bool, typer.Option("--references", help="Show each result against the references beside it as well; "
                                             "of one result that is what is shown.")] = False,
) -> None:
    """Compare results or bundles of one task and model, paired by item: who is tied for best. One result is compared with
    the references beside it."""
    from vxp.report import compare as comparing

    groups = comparing.compare(results)
    if json_ is not None:
        store.write_bytes(json_, comparing.as_json(groups))
    console.print("Paired by item, clusters resampled; p adjusted within each family of scores; "
                  "MDD: the smallest difference found with 80 % power.")
    for group in groups:
        console.print(f"\n{group.task['id']}@{group.task['version']}, {group.model['id']}@{group.model['version']}: "
                      f"{group.items} items in {group.clusters} clusters", highlight=False)
        for table in comparing.tables(group, references=references):
            console.print(table)


@app.command()
def bench(
    model: Annotated[str, typer.Option(help="The model whose forward passes are the bound.")] = "efficientnet-lite0",
    device: Device = "auto", threads: Annotated[int, typer.Option(min=1)] = 1, precision: Precision = "fp32",
    items: Annotated[int, typer.Option(min=1, help="Items per measurement.")] = 2,
    every: Annotated[bool, typer.Option("--catalogue", help="Also time every metric of the catalogue, and curves of "
                                        "clips.")] = False,
    peers: Annotated[bool, typer.Option("--peers", help="Also time quantus and captum on the same model and images.")] = False,
    validator_: Annotated[bool, typer.Option("--validator", help="The validator instead, on a bundle of 0.5 GB.")] = False,
    json_: Annotated[Path | None, typer.Option("--json", help="Also write the figures as JSON.")] = None,
) -> None:
    """Measure the harness against the bound: the same number of plain forward passes in the same run."""
    from vxp.runs import commands

    vxp.bench.main(console, model=model, device=commands.device(device), threads=threads, precision=precision, items=items,
                   json_path=json_, every=every, peers=peers, validator=validator_)


@app.command()
def conformance(
    command: Annotated[list[str] | None, typer.Argument(
        help="After --: the command of an implementation that speaks the line protocol; this harness where left out.")] = None,
    vectors: Annotated[Path | None, typer.Option(help="Folder of the vectors; by default the checkout's spec/vectors.")] = None,
    metrics: Annotated[str, typer.Option(help="Only these metrics, ids with commas.")] = "",
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds that one case may take.")] = conformity.TIMEOUT,
    json_: Annotated[Path | None, typer.Option("--json", help="Also write what became of every case as JSON.")] = None,
) -> None:
    """Run the conformance vectors through an implementation and print a matrix per metric."""
    raise typer.Exit(conformity.main(console, command or conformity.OURS, vectors=vectors, metrics=_split([metrics]),
                                     timeout=timeout, json_path=json_))


@app.command()
def seal(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR ...", help="Folders that vxp run or vxp score wrote.")],
    explainer: Annotated[str, typer.Option("--explainer", "-e", help="The method to submit, by its id or the id of its set.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The bundle to write: a new folder, or a file NAME.tar.")],
    submission: Annotated[Path, typer.Option(help="Who submits, under which licence, how parameters were chosen; a form is "
                                             "written where there is no such file.")] = Path("submission.json"),
    documentation: Annotated[Path | None, typer.Option(help="A folder of texts to go with it, such as METHOD.md.")] = None,
) -> None:
    """Seal the explanations and results of one method into a bundle that anybody can validate and verify."""
    digest = sealing.seal(folders, explainer, submission, out, documentation=documentation)
    _next(f"Sealed {out}\nRoot digest {digest}", "Check it", shlex.join(["vxp", "validate", str(out)]))


@app.command()
def validate(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="A folder or tar that vxp seal wrote.")],
    level: Annotated[str, typer.Option(help="structure, integrity, content, consistency or recompute; each includes those "
                                       "before it.")] = "consistency",
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 4 where there are warnings.")] = False,
    json_: Annotated[Path | None, typer.Option("--json", help="Write the report as JSON; - for standard output.")] = None,
    junit: Annotated[Path | None, typer.Option(help="Write it as JUnit XML.")] = None,
    sarif: Annotated[Path | None, typer.Option(help="Write it as SARIF 2.1.0.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write it as one page.")] = None,
    fix: Annotated[bool, typer.Option("--fix", help="Show what can be mended without loss.")] = False,
    write: Annotated[bool, typer.Option("--write", help="With --fix: mend it.")] = False,
) -> None:
    """Check a bundle by every rule. 0 no errors, 1 invalid, 3 could not complete, 4 warnings under --strict."""
    if write and not fix:
        raise VxpError("--write goes with --fix")
    if fix:
        for line in validator.fixes(bundle, write=write):
            console.print(line, soft_wrap=True, markup=False)

    def recompute(found: validator.Report) -> validator.Report:
        from vxp.runs import commands

        order = vxp.audit.Order(device=commands.device("auto"), threads=os.cpu_count() or 1)
        with progress.shown(errors) as shown:
            return vxp.audit.recomputed(found, bundle, order, shown)

    raise typer.Exit(validator.main(console, bundle, level=level, strict=strict, json_=json_, junit=junit, sarif=sarif,
                                     html=html, recompute=recompute))


@app.command()
def verify(
    bundle: Annotated[Path | None, typer.Argument(metavar="BUNDLE", help="A folder or tar that vxp seal wrote.")] = None,
    sample: Annotated[int | None, typer.Option(min=1, help="Items of each set that are computed again; 299 find a change of "
                                               "1 % of them with probability 0.95. By default all where that takes minutes, "
                                               "else 299.")] = None,
    every: Annotated[bool, typer.Option("--all", help="All items.")] = False,
    nonce: Annotated[str | None, typer.Option(help="Hexadecimal digits that the draw depends on; by default random.")] = None,
    opening: Annotated[Path | None, typer.Option(help="Take the nonce of this commitment, made before the bundle was "
                                                 "sealed.")] = None,
    beacon: Annotated[Path | None, typer.Option(help="Take the nonce of a round of drand's quicknet: its JSON, as you fetched "
                                                "it.")] = None,
    commit: Annotated[Path | None, typer.Option(help="Only write a commitment to a fresh nonce, and its opening beside "
                                                "it.")] = None,
    regenerate: Annotated[str | None, typer.Option(help="The explainer, as for vxp run: its code is run, and maps are made "
                                                   "again.")] = None,
    explain_timeout: Annotated[float, typer.Option(min=1.0, metavar="SECONDS", help="With --regenerate: the time that the "
                                                   "explainer has for a batch. Then it is ended, and the verdict is "
                                                   "incomplete.")] = 3600.0,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The statement to write; by default beside the "
                                             "bundle.")] = None,
    device: Device = "auto", precision: Precision = "fp32", batch_size: Annotated[int, typer.Option(min=1)] = 16,
    threads: Threads = None, images: Images = None, model: ModelName = None, data: Data = None,
    clips: Clips = None, frames: Frames = None, layout: Layout = None, fusion: Fusion = None,
) -> None:
    """Compute scores of a bundle again, from its maps and, where named, from its explainer. 0 reproduced, 1 not, 3 something
    that a verdict needs could not be computed."""
    from vxp.runs import commands

    if commit is not None and bundle is None:
        raise typer.Exit(vxp.audit.commit(console, commit))
    if bundle is None or commit is not None:
        raise VxpError("verify takes a BUNDLE, or --commit FILE alone")
    if sum(source is not None for source in (nonce, opening, beacon)) > 1 or (every and sample is not None):
        raise VxpError("verify takes one of --nonce, --opening and --beacon, and one of --sample and --all")
    if opening is not None:
        drawn = vxp.audit.nonces.opened(opening)
    else:
        drawn = vxp.audit.nonces.own(nonce) if beacon is None else vxp.audit.nonces.drawn(beacon)
    model = commands.formed(model, frames, layout, fusion)
    order = vxp.audit.Order(None if every else sample or vxp.audit.SAMPLE, drawn, regenerate, commands.device(device),
                            commands.precision(precision), batch_size, threads or os.cpu_count() or 1, data, images, model,
                            0.0 if every or sample is not None else vxp.audit.ALL_MINUTES, clips, explain_timeout)
    with progress.shown(errors) as shown:
        code = vxp.audit.main(console, bundle, order, out, shown)
    raise typer.Exit(code)


@app.command()
def sign(
    what: Annotated[Path | None, typer.Argument(metavar="BUNDLE|AUDIT", help="A bundle that you submit, or the statement "
                                                "(.json) of your audit.")] = None,
    key: Annotated[Path | None, typer.Option(help="Your private key, ed25519 in PEM.")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The envelope to write; by default beside what is "
                                             "signed.")] = None,
    replaces: Annotated[Path | None, typer.Option(help="With an audit: an earlier one of yours, which this one "
                                                  "withdraws.")] = None,
    withdraw: Annotated[bool, typer.Option("--withdraw", help="With a bundle: take the submission back.")] = False,
    reason: Annotated[str, typer.Option(help="With --withdraw: why, for readers of the board.")] = "",
    new_key: Annotated[Path | None, typer.Option(help="Write a new pair instead: NAME.pem, which stays with you, and "
                                                 "NAME.pub.pem.", metavar="NAME")] = None,
) -> None:
    """Sign a submission or an audit: a DSSE envelope over an in-toto statement about the bundle's root digest."""
    if new_key is not None:
        private, public, keyid = signatures.new_key(new_key)
        console.print(f"Private key, for you alone: {private}\nPublic key: {public}\nKey id: {keyid}", soft_wrap=True,
                      highlight=False, markup=False)
        return
    if what is None or key is None:
        raise VxpError("sign needs BUNDLE or AUDIT and --key PRIVATE.pem; vxp sign --new-key NAME writes a key")
    if withdraw != bool(reason):
        raise VxpError("--withdraw and --reason TEXT go together")
    written, kind = signatures.main(what, key, out, replaces=replaces, reason=reason or None)
    console.print(f"Signed: {written}, {kind}", soft_wrap=True, highlight=False, markup=False)


@app.command("explain-code")
def explain_code(code: Annotated[str, typer.Argument(help="A rule such as VXP-C002.")]) -> None:
    """Say what a rule of the validator asks for, why, and what to do."""
    rule = findings.rule(code)
    console.print(f"{rule.code}  {rule.title}\n\nlevel     {rule.level}\nseverity  {rule.severity}\nclause    {rule.clause}\n"
                  f"why       {rule.why}\ndo        {rule.fix}", soft_wrap=True, highlight=False, markup=False)


@app.command("import")
def import_(
    task: TaskName = None,
    maps: Annotated[Path | None, typer.Option(help="A .safetensors or .npy with all maps [N, h, w], of clips [N, t, h, w], in "
                                              "the task's order, or a folder with a file for each item.")] = None,
    name: Annotated[str, typer.Option(help="Id of the method: a-z 0-9 . _ -.")] = "",
    signed: Annotated[bool | None, typer.Option("--signed/--unsigned", help="Whether negative values mean evidence "
                                                "against.")] = None,
    out: Out = Path("vxp-set"),
    resample: Annotated[str, typer.Option(help="How maps grow to the input: bilinear, nearest or none; frames of maps of "
                                       "clips whose steps of time stay apart.")] = "bilinear",
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
    images: Images = None, model: ModelName = None, device: Device = "auto", precision: Precision = "fp32",
    limit: Limit = None, batch_size: BatchSize = None, memory: Memory = None, threads: Threads = None, data: Data = None,
    clips: Clips = None, frames: Frames = None, layout: Layout = None, fusion: Fusion = None,
) -> None:
    """Make an explanation set of maps that were made elsewhere (vxp data export writes the images and classes)."""
    from vxp.runs import commands, importing

    if maps is None or not name or signed is None:
        raise VxpError("import needs --maps FILE|DIR, --name METHOD, and --signed or --unsigned: only you know them")
    given = dict(_pair(text) for text in parameter or [])
    method = importing.Method(name, signed, resample, not class_independent, family, source, given, repo, commit, forwards,
                                  backwards, milliseconds, not draws)
    model = commands.formed(model, frames, layout, fusion)
    order = commands.Order(task, images, model, data, (), (), device, precision, limit, batch_size, threads, memory, clips)
    with progress.shown(errors) as shown:
        path = commands.import_(order, maps, method, out, shown)
    _next(f"Wrote {path}", "Score it", commands.to_score(order, out))


@app.command()
def migrate(
    document: Annotated[Path, typer.Argument(metavar="DOC", help="A document of an earlier version of the standard.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The new document.")] = Path("migrated.json"),
) -> None:
    """Bring a document to this version of the standard; the old one stays, and is named by its digest."""
    console.print(migrating.migrate(document, out), soft_wrap=True, highlight=False)


@app.command()
def cite(
    what: Annotated[Path, typer.Argument(metavar="RESULT|BUNDLE", help="result.json or its folder, or a bundle.")],
) -> None:
    """Print a BibTeX entry that names what was computed by its digests."""
    console.print(citing.cite(what), end="", soft_wrap=True, highlight=False, markup=False)


Records = Annotated[Path, typer.Option(help="The folder of the records.")]


@board_app.command("add")
def leaderboard_add(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="A folder or tar that vxp seal wrote.")],
    records: Records = Path("records"),
    audit: Annotated[list[Path] | None, typer.Option(help="A statement of vxp verify that you trust; repeatable. None is "
                                                     "taken because it lies there.")] = None,
    signature: Annotated[Path | None, typer.Option(help="The submitter's signature, which vxp sign wrote.")] = None,
    withdrawal: Annotated[Path | None, typer.Option(help="The submitter's withdrawal, which vxp sign --withdraw "
                                                    "wrote.")] = None,
) -> None:
    """Validate a bundle and write its record: everything but maps and curves. Again for a bundle that is there, or for the
    folder `bundle` of its record: add statements."""
    raise typer.Exit(vxp.leaderboard.add_(console, bundle, records, audit or [], signature=signature, withdrawal=withdrawal))


@board_app.command("trust")
def leaderboard_trust(
    identity: Annotated[str, typer.Argument(metavar="ID", help="A short id of the person or group: a-z 0-9 . _ -.")],
    key: Annotated[Path, typer.Option(help="The public key, ID.pub.pem.")],
    name: Annotated[str, typer.Option(help="The name; of a submitter as in submission.json.")],
    records: Records = Path("records"),
    auditor: Annotated[bool, typer.Option("--auditor", help="Audits by this key count.")] = False,
    submitter: Annotated[bool, typer.Option("--submitter", help="From the first on, only submissions signed by a submitter can "
                                            "have more than E1.")] = False,
    expires: Annotated[str | None, typer.Option(help="UTC time after which the key does not count, such as "
                                                "2027-12-31T00:00:00Z.")] = None,
) -> None:
    """Name a public key in the trust.json beside the records, for maintainers: whose signatures count, and as what."""
    raise typer.Exit(vxp.leaderboard.trust_(console, records, identity, key, name=name, auditor=auditor, submitter=submitter,
                                            expires=expires))


@board_app.command("references")
def leaderboard_references(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a finished vxp run of the task, in fp32.")],
    records: Records = Path("records"),
) -> None:
    """Keep the references of your own run: the board shows these for the task, and holds submissions to them."""
    raise typer.Exit(vxp.leaderboard.keep(console, run, records))


@board_app.command("build")
def leaderboard_build(
    records: Records = Path("records"),
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder of the pages.")] = Path("site"),
    check: Annotated[bool, typer.Option("--check", help="Write nothing; say whether the folder is what the records give. 0 it "
                                        "is, 1 it is not.")] = False,
) -> None:
    """Check the records and write the leaderboard as JSON, Parquet and pages. What has not changed since you built it is taken
    from your cache; --check computes all of it again."""
    raise typer.Exit(vxp.leaderboard.build(console, records, out, check=check))


@data_app.command("get")
def get(name: Annotated[str, typer.Argument(help="What to get: stamps.")]) -> None:
    """Find or fetch the data of a task into the shared cache."""
    from vxp.maintain import data_get

    console.print(f"{name}: {data_get.get(name)}", soft_wrap=True)


@data_app.command("export")
def export(
    task: TaskName = None, out: Out = Path("vxp-items"), images: Images = None, model: ModelName = None,
    device: Device = "auto", limit: Limit = None, data: Data = None,
    clips: Clips = None, frames: Frames = None, layout: Layout = None, fusion: Fusion = None,
) -> None:
    """Write a task's images, or frames of clips, as PNG and the classes to explain as CSV, for methods outside Python."""
    from vxp.runs import commands

    model = commands.formed(model, frames, layout, fusion)
    order = commands.Order(task, images, model, data, (), (), device, "fp32", limit, 16, None, None, clips)
    with progress.shown(errors) as shown:
        path = commands.export(order, out, shown)
    _next(f"Wrote {path}\nWrite a map per row into {out / 'maps'}: 00000.npy, ... (or .safetensors, or grey .png)",
          "Maps come back with (--unsigned where they have no negative evidence)", commands.to_import(order, out))


def _next(done: str, what: str, command: str) -> None:
    """Say what was done, and the command that goes on."""
    console.print(f"{done}\n{what}: {command}", soft_wrap=True, highlight=False, markup=False)


def _pair(text: str) -> tuple[str, str | float | int | bool]:
    """`name:value` as a parameter: a number or truth value where it reads as one."""
    name, colon, value = text.partition(":")
    if not colon or not name:
        raise VxpError(f"--parameter {text!r}: expected name:value")
    for kind in (int, float):
        with contextlib.suppress(ValueError):
            return name, kind(value)
    return name, {"true": True, "false": False}.get(value.lower(), value)


def _split(asked: list[str] | None) -> tuple[str, ...]:
    return tuple(part.strip() for text in asked or () for part in text.split(",") if part.strip())


def _finish(out: Path, paths: list[Path]) -> None:
    documents = [vxp_schemas.loads(path.read_bytes()) for path in paths]
    console.print(vxp.report.heading(documents), highlight=False, markup=False, soft_wrap=True)
    for shown in vxp.report.console_tables(documents, console.width):
        console.print(shown)
    console.print("Scores:")
    for score in documents[0]["scores"]:
        console.print(f"  {score['signature']}", highlight=False, markup=False, soft_wrap=True)
    console.print(f"Results: {out / 'results'}\nReport:  {vxp.report.write(out)}", soft_wrap=True)


def _tasks() -> Table:
    shown = Table("task", "items", "model", "truth", "data", "about", box=None)
    for name in vxp.tasks.names():
        card = vxp_schemas.registry_document("tasks", name)
        absent = vxp.datasets.source(card["dataset"]["id"]).missing()
        shown.add_row(name, str(card.get("items", {}).get("rows", card["budget"]["items"])), card["model"]["id"],
                      ", ".join(card["truth"]) or "-", "absent" if absent else "here", card["title"])
    return shown


def _metrics() -> Table:
    shown = Table(box=None)
    shown.add_column("metric", no_wrap=True)
    for head in ("family", "of", "better", "parameters", "definition"):
        shown.add_column(head, overflow="fold")
    for metric in vxp.metrics.catalogue().values():
        given = ", ".join(f"{k}={v}" for k, v in metric.parameters.items())
        shown.add_row(metric.name, metric.family, _of(metric.kinds), metric.better, given or "-",
                      (metric.plan.__doc__ or "").split("\n")[0])
    for alias, (target, preset) in vxp.metrics.ALIASES.items():
        shown.add_row(alias, "", "", "", "", f"alias of {target} with " + ", ".join(f"{k}={v}" for k, v in preset.items()))
    return shown


def _of(kinds: Sequence[str]) -> str:
    """What explanations of these kinds are of."""
    return ", ".join(f"{vxp.kinds.KINDS[kind].medium.id}s" for kind in kinds)


def _explainers() -> Table:
    shown = Table(box=None)
    shown.add_column("explainer", no_wrap=True)
    for head in ("family", "of", "parameters", "definition"):
        shown.add_column(head, overflow="fold", ratio={"parameters": 1, "definition": 2}.get(head))
    for explainer in vxp.explainers.catalogue().values():
        given = ", ".join(f"{k}={v}" for k, v in explainer.parameters.items())
        family = "reference" if explainer.reference else explainer.family
        shown.add_row(explainer.id, family, _of(explainer.kinds), given or "-",
                      (explainer.explain.__doc__ or "").split("\n")[0])
    return shown


def _models() -> Table:
    shown = Table("model", "weights", box=None)
    for name, where in vxp.models.available().items():
        shown.add_row(name, where.replace("[", r"\["))  # no markup
    return shown


def _datasets() -> Table:
    shown = Table("dataset", "licence", "data", "about", box=None)
    for source in vxp.datasets.sources().values():
        shown.add_row(f"{source.id}@{source.version}", source.licence, source.missing() or "here", source.about)
    return shown


def main() -> None:
    """Entry point of the console script."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s", handlers=[RichHandler(console=errors, show_path=False)])
    try:
        # some versions of Typer return the code of Ctrl-C and of an Exit, some raise
        code = app(standalone_mode=False)
        if code == STOPPED:
            raise KeyboardInterrupt
        sys.exit(code if isinstance(code, int) else 0)
    except VxpError as error:
        errors.print(f"error: {error}", style="red", markup=False, soft_wrap=True)
        sys.exit(3 if isinstance(error, NotWrittenError) else 2)
    except typer.Exit as stop:
        sys.exit(stop.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        errors.print("Stopped. Run the same command again to go on: finished units are kept.")
        sys.exit(STOPPED)
    except Exception as error:
        if not hasattr(error, "format_message"):
            raise
        errors.print(f"error: {error.format_message()} (see vxp --help)", style="red", markup=False, soft_wrap=True)
        sys.exit(2)
