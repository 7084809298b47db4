"""Commands of the leaderboard."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vxp.cli.options import Records, board_app, console


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
    from vxp import leaderboard

    raise typer.Exit(leaderboard.add_(console, bundle, records, audit or [], signature=signature, withdrawal=withdrawal))


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
    from vxp import leaderboard

    roles = tuple(role for role, is_ in (("auditor", auditor), ("submitter", submitter)) if is_)
    raise typer.Exit(leaderboard.trust_(console, records, key, leaderboard.trust.Named(identity, name, roles, expires)))


@board_app.command("references")
def leaderboard_references(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a finished vxp run of the task, in fp32.")],
    records: Records = Path("records"),
) -> None:
    """Keep the references of your own run: the board shows these for the task, and holds submissions to them."""
    from vxp import leaderboard

    raise typer.Exit(leaderboard.keep(console, run, records))


@board_app.command("build")
def leaderboard_build(
    records: Records = Path("records"),
    out: Annotated[Path, typer.Option("--out", "-o", help="The folder of the pages.")] = Path("site"),
    check: Annotated[bool, typer.Option("--check", help="Write nothing; say whether the folder is what the records give. 0 it "
                                        "is, 1 it is not.")] = False,
) -> None:
    """Check the records and write the leaderboard as JSON, Parquet and pages. What has not changed since you built it is taken
    from your cache; --check computes all of it again."""
    from vxp import leaderboard

    raise typer.Exit(leaderboard.build(console, records, out, check=check))
