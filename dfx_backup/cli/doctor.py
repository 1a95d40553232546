"""`doctor`: what works here, and what does not."""

from typing import Annotated

import typer

from dfx_backup.cli.output import Report
from dfx_backup.cli.session import Run, command


def register(app: typer.Typer) -> None:
    """Put the command into the tree."""
    command(app, "doctor")(examine)


def examine(
    run: Run,
    canister: Annotated[
        str | None,
        typer.Argument(
            metavar="CANISTER",
            help="Look at this canister, not at all of the project.",
            show_default=False,
        ),
    ] = None,
) -> Report:
    """Report what works here, and what does not."""
    from dfx_backup.cli import doctor_view as view
    from dfx_backup.operations.doctor import doctor

    return view.examined(doctor(run.runtime, run.connector.checks(run, canister)))
