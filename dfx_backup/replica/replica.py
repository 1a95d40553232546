"""The replica: canisters, one lock, and the entry points of messages.

Everything happens under `Replica.lock` and synchronously: `ingress` returns when the message and
all that followed from it has run, unless something has to wait (a stop request, a call with no
answer yet). Between two messages all state is committed; see `state`.
"""

import itertools
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from dfx_backup.replica.calls import Earlier, IngressOrigin, Outcome
from dfx_backup.replica.engine import Engine
from dfx_backup.replica.execution import Executor
from dfx_backup.replica.guard import Guard
from dfx_backup.replica.host import Host, Limits, Management, Native, Respond, Responder
from dfx_backup.replica.lifecycle import InstallOptions, Lifecycle
from dfx_backup.replica.memory import Blob, BlobStore
from dfx_backup.replica.persistence import StateDirectory, load_canisters
from dfx_backup.replica.queries import Queries
from dfx_backup.replica.reject import Reject, ReplicaFailedError
from dfx_backup.replica.scheduler import Scheduler
from dfx_backup.replica.state import (
    DEFAULT_CYCLES,
    MANAGEMENT_ID,
    CanisterState,
    GlobalValue,
    HookStatus,
    Settings,
)

__all__ = ["Limits", "Management", "Outcome", "Reject", "Replica", "Respond", "Responder"]

_FREE_METHODS = (
    "provisional_create_canister_with_cycles",
    "provisional_top_up_canister",
    "update_settings",
)
"""Management methods that reach a frozen canister; the first two are not charged to it."""


class Replica:
    """A single-node replica.

    Attributes:
        lock: held by every method; take it to read `canisters` from outside.
    """

    def __init__(
        self,
        *,
        state_dir: Path | None = None,
        cache_dir: Path | None = None,
        now_ns: Callable[[], int] = time.time_ns,
        limits: Limits | None = None,
        charge_cycles: bool = False,
    ) -> None:
        """Start a replica, with the state that `state_dir` holds from earlier.

        Args:
            state_dir: where state survives; None keeps it in memory.
            cache_dir: for compiled modules; default is a folder in `state_dir`, or none.
            now_ns: clock.
            limits: instruction and time limits.
            charge_cycles: whether execution burns cycles. The freezing limit counts always.

        Raises:
            OSError: the state directory can't be used, or another replica uses it.
        """
        self._guard = Guard()
        self.lock = self._guard.lock
        if cache_dir is None and state_dir is not None:
            cache_dir = state_dir / "cache"
        directory = StateDirectory(state_dir) if state_dir is not None else None
        executor = Executor(Engine(cache_dir), directory or BlobStore())
        self._host = Host(executor, limits or Limits(), now_ns)
        self._host.charge_cycles = charge_cycles
        self._scheduler = Scheduler(self._host)
        self._queries = Queries(self._host)
        self._lifecycle = Lifecycle(self._host, self._scheduler)
        self._directory = directory
        self._anonymous_requests = itertools.count()
        if directory is not None:
            load_canisters(self._host, directory)

    @property
    def failure(self) -> ReplicaFailedError | None:
        """Why the replica can't go on; None while it can."""
        return self._guard.failure

    @property
    def canisters(self) -> dict[bytes, CanisterState]:
        """All canisters by id."""
        return self._host.canisters

    @property
    def blobs(self) -> BlobStore:
        """Makes the blobs of heaps, stable memories and snapshots."""
        return self._host.store

    @property
    def limits(self) -> Limits:
        """Instruction and time limits."""
        return self._host.limits

    @property
    def charge_cycles(self) -> bool:
        """Whether execution burns cycles."""
        return self._host.charge_cycles

    @property
    def management(self) -> Management | None:
        """The management canister; to be set before the first message."""
        return self._host.management

    @management.setter
    def management(self, management: Management) -> None:
        self._host.management = management

    @property
    def natives(self) -> dict[bytes, Native]:
        """Canisters of the network that have no code here, by id; they take all messages."""
        return self._host.natives

    @property
    def data_certificate(self) -> Callable[[bytes], bytes] | None:
        """Given a canister id, makes its data certificate for queries."""
        return self._host.data_certificate

    @data_certificate.setter
    def data_certificate(self, provider: Callable[[bytes], bytes] | None) -> None:
        self._host.data_certificate = provider

    @property
    def root_key(self) -> bytes:
        """DER, as the system API tells canisters."""
        return self._host.root_key

    @root_key.setter
    def root_key(self, der: bytes) -> None:
        self._host.root_key = der

    @property
    def subnet_id(self) -> bytes:
        """Principal, as the system API tells canisters."""
        return self._host.subnet_id

    @subnet_id.setter
    def subnet_id(self, principal: bytes) -> None:
        self._host.subnet_id = principal

    @property
    def earlier(self) -> list[Earlier]:
        """Ingress messages with a memo that processes before this one took in."""
        return self._host.earlier

    def now_ns(self) -> int:
        """The replica's time: never goes back."""
        with self.lock:
            return self._host.now_ns()

    def commit(self) -> None:
        """Make durable what was changed by hand, outside of any message."""
        with self._guard.working():
            self._host.commit()

    def close(self) -> None:
        """Write everything down, let go of the state directory, free all instances.

        Raises:
            ReplicaFailedError: the state can't be written.
        """
        with self.lock:
            self._host.executor.close()
            if self._directory is None or self._directory.is_closed:
                return
            try:
                if self.failure is None:
                    with self._guard.working():
                        self._host.commit()
                        self._directory.checkpoint()
            finally:
                self._directory.close()

    # Messages

    def accepts_ingress(self, sender: bytes, canister_id: bytes, method: str, arg: bytes) -> None:
        """Check whether an ingress message may enter: run state, freezing, `inspect_message`.

        `canister_id` is the one in the message's content; b"" is the management canister.

        Raises:
            Reject: it may not.
        """
        with self._guard.working():
            if canister_id in self.natives:
                return
            if canister_id != MANAGEMENT_ID:
                canister = self._host.find(canister_id)
                self._host.check_runs(canister)
                self._queries.inspect(sender, canister, method, arg)
                return
            management = self._host.management
            if management is None:
                raise Reject.from_error_code(536, "there is no management canister")
            management.accepts_ingress(sender, method, arg)
            effective = management.effective_canister_id(method, arg)
            if effective in self.canisters and method not in _FREE_METHODS:
                assert effective is not None
                self._host.check_balance(self.canisters[effective])

    def ingress(
        self,
        sender: bytes,
        canister_id: bytes,
        method: str,
        arg: bytes,
        *,
        request_id: bytes = b"",
        memo: bytes = b"",
    ) -> Outcome:
        """Execute an accepted ingress message and all that follows from it.

        Args:
            sender: a user.
            canister_id: b"" is the management canister.
            method: update, or query that is run as one.
            arg: for the method.
            request_id: empty when nobody will ask for it.
            memo: committed together with what the message did; for some minutes the next
                process finds it in `earlier`, with the answer.

        Returns:
            Done, unless the message has to wait.
        """
        with self._guard.working():
            number = request_id or b"local %d" % next(self._anonymous_requests)
            origin = IngressOrigin(number, memo)
            return self._scheduler.ingress(sender, canister_id, method, arg, origin)

    def query(self, sender: bytes, canister_id: bytes, method: str, arg: bytes) -> bytes:
        """Execute a query or composite query; its changes are discarded.

        Raises:
            Reject: whatever went wrong.
        """
        with self._guard.working():
            return self._queries.query(sender, canister_id, method, arg)

    def tick(self) -> None:
        """One round: due timers, heartbeats, hooks, expired calls and stop requests, the queue."""
        with self._guard.working():
            self._scheduler.round()

    # Canisters; for the management canister and for tests. What they change becomes durable at
    # the end of the management message that called them, or at once when called from outside.

    def create_canister(
        self,
        *,
        controllers: list[bytes],
        cycles: int = DEFAULT_CYCLES,
        specified_id: bytes | None = None,
        settings: Settings | None = None,
    ) -> bytes:
        """Make an empty, running canister and return its id.

        Raises:
            Reject: IC0205, `specified_id` is taken.
        """
        with self._guard.working():
            canister_id = self._lifecycle.create(controllers, cycles, specified_id, settings)
            self._host.commit()
            return canister_id

    def canister(self, canister_id: bytes) -> CanisterState:
        """The canister.

        Raises:
            Reject: IC0301, there is none.
        """
        with self._guard.working():
            return self._host.find(canister_id)

    def install(
        self,
        canister_id: bytes,
        wasm: bytes,
        arg: bytes = b"",
        mode: Literal["install", "reinstall", "upgrade"] = "install",
        *,
        sender: bytes = b"\x04",
        skip_pre_upgrade: bool = False,
        wasm_memory_persistence: Literal["keep", "replace"] | None = None,
    ) -> None:
        """Install code; all or nothing. Access rights and history are the caller's business.

        Raises:
            Reject: invalid module, trap in a hook, wrong mode for the canister's state.
        """
        options = InstallOptions(
            mode=mode,
            sender=sender,
            skip_pre_upgrade=skip_pre_upgrade,
            wasm_memory_persistence=wasm_memory_persistence,
        )
        with self._guard.working():
            try:
                self._lifecycle.install(self._host.find(canister_id), wasm, arg, options)
            finally:
                self._host.commit()

    def uninstall(self, canister_id: bytes) -> None:
        """Remove code and memories, reject open call contexts, clear timer and certified data.

        Raises:
            Reject: IC0301.
        """
        with self._guard.working():
            self._lifecycle.uninstall(self._host.find(canister_id))
            self._host.commit()

    def start(self, canister_id: bytes) -> None:
        """Make the canister running; stop requests that wait are rejected.

        Raises:
            Reject: IC0301.
        """
        with self._guard.working():
            self._lifecycle.start(self._host.find(canister_id))
            self._host.commit()

    def stop(self, canister_id: bytes, respond: Respond) -> None:
        """Begin to stop; `respond` gets an empty Candid reply when stopped, or a `Reject`.

        The `respond` of `Management.call` survives a restart; other functions are forgotten.

        Raises:
            Reject: IC0301.
        """
        with self._guard.working():
            self._lifecycle.stop(self._host.find(canister_id), respond)
            self._host.commit()

    def delete(self, canister_id: bytes) -> None:
        """Remove a canister for good.

        Raises:
            Reject: IC0301; IC0510, it is not stopped.
        """
        with self._guard.working():
            self._lifecycle.delete(self._host.find(canister_id))
            self._host.commit()

    def replace_state(  # noqa: PLR0913 - the parts of a snapshot
        self,
        canister_id: bytes,
        *,
        module: bytes,
        heap: Blob,
        stable: Blob,
        globals_: list[GlobalValue],
        certified_data: bytes,
        chunks: dict[bytes, bytes],
        global_timer: int | None = None,
        hook_status: HookStatus | None = None,
    ) -> None:
        """Put the content of a snapshot in place of the canister's.

        `heap` and `stable` must be clones made for this purpose: the canister owns them from here
        on. `global_timer` and `hook_status` stay as they are when None. Raises the version by one
        and sets `last_install_at`.

        Raises:
            Reject: IC0505 invalid module; IC0408 globals do not fit the module.
        """
        with self._guard.working():
            self._lifecycle.replace(
                self._host.find(canister_id),
                module=module,
                heap=heap,
                stable=stable,
                globals_=globals_,
                certified_data=certified_data,
                chunks=chunks,
                global_timer=global_timer,
                hook_status=hook_status,
            )
            self._host.commit()

    def bump_version(self, canister_id: bytes) -> None:
        """Raise `canister_version` by one, as every change of settings does.

        Raises:
            Reject: IC0301.
        """
        with self._guard.working():
            self._host.find(canister_id).version += 1
