"""`create`: back canisters up into the repository.

Operations are imported by the command that runs: `--help` of another one must not wait for them.
"""

from typing import TYPE_CHECKING, Annotated

import typer

from dfx_backup.cli.backup import TOOL
from dfx_backup.cli.options import AllowStoppedOption, DryRunOption
from dfx_backup.cli.output import Report
from dfx_backup.cli.repository_options import RepositoryChoice, TagOption, repository_command
from dfx_backup.cli.session import Run
from dfx_backup.cli.transfer import WINDOW, ConcurrencyOption
from dfx_backup.cli.transfer_progress import TransferView
from dfx_backup.cli.words import optional_snapshot_id
from dfx_backup.errors import UsageError

if TYPE_CHECKING:
    from dfx_backup.operations.backup_create_plan import Member
    from dfx_backup.operations.target import Target
    from dfx_backup.project.settings import CanisterChoices, Settings

_MOST_ON_CHAIN = 9


CanistersArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="CANISTER",
        help="Names or principals; without any, those of dfx-backup.toml.",
        show_default=False,
    ),
]

AllOption = Annotated[
    bool, typer.Option("--all", help="Every canister of the project on the network.")
]

SetOption = Annotated[
    str | None,
    typer.Option("--set", metavar="NAME", help="A set of canisters of dfx-backup.toml."),
]

SnapshotOption = Annotated[
    str | None,
    typer.Option("--snapshot", metavar="ID", help="One that exists; nothing is stopped."),
]

LiveOption = Annotated[
    bool, typer.Option("--live", help="Do not stop the canisters (driver `agent` only).")
]

KeepOption = Annotated[
    int | None,
    typer.Option(
        "--keep-on-chain",
        metavar="N",
        min=0,
        max=_MOST_ON_CHAIN,
        help="Snapshots of ours that stay on the subnet; 1 unless dfx-backup.toml says more.",
    ),
]

LeaveStoppedOption = Annotated[
    bool,
    typer.Option(
        "--leave-stopped", help="Start nothing when all went well: to move to another subnet."
    ),
]

NewOption = Annotated[
    bool, typer.Option("--new", help="Do not go on with what an earlier run left.")
]


def register(group: typer.Typer) -> None:
    """Put the command into the tree."""
    repository_command(group, "create")(create)


def create(  # noqa: PLR0913 - one parameter for each option
    run: Run,
    choice: RepositoryChoice,
    canister: CanistersArgument = None,
    *,
    all_: AllOption = False,
    set_: SetOption = None,
    snapshot: SnapshotOption = None,
    live: LiveOption = False,
    tag: TagOption = None,
    keep_on_chain: KeepOption = None,
    allow_stopped: AllowStoppedOption = False,
    leave_stopped: LeaveStoppedOption = False,
    new: NewOption = False,
    concurrency: ConcurrencyOption = WINDOW,
    dry_run: DryRunOption = False,
) -> Report:
    """Stop canisters, take snapshots, start them, and bring the snapshots into the repository."""
    from dfx_backup.cli import create_view as view
    from dfx_backup.cli.repository_access import access
    from dfx_backup.operations.backup_create import create_backups, plan_backup
    from dfx_backup.operations.backup_create_plan import BackupOptions, Depot
    from dfx_backup.operations.backups import check_tags
    from dfx_backup.project.settings import find_settings

    settings = find_settings(run.surroundings.cwd)
    wanted = _Wanted(tuple(canister or ()), all_=all_, set_=set_)
    options = BackupOptions(
        snapshot=optional_snapshot_id(snapshot),
        live=live,
        allow_stopped=allow_stopped,
        leave_stopped=leave_stopped,
        new=new,
        stop_s=wanted.timeout(settings),
        window=concurrency,
        tool=TOOL,
        again=_again(choice),
    )
    _check(options.snapshot is not None, wanted, live=live, leave_stopped=leave_stopped)
    tags = check_tags(tag or ())
    way = access(run, choice)
    depot = Depot(repository=way.open(), text=str(way.location), folder=way.location.folder)
    targets = wanted.targets(run, settings, changes=not dry_run and options.snapshot is None)
    members = [_member(each, settings, tags, keep_on_chain) for each in targets]
    if dry_run:
        return view.create_plan(plan_backup(run.runtime, depot, members, options))
    progress = TransferView.of(run)
    return view.created(create_backups(run.runtime, depot, members, options, progress))


class _Wanted:
    """The canisters that are meant: named, all, a set, or those of dfx-backup.toml."""

    def __init__(self, names: tuple[str, ...], *, all_: bool, set_: str | None) -> None:
        if sum((bool(names), all_, set_ is not None)) > 1:
            raise UsageError("name canisters, or give --all, or --set: only one of these")
        self.names = names
        self.all = all_
        self.set = set_

    def timeout(self, settings: "Settings") -> float | None:
        """Seconds for which each canister of the set may take to stop."""
        if self.set is None or self.set not in settings.sets:
            return None
        return settings.sets[self.set].timeout_s

    def targets(self, run: Run, settings: "Settings", *, changes: bool) -> "tuple[Target, ...]":
        """The canisters in the order in which they are stopped, each once.

        Raises:
            UsageError: there are none, or no such set.
            BackupError: as reaching them tells.
        """
        if self.all:
            found = run.connector.project_canisters(run)
        else:
            found = run.connector.canisters(run, self._named(settings), changes=changes)
        if not found:
            raise UsageError("the project has no canister on this network")
        return tuple({each.key: each for each in found}.values())

    def _named(self, settings: "Settings") -> tuple[str, ...]:
        if self.set is not None:
            if self.set not in settings.sets:
                raise UsageError(
                    f"dfx-backup.toml has no set `{self.set}`",
                    hint=f"It needs a section `[set.{self.set}]`.",
                )
            return settings.sets[self.set].stop_order
        names = self.names or tuple(settings.canisters)
        if not names:
            raise UsageError(
                "no canister was named, and dfx-backup.toml names none",
                hint="Name canisters, or give --all.",
            )
        return names


def _check(
    existing: bool,  # noqa: FBT001 - the first thing that matters
    wanted: _Wanted,
    *,
    live: bool,
    leave_stopped: bool,
) -> None:
    """Refuse options that exclude another.

    Raises:
        UsageError: they do.
    """
    if existing and (len(wanted.names) != 1 or live or leave_stopped):
        raise UsageError("--snapshot goes with the name of one canister, and stops nothing")
    if live and leave_stopped:
        raise UsageError("--live and --leave-stopped exclude another")


def _member(
    target: "Target", settings: "Settings", tags: tuple[str, ...], keep: int | None
) -> "Member":
    from dfx_backup.operations.backup_create_plan import KEEP_ON_CHAIN, Member

    choices = _choices(target, settings)
    told = KEEP_ON_CHAIN
    if choices is not None:
        tags = tuple(dict.fromkeys((*choices.tags, *tags)))
        told = KEEP_ON_CHAIN if choices.keep_on_chain is None else choices.keep_on_chain
    return Member(target=target, tags=tags, keep_on_chain=told if keep is None else keep)


def _choices(target: "Target", settings: "Settings") -> "CanisterChoices | None":
    """The section of dfx-backup.toml about a canister, by its name or principal."""
    for name in (target.ref.name, target.canister_id):
        if name is not None and name in settings.canisters:
            return settings.canisters[name]
    return None


def _again(choice: RepositoryChoice) -> tuple[str, ...]:
    """The options that name the repository, for a command in a hint; a program may hold secrets."""
    given = (("--repo", choice.repo), ("--password-file", choice.password_file))
    return tuple(word for pair in given if pair[1] for word in pair if word)
