"""A backup that is in no repository yet."""

from dfx_backup.model import CanisterId, CanisterRef, Consistency, NetworkId, RunState, SnapshotId
from dfx_backup.operations.hold import Moment
from dfx_backup.operations.unfinished import Unfinished
from dfx_backup.transfer.backup_details import BackupDetails

CANISTER, OTHER = CanisterId("aaaaa-aa"), CanisterId("2vxsx-fae")
LEFT = Unfinished(
    canister=CanisterRef(canister_id=CANISTER, name="chat"),
    network_id=NetworkId("ab" * 32),
    snapshot_id=SnapshotId("00ff"),
    began_at=1_700_000_000.5,
    live=False,
    after_stop=Moment(version=7, state=RunState.STOPPED),
    before_start=Moment(),
    details=BackupDetails(
        backup_id="0f" * 16,
        network_name="local",
        taken_at_ns=1_700_000_000_123_456_789,
        consistency=Consistency.UNVERIFIED,
        set_id="ab" * 16,
        set_canisters=(CANISTER, OTHER),
        outage_s=1.5,
    ),
    tags=("nightly",),
)
