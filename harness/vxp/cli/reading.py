"""Commands that show what was found."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vxp import conformance as conformity
from vxp.cli import mistakes
from vxp.cli.options import ChannelsLast, Compile, Device, Results, app, console, split


@app.command("report")
def report_(folder: Annotated[Path, typer.Argument(metavar="DIR", callback=mistakes.folder, help="A folder that vxp run "
                                               "wrote.")]) -> None:
    """Write the report of a run again: one self-contained HTML file."""
    from vxp import report

    console.print(f"Report: {report.write(folder)}", soft_wrap=True)


@app.command()
def compare(
    results: Results, json_: Annotated[Path | None, typer.Option("--json", help="Also write it as JSON.")] = None,
    references: Annotated[bool, typer.Option("--references", help="Show each result against the references beside it as well; "
                                             "of one result that is what is shown.")] = False,
) -> None:
    """Compare results or bundles of one task and model, paired by item: who is tied for best. One result is compared with
    the references beside it."""
    from vxp.documents import store
    from vxp.report import compare as comparing

    groups = comparing.compare(results)
    if json_ is not None:
        store.write_bytes(json_, comparing.as_json(groups))
    console.print("Paired by item, clusters resampled; p adjusted within each family of scores; "
                  "MDD: the smallest difference found with 80 % power.")
    for group in groups:
        console.print(f"\n{group.task['id']}@{group.task['version']}, {group.model['id']}@{group.model['version']}: "
                      f"{group.items} items in {group.clusters} clusters", highlight=False)
        if group.sequential:
            console.print(f"Sequential, {group.sequential}. Intervals and p hold over all looks.", highlight=False,
                          markup=False)
        for table in comparing.tables(group, references=references):
            console.print(table)


@app.command()
def bench(
    model: Annotated[str, typer.Option(help="The model whose forward passes are the bound.")] = "efficientnet-lite0",
    device: Device = "auto", threads: Annotated[int, typer.Option(min=1)] = 1,
    precision: Annotated[list[str], typer.Option(help="fp32, tf32 or bf16; repeatable.")] = ["fp32"],  # noqa: B006
    items: Annotated[int, typer.Option(min=1, help="Items per measurement.")] = 2,
    every: Annotated[bool, typer.Option("--catalogue", help="Also time every metric of the catalogue, and curves of "
                                        "clips.")] = False,
    peers: Annotated[bool, typer.Option("--peers", help="Also time quantus and captum on the same model and images.")] = False,
    run_: Annotated[bool, typer.Option("--run", help="A whole run of photos with six explainers instead, stage by stage: "
                                       "its CPU time over that of its passes, timed between its batches.")] = False,
    memory: Annotated[bool, typer.Option("--memory", help="The memory of runs of 2,000 and 20,000 items instead.")] = False,
    validator_: Annotated[bool, typer.Option("--validator", help="The validator instead, on a bundle of 0.5 GB.")] = False,
    json_: Annotated[Path | None, typer.Option("--json", help="Also write the figures as JSON.")] = None,
    compile: Compile = False, channels_last: ChannelsLast = None,
) -> None:
    """Measure the harness against the bound: the same number of plain forward passes in the same run."""
    from vxp import bench as benchmarks
    from vxp.runs import commands

    if validator_:
        benchmarks.validator(console, json_)
        return
    if run_:
        benchmarks.whole_run(console, items, threads, json_)
        return
    if memory:
        benchmarks.memory(console, json_)
        return
    setup = benchmarks.Setup(model, commands.device(device), threads,
                             tuple(map(commands.precision, precision)), items, compile, channels_last)
    benchmarks.main(console, setup, json_, every=every, peers=peers)


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
    raise typer.Exit(conformity.main(console, command or conformity.OURS, vectors=vectors, metrics=split([metrics]),
                                     timeout=timeout, json_path=json_))


@app.command("explain-code")
def explain_code(code: Annotated[str, typer.Argument(help="A rule such as VXP-C002.")]) -> None:
    """Say what a rule of the validator asks for, why, and what to do."""
    from vxp.documents import findings

    rule = findings.rule(code)
    console.print(f"{rule.code}  {rule.title}\n\nlevel     {rule.level}\nseverity  {rule.severity}\nclause    {rule.clause}\n"
                  f"why       {rule.why}\ndo        {rule.fix}", soft_wrap=True, highlight=False, markup=False)


@app.command()
def migrate(
    document: Annotated[Path, typer.Argument(metavar="DOC", help="A document of an earlier version of the standard.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The new document.")] = Path("migrated.json"),
) -> None:
    """Bring a document to this version of the standard; the old one stays, and is named by its digest."""
    from vxp.documents import migrate as migrating

    console.print(migrating.migrate(document, out), soft_wrap=True, highlight=False)


@app.command()
def cite(
    what: Annotated[Path, typer.Argument(metavar="RESULT|BUNDLE", help="result.json or its folder, or a bundle.")],
) -> None:
    """Print a BibTeX entry that names what was computed by its digests."""
    from vxp.bundles import cite as citing

    console.print(citing.cite(what), end="", soft_wrap=True, highlight=False, markup=False)
