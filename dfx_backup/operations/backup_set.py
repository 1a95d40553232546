"""Restore the backups of a set: all of them, or none.

All are uploaded and read back first. Then all canisters are stopped, all their present states kept,
and the backups loaded in order. None starts while some are restored and others not.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

from dfx_backup.errors import BackupError, RefusedError, UsageError
from dfx_backup.model import CanisterSnapshot
from dfx_backup.operations.backup_restore import (
    Loaded,
    Uploaded,
    check,
    finish,
    kept,
    upload,
)
from dfx_backup.operations.backup_restore_plan import load_options, plan_one
from dfx_backup.operations.backup_source import plan_backup
from dfx_backup.operations.backups import Backup
from dfx_backup.operations.hold import Held, Moment, stopped
from dfx_backup.operations.interrupts import Interrupts
from dfx_backup.operations.journal import Side
from dfx_backup.operations.locks import canister_lock
from dfx_backup.operations.restore_plans import (
    RestoreOptions,
    RestorePlan,
    SetPlan,
    SetResult,
)
from dfx_backup.operations.set_sides import Member, to_one_side
from dfx_backup.operations.snapshot_load import Ready, conclude, prepare, take_safety
from dfx_backup.operations.target import Runtime, Target
from dfx_backup.repository.reading import reading
from dfx_backup.repository.repository import Repository
from dfx_backup.transfer.terms import TransferProgress


def in_order(backups: Sequence[Backup], name: str) -> tuple[Backup, ...]:
    """The backups of a set in the order in which its canisters were stopped.

    Raises:
        DamageError, ProjectError: one can't be read.
        RefusedError: the set is not complete, or holds a canister twice.
    """
    for backup in backups:
        if backup.problem is not None:
            raise backup.problem
    here: dict[str, Backup] = {each.canister_id: each for each in backups}
    told = next((each.details.set_canisters for each in backups if each.details), ())
    missing = [each for each in told if each not in here]
    if missing or not told:
        what = f"lacks the backups of {', '.join(missing)}" if told else "does not tell its members"
        raise RefusedError(
            f"{name} can't be restored as a whole: it {what}",
            hint="name its backups one by one: whether they fit together is then for you to judge",
        )
    if len(here) != len(backups) or set(here) - set(told):
        raise RefusedError(f"{name} can't be restored: it holds backups that do not fit together")
    return tuple(here[each] for each in told)


def plan_set(
    run: Runtime,
    repository: Repository,
    targets: Sequence[Target],
    backups: Sequence[Backup],
    options: RestoreOptions,
) -> SetPlan:
    """Plan to restore each backup into its canister, in this order.

    Raises:
        DamageError: a backup is not whole.
        UsageError, RefusedError: the options contradict each other, or it would not be safe.
        LockedError: somebody works on the repository alone.
        NetworkError, ToolError, ProjectError: as the network, the driver or the disk tell them.
    """
    with reading(repository, run.progress):
        return _plan(run, repository, targets, backups, options)


def restore_set(
    run: Runtime,
    repository: Repository,
    targets: Sequence[Target],
    backups: Sequence[Backup],
    options: RestoreOptions,
    progress: TransferProgress,
) -> SetResult:
    """Plan again, then restore all, or none.

    Raises:
        CanisterDownError: the set is partly restored, and none of it was started; or a canister
            could not be started.
        InterruptedRunError: a signal has come; all canisters have their old state and run.
        LockedError, DamageError, UsageError, RefusedError, NetworkError, ToolError, ProjectError:
            as `plan_set`, or from a step; all canisters have their old state and run.
    """
    with reading(repository, run.progress):
        plan = _plan(run, repository, targets, backups, options)
        sent = [
            upload(run, repository, target, each, options, progress)
            for target, each in zip(targets, plan.plans, strict=True)
        ]
    loaded = _load(run, targets, plan.plans, sent, options)
    failure = check(options)
    if failure is not None:
        failure.advise(
            "the canisters run with the restored state; `snapshot load` brings the former"
            " back, each from its own safety snapshot"
        )
    results = [
        finish(run, repository, target, options, each, failure)
        for target, each in zip(targets, loaded, strict=True)
    ]
    return SetResult(plan=plan, results=tuple(results), failure=failure)


def _plan(
    run: Runtime,
    repository: Repository,
    targets: Sequence[Target],
    backups: Sequence[Backup],
    options: RestoreOptions,
) -> SetPlan:
    if options.rollback or options.replace is not None:
        raise UsageError("--rollback and --replace are for one backup, not for a set")
    if len({target.key for target in targets}) != len(targets):
        raise UsageError("two backups of the set would go into the same canister")
    plans = []
    for target, backup in zip(targets, backups, strict=True):
        run.progress.step(f"{target}: checking {backup}")
        plans.append(plan_one(run, target, backup, plan_backup(repository, backup), options))
    return SetPlan(set_id=backups[0].set_id or "", plans=tuple(plans))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Member:
    """A canister that may be held."""

    target: Target
    plan: RestorePlan
    sent: Uploaded
    ready: Ready


def _load(
    run: Runtime,
    targets: Sequence[Target],
    plans: Sequence[RestorePlan],
    sent: Sequence[Uploaded],
    options: RestoreOptions,
) -> list[Loaded]:
    """Everything from the first lock to the last start."""
    with Interrupts() as interrupts, ExitStack() as locks, kept(sent):
        for target in sorted(targets, key=lambda each: each.key):
            locks.enter_context(canister_lock(run, target, purpose="restore"))
        keys = tuple(target.key for target in targets)
        members = []
        for target, plan, made in zip(targets, plans, sent, strict=True):
            how = load_options(options, made.snapshot_id, starts=plan.starts)
            ready = prepare(run, target, how)
            entry = replace(ready.entry, set_keys=keys, restores=made.snapshot_id)
            member = _Member(target=target, plan=plan, sent=made, ready=replace(ready, entry=entry))
            members.append(member)
        with interrupts.deferred():
            held, safeties, looks = _hold(run, members, interrupts)
            return [
                Loaded(
                    plan=each.plan,
                    sent=each.sent,
                    load=conclude(run, each.target, each.ready, hold, safety, look),
                )
                for each, hold, safety, look in zip(members, held, safeties, looks, strict=True)
            ]


def _hold(
    run: Runtime, members: Sequence[_Member], interrupts: Interrupts
) -> tuple[list[Held], list[CanisterSnapshot | None], list[Moment]]:
    """Stop all, keep the state of all, load all, start all in reverse."""
    with ExitStack() as stack:
        held = [
            stack.enter_context(
                stopped(
                    run,
                    each.target,
                    interrupts,
                    each.ready.entry,
                    stops=each.ready.plan.stops,
                    top_up=each.ready.plan.cycles.required,
                )
            )
            for each in members
        ]
        safeties = [
            take_safety(run, each.target, each.ready.plan, hold)
            for each, hold in zip(members, held, strict=True)
        ]
        try:
            for each, hold in zip(members, held, strict=True):
                hold.load(each.sent.snapshot_id)
            interrupts.check()
        except (BackupError, KeyboardInterrupt):
            _go_back(run, members, held)
            raise
        looks = [hold.look() for hold in held]
        for each, hold in zip(members, held, strict=True):
            if not each.plan.starts:
                hold.leave_stopped()
    return held, safeties, looks


def _go_back(run: Runtime, members: Sequence[_Member], held: Sequence[Held]) -> None:
    """Give all their old state again.

    Raises:
        CanisterDownError: that failed; none is started, and the entries stay open.
    """
    pairs = [
        Member(target=each.target, book=hold.book) for each, hold in zip(members, held, strict=True)
    ]
    if all(each.book.entry.side is Side.NEW for each in pairs):
        return  # a signal came when everything was done
    quiet = Interrupts()  # it hears of no signal: the set must be whole first
    try:
        to_one_side(run, pairs, quiet)
    except BackupError:
        for hold in held:
            hold.give_up()
        raise
