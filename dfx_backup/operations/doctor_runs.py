"""Findings about what earlier runs left: recoveries, backups and uploads that are not finished."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from dfx_backup.errors import CanisterDownError
from dfx_backup.model import CanisterStatus, RunState
from dfx_backup.operations.doctor_findings import (
    Finding,
    Topic,
    catch,
    doubt,
    failed,
    failure,
    fine,
)
from dfx_backup.operations.locks import is_held, lock_path
from dfx_backup.operations.pending import Pending, pending
from dfx_backup.operations.target import Runtime, Target
from dfx_backup.operations.unfinished import Unfinished, UnfinishedBackups
from dfx_backup.transfer.upload_state import LeftUpload, left_uploads


def recoveries(run: Runtime, journaled: Callable[[Pending], Target]) -> list[Finding]:
    """Interrupted runs; one is urgent when its canister is still down."""
    left = pending(run.state)
    if not left:
        return [fine(Topic.RECOVERY, "nothing is left to recover")]
    return [_left(run, journaled, each) for each in left]


def _left(run: Runtime, journaled: Callable[[Pending], Target], left: Pending) -> Finding:
    if left.problem is not None:
        return failure(
            Topic.RECOVERY, left.summary, left.problem.hint, exit_code=left.problem.exit_code
        )
    target, _ = catch(lambda: journaled(left))
    if target is not None and target.network_id != left.network_id:
        return doubt(
            Topic.RECOVERY,
            f"{left.summary} Network {target.network.name} is another one now: its root key is not"
            " the same",
            "if it was reset, its canisters are gone: run"
            f" `{run.program} recover {left.path.name} --discard`",
        )
    status, _ = (None, None) if target is None else catch(partial(_status_of, target))
    if left.must_run and status is not None and status.state is not RunState.RUNNING:
        assert target is not None
        return failure(
            Topic.RECOVERY,
            f"canister {target} was running, and is {status.state} now. {left.summary}",
            f"run `{run.command('recover', target)}`",
            exit_code=CanisterDownError.exit_code,
        )
    return doubt(Topic.RECOVERY, left.summary, f"run `{run.program} recover --all`")


def _status_of(target: Target) -> CanisterStatus:
    return target.driver.status(target.canister_id)


def unfinished(run: Runtime) -> list[Finding]:
    """Snapshots that were taken for a backup, and are in no repository yet."""
    found = [
        each
        for each in UnfinishedBackups(run.state).entries()
        if not is_held(lock_path(run.state, each[0].stem))
    ]
    if not found:
        return [fine(Topic.UNFINISHED, "every snapshot that was taken for a backup is in one")]
    return [
        _unfinished(run, content)
        if isinstance(content, Unfinished)
        else failed(Topic.UNFINISHED, content)
        for _, content in found
    ]


def _unfinished(run: Runtime, left: Unfinished) -> Finding:
    words = " ".join(str(member) for member in left.members)
    network = left.details.network_name
    return doubt(
        Topic.UNFINISHED,
        f"snapshot {left.snapshot_id} of {left.canister} (network {network}) was taken for a backup"
        " and is in no repository yet",
        f"`{run.program} create {words} --network {network}` goes on with it, without another"
        " outage; with --new it takes a new one",
    )


def uploads(run: Runtime) -> list[Finding]:
    """Snapshots that were uploaded in part: each takes a slot, and is billed at its full size."""
    found, trouble = catch(lambda: left_uploads(run.state / "uploads"))
    if trouble is not None:
        return [failed(Topic.UPLOADS, trouble)]
    left = [each for each in found or () if not is_held(each.state)]
    if not left:
        return [fine(Topic.UPLOADS, "no upload was left half done")]
    return [_upload(run, each) for each in left]


def _upload(run: Runtime, left: LeftUpload) -> Finding:
    snapshot, canister = left.snapshot_id, left.canister_id
    if canister is None or snapshot is None:
        return doubt(
            Topic.UPLOADS,
            f"{left.state} is of an upload that was interrupted before its snapshot was known",
            "the same `restore` or `snapshot upload` finds out; remove the file to forget it",
        )
    return doubt(
        Topic.UPLOADS,
        f"snapshot {snapshot} of canister {canister} was uploaded in part; it takes a slot and"
        " is billed at its full size",
        "the same `restore` or `snapshot upload --resume` goes on;"
        f" `{run.program} snapshot delete {canister} {snapshot}` gives up",
    )


def uploading(state: Path) -> frozenset[str]:
    """Snapshots that uploads fill, under way or left; damage is told elsewhere."""
    found, _ = catch(lambda: left_uploads(state / "uploads"))
    return frozenset(each.snapshot_id for each in found or () if each.snapshot_id is not None)
