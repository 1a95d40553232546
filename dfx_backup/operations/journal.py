"""The journal: what a run is about to do to a canister, on the disk before it does it.

One JSON file for each canister on each network, in `journal/` of the state directory. The format
is described in docs/adr/0002-journal-format.md.
"""

import enum
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from dfx_backup.drivers.base import BeforeSend
from dfx_backup.errors import BackupError
from dfx_backup.model import CanisterId, CanisterRef, Network, NetworkId, SentCall, SnapshotId
from dfx_backup.operations.processes import ProcessStamp
from dfx_backup.operations.state_files import Fields, damaged, read_versioned, remove, write_whole
from dfx_backup.operations.target import target_key

FORMAT = "dfx-backup journal"
VERSION = 1

EXPIRY_GRACE_S = 5.0
"""Seconds by which our clock may be ahead of the network's when an expiry is judged."""


class RunKind(enum.StrEnum):
    """What the run is for."""

    CREATE = "create"
    LOAD = "load"
    REBUILD = "rebuild"
    """A load, and then an upgrade that rebuilds the heap, in one outage."""


class Step(enum.StrEnum):
    """The last step that was begun or reached."""

    OPENED = "opened"
    STOPPING = "stopping"
    STOPPED = "stopped"
    TAKING = "taking"
    TAKEN = "taken"
    LOADING = "loading"
    LOADED = "loaded"
    UPGRADING = "upgrading"
    UPGRADED = "upgraded"
    STARTING = "starting"
    STARTED = "started"


class CallKind(enum.StrEnum):
    """A call whose lost answer would matter."""

    STOP = "stop"
    TAKE = "take"
    LOAD = "load"
    UPGRADE = "upgrade"


class Outcome(enum.StrEnum):
    """What is known of a call that was about to be sent."""

    UNKNOWN = "unknown"
    EXECUTED = "executed"
    NOT_EXECUTED = "not executed"


class Side(enum.StrEnum):
    """Which state a canister has that is being loaded onto."""

    OLD = "old"
    """The one from before, untouched or loaded again."""
    NEW = "new"
    UNKNOWN = "unknown"
    """The answer to the last load was lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JournaledCall:
    """One call.

    Attributes:
        kind: which.
        request_id: its request id in hexadecimal, or None when another program signed it.
        expires_at: seconds since the epoch after which it can't execute any more.
        outcome: what is known of it.
    """

    kind: CallKind
    request_id: str | None
    expires_at: float
    outcome: Outcome = Outcome.UNKNOWN


@dataclass(frozen=True, slots=True, kw_only=True)
class JournalEntry:
    """Everything that `recover` needs to finish a run that was killed.

    Attributes:
        kind: what the run is for.
        network: the network, as the run knew it.
        network_id: the network's identity.
        canister: the canister.
        driver: name of the driver.
        process: the process that owns the entry.
        began_at: when the run began, seconds since the epoch.
        was_running: whether the canister was running then.
        step: the last step begun or reached.
        snapshots_before: ids of the snapshots that existed then.
        calls: stop, take, load and upgrade, in the order in which they were sent.
        snapshot_id: the snapshot that the run took, once known.
        acknowledged: the network answered that take with the id: the snapshot is ours for certain.
        loading: the snapshot that is being loaded, or None.
        version_stopped: `canister_version` once stopped, or None.
        loaded: the snapshot that is known to have been loaded last, or None.
        restores: the snapshot that is to be loaded, of a set.
        set_keys: keys of all canisters that are restored together, this one included, in the order
            in which they are stopped; empty: this one alone.
    """

    kind: RunKind
    network: Network
    network_id: NetworkId
    canister: CanisterRef
    driver: str
    process: ProcessStamp
    began_at: float
    was_running: bool
    step: Step = Step.OPENED
    snapshots_before: tuple[SnapshotId, ...] = ()
    calls: tuple[JournaledCall, ...] = ()
    snapshot_id: SnapshotId | None = None
    acknowledged: bool = False
    loading: SnapshotId | None = None
    version_stopped: int | None = None
    loaded: SnapshotId | None = None
    restores: SnapshotId | None = None
    set_keys: tuple[str, ...] = ()

    @property
    def side(self) -> Side:
        """Which state the canister has; `snapshot_id` keeps the one from before the load."""
        last = next((call for call in reversed(self.calls) if call.kind is CallKind.LOAD), None)
        if last is not None and last.outcome is Outcome.UNKNOWN:
            return Side.UNKNOWN
        return Side.OLD if self.loaded in (None, self.snapshot_id) else Side.NEW

    @property
    def key(self) -> str:
        """Names the canister on its network."""
        return target_key(self.network_id, self.canister.canister_id)

    @property
    def must_run(self) -> bool:
        """Whether the canister was running and a stop of ours was sent, or nearly."""
        return self.was_running and any(call.kind is CallKind.STOP for call in self.calls)

    def open_until(self, *kinds: CallKind) -> float | None:
        """When the last call of these kinds whose outcome is unknown can't execute any more.

        Returns:
            Seconds since the epoch, with some grace for clocks that differ; None when every
            outcome is known.
        """
        expiries = [
            call.expires_at
            for call in self.calls
            if call.outcome is Outcome.UNKNOWN and (not kinds or call.kind in kinds)
        ]
        return max(expiries) + EXPIRY_GRACE_S if expiries else None


class Journal:
    """The journal's folder."""

    def __init__(self, state: Path) -> None:
        self.folder = state / "journal"

    def path(self, key: str) -> Path:
        """The file of the canister `key`."""
        return self.folder / f"{key}.json"

    def read(self, key: str) -> JournalEntry | None:
        """The entry of the canister `key`, or None.

        Raises:
            DamageError: the file is damaged; names it.
            ProjectError: the file can't be read or a newer program wrote it; names it.
        """
        return _read(self.path(key))

    def write(self, entry: JournalEntry) -> None:
        """Put the entry on the disk.

        Raises:
            ProjectError: it can't be written.
        """
        write_whole(self.path(entry.key), _as_json(entry))

    def close(self, key: str) -> None:
        """Drop the entry: nothing is left to do.

        Raises:
            ProjectError: the file can't be removed.
        """
        remove(self.path(key))

    def entries(self) -> tuple[tuple[Path, JournalEntry | BackupError], ...]:
        """Every file, and its entry or what is wrong with it."""
        found: list[tuple[Path, JournalEntry | BackupError]] = []
        for path in sorted(self.folder.glob("[!.]*.json")):
            try:
                entry = _read(path)
            except BackupError as error:
                found.append((path, error))
                continue
            if entry is not None:
                found.append((path, entry))
        return tuple(found)


class OpenEntry:
    """The entry of a run that is under way; each change is on the disk when the method returns."""

    def __init__(self, journal: Journal, entry: JournalEntry) -> None:
        self._journal = journal
        self.entry = entry
        journal.write(entry)

    def note(self, **changes: Any) -> None:  # noqa: ANN401 - dataclasses.replace checks the names
        """Change fields of the entry.

        Raises:
            ProjectError: it can't be written.
        """
        changed = replace(self.entry, **changes)
        self._journal.write(changed)
        self.entry = changed

    def sending(self, kind: CallKind) -> BeforeSend:
        """What a driver calls right before a call of this kind leaves.

        A driver that signs anew has seen the call before refused; it never does after a lost
        answer.
        """
        first = len(self.entry.calls)

        def journal_call(call: SentCall) -> None:
            if len(self.entry.calls) > first:
                self.settle(kind, Outcome.NOT_EXECUTED)
            sent = JournaledCall(kind=kind, request_id=call.request_id, expires_at=call.expires_at)
            self.note(calls=(*self.entry.calls, sent))

        return journal_call

    def count(self, kind: CallKind) -> int:
        """How many calls of this kind were about to be sent."""
        return sum(call.kind is kind for call in self.entry.calls)

    def settle(self, kind: CallKind, outcome: Outcome, **more: Any) -> None:  # noqa: ANN401 - as `note`
        """Note what became of the last call of this kind, and what else is known by that.

        It has happened, so it is in `entry` even when the disk refuses it.

        Raises:
            ProjectError: it can't be written.
        """
        calls = list(self.entry.calls)
        for position in reversed(range(len(calls))):
            if calls[position].kind is kind:
                calls[position] = replace(calls[position], outcome=outcome)
                break
        self.entry = replace(self.entry, calls=tuple(calls), **more)
        self._journal.write(self.entry)

    def close(self) -> None:
        """Drop the entry: nothing is left to do."""
        self._journal.close(self.entry.key)


def _as_json(entry: JournalEntry) -> Mapping[str, object]:
    root_key = entry.network.root_key
    return {
        "format": FORMAT,
        "version": VERSION,
        **asdict(entry),
        "network": {
            "name": entry.network.name,
            "url": entry.network.url,
            "root_key": None if root_key is None else root_key.hex(),
        },
    }


def _read(path: Path) -> JournalEntry | None:
    entry = read_versioned(path, kind=FORMAT, version=VERSION, parse=_parse)
    if entry is not None and path.stem != entry.key:
        raise damaged(path, "it tells of another canister or network than its name")
    return entry


def _parse(fields: Fields) -> JournalEntry:
    canister, process = fields.child("canister"), fields.child("process")
    return JournalEntry(
        kind=fields.choice("kind", RunKind),
        network=_parse_network(fields.child("network")),
        network_id=NetworkId(fields.text("network_id")),
        canister=CanisterRef(
            canister_id=CanisterId(canister.text("canister_id")),
            name=canister.optional_text("name"),
        ),
        driver=fields.text("driver"),
        process=ProcessStamp(pid=process.whole("pid"), started=process.optional_text("started")),
        began_at=fields.number("began_at"),
        was_running=fields.flag("was_running"),
        step=fields.choice("step", Step),
        snapshots_before=tuple(map(SnapshotId, fields.texts("snapshots_before"))),
        calls=tuple(map(_parse_call, fields.objects("calls"))),
        snapshot_id=_snapshot(fields.optional_text("snapshot_id")),
        acknowledged=fields.flag("acknowledged"),
        loading=_snapshot(fields.optional_text("loading")),
        version_stopped=fields.optional_whole("version_stopped"),
        loaded=_snapshot(fields.optional_text("loaded")),
        restores=_snapshot(fields.optional_text("restores")),
        set_keys=fields.optional_texts("set_keys"),
    )


def _parse_network(fields: Fields) -> Network:
    root_key = fields.optional_text("root_key")
    return Network(
        name=fields.text("name"),
        url=fields.text("url"),
        root_key=None if root_key is None else fields.choice("root_key", bytes.fromhex),
    )


def _parse_call(fields: Fields) -> JournaledCall:
    return JournaledCall(
        kind=fields.choice("kind", CallKind),
        request_id=fields.optional_text("request_id"),
        expires_at=fields.number("expires_at"),
        outcome=fields.choice("outcome", Outcome),
    )


def _snapshot(text: str | None) -> SnapshotId | None:
    return None if text is None else SnapshotId(text)
