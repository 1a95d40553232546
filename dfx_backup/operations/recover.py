"""Finish what an interrupted run left undone: start the canister, settle what was sent, report."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dfx_backup.errors import BackupError
from dfx_backup.model import CanisterId, CanisterRef, Network, NetworkId, RunState, SnapshotId
from dfx_backup.operations.target import Runtime, Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """An interrupted run that `recover` has to finish.

    Attributes:
        path: the journal file.
        canister: the canister, or None when the file can't be read.
        network: the network as that run knew it, or None when the file can't be read.
        network_id: the network's identity, or None when the file can't be read.
        driver: how that run controlled the canister (`dfx`, `icp`, `agent`), or None.
        summary: one sentence for the warning that every command prints.
        problem: the error that reading the file gave, or None.
    """

    path: Path
    canister: CanisterRef | None
    network: Network | None
    network_id: NetworkId | None
    driver: str | None
    summary: str
    problem: BackupError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoverAction:
    """What `recover` will do with one canister.

    Attributes:
        canister: the canister.
        state: its status now.
        from_journal: True: a journal entry says what is left to do. False: the canister was just
            found not running, and starting it needs the user's word.
        will: one sentence for each step.
    """

    canister: CanisterRef
    state: RunState
    from_journal: bool
    will: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoverPlan:
    """What `recover` will do; `needs_consent` when it starts canisters that no journal names."""

    actions: tuple[RecoverAction, ...]

    @property
    def needs_consent(self) -> bool:
        """Whether a canister would be started without a journal entry that says so."""
        return any(not action.from_journal for action in self.actions)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovered:
    """What `recover` did with one canister.

    Attributes:
        canister: the canister.
        state: its status at the end.
        started: whether we had to start it.
        closed: whether the journal entry is closed; False: run `recover` again later.
        snapshot_id: the snapshot that the interrupted run is known to have taken, or None.
        orphans: snapshots that are new since that run began and that it never acknowledged; they
            are not ours for certain, so they are only reported.
        warnings: one sentence for each thing to know.
    """

    canister: CanisterRef
    state: RunState
    started: bool
    closed: bool
    snapshot_id: SnapshotId | None = None
    orphans: tuple[SnapshotId, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoverResult:
    """What `recover` did; not empty `incomplete`: exit 3."""

    recovered: tuple[Recovered, ...]
    incomplete: tuple[str, ...] = ()


def pending(state: Path) -> tuple[Pending, ...]:
    """Interrupted runs, for the warning that every command prints; reads the disk only."""
    raise NotImplementedError


def pending_for(state: Path, network_id: NetworkId, canister_id: CanisterId) -> Pending | None:
    """The interrupted run on this canister, if there is one."""
    raise NotImplementedError


def plan_recover(run: Runtime, targets: Sequence[Target]) -> RecoverPlan:
    """Look at each canister: what its journal entry asks for, or that it is just not running."""
    raise NotImplementedError


def recover(
    run: Runtime, targets: Sequence[Target], *, start_stopped: bool = False
) -> RecoverResult:
    """Finish the journal entries of these canisters, one after the other.

    Args:
        run: the surroundings.
        targets: the canisters.
        start_stopped: the user's word to start canisters that no journal entry names as well.

    Raises:
        CanisterDownError: one could not be started; the others were still handled.
    """
    raise NotImplementedError


def discard(run: Runtime, entry: Pending) -> None:
    """Drop an entry whose network is gone for good, such as a local replica that was reset."""
    raise NotImplementedError
