"""What must be remembered of a snapshot when it is taken: nobody can ask for it later."""

from collections.abc import Callable

from dfx_backup.errors import NetworkError
from dfx_backup.ic.canister_settings import CanisterSettings, FullStatus
from dfx_backup.model import CanisterId, CanisterSnapshot, CanisterStatus, Consistency
from dfx_backup.operations.hold import Moment
from dfx_backup.operations.preflight import Survey
from dfx_backup.operations.take_together import Taken
from dfx_backup.operations.target import Runtime, Target
from dfx_backup.operations.unfinished import Unfinished
from dfx_backup.transfer.backup_details import BackupDetails

ID_BYTES = 16
"""Random bytes of the id of a backup or set."""


def remember(
    run: Runtime,
    taken: Taken,
    found: Survey,
    *,
    backup_id: str,
    set_id: str | None,
    set_canisters: tuple[CanisterId, ...],
    tags: tuple[str, ...],
) -> Unfinished:
    """What is known of a snapshot that was just taken, the canister still being held.

    Args:
        run: the surroundings.
        taken: the snapshot.
        found: what the canister looked like before.
        backup_id: of the backup that is to be.
        set_id: of its set, or None.
        set_canisters: all of the set, in the order in which they were stopped.
        tags: the user's.
    """
    target, full = taken.target, taken.held.after_stop.full
    status = found.status if full is None else full.status
    details = BackupDetails(
        backup_id=backup_id,
        network_name=target.network.name,
        taken_at_ns=_moment_ns(run, taken.snapshot),
        consistency=Consistency.UNVERIFIED,
        set_id=set_id,
        set_canisters=set_canisters,
        canister_name=target.ref.name,
        canister_version=status.version,
        module_hash=status.module_hash,
        driver=taken.plan.driver,
        cycles=status.cycles,
        cycles_estimate=taken.plan.cycles.cost,
        settings=_told(status) if full is None else full.settings,
    )
    return Unfinished(
        canister=target.ref,
        network_id=target.network_id,
        snapshot_id=taken.snapshot.snapshot_id,
        began_at=run.clock.now(),
        live=taken.is_live,
        after_stop=taken.held.after_stop,
        before_start=taken.before_start,
        details=details,
        tags=tags,
    )


def existing(
    run: Runtime,
    target: Target,
    snapshot: CanisterSnapshot,
    random: Callable[[int], bytes],
) -> Unfinished:
    """What can be known of a snapshot that somebody took before."""
    full = _full_status(target)
    details = BackupDetails(
        backup_id=random(ID_BYTES).hex(),
        network_name=target.network.name,
        taken_at_ns=_moment_ns(run, snapshot),
        consistency=Consistency.UNVERIFIED,
        canister_name=target.ref.name,
        canister_version=None if full is None else full.status.version,
        module_hash=None if full is None else full.status.module_hash,
        driver=target.driver.describe(),
        cycles=None if full is None else full.status.cycles,
        settings=None if full is None else full.settings,
    )
    return Unfinished(
        canister=target.ref,
        network_id=target.network_id,
        snapshot_id=snapshot.snapshot_id,
        began_at=run.clock.now(),
        live=False,
        after_stop=Moment(),
        before_start=Moment(),
        details=details,
    )


def _full_status(target: Target) -> FullStatus | None:
    """Status and settings of now; a viewer of snapshots may not be allowed to see them."""
    if target.direct is None:
        return None
    try:
        return target.direct.calls.full_status(target.canister_id)
    except NetworkError:
        return None


def _told(status: CanisterStatus) -> CanisterSettings:
    """The settings that a driver's own status tells."""
    return CanisterSettings(
        controllers=status.controllers or None, freezing_threshold=status.freezing_threshold_s
    )


def _moment_ns(run: Runtime, snapshot: CanisterSnapshot) -> int:
    """When it was taken; the snapshot's metadata tells it exactly later."""
    return snapshot.taken_at_ns or int(run.clock.now() * 1e9)
