"""`recover`: finish what an interrupted run left undone."""

from typing import Annotated

import typer

from dfx_backup.cli.options import DryRunOption, YesOption
from dfx_backup.cli.output import Report
from dfx_backup.cli.session import Run, command

OptionalCanister = Annotated[
    str | None,
    typer.Argument(
        metavar="CANISTER", help="Name in the project, or principal.", show_default=False
    ),
]


def register(app: typer.Typer) -> None:
    """Put the command into the tree."""
    command(app, "recover", tells_pending=False)(recover_canister)


def recover_canister(
    run: Run,
    canister: OptionalCanister = None,
    *,
    every: Annotated[
        bool,
        typer.Option(
            "--all", help="Every interrupted run, and every stopped canister of the project."
        ),
    ] = False,
    forget: Annotated[
        bool,
        typer.Option("--discard", help="Drop the record of a canister that is gone for good."),
    ] = False,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
) -> Report:
    """Finish what an interrupted run left undone."""
    from dfx_backup.cli.recovery import Wish, carry_out

    return carry_out(
        run, Wish(canister=canister, every=every, forget=forget, dry_run=dry_run, yes=yes)
    )
