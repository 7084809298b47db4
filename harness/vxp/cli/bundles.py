"""Commands on bundles: seal, check, audit, sign."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vxp.cli import mistakes
from vxp.cli.options import (
    Clips,
    Data,
    Device,
    Features,
    Frames,
    Fusion,
    Images,
    Layout,
    ModelName,
    Precision,
    Threads,
    app,
    console,
    errors,
    next_,
)
from vxp.errors import VxpError
from vxp.runs import progress

if TYPE_CHECKING:
    from vxp.validation import Report


@app.command()
def seal(
    folders: Annotated[list[Path], typer.Argument(metavar="DIR ...", callback=mistakes.folders, help="Folders that vxp run or "
                                                   "vxp score wrote.")],
    explainer: Annotated[str, typer.Option("--explainer", "-e", help="The method to submit, by its id or the id of its set.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The bundle to write: a new folder, or a file NAME.tar.")],
    submission: Annotated[Path, typer.Option(help="Who submits, under which licence, how parameters were chosen; a form is "
                                             "written where there is no such file.")] = Path("submission.json"),
    documentation: Annotated[Path | None, typer.Option(help="A folder of texts to go with it, such as METHOD.md.")] = None,
) -> None:
    """Seal the explanations and results of one method into a bundle that anybody can validate and verify."""
    from vxp.bundles import sealing

    digest = sealing.seal(folders, explainer, submission, out, documentation=documentation)
    next_(f"Sealed {out}\nRoot digest {digest}", "Check it", shlex.join(["vxp", "validate", str(out)]))


@app.command()
def validate(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", callback=mistakes.bundle, help="A folder or tar that "
                                            "vxp seal wrote.")],
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
    from vxp import validation as validator

    if write and not fix:
        raise VxpError("--write goes with --fix")
    if fix:
        for line in validator.fixes(bundle, write=write):
            console.print(line, soft_wrap=True, markup=False)

    def recompute(found: Report) -> Report:
        from vxp import audit
        from vxp.runs import commands

        order = audit.Order(device=commands.device("auto"), threads=os.cpu_count() or 1)
        with progress.shown(errors) as shown:
            return audit.recomputed(found, bundle, order, shown)

    copies = {"json": json_, "junit": junit, "sarif": sarif, "html": html}
    raise typer.Exit(validator.main(console, bundle, level, recompute, strict=strict,
                                    copies={form: path for form, path in copies.items() if path is not None}))


@app.command()
def verify(
    bundle: Annotated[Path | None, typer.Argument(metavar="BUNDLE", callback=mistakes.bundle, help="A folder or tar that "
                                            "vxp seal wrote.")] = None,
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
    clips: Clips = None, features: Features = None, frames: Frames = None, layout: Layout = None, fusion: Fusion = None,
) -> None:
    """Compute scores of a bundle again, from its maps and, where named, from its explainer. 0 reproduced, 1 not, 3 something
    that a verdict needs could not be computed."""
    from vxp import audit
    from vxp.runs import commands

    if commit is not None and bundle is None:
        raise typer.Exit(audit.commit(console, commit))
    if bundle is None or commit is not None:
        raise VxpError("verify takes a BUNDLE, or --commit FILE alone")
    if sum(source is not None for source in (nonce, opening, beacon)) > 1 or (every and sample is not None):
        raise VxpError("verify takes one of --nonce, --opening and --beacon, and one of --sample and --all")
    if opening is not None:
        drawn = audit.nonces.opened(opening)
    else:
        drawn = audit.nonces.own(nonce) if beacon is None else audit.nonces.drawn(beacon)
    model = commands.formed(model, frames, layout, fusion)
    order = audit.Order(None if every else sample or audit.SAMPLE, drawn, regenerate, commands.device(device),
                            commands.precision(precision), batch_size, threads or os.cpu_count() or 1, data, images, model,
                            0.0 if every or sample is not None else audit.ALL_MINUTES, clips, explain_timeout, features)
    with progress.shown(errors) as shown:
        code = audit.main(console, bundle, order, out, shown)
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
    from vxp.bundles import signing as signatures

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
