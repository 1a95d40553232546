"""What must be in order before a canister is stopped; each check refuses by itself."""

from dataclasses import dataclass

from dfx_backup.errors import RefusedError, RejectError
from dfx_backup.ic.principal import ANONYMOUS
from dfx_backup.model import (
    MAX_SNAPSHOTS,
    CanisterSnapshot,
    CanisterStatus,
    RunState,
    SnapshotId,
)
from dfx_backup.operations.journal import JournalEntry, RunKind
from dfx_backup.operations.locks import refuse_held
from dfx_backup.operations.plans import CyclesCheck
from dfx_backup.operations.processes import this_process
from dfx_backup.operations.target import Runtime, Target

_NOT_A_CONTROLLER = "IC0512"
_ANONYMOUS = ANONYMOUS.to_text()


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What a canister looks like before anything is done to it."""

    status: CanisterStatus
    snapshots: tuple[CanisterSnapshot, ...]

    @property
    def ids(self) -> tuple[SnapshotId, ...]:
        """The ids of its snapshots, oldest first."""
        return tuple(snapshot.snapshot_id for snapshot in self.snapshots)


def survey(target: Target) -> Survey:
    """Ask for status and snapshots, and refuse when we do not control the canister.

    Raises:
        RefusedError: our principal is not among the controllers.
        NetworkError, ToolError: as the driver tells them.
    """
    try:
        status = target.driver.status(target.canister_id)
    except RejectError as error:
        if error.error_code == _NOT_A_CONTROLLER:
            error.hint = _controller_hint(target)
        raise
    if target.principal and status.controllers and target.principal not in status.controllers:
        raise RefusedError(
            f"{target.principal} is no controller of canister {target}",
            hint=_controller_hint(target),
        )
    return Survey(status=status, snapshots=target.driver.list_snapshots(target.canister_id))


def require_state(
    run: Runtime, target: Target, status: CanisterStatus, *, allow_stopped: bool
) -> None:
    """Refuse a canister that somebody else stopped, or is stopping just now.

    Raises:
        LockedError: another run of ours stopped it.
        RefusedError: it is stopped and that was not allowed, or it is stopping.
    """
    if status.state is not RunState.RUNNING:
        refuse_held(run, target)
    if status.state is RunState.STOPPING:
        raise RefusedError(
            f"canister {target} is stopping: somebody sent a stop that is not done yet",
            hint="wait until it is stopped, or start it again:"
            f" `{run.command('recover', target)}` offers that",
        )
    if status.state is RunState.STOPPED and not allow_stopped:
        raise RefusedError(
            f"canister {target} is stopped, and not by a run that this computer knows of",
            hint="a run on another computer may have been killed: start it with"
            f" `{run.command('recover', target)}`; --allow-stopped goes on and leaves it stopped",
        )


def require_code(target: Target, status: CanisterStatus) -> None:
    """Refuse an empty canister.

    Raises:
        RefusedError: it has no module.
    """
    if status.module_hash is None:
        raise RefusedError(
            f"canister {target} is empty: there is no code to take a snapshot of",
            hint="install code first",
        )


def require_slot(target: Target, snapshots: tuple[CanisterSnapshot, ...], hint: str) -> None:
    """Refuse when every slot is taken.

    Raises:
        RefusedError: the canister has ten snapshots.
    """
    if len(snapshots) >= MAX_SNAPSHOTS:
        raise RefusedError(
            f"canister {target} has {len(snapshots)} snapshots, and {MAX_SNAPSHOTS} is the limit",
            hint=hint,
        )


def require_cycles(target: Target, cycles: CyclesCheck) -> tuple[str, ...]:
    """Refuse when the canister would be frozen, and warn when that can't be told.

    Raises:
        RefusedError: the balance is too low; the hint has the amount.
    """
    if cycles.unknown is not None:
        text = f"Whether the cycles of {target} suffice for a snapshot is not known"
        return (f"{text}: {cycles.unknown}.",)
    if cycles.top_up:
        raise RefusedError(
            f"canister {target} would be frozen by the snapshot's memory: its balance is"
            f" {cycles.balance:,} cycles, and {(cycles.required or 0) + (cycles.cost or 0):,}"
            " are needed; a frozen canister can't be started again",
            hint=f"top up at least {cycles.top_up:,} cycles: `dfx cycles top-up"
            f" {target.canister_id} {cycles.top_up} --network {target.network.name}`",
        )
    return ()


def new_entry(run: Runtime, target: Target, found: Survey, kind: RunKind) -> JournalEntry:
    """The journal entry with which a run begins."""
    return JournalEntry(
        kind=kind,
        network=target.network,
        network_id=target.network_id,
        canister=target.ref,
        driver=target.driver.name.value,
        process=this_process(),
        began_at=run.clock.now(),
        was_running=found.status.state is RunState.RUNNING,
        snapshots_before=found.ids,
    )


def _controller_hint(target: Target) -> str:
    if target.principal == _ANONYMOUS:  # who adds that one, adds everybody
        return "you are anonymous: use the identity of a controller (--identity)"
    return (
        "use the identity of a controller (--identity), or add yours:"
        f" `dfx canister update-settings {target.canister_id}"
        f" --add-controller {target.principal or 'PRINCIPAL'}"
        f" --network {target.network.name}`"
    )
