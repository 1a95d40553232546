"""`doctor`: what works here, and what does not."""

from typing import Annotated

import typer

from dfx_backup.cli.output import Report
from dfx_backup.cli.repository_options import RepositoryChoice, repository_command
from dfx_backup.cli.session import Run


def register(app: typer.Typer) -> None:
    """Put the command into the tree."""
    repository_command(app, "doctor")(examine)


def examine(
    run: Run,
    choice: RepositoryChoice,
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
    from dfx_backup.cli.doctor_checks import with_repository
    from dfx_backup.operations.doctor import doctor

    checks = run.connector.checks(run, canister)
    return view.examined(doctor(run.runtime, with_repository(run, checks, choice)))
