"""`init`, `verify`, `unlock` and `key …`: the repository itself.

Operations are imported by the command that runs: `--help` of another one must not wait for them.
"""

import enum
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from dfx_backup.cli.backup import TOOL
from dfx_backup.cli.output import Report
from dfx_backup.cli.repository_options import RepositoryChoice, repository_command
from dfx_backup.cli.session import Run, require_command
from dfx_backup.cli.transfer_progress import TransferView
from dfx_backup.errors import BackupError

if TYPE_CHECKING:
    from dfx_backup.operations.backup_verify import LiveComparison, Verification
    from dfx_backup.operations.backups import Backup
    from dfx_backup.operations.runbook import Place
    from dfx_backup.project.discover import Project
    from dfx_backup.repository.repository import Repository

NewPasswordFileOption = Annotated[
    str | None,
    typer.Option(
        "--new-password-file", metavar="FILE", help="File whose first line is the new password."
    ),
]
NewPasswordCommandOption = Annotated[
    str | None,
    typer.Option(
        "--new-password-command", metavar="COMMAND", help="Program that prints the new password."
    ),
]


class BlobSize(enum.StrEnum):
    """Bytes of the pieces into which files are cut."""

    SMALL = "64KiB"
    LARGE = "256KiB"

    @property
    def size_bytes(self) -> int:
        """The number."""
        return int(self.value.removesuffix("KiB")) << 10


def register(group: typer.Typer) -> None:
    """Put the commands into the tree."""
    repository_command(group, "init")(init)
    repository_command(group, "verify")(verify)
    repository_command(group, "unlock")(unlock)
    key_group = typer.Typer(
        rich_markup_mode=None,
        help="Add, list, remove and change the passwords of the repository.",
        callback=require_command,
        invoke_without_command=True,
    )
    repository_command(key_group, "add")(key_add)
    repository_command(key_group, "list")(key_list)
    repository_command(key_group, "remove")(key_remove)
    repository_command(key_group, "passwd")(key_passwd)
    group.add_typer(key_group, name="key")


def init(
    run: Run,
    choice: RepositoryChoice,
    *,
    blob_size: Annotated[
        BlobSize,
        typer.Option("--blob-size", help="Pieces of files; 256KiB for stable memory above 64 GiB."),
    ] = BlobSize.SMALL,
) -> Report:
    """Make a repository and its key, and write dfx-backup.toml and RECOVERY.md."""
    from dfx_backup.cli import repository_view as view
    from dfx_backup.cli.repository_access import access
    from dfx_backup.operations.repository_init import InitOptions, canister_names, init
    from dfx_backup.project.discover import find_project
    from dfx_backup.project.settings import find_settings

    way = access(run, choice)
    cwd = run.surroundings.cwd
    project = find_project(cwd, driver=run.shared.driver)
    places = () if project is None else _places(run, project)
    options = InitOptions(
        project=project.root if project else cwd,
        canisters=canister_names(places),
        places=places,
        named=find_settings(cwd).repository,
        blob_size=blob_size.size_bytes,
        environment=run.surroundings.environment,
        program=run.surroundings.program,
    )
    return view.made(init(way, options))


def verify(
    run: Run,
    choice: RepositoryChoice,
    backup: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="BACKUP", help="These backups; all without one.", show_default=False
        ),
    ] = None,
    *,
    read_data: Annotated[
        bool, typer.Option("--read-data", help="Read all data: nothing else sees a wrong bit.")
    ] = False,
    read_data_subset: Annotated[
        str | None,
        typer.Option(
            "--read-data-subset", metavar="PART", help="Read a part of it: 1/7, 2.5% or 10G."
        ),
    ] = None,
    live: Annotated[
        bool,
        typer.Option("--live", help="Compare with the canister: module, settings, stream."),
    ] = False,
) -> Report:
    """Check that the repository is whole and its data what was written."""
    from dfx_backup.cli import repository_view as view
    from dfx_backup.cli.repository_access import access
    from dfx_backup.operations.backup_verify import VerifyOptions, verify_backups
    from dfx_backup.repository.subset import PackSubset

    options = VerifyOptions(
        names=tuple(backup or ()),
        network=run.shared.network,
        read_data=read_data,
        subset=None if read_data_subset is None else PackSubset.parse(read_data_subset),
        tool=TOOL,
    )
    repository = access(run, choice).open()
    found = verify_backups(repository, options, progress=run.view)
    compared, errors = _compare(run, repository, found, all_=bool(backup)) if live else ([], [])
    return view.verified(found, compared, errors)


def unlock(
    run: Run,
    choice: RepositoryChoice,
    *,
    all_: Annotated[
        bool,
        typer.Option("--all", help="Also locks whose owners may live: make sure that none does."),
    ] = False,
) -> Report:
    """Remove locks that processes left behind."""
    from dfx_backup.cli import repository_view as view
    from dfx_backup.cli.repository_access import access
    from dfx_backup.repository.locks import read_locks, remove_locks

    repository = access(run, choice).open()
    removed = remove_locks(repository, run.view, every=all_)
    return view.unlocked(removed, tuple(read_locks(repository)))


def key_add(
    run: Run,
    choice: RepositoryChoice,
    *,
    new_password_file: NewPasswordFileOption = None,
    new_password_command: NewPasswordCommandOption = None,
) -> Report:
    """Add a password that opens the repository."""
    from dfx_backup.cli import repository_view as view
    from dfx_backup.cli.repository_access import access, new_password
    from dfx_backup.operations.repository_keys import add_key

    way = access(run, choice)
    giver = new_password(run, new_password_file, new_password_command)
    return view.key_added(add_key(way.open(), giver, progress=run.view))


def key_list(run: Run, choice: RepositoryChoice) -> Report:
    """List the keys, one for each password."""
    from dfx_backup.cli import repository_view as view
    from dfx_backup.cli.repository_access import access

    return view.keys_listed(access(run, choice).open().keys.list())


def key_remove(
    run: Run,
    choice: RepositoryChoice,
    key: Annotated[
        str, typer.Argument(metavar="KEY", help="Beginning of its id.", show_default=False)
    ],
) -> Report:
    """Remove a key: its password opens the repository no longer."""
    from dfx_backup.cli import repository_view as view
    from dfx_backup.cli.repository_access import access
    from dfx_backup.operations.repository_keys import remove_key

    return view.key_removed(*remove_key(access(run, choice).open(), key, progress=run.view))


def key_passwd(
    run: Run,
    choice: RepositoryChoice,
    *,
    new_password_file: NewPasswordFileOption = None,
    new_password_command: NewPasswordCommandOption = None,
) -> Report:
    """Change the password: a new key takes the place of the one that opened the repository."""
    from dfx_backup.cli import repository_view as view
    from dfx_backup.cli.repository_access import access, new_password
    from dfx_backup.operations.repository_keys import change_key

    way = access(run, choice)
    giver = new_password(run, new_password_file, new_password_command)
    return view.key_changed(*change_key(way.open(), giver, progress=run.view))


def _places(run: Run, project: "Project") -> "tuple[Place, ...]":
    """Where the project's canisters live: on mainnet, and on the network that was asked for."""
    from dfx_backup.operations.runbook import Place
    from dfx_backup.project.canister_ids import all_canisters
    from dfx_backup.project.networks import resolve_network

    found = []
    for name in dict.fromkeys(("ic", run.shared.network or "local")):
        try:
            network = resolve_network(project, name, places=run.places)
            refs = all_canisters(project, network, places=run.places)
        except BackupError as error:
            if name == run.shared.network:
                raise
            run.view.step(f"nothing is known of network {name}: {error.message}")
            continue
        if refs:
            named = tuple((str(each), str(each.canister_id)) for each in refs)
            found.append(Place(network=network.name, url=network.url, canisters=named))
    return tuple(found)


def _compare(
    run: Run, repository: "Repository", found: "Verification", *, all_: bool
) -> "tuple[list[LiveComparison], list[BackupError]]":
    """Compare backups that were named, else the newest one of each whole canister.

    Hashes of a stream cost the canister cycles: only who names its backup asks for them.
    """
    from dfx_backup.operations.backup_verify import compare_live
    from dfx_backup.operations.backups import owner
    from dfx_backup.operations.stable_live import compare_stream
    from dfx_backup.transfer.backup_details import KIND_STABLE

    damaged = {each.backup_id for each in found.damaged}
    readable = [
        each for each in found.backups if each.record is not None and each.backup_id not in damaged
    ]
    whole = [each for each in readable if each.kind != KIND_STABLE]
    chosen = readable if all_ else list({owner(each): each for each in whole}.values())
    progress = TransferView.of(run)
    compared: list[LiveComparison] = []
    errors: list[BackupError] = []
    for backup in chosen:
        try:
            target = _on_network(run, backup).connector.canister(
                _on_network(run, backup), backup.canister_id, changes=False
            )
            if backup.kind == KIND_STABLE:
                one = compare_stream(run.runtime, repository, backup, target, progress)
            else:
                one = compare_live(backup, target)
            compared.append(one)
        except BackupError as error:
            errors.append(error)
    return compared, errors


def _on_network(run: Run, backup: "Backup") -> Run:
    """The run as if the backup's own network had been asked for, unless one was."""
    network = run.shared.network or backup.network_name
    return replace(run, shared=replace(run.shared, network=network))
