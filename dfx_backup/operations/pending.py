"""Interrupted runs, as the disk knows them; every command looks here before it does anything."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from dfx_backup.errors import BackupError, LockedError
from dfx_backup.model import CanisterId, CanisterRef, Network, NetworkId
from dfx_backup.operations.journal import Journal, JournalEntry
from dfx_backup.operations.locks import is_held, lock_path
from dfx_backup.operations.processes import is_alive, this_process
from dfx_backup.operations.state_files import remove
from dfx_backup.operations.target import target_key


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
        set_keys: keys of all canisters that were restored together; empty: this one alone.
        must_run: that run stopped the canister, or nearly, and was to start it again.
    """

    path: Path
    canister: CanisterRef | None
    network: Network | None
    network_id: NetworkId | None
    driver: str | None
    summary: str
    problem: BackupError | None = None
    set_keys: tuple[str, ...] = ()
    must_run: bool = False


def pending(state: Path) -> tuple[Pending, ...]:
    """Every run that is neither finished nor under way; reads the disk only and never raises.

    A run is under way while its process lives and holds the canister's lock.

    Args:
        state: our state directory, `Places.state`.
    """
    found = [
        _described(path, content)
        for path, content in Journal(state).entries()
        if not _is_under_way(state, path, content)
    ]
    return tuple(found)


def pending_for(state: Path, network_id: NetworkId, canister_id: CanisterId) -> Pending | None:
    """The interrupted run on this canister, if there is one."""
    path = Journal(state).path(target_key(network_id, canister_id))
    return next((one for one in pending(state) if one.path == path), None)


def discard(state: Path, left: Pending) -> None:
    """Drop an entry whose network is gone for good, such as a local replica that was reset.

    Raises:
        LockedError: a run is under way on that canister.
        ProjectError: the file can't be removed.
    """
    if is_held(lock_path(state, left.path.stem)):
        raise LockedError(f"the run of {left.path} is under way", hint="wait for it to end")
    remove(left.path)


def _is_under_way(state: Path, path: Path, content: JournalEntry | BackupError) -> bool:
    """The lock decides; where its file was removed, the process that wrote the entry does."""
    held = is_held(lock_path(state, path.stem))
    if held is not None or isinstance(content, BackupError):
        return bool(held)
    return content.process != this_process() and is_alive(content.process)


def _described(path: Path, content: JournalEntry | BackupError) -> Pending:
    if isinstance(content, BackupError):
        return Pending(
            path=path,
            canister=None,
            network=None,
            network_id=None,
            driver=None,
            summary=f"A run was interrupted, and its journal can't be read: {content.message}.",
            problem=content,
        )
    began = datetime.fromtimestamp(content.began_at, tz=UTC).strftime("%Y-%m-%d %H:%M UTC")
    return Pending(
        path=path,
        canister=content.canister,
        network=content.network,
        network_id=content.network_id,
        driver=content.driver,
        set_keys=content.set_keys,
        must_run=content.must_run,
        summary=f"A {content.kind} on canister {content.canister} (network"
        f" {content.network.name}) was interrupted at step `{content.step}` on {began};"
        " `recover` finishes it.",
    )
