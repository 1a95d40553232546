"""One transfer in a process of its own, to be killed: python -m tests.fakes.transfer_child JSON."""

import json
import sys
from pathlib import Path

from dfx_backup.ic.identity import AnonymousIdentity
from dfx_backup.ic.management import ManagementCanister
from dfx_backup.ic.retry import NO_RETRY
from dfx_backup.ic.session import Session
from dfx_backup.model import CanisterId, SnapshotId
from dfx_backup.transfer.snapshot_download import download_snapshot
from dfx_backup.transfer.snapshot_upload import upload_snapshot
from dfx_backup.transfer.terms import (
    BackupIdentity,
    ReadBack,
    SilentTransfer,
    TransferOptions,
    UploadChoices,
    UploadTarget,
)
from dfx_backup.transfer.upload_plan import plan_upload


def main(order: dict[str, str]) -> str:
    session = Session(order["url"], AnonymousIdentity(), root_key=bytes.fromhex(order["root_key"]))
    management = ManagementCanister(session, retry=NO_RETRY)
    options = TransferOptions(window=4, checkpoint_bytes=4_000_000)
    canister, folder = CanisterId(order["canister"]), Path(order["folder"])
    print("ready", flush=True)
    if order["verb"] == "upload":
        done = upload_snapshot(
            management,
            UploadTarget(
                canister_id=canister, network_id=session.network_id(), state=Path(order["state"])
            ),
            plan_upload(folder),
            UploadChoices(read_back=ReadBack.ALL),
            options=options,
            progress=SilentTransfer(),
        )
        return done.snapshot_id
    report = download_snapshot(
        management,
        BackupIdentity(
            canister_id=canister,
            snapshot_id=SnapshotId(order["snapshot"]),
            network_id=session.network_id(),
            tool="dfx-backup 0.1.0",
            created_at=0.0,
        ),
        folder,
        options=options,
        progress=SilentTransfer(),
        resume=True,
    )
    return str(report.moved_bytes)


if __name__ == "__main__":
    print(main(json.loads(sys.argv[1])), flush=True)
