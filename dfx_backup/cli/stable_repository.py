"""Where `stable export` puts a stream, and what `stable import` takes: files, or the repository."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import PurePath
from typing import TYPE_CHECKING, Annotated

import typer

from dfx_backup.cli.repository_options import RepositoryChoice
from dfx_backup.cli.session import Run
from dfx_backup.errors import NoRepositoryError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from dfx_backup.operations.stable_copies import StableCopy
    from dfx_backup.operations.stable_places import ExportPlace

BackupOption = Annotated[
    str | None,
    typer.Option(
        "--backup", metavar="BACKUP", help="Backup of a stream: its id, or CANISTER@latest."
    ),
]
_FOLDER = "--file names files, and `{typed}` is a folder"
_ONE = "name the files with --file, a backup with --backup, or give up an import with --abort"


def files_named(run: Run, typed: str) -> "Path":
    """NAME of the files of an export, as it was typed.

    Raises:
        UsageError: it is the name of a folder.
    """
    if typed.endswith("/") or PurePath(typed).name in {"", ".."}:
        raise UsageError(_FOLDER.format(typed=typed), hint="add a name: --file FOLDER/NAME")
    return run.surroundings.path(typed)


def export_place(
    run: Run, choice: RepositoryChoice, file: str | None, tags: Sequence[str]
) -> "ExportPlace":
    """Files when they are named, else the repository that every other command would use.

    Raises:
        UsageError: both are named, or neither is anywhere.
        NoRepositoryError: there is none at that place.
        BackupError: as opening the repository tells it.
    """
    from dfx_backup.operations.stable_places import FilePlace

    if file is not None:
        if choice != RepositoryChoice() or tags:
            raise UsageError(
                "--file writes files; --repo, its password and --tag are for the repository",
                hint="leave one of them out",
            )
        return FilePlace(files_named(run, file))
    from dfx_backup.cli.repository_access import access
    from dfx_backup.operations.stable_repository import RepositoryPlace

    try:
        way = access(run, choice)
    except NoRepositoryError as error:
        error.advise("or write files: --file NAME")
        raise
    return RepositoryPlace(way.open(), str(way.location), tags, run.view)


@contextmanager
def import_copy(
    run: Run, choice: RepositoryChoice, file: str | None, backup: str | None
) -> "Iterator[StableCopy]":
    """What is imported; the repository stays locked against a prune inside the block.

    Raises:
        UsageError: neither files nor a backup are named, or both.
        BackupError: as reading them tells it.
    """
    if (file is None) is (backup is None):
        raise UsageError(_ONE)
    if file is not None:
        from dfx_backup.operations.stable_copies import FileCopy

        if choice != RepositoryChoice():
            raise UsageError("--repo and its password go with --backup")
        yield FileCopy.read(files_named(run, file))
        return
    from dfx_backup.cli.repository_access import opened
    from dfx_backup.operations.backup_names import find_backup
    from dfx_backup.operations.backups import Backups
    from dfx_backup.operations.stable_repository import BackupCopy
    from dfx_backup.transfer.backup_details import KIND_STABLE

    assert backup is not None  # one of them is there
    with opened(run, choice) as repository:
        try:
            found = find_backup(Backups.read(repository), backup, kind=KIND_STABLE)
        except UsageError as error:
            if "--network" in (error.hint or ""):  # here it says where to, not where from
                error.hint = "Name the backup by the beginning of its id: `list` shows them."
            raise
        yield BackupCopy.read(repository, found)
