"""Every option that more than one command has, once.

An option that every command has is a field of `Shared`; `session.command` puts these behind the
command's own options. Booleans have exactly one name, so that Typer makes no `--no-` pair: dfx's
manifest knows no such thing.
"""

from dataclasses import dataclass
from typing import Annotated

import typer

from dfx_backup.model import DriverName

CanisterArgument = Annotated[
    str,
    typer.Argument(
        metavar="CANISTER", help="Name in the project, or principal.", show_default=False
    ),
]

SnapshotArgument = Annotated[
    str,
    typer.Argument(metavar="SNAPSHOT", help="Id of the canister snapshot.", show_default=False),
]

YesOption = Annotated[bool, typer.Option("--yes", help="Do not ask before something is lost.")]

DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Print the plan and change nothing.")]

AllowStoppedOption = Annotated[
    bool,
    typer.Option(
        "--allow-stopped",
        help="Go on when the canister is found stopped; it stays stopped afterwards.",
    ),
]

ReplaceOption = Annotated[
    str | None,
    typer.Option(
        "--replace",
        metavar="ID",
        help="Delete this canister snapshot to make room for the new one.",
    ),
]

SkipSafetySnapshotOption = Annotated[
    bool, typer.Option("--skip-safety-snapshot", help="Do not keep the present state.")
]

CloneOption = Annotated[
    bool, typer.Option("--clone", help="Leave the global timer out: a copy must not act.")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """What every command can be told: how to reach a canister, and how to tell the result."""

    network: Annotated[
        str | None,
        typer.Option("--network", metavar="NAME|URL", help="Network of the canister."),
    ] = None
    identity: Annotated[
        str | None, typer.Option("--identity", metavar="NAME", help="Identity that calls.")
    ] = None
    identity_password_file: Annotated[
        str | None,
        typer.Option(
            "--identity-password-file",
            metavar="FILE",
            help="File whose first line opens an encrypted identity.",
        ),
    ] = None
    driver: Annotated[
        DriverName | None,
        typer.Option("--driver", help="What controls the canister.", show_default=False),
    ] = None
    root_key: Annotated[
        str | None,
        typer.Option("--root-key", metavar="HEX", help="Root key to trust, DER in hexadecimal."),
    ] = None
    json: Annotated[
        bool, typer.Option("--json", help="Print one JSON envelope instead of text.")
    ] = False
    quiet: Annotated[bool, typer.Option("--quiet", help="Hide the steps, not the warnings.")] = (
        False
    )
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Log what is done to stderr, and tracebacks of bugs.")
    ] = False
