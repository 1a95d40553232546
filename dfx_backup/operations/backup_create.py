"""Back canisters up: stop, take, start; then download into the repository while they run.

What was taken and is not in the repository yet is remembered: the next run goes on with it.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

from dfx_backup.errors import BackupError, CanisterDownError
from dfx_backup.model import CanisterId, CanisterSnapshot, SnapshotId
from dfx_backup.operations import on_chain, preflight
from dfx_backup.operations.backup_create_plan import (
    BackupOptions,
    BackupPlan,
    BackupResult,
    Depot,
    Member,
    MemberPlan,
    MemberResult,
)
from dfx_backup.operations.backup_memory import ID_BYTES, remember
from dfx_backup.operations.backup_planning import Planned, plan_members
from dfx_backup.operations.backup_store import Stored, Storing
from dfx_backup.operations.going_on import command, find_left
from dfx_backup.operations.hold import Held
from dfx_backup.operations.interrupts import Interrupts
from dfx_backup.operations.journal import RunKind
from dfx_backup.operations.ledger import BACKUP, Ledger, OwnSnapshot
from dfx_backup.operations.locks import canister_lock
from dfx_backup.operations.recover import finish_what_is_over, refuse_pending
from dfx_backup.operations.take_together import (
    Prepared,
    Taken,
    remark,
    shortcoming,
    take_together,
)
from dfx_backup.operations.target import Runtime, Target
from dfx_backup.operations.unfinished import Unfinished, UnfinishedBackups
from dfx_backup.repository.reading import reading
from dfx_backup.transfer.terms import TransferProgress


def plan_backup(
    run: Runtime, depot: Depot, members: Sequence[Member], options: BackupOptions
) -> BackupPlan:
    """Check everything that can be checked while the canisters run, and say what will be done.

    Raises:
        UsageError: the driver can't do what was asked, or `snapshot` names none.
        RefusedError: it would not be safe; nothing was touched.
        DamageError, ProjectError, StoreError: the repository, or a file of ours, can't be read.
        NetworkError, ToolError: as the network or a driver tells them.
    """
    for member in members:
        refuse_pending(run, member.target)
    with reading(depot.repository, run.progress):
        return _plan(run, depot, members, options)[0]


def create_backups(
    run: Runtime,
    depot: Depot,
    members: Sequence[Member],
    options: BackupOptions,
    progress: TransferProgress,
) -> BackupResult:
    """Plan again under the locks of all canisters and of the repository, then do it.

    Args:
        run: the surroundings.
        depot: where the backups go.
        members: the canisters in the order in which they are stopped.
        options: what is wanted.
        progress: hears how far it is.

    Raises:
        LockedError: another run holds a canister, or somebody works on the repository alone.
        CanisterDownError: a canister could not be started again.
        InterruptedRunError: a signal has come; the canisters were started.
        BackupError: as `plan_backup`, or from a step. The canisters were started, and what was
            taken is kept; the next run goes on with it.
    """
    with Interrupts() as interrupts, ExitStack() as stack:
        for member in sorted(members, key=lambda each: each.target.key):
            stack.enter_context(canister_lock(run, member.target, purpose="create"))
        settled = [told for member in members for told in finish_what_is_over(run, member.target)]
        stack.enter_context(depot.repository.lock(exclusive=False, progress=progress))
        plan, found = _plan(run, depot, members, options)
        job = _Job(run, depot, members, options, interrupts, progress)
        return job.carry_out(plan, found, tuple(settled))


def _plan(
    run: Runtime, depot: Depot, members: Sequence[Member], options: BackupOptions
) -> tuple[BackupPlan, tuple[Planned, ...]]:
    left = find_left(run, depot.repository, members, options)
    found = plan_members(run, depot, members, options, left)
    plan = BackupPlan(
        repository=depot.text,
        members=tuple(each.plan for each in found),
        leaves_stopped=options.leave_stopped,
        warnings=left.remarks,
    )
    return plan, found


class _Outcome:
    """What is known of a canister beside its backup; filled in as the run goes on."""

    def __init__(self, left: Unfinished) -> None:
        self.left = left
        self.running: bool | None = None
        self.recovery_pending = False
        self.warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Tidied:
    """What became of the snapshots of ours on the subnet."""

    kept: tuple[SnapshotId, ...] = ()
    deleted: tuple[SnapshotId, ...] = ()
    warnings: tuple[str, ...] = ()


class _Job:
    """One run, once everything is locked and planned."""

    def __init__(  # made in one place, above
        self,
        run: Runtime,
        depot: Depot,
        members: Sequence[Member],
        options: BackupOptions,
        interrupts: Interrupts,
        progress: TransferProgress,
    ) -> None:
        self.run = run
        self.depot = depot
        self.members = members
        self.options = options
        self.interrupts = interrupts
        self.progress = progress
        self.taken: list[str] = []
        self.outcomes: dict[CanisterId, _Outcome] = {}
        self.stored: dict[CanisterId, Stored] = {}

    @property
    def targets(self) -> tuple[Target, ...]:
        """The canisters."""
        return tuple(each.target for each in self.members)

    def carry_out(
        self, plan: BackupPlan, found: Sequence[Planned], settled: tuple[str, ...]
    ) -> BackupResult:
        """Take what has to be taken, bring it into the repository, tidy up."""
        lefts = {each.target.canister_id: each.left for each in found if each.left is not None}
        if lefts:
            self.outcomes = {canister: _Outcome(left) for canister, left in lefts.items()}
            self._store_all({each.target.canister_id for each in found if each.is_stored})
        else:
            self._take_and_store(found)
        with self.interrupts.deferred():
            tidied = tuple(
                self._tidy(member, each.plan)
                for member, each in zip(self.members, found, strict=True)
            )
        return self._result(plan, found, tidied, settled)

    # The snapshots

    def _take_and_store(self, found: Sequence[Planned]) -> None:
        run = self.run
        if self.options.stop_s is not None:
            run = replace(run, limits=replace(run.limits, stop_s=self.options.stop_s))
        prepared = []
        for each in found:
            assert each.plan.take is not None  # or it would have been there already
            assert each.found is not None  # the same
            entry = preflight.new_entry(run, each.target, each.found, RunKind.CREATE)
            prepared.append(Prepared(target=each.target, plan=each.plan.take, entry=entry))
        surveys = {each.target.canister_id: each.found for each in found}
        with self._tells_what_was_taken():
            taken = take_together(
                run,
                self.interrupts,
                prepared,
                each=self._own,
                when_all=lambda all_: self._while_held(all_, surveys),
            )
            state = UnfinishedBackups(run.state)
            for one in taken:
                outcome = self.outcomes[one.target.canister_id]
                outcome.running, outcome.warnings = one.held.running, tuple(one.held.warnings)
                outcome.recovery_pending = one.held.recovery_pending
                if not self.options.leave_stopped:
                    details = replace(outcome.left.details, outage_s=one.held.outage_s)
                    outcome.left = replace(outcome.left, details=details)
                    state.write(outcome.left)
        if not self.options.leave_stopped:
            self._store_all(set())

    def _own(self, target: Target, snapshot: CanisterSnapshot, held: Held) -> None:
        """Only what the network acknowledged is ours for certain."""
        self.taken.append(f"snapshot {snapshot.snapshot_id} of {target}")
        if held.book.entry.acknowledged:
            now = self.run.clock.now()
            own = OwnSnapshot(snapshot_id=snapshot.snapshot_id, purpose=BACKUP, taken_at=now)
            Ledger(self.run.state, target.key).add(own)

    def _while_held(
        self,
        taken: Sequence[Taken],
        surveys: Mapping[CanisterId, preflight.Survey | None],
    ) -> None:
        """Remember what was taken; when they are to stay stopped, bring it away as well."""
        random = self.depot.repository.machine.random
        several = len(taken) > 1
        set_id = random(ID_BYTES).hex() if several else None
        together = tuple(one.target.canister_id for one in taken) if several else ()
        lefts = []
        for one, member in zip(taken, self.members, strict=True):
            survey = surveys[one.target.canister_id]
            assert survey is not None  # it was taken
            left = remember(
                self.run,
                one,
                survey,
                backup_id=random(ID_BYTES).hex(),
                set_id=set_id,
                set_canisters=together,
                tags=member.tags,
            )
            UnfinishedBackups(self.run.state).write(left)
            lefts.append(left)
        # Only when all of them are on the disk can the next run go on with them.
        self.outcomes = {left.canister.canister_id: _Outcome(left) for left in lefts}
        if self.options.leave_stopped:
            self._store_all(set())
            for one in taken:
                one.held.leave_stopped()

    @contextmanager
    def _tells_what_was_taken(self) -> Iterator[None]:
        try:
            yield
        except CanisterDownError:
            raise
        except BackupError as error:
            if self.outcomes and not self.options.leave_stopped:
                error.advise(self._goes_on())
            elif self.taken and not self.outcomes:
                told = " and ".join(self.taken)
                error.advise(f"{told} taken in vain: the next backup deletes what is not needed")
            raise

    def _goes_on(self) -> str:
        snapshots = [
            f"snapshot {each.left.snapshot_id} of {each.left.canister}"
            for canister, each in self.outcomes.items()
            if canister not in self.stored
        ]
        verb = "is" if len(snapshots) == 1 else "are"
        again = command(self.run, self.targets, self.options)
        told = " and ".join(snapshots)
        up = [str(each.left.canister) for each in self.outcomes.values() if each.running]
        runs = f"{' and '.join(up)} {'runs' if len(up) == 1 else 'run'}; " if up else ""
        return f"{runs}{told} {verb} kept: go on, without another outage, with `{again}`"

    # The repository

    def _store_all(self, there: set[CanisterId]) -> None:
        """Bring every snapshot into the repository, except those that are there already."""
        storing = Storing(
            run=self.run,
            repository=self.depot.repository,
            options=self.options,
            interrupts=self.interrupts,
            progress=self.progress,
        )
        for member in self.members:
            target = member.target
            if target.canister_id in there:
                continue
            left = self.outcomes[target.canister_id].left
            try:
                self.interrupts.check()
                self.progress.step(f"{target}: snapshot {left.snapshot_id} into the repository")
                tags = tuple(dict.fromkeys((*left.tags, *member.tags)))
                self.stored[target.canister_id] = storing.store(target, left, tags)
            except BackupError as error:
                if self.options.snapshot is None:
                    error.advise(self._goes_on())
                raise

    def _tidy(self, member: Member, plan: MemberPlan) -> _Tidied:
        """Forget that it was unfinished, and delete snapshots that are not needed any more."""
        target, state = member.target, UnfinishedBackups(self.run.state)
        outcome = self.outcomes[target.canister_id]
        try:
            record = state.read(target.key)
            if record is not None and record.details.backup_id == outcome.left.details.backup_id:
                state.drop(target.key)
            if self.options.snapshot is not None:
                return _Tidied()
            listed = target.driver.list_snapshots(target.canister_id)
            ours = on_chain.ours(self.run, target, listed)
        except BackupError as error:
            told = f"What is not needed any more of {target} could not be tidied up"
            return _Tidied(warnings=(f"{told}: {error.message}.",))
        surplus = on_chain.surplus(ours, plan.keep_on_chain)
        deleted, troubles = on_chain.delete_all(self.run, target, surplus)
        kept = tuple(each for each in ours if each not in deleted)
        return _Tidied(kept=kept, deleted=deleted, warnings=troubles)

    # What came of it

    def _result(
        self,
        plan: BackupPlan,
        found: Sequence[Planned],
        tidied: Sequence[_Tidied],
        settled: tuple[str, ...],
    ) -> BackupResult:
        results: list[MemberResult] = []
        warnings = [*settled, *plan.warnings]
        incomplete: list[str] = []
        set_id = None
        for each, tidy in zip(found, tidied, strict=True):
            target, outcome = each.target, self.outcomes[each.target.canister_id]
            set_id = outcome.left.details.set_id
            warnings += (*each.plan.warnings, *outcome.warnings, *tidy.warnings)
            if plan.leaves_stopped:
                start = self.run.command("recover", target)
                warnings.append(f"{target} stays stopped, as was asked; `{start}` starts it.")
            stored = self.stored.get(target.canister_id)
            if stored is None:
                warnings.append(f"The backup of {target} was in the repository already.")
                continue
            result = _member_result(each.plan, outcome, stored, tidy)
            what = f"Backup {result.details.backup_id[:8]} of {target}"
            incomplete += shortcoming(what, result.consistency)
            if self.options.snapshot is None:
                warnings += remark(target, result.consistency)
            results.append(result)
        return BackupResult(
            plan=plan,
            set_id=set_id,
            members=tuple(results),
            incomplete=tuple(incomplete),
            warnings=tuple(warnings),
        )


def _member_result(
    plan: MemberPlan, outcome: _Outcome, stored: Stored, tidied: _Tidied
) -> MemberResult:
    details = stored.record.backup
    assert details is not None  # it was just committed
    return MemberResult(
        plan=plan,
        snapshot_id=outcome.left.snapshot_id,
        record=stored.record,
        details=details,
        restic_id=stored.restic_id,
        versions=stored.versions,
        running=outcome.running,
        recovery_pending=outcome.recovery_pending,
        report=stored.report,
        kept=tidied.kept,
        deleted=tidied.deleted,
    )
