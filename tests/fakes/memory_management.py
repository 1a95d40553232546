"""A subnet in memory with the management canister's methods, limits and failure switches.

Stateful and strict: what the replica refuses, it refuses with the same codes. It answers in terms
of `dfx_backup.model`, so it stands in for `ic.management.ManagementCanister` and, through
`memory_driver`, for a whole driver. Nothing here uses a socket, a process or a real clock.

    subnet = MemorySubnet()
    chat = subnet.create(controllers=(ALICE,), content=b"Hi there!")
    subnet.fail("stop_canister", How.LATE, delay_s=30)     # lost answer, executes 30 s later
    management = MemoryManagement(subnet, caller=ALICE)
"""

import enum
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from dfx_backup.drivers.base import BeforeSend, ignore_sent
from dfx_backup.errors import NetworkError, RejectError, UnknownOutcomeError
from dfx_backup.model import (
    MAX_SNAPSHOTS,
    CanisterId,
    CanisterSnapshot,
    CanisterStatus,
    RunState,
    SentCall,
    SnapshotId,
)

T = TypeVar("T")

ALICE = "2vxsx-fae"
"""A principal for tests that need none in particular: the anonymous one."""

STRANGER = "aaaaa-aa"
"""A principal that controls nothing."""


class How(enum.Enum):
    """What goes wrong with a call."""

    REJECT = "refused by the replica; nothing executed"
    UNSENT = "the network is down; nothing left"
    LOST = "executed, and the answer was lost"
    NEVER = "the answer was lost, and it never executes"
    LATE = "the answer was lost; it executes `delay_s` later"
    RAISE = "executed, then the given exception is raised, as a signal would do"
    RAISE_BEFORE = "the given exception is raised before anything leaves"


@dataclass(slots=True, kw_only=True)
class Fault:
    method: str
    how: How
    skip: int = 0
    times: int = 1
    delay_s: float = 0.0
    error: BaseException | None = None
    canister: CanisterId | None = None


@dataclass(slots=True, kw_only=True)
class MemorySnapshot:
    snapshot_id: SnapshotId
    taken_at_ns: int
    version: int
    content: bytes
    module_hash: str
    upload: Any = None
    """What `memory_transfer` keeps of an uploaded one."""


@dataclass(slots=True, kw_only=True)
class MemoryCanister:
    """`stuck` keeps a stop from finishing, as an open call context does."""

    canister_id: CanisterId
    controllers: tuple[str, ...]
    content: bytes
    module_hash: str | None
    state: RunState = RunState.RUNNING
    version: int = 1
    cycles: int = 3_000_000_000_000
    idle_cycles_per_day: int = 1000
    frozen: bool = False
    stuck: bool = False
    snapshots: list[MemorySnapshot] = field(default_factory=list)
    counter: int = 0


class MemoryClock:
    """A clock that moves only when somebody sleeps, or a call takes its time."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now
        self.slept: list[float] = []

    def time(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


class MemorySubnet:
    """Canisters, what was called on them, and what shall go wrong.

    Attributes:
        calls: every call that arrived, in order, as (method, canister id).
        call_s: seconds that each call takes on the clock.
    """

    def __init__(self, clock: MemoryClock | None = None, *, call_s: float = 0.5) -> None:
        self.clock = clock or MemoryClock()
        self.call_s = call_s
        self.canisters: dict[CanisterId, MemoryCanister] = {}
        self.calls: list[tuple[str, CanisterId]] = []
        self._faults: list[Fault] = []
        self._late: list[tuple[float, Callable[[], Any]]] = []

    def create(
        self,
        *,
        controllers: tuple[str, ...] = (ALICE,),
        content: bytes = b"",
        empty: bool = False,
        canister_id: str | None = None,
    ) -> CanisterId:
        made = CanisterId(canister_id or _IDS[len(self.canisters)])
        module = None if empty else hashlib.sha256(b"\0asm").hexdigest()
        self.canisters[made] = MemoryCanister(
            canister_id=made, controllers=controllers, content=content, module_hash=module
        )
        return made

    def __getitem__(self, canister: CanisterId) -> MemoryCanister:
        return self.canisters[canister]

    def fail(self, method: str, how: How, **more: Any) -> None:
        """Let the next call of `method` (after `skip` others, `times` times) go wrong."""
        self._faults.append(Fault(method=method, how=how, **more))

    @property
    def unused_faults(self) -> list[Fault]:
        """Faults that were asked for and never met: a test that leaves some proves nothing."""
        return list(self._faults)

    def deliver_late(self) -> int:
        """Execute what is due by the clock; every call and every test may do so."""
        due = [entry for entry in self._late if entry[0] <= self.clock.now]
        self._late = [entry for entry in self._late if entry[0] > self.clock.now]
        for _, execute in sorted(due, key=lambda entry: entry[0]):
            execute()
        return len(due)

    def take_fault(self, method: str, canister: CanisterId) -> Fault | None:
        for fault in self._faults:
            if fault.method != method or fault.canister not in {None, canister}:
                continue
            if fault.skip > 0:
                fault.skip -= 1
                return None
            fault.times -= 1
            if fault.times <= 0:
                self._faults.remove(fault)
            return fault
        return None

    def later(self, delay_s: float, execute: Callable[[], Any]) -> None:
        self._late.append((self.clock.now + delay_s, execute))


_IDS = (
    "rwlgt-iiaaa-aaaaa-aaaaa-cai",
    "rrkah-fqaaa-aaaaa-aaaaq-cai",
    "ryjl3-tyaaa-aaaaa-aaaba-cai",
    "r7inp-6aaaa-aaaaa-aaabq-cai",
    "rkp4c-7iaaa-aaaaa-aaaca-cai",
    "rno2w-sqaaa-aaaaa-aaacq-cai",
    "renrk-eyaaa-aaaaa-aaada-cai",
    "rdmx6-jaaaa-aaaaa-aaadq-cai",
)


def reject(code: int, error_code: str, message: str) -> RejectError:
    """What every driver raises for a refusal."""
    return RejectError(
        f"the replica refused: {message}",
        reject_code=code,
        reject_message=message,
        error_code=error_code,
    )


class MemoryManagement:
    """The management canister of a `MemorySubnet`, called by one principal.

    Attributes:
        expiry_s: how long a sent call can still execute.
        signed: False: as if another program signed the calls, so that no request id is known.
        patience: seconds for which each status was asked for.
    """

    def __init__(
        self,
        subnet: MemorySubnet,
        *,
        caller: str = ALICE,
        expiry_s: float = 240,
        signed: bool = True,
    ) -> None:
        self.subnet = subnet
        self.caller = caller
        self.expiry_s = expiry_s
        self.signed = signed
        self.patience: list[float | None] = []
        self._sent = 0

    # -- the methods ------------------------------------------------------------------------------

    def status(self, canister: CanisterId, *, within_s: float | None = None) -> CanisterStatus:
        self.patience.append(within_s)
        return self._call("canister_status", canister, self._status)

    def stop(
        self, canister: CanisterId, *, timeout_s: float, before_send: BeforeSend = ignore_sent
    ) -> None:
        def stop(target: MemoryCanister) -> None:
            if target.state is not RunState.STOPPED:
                target.version += 1
                target.state = RunState.STOPPING if target.stuck else RunState.STOPPED

        expiry_s = min(self.expiry_s, 60) if self.signed else self.expiry_s
        self._call("stop_canister", canister, stop, before_send=before_send, expiry_s=expiry_s)
        if self.subnet[canister].state is RunState.STOPPING:
            self.subnet.clock.now += timeout_s
            raise self._unknown("stop_canister", canister, self.subnet.clock.now + expiry_s)

    def start(self, canister: CanisterId) -> None:
        def start(target: MemoryCanister) -> None:
            if target.frozen:
                raise reject(
                    2, "IC0207", f"Canister {canister} is out of cycles: requested 1 cycles"
                )
            if target.state is not RunState.RUNNING:
                target.version += 1
                target.state = RunState.RUNNING

        self._call("start_canister", canister, start)

    def list_snapshots(self, canister: CanisterId) -> tuple[CanisterSnapshot, ...]:
        def listed(target: MemoryCanister) -> tuple[CanisterSnapshot, ...]:
            return tuple(_public(snapshot) for snapshot in target.snapshots)

        return self._call("list_canister_snapshots", canister, listed)

    def take_snapshot(
        self,
        canister: CanisterId,
        *,
        replace: SnapshotId | None = None,
        before_send: BeforeSend = ignore_sent,
    ) -> CanisterSnapshot:
        def take(target: MemoryCanister) -> CanisterSnapshot:
            return _public(self._take(target, replace))

        return self._call("take_canister_snapshot", canister, take, before_send=before_send)

    def load_snapshot(
        self, canister: CanisterId, snapshot: SnapshotId, *, before_send: BeforeSend = ignore_sent
    ) -> None:
        def load(target: MemoryCanister) -> None:
            found = _find(target, snapshot)
            target.content, target.module_hash = found.content, found.module_hash
            target.version += 1

        self._call("load_canister_snapshot", canister, load, before_send=before_send)

    def delete_snapshot(self, canister: CanisterId, snapshot: SnapshotId) -> None:
        self._call(
            "delete_canister_snapshot",
            canister,
            lambda target: target.snapshots.remove(_find(target, snapshot)),
        )

    def read_snapshot_metadata(
        self, canister: CanisterId, snapshot: SnapshotId
    ) -> "MemoryMetadata":
        return self._call(
            "read_canister_snapshot_metadata",
            canister,
            lambda target: _metadata(_find(target, snapshot)),
        )

    def close(self) -> None:
        """Nothing is open."""

    # -- how a call travels -----------------------------------------------------------------------

    def _call(
        self,
        method: str,
        canister: CanisterId,
        execute: Callable[[MemoryCanister], T],
        *,
        before_send: BeforeSend = ignore_sent,
        expiry_s: float | None = None,
    ) -> T:
        subnet = self.subnet
        subnet.deliver_late()
        fault = subnet.take_fault(method, canister)
        how = fault.how if fault else None
        expires_at = subnet.clock.now + (self.expiry_s if expiry_s is None else expiry_s)
        before_send(SentCall(request_id=self._next_request(), expires_at=expires_at))
        if fault is not None and how is How.RAISE_BEFORE:
            raise fault.error or KeyboardInterrupt
        if how is How.UNSENT:
            raise NetworkError(f"{method} of {canister}: connection refused")
        subnet.calls.append((method, canister))
        subnet.clock.now += subnet.call_s
        if fault is not None and how is How.REJECT:
            raise fault.error or reject(
                2, "IC0210", f"Canister {canister} is heap delta rate limited"
            )
        if fault is not None and how is How.LATE:
            subnet.later(fault.delay_s, lambda: self._checked(canister, execute))
        if how in {How.NEVER, How.LATE}:
            raise self._unknown(method, canister, expires_at)
        answer = self._checked(canister, execute)
        if how is How.LOST:
            raise self._unknown(method, canister, expires_at)
        if fault is not None and how is How.RAISE:
            raise fault.error or KeyboardInterrupt
        return answer

    def _checked(self, canister: CanisterId, execute: Callable[[MemoryCanister], T]) -> T:
        target = self.subnet.canisters.get(canister)
        if target is None:
            raise reject(3, "IC0301", f"Canister {canister} not found")
        if self.caller not in target.controllers:
            raise reject(5, "IC0512", f"Only controllers of canister {canister} can call it")
        return execute(target)

    def _status(self, target: MemoryCanister) -> CanisterStatus:
        snapshots_bytes = sum(len(snapshot.content) for snapshot in target.snapshots)
        return CanisterStatus(
            state=target.state,
            version=target.version,
            module_hash=target.module_hash,
            controllers=target.controllers,
            memory_bytes=len(target.content) + snapshots_bytes,
            snapshots_bytes=snapshots_bytes,
            cycles=target.cycles,
            reserved_cycles=0,
            idle_cycles_per_day=target.idle_cycles_per_day,
            freezing_threshold_s=2_592_000,
        )

    def _take(self, target: MemoryCanister, replace: SnapshotId | None) -> MemorySnapshot:
        if target.module_hash is None:
            name = target.canister_id
            raise reject(4, "IC0406", f"Failed to create snapshot for empty canister {name}")
        replaced = None if replace is None else _find(target, replace)
        if replaced is None and len(target.snapshots) >= MAX_SNAPSHOTS:
            raise reject(
                4,
                "IC0406",
                f"Canister {target.canister_id} has reached the maximum number of snapshots "
                f"allowed: {MAX_SNAPSHOTS}.",
            )
        raw = _IDS.index(target.canister_id) if target.canister_id in _IDS else 255
        made = MemorySnapshot(
            snapshot_id=SnapshotId(f"{target.counter:016x}{raw:016x}0101"),
            taken_at_ns=int(self.subnet.clock.now * 1_000_000_000),
            version=target.version,
            content=target.content,
            module_hash=target.module_hash,
        )
        target.counter += 1
        if replaced is not None:
            target.snapshots.remove(replaced)
        target.snapshots.append(made)
        return made

    def _next_request(self) -> str | None:
        self._sent += 1
        return hashlib.sha256(str(self._sent).encode()).hexdigest() if self.signed else None

    def _unknown(self, method: str, canister: CanisterId, expires_at: float) -> UnknownOutcomeError:
        request_id = hashlib.sha256(str(self._sent).encode()).hexdigest() if self.signed else None
        return UnknownOutcomeError(
            f"{method} of {canister}: the answer was lost",
            request_id=request_id,
            expires_at=expires_at,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryMetadata:
    """The part of a snapshot's metadata that tells which moment it holds."""

    canister_version: int
    taken_at_ns: int
    source: str = "taken_from_canister"


def _find(target: MemoryCanister, snapshot: SnapshotId) -> MemorySnapshot:
    for known in target.snapshots:
        if known.snapshot_id == snapshot:
            return known
    message = f"Could not find the snapshot ID {snapshot} for canister {target.canister_id}."
    raise reject(3, "IC0305", message)


def _public(snapshot: MemorySnapshot) -> CanisterSnapshot:
    return CanisterSnapshot(
        snapshot_id=snapshot.snapshot_id,
        taken_at_ns=snapshot.taken_at_ns,
        size_bytes=len(snapshot.content),
    )


def _metadata(snapshot: MemorySnapshot) -> MemoryMetadata:
    return MemoryMetadata(canister_version=snapshot.version, taken_at_ns=snapshot.taken_at_ns)
