"""`estimate`: what snapshots of a canister cost."""

from typing import Annotated

import typer

from dfx_backup.cli.options import CanisterArgument
from dfx_backup.cli.output import Report
from dfx_backup.cli.session import Run, command


def register(app: typer.Typer) -> None:
    """Put the command into the tree."""
    command(app, "estimate")(estimate_canister)


def estimate_canister(
    run: Run,
    canister: CanisterArgument,
    *,
    nodes: Annotated[
        int,
        typer.Option(
            "--nodes", metavar="N", min=1, max=1000, help="Nodes of the canister's subnet."
        ),
    ] = 13,
) -> Report:
    """Estimate outage, time and cycles of snapshots, from the live status."""
    from dfx_backup.cli import estimate_view as view
    from dfx_backup.operations.estimate import estimate

    target = run.connector.canister(run, canister, changes=False)
    return view.estimated(estimate(target, nodes=nodes))
