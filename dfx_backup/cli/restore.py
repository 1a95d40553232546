"""`restore`: a backup back into a canister.

Operations are imported by the command that runs: `--help` of another one must not wait for them.
"""

import shlex
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from dfx_backup import __version__
from dfx_backup.cli.options import (
    AllowStoppedOption,
    CloneOption,
    DryRunOption,
    ReplaceOption,
    SkipSafetySnapshotOption,
    YesOption,
)
from dfx_backup.cli.output import Report
from dfx_backup.cli.repository_options import RepositoryChoice, repository_command
from dfx_backup.cli.session import Run
from dfx_backup.cli.transfer import WINDOW, ConcurrencyOption, ReadBackChoice
from dfx_backup.cli.transfer_progress import TransferView
from dfx_backup.cli.words import optional_snapshot_id
from dfx_backup.errors import BackupError, InterruptedRunError, ProjectError, ToolError, UsageError

if TYPE_CHECKING:
    from dfx_backup.operations.backups import Backup
    from dfx_backup.operations.restore_plans import Check, RestoreOptions
    from dfx_backup.operations.target import Target
    from dfx_backup.repository.repository import Repository

_CHECK_TIMEOUT_S = 3600.0
_CHECK_ENDS_S = 0.5
"""So long a check goes on after a signal to us: it holds no canister."""
_SEED_BYTES = 4
_SET = "set:"


RestoredArgument = Annotated[
    str,
    typer.Argument(
        metavar="BACKUP",
        help="Beginning of its id, CANISTER@latest, latest, or set:ID for a whole set.",
        show_default=False,
    ),
]

ToOption = Annotated[
    str | None,
    typer.Option("--to", metavar="CANISTER", help="Restore into this canister instead."),
]

SettingsOption = Annotated[
    bool,
    typer.Option("--settings", help="Apply the backup's settings and controllers in the end."),
]

StartOption = Annotated[
    bool, typer.Option("--start", help="Start a clone even when it has a heartbeat.")
]

CheckOption = Annotated[
    str | None,
    typer.Option(
        "--check",
        metavar="COMMAND",
        help="Command that tells, after the start, whether all is well.",
    ),
]

RollbackOption = Annotated[
    bool,
    typer.Option("--rollback", help="Go back to the state before when the check fails."),
]

ReadBackOption = Annotated[
    ReadBackChoice,
    typer.Option("--read-back", help="How much is read and compared before the load."),
]


def register(group: typer.Typer) -> None:
    """Put the command into the tree."""
    repository_command(group, "restore")(restore)


def restore(  # noqa: PLR0913 - one parameter for each option
    run: Run,
    choice: RepositoryChoice,
    backup: RestoredArgument,
    *,
    to: ToOption = None,
    settings: SettingsOption = False,
    clone: CloneOption = False,
    start: StartOption = False,
    check: CheckOption = None,
    rollback: RollbackOption = False,
    skip_safety_snapshot: SkipSafetySnapshotOption = False,
    replace: ReplaceOption = None,
    allow_stopped: AllowStoppedOption = False,
    read_back: ReadBackOption = ReadBackChoice.SAMPLED,
    concurrency: ConcurrencyOption = WINDOW,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
) -> Report:
    """Put a backup back into its canister, or another one, after telling what will be lost."""
    from dfx_backup.cli.repository_access import access
    from dfx_backup.operations.restore_plans import RestoreOptions
    from dfx_backup.transfer.terms import ReadBack

    options = RestoreOptions(
        settings=settings,
        clone=clone,
        start=start,
        check=None if check is None else _check(run, check),
        rollback=rollback,
        skip_safety_snapshot=skip_safety_snapshot,
        replace=optional_snapshot_id(replace),
        allow_stopped=allow_stopped,
        read_back=ReadBack(read_back.value),
        window=concurrency,
        seed=int.from_bytes(run.surroundings.random(_SEED_BYTES)),
        tool=f"dfx-backup {__version__}",
    )
    repository = access(run, choice).open()
    work = _Work(run, repository, options, dry_run=dry_run, yes=yes)
    if backup.startswith(_SET):
        return work.set(backup, to)
    return work.one(backup, to)


class _Work:
    """What the command does with its words.

    Args:
        run: the command's run.
        repository: where the backups are.
        options: what was asked for.
        dry_run: change nothing.
        yes: do not ask.
    """

    def __init__(
        self,
        run: Run,
        repository: "Repository",
        options: "RestoreOptions",
        *,
        dry_run: bool,
        yes: bool,
    ) -> None:
        self._run = run
        self._repository = repository
        self._options = options
        self._dry_run = dry_run
        self._yes = yes

    def one(self, name: str, to: str | None) -> Report:
        """Restore one backup."""
        from dfx_backup.cli import restore_view as view
        from dfx_backup.operations.backup_names import find_backup
        from dfx_backup.operations.backup_restore import plan_restore, restore
        from dfx_backup.operations.backups import Backups
        from dfx_backup.repository.reading import reading

        try:
            with reading(self._repository, self._run.view):
                found = find_backup(Backups.read(self._repository), name)
        except UsageError as error:
            if "--network" in (error.hint or ""):  # here it says where to, not where from
                error.hint = "Name the backup by the beginning of its id: `list` shows them."
            raise
        target, run = self._target(found, to)
        plan = plan_restore(run.runtime, self._repository, target, found, self._options)
        if self._dry_run:
            return view.planned(plan)
        run.confirm(
            yes=self._yes,
            losses=plan.will_be_lost,
            question=f"Restore {found} into {target} on {target.network.name}",
            notes=(*view.spending(plan), *plan.warnings),
        )
        progress = TransferView.of(run)
        done = restore(run.runtime, self._repository, target, found, self._options, progress)
        return view.restored(done)

    def set(self, name: str, to: str | None) -> Report:
        """Restore all backups of a set."""
        from dfx_backup.cli import restore_view as view
        from dfx_backup.operations.backup_names import find_set
        from dfx_backup.operations.backup_set import in_order, plan_set, restore_set
        from dfx_backup.operations.backups import Backups
        from dfx_backup.repository.reading import reading

        with reading(self._repository, self._run.view):
            members = find_set(Backups.read(self._repository), name)
        found = in_order(members, name)
        if to is not None and len(found) > 1:
            raise UsageError("--to names one canister, and the set has several")
        ways = [self._target(each, to) for each in found]
        targets, run = [target for target, _ in ways], ways[0][1]
        plan = plan_set(run.runtime, self._repository, targets, found, self._options)
        if self._dry_run:
            return view.set_planned(plan)
        run.confirm(
            yes=self._yes,
            losses=tuple(lost for each in plan.plans for lost in each.will_be_lost),
            question=f"Restore all {len(found)} canisters of {name}",
            notes=view.set_notes(plan),
        )
        progress = TransferView.of(run)
        done = restore_set(run.runtime, self._repository, targets, found, self._options, progress)
        return view.set_restored(done)

    def _target(self, backup: "Backup", to: str | None) -> "tuple[Target, Run]":
        """Where it goes: its own canister on its own network, unless something else was named."""
        from dfx_backup.operations.backup_restore_plan import require_own, require_whole_canister

        require_whole_canister(backup)
        if backup.problem is not None:
            raise backup.problem
        given = self._run.shared.network
        network = given or backup.network_name
        run = replace(self._run, shared=replace(self._run.shared, network=network))
        name = to or backup.canister_id
        try:
            target = run.connector.canister(run, name, changes=not self._dry_run, restores=True)
        except (ProjectError, UsageError) as error:
            if given is None and "network" in error.message.lower():
                error.advise(f"{backup} is of network {network}; --network names another one")
            raise
        if given is None:
            require_own(backup, target)
        own = (target.canister_id, target.network_id) == (backup.canister_id, backup.network_id)
        if own and target.ref.name is None:
            ref = replace(target.ref, name=backup.canister_name)
            target = replace(target, ref=ref)
        return target, run


def _check(run: Run, typed: str) -> "Check":
    """The user's command, ready to run.

    Raises:
        UsageError: it can't be parted into words.
        ToolError: there is no such program.
    """
    from dfx_backup.drivers.environment import require
    from dfx_backup.drivers.process import Patience, ProgramFailedError
    from dfx_backup.drivers.process import run as run_program
    from dfx_backup.operations.restore_plans import Check

    around = run.surroundings
    try:
        words = shlex.split(typed)
    except ValueError as error:
        raise UsageError(f"--check can't be parted into words: {error}") from None
    if not words:
        raise UsageError("--check names no program")
    program = require(
        words[0] if "/" not in words[0] else str(around.path(words[0])),
        path=around.environment.get("PATH", ""),
        hint="Name a program with --check.",
    )

    def carry_out() -> None:
        run.view.step(f"checking: {typed}")
        try:
            # It is the user's own program, so it gets the user's own environment.
            run_program(
                [program, *words[1:]],
                env=around.environment,
                timeout_s=_CHECK_TIMEOUT_S,
                cwd=str(around.cwd),
                patience=Patience(interrupt_s=_CHECK_ENDS_S),
            ).check()
        except ProgramFailedError as error:
            last = " ".join(error.stderr_tail[-3:])
            ended = "" if error.status is None else f" with exit code {error.status}"
            raise ToolError(f"the check `{typed}` failed{ended}", hint=last or None) from None
        except InterruptedRunError:
            raise
        except BackupError as error:
            raise ToolError(f"the check `{typed}` failed: {error.message}") from None

    return Check(text=typed, run=carry_out)
