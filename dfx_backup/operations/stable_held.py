"""Snapshots that `stable` takes to read from: remembered, gone on with, and deleted in the end.

One JSON file for each canister and file name, in `stable/` of the state directory. It is written
while the canister is still held, so that an interrupted run costs no second outage.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from dfx_backup.errors import BackupError, UsageError
from dfx_backup.model import CanisterId, CanisterSnapshot, Consistency, NetworkId, SnapshotId
from dfx_backup.operations import preflight
from dfx_backup.operations.direct import Direct
from dfx_backup.operations.hold import Held, Moment
from dfx_backup.operations.interrupts import Interrupts
from dfx_backup.operations.journal import RunKind
from dfx_backup.operations.ledger import Ledger, OwnSnapshot
from dfx_backup.operations.locks import canister_lock
from dfx_backup.operations.plans import CreateOptions, CreatePlan, Versions
from dfx_backup.operations.recover import finish_what_is_over
from dfx_backup.operations.snapshot_create import plan_found
from dfx_backup.operations.snapshot_delete import delete_one
from dfx_backup.operations.state_files import Fields, read_versioned, remove, write_whole
from dfx_backup.operations.take_together import Prepared, Taken, judge, take_together
from dfx_backup.operations.target import Runtime, Target
from dfx_backup.operations.unfinished import moment_from, moment_to_json

FORMAT = "dfx-backup snapshot in use"
VERSION = 1
EXPORT = "taken for an export of stable memory"
"""Purpose of a snapshot that an export reads, in the list of our own."""
BASE = "taken for an import of stable memory"
"""Purpose of a snapshot that gives an import its module and heap."""
IMPORTED = "uploaded for an import of stable memory"
"""Purpose of what an import uploads, in the list of our own."""

_NO_SLOT = "delete one with `snapshot delete`: the snapshot that is read needs a slot for a while"


@dataclass(frozen=True, slots=True, kw_only=True)
class InUse:
    """A snapshot of ours that a run reads from.

    Attributes:
        canister_id: whose.
        network_id: on which network.
        snapshot_id: which one.
        file: what for: the path of a file, or a backup's id.
        acknowledged: the network answered our own take with its id: it may be deleted.
        taken_at_ns: when it was taken.
        outage_s: seconds for which the canister was stopped.
        after_stop: a look at the canister right after its stop.
        before_start: the same right before its start.
        copied: what is needed of it is on the disk.
        loading: what was made of it may have been loaded since.
    """

    canister_id: CanisterId
    network_id: NetworkId
    snapshot_id: SnapshotId
    file: str
    acknowledged: bool
    taken_at_ns: int
    outage_s: float = 0.0
    after_stop: Moment = field(default_factory=Moment)
    before_start: Moment = field(default_factory=Moment)
    copied: bool = False
    loading: bool = False

    @property
    def moment(self) -> str:
        """When it was taken, for people."""
        return f"{datetime.fromtimestamp(self.taken_at_ns / 1e9, UTC):%Y-%m-%d %H:%M:%S} UTC"

    def consistency(self, in_snapshot: int | None) -> Consistency:
        """What the snapshot promises; `in_snapshot` is the version inside it."""
        versions = Versions(
            after_stop=self.after_stop.version,
            in_snapshot=in_snapshot,
            before_start=self.before_start.version,
        )
        return judge(versions, (self.after_stop, self.before_start), live=False)


class SnapshotRecord:
    """What the state directory tells of a snapshot of ours, for one canister and one file.

    Args:
        run: the surroundings.
        target: the canister.
        purpose: `EXPORT` or `BASE`.
        file: what it is for: NAME with its folder, or a backup's id.
        content: tells one content of this name from another.
    """

    def __init__(
        self, run: Runtime, target: Target, purpose: str, file: str, *, content: str = ""
    ) -> None:
        self.purpose = purpose
        self.file = file
        name = hashlib.sha256(f"{purpose}\0{file}\0{content}".encode()).hexdigest()[:16]
        self._stem = run.state / "stable" / f"{target.key}.{name}"
        self._upload = run.state / "uploads" / f"{target.key}.{name}.json"

    @property
    def path(self) -> Path:
        """The file that tells of the snapshot."""
        return self._stem.with_name(f"{self._stem.name}.json")

    @property
    def folder(self) -> Path:
        """Where a copy of the snapshot is kept, when one is."""
        return self._stem.with_name(f"{self._stem.name}.base")

    @property
    def upload(self) -> Path:
        """What is remembered of an upload that is made of it."""
        return self._upload

    def read(self) -> InUse | None:
        """What an earlier run left, or None.

        Raises:
            DamageError: the file is damaged; names it.
            ProjectError: it can't be read, or a newer program wrote it.
        """
        return read_versioned(self.path, kind=FORMAT, version=VERSION, parse=_parse)

    def write(self, used: InUse) -> None:
        """Put it on the disk.

        Raises:
            ProjectError: it can't be written.
        """
        told: dict[str, Any] = {
            **asdict(used),
            "after_stop": moment_to_json(used.after_stop),
            "before_start": moment_to_json(used.before_start),
        }
        write_whole(self.path, {"format": FORMAT, "version": VERSION, **told})

    def drop(self) -> None:
        """Nobody needs it any more.

        Raises:
            ProjectError: it can't be removed.
        """
        remove(self.path)


def require_direct(target: Target) -> Direct:
    """The way without another program, which the slices of a snapshot take.

    Raises:
        UsageError: the identity's key can't be read.
    """
    if target.direct is None:
        raise UsageError(
            "the memory of a snapshot is read by this program itself, which needs the identity's"
            " key",
            hint="choose an identity whose key can be read, with --identity; or let"
            f" {target.driver.describe()} move a whole snapshot: `snapshot download`",
        )
    return target.direct


def plan_take(
    run: Runtime, target: Target, found: preflight.Survey, *, allow_stopped: bool
) -> CreatePlan:
    """How a snapshot will be taken.

    Raises:
        RefusedError: it would not be safe, or there is no slot.
    """
    preflight.require_slot(target, found.snapshots, _NO_SLOT)
    return plan_found(run, target, CreateOptions(allow_stopped=allow_stopped), found)


def take(
    run: Runtime,
    target: Target,
    interrupts: Interrupts,
    record: SnapshotRecord,
    *,
    allow_stopped: bool,
) -> tuple[InUse, tuple[str, ...]]:
    """Stop, take, start, and remember it.

    Returns:
        The snapshot, and one sentence for each thing to know.

    Raises:
        LockedError: another run holds the canister.
        CanisterDownError: the canister could not be started again.
        InterruptedRunError: a signal has come; the canister was started.
        RefusedError, NetworkError, ToolError, ProjectError: from a step.
    """

    def own(_target: Target, snapshot: CanisterSnapshot, held: Held) -> None:
        acknowledged = held.book.entry.acknowledged
        record.write(_in_use(run, target, record, snapshot, acknowledged=acknowledged))
        if acknowledged:  # or it is not ours for certain
            taken_at = run.clock.now()
            own = OwnSnapshot(
                snapshot_id=snapshot.snapshot_id, purpose=record.purpose, taken_at=taken_at
            )
            Ledger(run.state, target.key).add(own)

    def while_held(taken: Sequence[Taken]) -> None:
        record.write(_looked_at(record, taken[0]))

    with canister_lock(run, target, purpose="stable"):
        settled = finish_what_is_over(run, target)
        found = preflight.survey(target)
        plan = plan_take(run, target, found, allow_stopped=allow_stopped)
        entry = preflight.new_entry(run, target, found, RunKind.CREATE)
        prepared = Prepared(target=target, plan=plan, entry=entry)
        (taken,) = take_together(run, interrupts, [prepared], each=own, when_all=while_held)
        used = replace(_looked_at(record, taken), outage_s=taken.held.outage_s)
        record.write(used)
    return used, (*settled, *taken.held.warnings)


def exists(target: Target, snapshot: SnapshotId) -> CanisterSnapshot | None:
    """The snapshot as it is listed, or None when it is gone.

    Raises:
        NetworkError: as the network tells it.
    """
    listed = require_direct(target).calls.list_snapshots(target.canister_id)
    return next((each for each in listed if each.snapshot_id == snapshot), None)


def release(run: Runtime, target: Target, record: SnapshotRecord, used: InUse) -> tuple[str, ...]:
    """Delete the snapshot, when it is ours for certain; a failure is only told.

    Returns:
        One sentence for each thing to know.
    """
    command = run.command("snapshot delete", target, used.snapshot_id)
    if not used.acknowledged:
        told = (
            f"Snapshot {used.snapshot_id} of {target} appeared when ours was taken, and its answer"
        )
        return (f"{told} was lost: when nobody else took it, `{command}` deletes it.",)
    try:
        with canister_lock(run, target, purpose="stable"):
            if exists(target, used.snapshot_id) is not None:
                delete_one(run, target, used.snapshot_id)
            else:
                Ledger(run.state, target.key).drop(used.snapshot_id)
    except BackupError as error:
        told = f"Snapshot {used.snapshot_id} of {target}, {record.purpose}, could not be deleted"
        return (f"{told}: {error.message}. `{command}` does it.",)
    run.progress.step(f"{target}: deleted snapshot {used.snapshot_id}, which is not needed")
    return ()


def left_over(
    run: Runtime, target: Target, found: preflight.Survey, *used: SnapshotId | None
) -> tuple[str, ...]:
    """Snapshots of other runs that were not finished, one sentence each; `used` are this run's."""
    return tuple(
        f"Snapshot {own.snapshot_id} of {target} was {own.purpose} that was not finished; when"
        " nobody goes on with it:"
        f" `{run.command('snapshot delete', target, own.snapshot_id)}`."
        for own in Ledger(run.state, target.key).read()
        if own.purpose in (EXPORT, BASE, IMPORTED)
        and own.snapshot_id in found.ids
        and own.snapshot_id not in used
    )


def left_folders(run: Runtime, target: Target, record: SnapshotRecord) -> tuple[str, ...]:
    """What other imports that were not finished have on the disk, one sentence each."""
    found = sorted((run.state / "stable").glob(f"{target.key}.*.base"))
    return tuple(
        f"{folder} holds module and heap of {target} for another import, which was not finished:"
        " when nobody goes on with that, remove it."
        for folder in found
        if folder != record.folder
    )


def _in_use(
    run: Runtime,
    target: Target,
    record: SnapshotRecord,
    snapshot: CanisterSnapshot,
    *,
    acknowledged: bool,
) -> InUse:
    return InUse(
        canister_id=target.canister_id,
        network_id=target.network_id,
        snapshot_id=snapshot.snapshot_id,
        file=record.file,
        acknowledged=acknowledged,
        taken_at_ns=snapshot.taken_at_ns or int(run.clock.now() * 1e9),
    )


def _looked_at(record: SnapshotRecord, taken: Taken) -> InUse:
    used = record.read()
    assert used is not None  # it was written when the snapshot was taken
    return replace(
        used, after_stop=_short(taken.held.after_stop), before_start=_short(taken.before_start)
    )


def _short(moment: Moment) -> Moment:
    return Moment(version=moment.version, state=moment.state)


def _parse(fields: Fields) -> InUse:
    return InUse(
        canister_id=CanisterId(fields.text("canister_id")),
        network_id=NetworkId(fields.text("network_id")),
        snapshot_id=SnapshotId(fields.text("snapshot_id")),
        file=fields.text("file"),
        acknowledged=fields.flag("acknowledged"),
        taken_at_ns=fields.whole("taken_at_ns"),
        outage_s=fields.number("outage_s"),
        after_stop=moment_from(fields.child("after_stop")),
        before_start=moment_from(fields.child("before_start")),
        copied=fields.flag("copied"),
        loading=fields.flag("loading"),
    )
