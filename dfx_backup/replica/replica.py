"""The replica: canisters, one lock, and the entry points of messages.

Everything happens under `Replica.lock` and synchronously: `ingress` returns when the message and
all that followed from it has run, unless something has to wait (a stop request, a call with no
answer yet). Between two messages all state is committed; see `state`.
"""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from dfx_backup.replica.calls import Outcome
from dfx_backup.replica.memory import Blob, BlobStore
from dfx_backup.replica.reject import Reject
from dfx_backup.replica.state import (
    DEFAULT_CYCLES,
    CanisterState,
    GlobalValue,
    HookStatus,
    Settings,
)

Respond = Callable[[bytes | Reject, int], None]
"""Takes the result of a management call and the cycles to refund; call it exactly once."""


class Management(Protocol):
    """What the replica asks of the management canister. All run under the replica's lock."""

    def call(self, caller: bytes, method: str, arg: bytes, cycles: int, respond: Respond) -> None:
        """Run a replicated call by a user (`cycles` 0) or canister, and answer, now or later."""

    def query(self, caller: bytes, method: str, arg: bytes) -> bytes:
        """Answer a query call, or raise `Reject`."""

    def accepts_ingress(self, sender: bytes, method: str, arg: bytes) -> None:
        """Raise `Reject` when users may not send this message."""

    def effective_canister_id(self, method: str, arg: bytes) -> bytes | None:
        """The canister that the message is about, or None when it is about none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Instructions that one message may execute, and other bounds that tests shrink."""

    update: int = 40_000_000_000
    query: int = 5_000_000_000
    install: int = 300_000_000_000
    inspect: int = 200_000_000
    stop_timeout_ns: int = 300_000_000_000
    messages_per_drain: int = 100_000


class Replica:
    """A single-node replica.

    Attributes:
        lock: held by every method; take it to read `canisters` from outside.
        canisters: by canister id.
        blobs: makes the blobs of heaps, stable memories and snapshots.
        management: set before the first message; the management canister.
        data_certificate: given a canister id, its data certificate for queries; None when unset.
        root_key, subnet_id: what the system API tells canisters; the edge sets them.
        on_ingress_done: called for answers to ingress messages that were accepted before the
            replica was restarted.
        charge_cycles: whether execution and storage burn cycles. The freezing limit counts always.
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
        self.lock = threading.RLock()
        self.canisters: dict[bytes, CanisterState] = {}
        self.blobs = BlobStore()
        self.limits = limits or Limits()
        self.charge_cycles = charge_cycles
        self.management: Management | None = None
        self.data_certificate: Callable[[bytes], bytes | None] | None = None
        self.root_key = b""
        self.subnet_id = b""
        self.on_ingress_done: Callable[[Outcome], None] | None = None
        self._clock = now_ns

    def now_ns(self) -> int:
        """The replica's time: never goes back."""
        raise NotImplementedError

    def close(self) -> None:
        """Write everything down and let go of the state directory."""

    # Messages

    def accepts_ingress(self, sender: bytes, canister_id: bytes, method: str, arg: bytes) -> None:
        """Check whether an ingress message may enter: run state, freezing, `inspect_message`.

        Raises:
            Reject: it may not.
        """

    def ingress(
        self, sender: bytes, canister_id: bytes, method: str, arg: bytes, *, request_id: bytes = b""
    ) -> Outcome:
        """Execute an accepted ingress message and all that follows from it.

        `canister_id` b"" is the management canister. The outcome is done unless it has to wait.
        """
        raise NotImplementedError

    def query(self, sender: bytes, canister_id: bytes, method: str, arg: bytes) -> bytes:
        """Execute a query or composite query; its changes are discarded.

        Raises:
            Reject: whatever went wrong.
        """
        raise NotImplementedError

    def tick(self) -> None:
        """One round: due timers, heartbeats, hooks, expired calls and stop requests, the queue."""

    # Canisters; for the management canister and for tests

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
        raise NotImplementedError

    def canister(self, canister_id: bytes) -> CanisterState:
        """The canister.

        Raises:
            Reject: IC0301, there is none.
        """
        raise NotImplementedError

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

    def uninstall(self, canister_id: bytes) -> None:
        """Remove code and memories, reject open call contexts, clear timer and certified data."""

    def start(self, canister_id: bytes) -> None:
        """Make the canister running; stop requests that wait are rejected."""

    def stop(self, canister_id: bytes, respond: Respond) -> None:
        """Begin to stop; `respond` gets b"" when stopped, or a `Reject` after the time-out.

        `respond` must be the object given to `Management.call`: it survives a restart.
        The reply bytes are those of the empty Candid tuple.
        """

    def delete(self, canister_id: bytes) -> None:
        """Remove a canister for good; it must be stopped (IC0510 else)."""

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

    def bump_version(self, canister_id: bytes) -> None:
        """Raise `canister_version` by one, as every change of settings does."""
