"""`list`, `show`, `diff`, `import`, `export`, `pin` and `unpin`: backups in the repository.

Operations are imported by the command that runs: `--help` of another one must not wait for them.
"""

import enum
import re
from typing import TYPE_CHECKING, Annotated

import typer

from dfx_backup import __version__
from dfx_backup.cli.output import Report
from dfx_backup.cli.repository_options import (
    BackupArgument,
    RepositoryChoice,
    TagOption,
    repository_command,
)
from dfx_backup.cli.session import Run
from dfx_backup.errors import UsageError

if TYPE_CHECKING:
    from dfx_backup.operations.backup_import import Owner

TOOL = f"dfx-backup {__version__}"
_AGE = re.compile(r"(\d{1,6}(?:\.\d{1,3})?)(m|h|d)")
_SECONDS = {"m": 60.0, "h": 3600.0, "d": 86400.0}

CanisterOption = Annotated[
    str | None,
    typer.Option("--canister", metavar="CANISTER", help="Only this canister's backups."),
]


class KindChoice(enum.StrEnum):
    """What was backed up."""

    SNAPSHOT = "snapshot"
    STABLE = "stable"


def register(group: typer.Typer) -> None:
    """Put the commands into the tree."""
    repository_command(group, "list")(list_)
    repository_command(group, "show")(show)
    repository_command(group, "diff")(diff)
    repository_command(group, "import")(import_)
    repository_command(group, "export")(export)
    repository_command(group, "pin")(pin)
    repository_command(group, "unpin")(unpin)


def list_(
    run: Run,
    choice: RepositoryChoice,
    *,
    canister: CanisterOption = None,
    tag: Annotated[
        list[str] | None,
        typer.Option("--tag", metavar="TAG", help="Only backups with this tag; several: all."),
    ] = None,
    kind: Annotated[
        KindChoice | None,
        typer.Option("--kind", help="Only whole canisters, or only streams of memory."),
    ] = None,
    max_age: Annotated[
        str | None,
        typer.Option(
            "--max-age",
            metavar="AGE",
            help="Exit code 3 when the newest good backup of a canister is older, as in 26h.",
        ),
    ] = None,
) -> Report:
    """List the backups in the repository, the oldest first."""
    from dfx_backup.cli import backup_view as view
    from dfx_backup.cli.repository_access import opened
    from dfx_backup.operations.listing import ListOptions, list_backups

    options = ListOptions(
        canister=canister,
        tags=tuple(tag or ()),
        network=run.shared.network,
        kind=None if kind is None else kind.value,
        max_age_s=None if max_age is None else _seconds(max_age),
    )
    with opened(run, choice) as repository:
        return view.listed(list_backups(repository, options))


def show(run: Run, choice: RepositoryChoice, backup: BackupArgument) -> Report:
    """Show everything that is known of a backup."""
    from dfx_backup.cli import backup_view as view
    from dfx_backup.cli.repository_access import opened
    from dfx_backup.operations.listing import show_backup

    with opened(run, choice) as repository:
        return view.shown(show_backup(repository, backup, network=run.shared.network))


def diff(
    run: Run,
    choice: RepositoryChoice,
    old: Annotated[str, typer.Argument(metavar="A", help="A backup.", show_default=False)],
    new: Annotated[str, typer.Argument(metavar="B", help="Another one.", show_default=False)],
) -> Report:
    """Tell which files and which pages changed from one backup to another."""
    from dfx_backup.cli import backup_view as view
    from dfx_backup.cli.repository_access import opened
    from dfx_backup.operations.backup_diff import diff_backups
    from dfx_backup.operations.backup_names import find_backup
    from dfx_backup.operations.backups import Backups

    with opened(run, choice) as repository:
        backups = Backups.read(repository)
        one, other = (find_backup(backups, each, network=run.shared.network) for each in (old, new))
        return view.compared(diff_backups(repository, one, other))


def import_(
    run: Run,
    choice: RepositoryChoice,
    folder: Annotated[
        str,
        typer.Argument(
            metavar="DIR",
            help="Folder of a snapshot: of dfx, icp, Juno or this program.",
            show_default=False,
        ),
    ],
    *,
    canister: Annotated[
        str | None,
        typer.Option(
            "--canister", metavar="CANISTER", help="Whose it is, where the folder does not tell."
        ),
    ] = None,
    tag: TagOption = None,
) -> Report:
    """Make a backup out of a snapshot's folder."""
    from dfx_backup.cli import backup_view as view
    from dfx_backup.cli.repository_access import access
    from dfx_backup.operations.backup_import import ImportOptions, import_folder

    way = access(run, choice)
    options = ImportOptions(
        folder=run.surroundings.path(folder),
        owner=None if canister is None else _owner(run, canister),
        tags=tuple(tag or ()),
        tool=TOOL,
    )
    result = import_folder(way.open(), options, progress=run.view)
    return view.imported(result, str(way.location))


def export(
    run: Run,
    choice: RepositoryChoice,
    backup: BackupArgument,
    folder: Annotated[
        str, typer.Argument(metavar="DIR", help="A folder that is new.", show_default=False)
    ],
) -> Report:
    """Write a backup into a folder: what dfx and icp upload, or a stream's files."""
    from dfx_backup.cli import backup_view as view
    from dfx_backup.cli.repository_access import opened
    from dfx_backup.operations.backup_export import export_backup
    from dfx_backup.operations.listing import show_backup

    place = run.surroundings.path(folder)
    with opened(run, choice) as repository:
        found = show_backup(repository, backup, network=run.shared.network)
        return view.exported(export_backup(repository, found, place, progress=run.view))


def pin(run: Run, choice: RepositoryChoice, backup: BackupArgument) -> Report:
    """Keep a backup for ever, whatever the retention says."""
    from dfx_backup.cli import backup_view as view
    from dfx_backup.cli.repository_access import access
    from dfx_backup.operations.retention import pin_backup

    repository, network = access(run, choice).open(), run.shared.network
    found, changed = pin_backup(repository, backup, progress=run.view, tool=TOOL, network=network)
    return view.pinned(found, pin=True, changed=changed)


def unpin(run: Run, choice: RepositoryChoice, backup: BackupArgument) -> Report:
    """Leave a backup to the retention again."""
    from dfx_backup.cli import backup_view as view
    from dfx_backup.cli.repository_access import access
    from dfx_backup.operations.retention import unpin_backup

    repository, network = access(run, choice).open(), run.shared.network
    found, changed = unpin_backup(repository, backup, progress=run.view, network=network)
    return view.pinned(found, pin=False, changed=changed)


def _owner(run: Run, canister: str) -> "Owner":
    """Whose the folder is; a network whose key is known is not asked."""
    from dfx_backup.cli.naming import named_canister
    from dfx_backup.operations.backup_import import Owner

    found = named_canister(run, canister) if run.session.connector is None else None
    told = found or run.connector.canister(run, canister, changes=False)
    return Owner(
        canister_id=told.ref.canister_id,
        canister_name=told.ref.name,
        network_name=told.network.name,
        network_id=told.network_id,
    )


def _seconds(typed: str) -> float:
    found = _AGE.fullmatch(typed.strip())
    if found is None:
        raise UsageError(f"`{typed}` is no age", hint="Write minutes, hours or days: 90m, 26h, 2d.")
    return float(found[1]) * _SECONDS[found[2]]
