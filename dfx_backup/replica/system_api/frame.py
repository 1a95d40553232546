"""The frame of one running message: what it may read, and the effects that it collects.

Nothing here reaches the canister's state before the message succeeded. Stable memory is the
exception: replicated messages write it in place, and its blob undoes that. Others write over it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from dfx_backup.replica.calls import Closure
from dfx_backup.replica.reject import Reject
from dfx_backup.replica.state import CanisterState
from dfx_backup.replica.system_api.table import Mode

U64 = (1 << 64) - 1
_REPLICATED = frozenset(
    {
        Mode.INIT,
        Mode.PRE_UPGRADE,
        Mode.UPDATE,
        Mode.REPLICATED_QUERY,
        Mode.REPLY,
        Mode.REJECT,
        Mode.CLEANUP,
        Mode.START,
        Mode.TASK,
    }
)


class Trap(Exception):  # noqa: N818 - the WebAssembly specification's own word
    """A message trapped.

    Attributes:
        message: why, without any prefix.
        number: of the error code: 502 for traps of Wasm, 503 for ic0.trap, 504 for misuse of the
            system API, 522 for too many instructions, and so on.
    """

    def __init__(self, message: str, number: int = 502) -> None:
        super().__init__(message)
        self.message = message
        self.number = number

    @property
    def text(self) -> str:
        """The message as it goes into logs and refusals."""
        match self.number:
            case 502:
                return f"Canister trapped: {self.message}"
            case 503:
                return f"Canister called `ic0.trap` with message: '{self.message}'"
            case 504:
                return f"Canister violated contract: {self.message}"
            case 522:
                return f"Canister {self.message}"
        return self.message


class Machine(Protocol):
    """What a frame needs of the instance it runs in."""

    def read(self, start: int, size: int) -> bytes:
        """A copy of memory; traps out of bounds."""

    def write(self, start: int, data: bytes) -> None:
        """Put bytes into memory; traps out of bounds."""

    def view(self, start: int, size: int) -> memoryview:
        """The memory itself, not to be kept; traps out of bounds."""

    def instructions_left(self) -> int:
        """What remains of the limit."""


class StableMemory(Protocol):
    """What a frame needs of the stable memory."""

    @property
    def size(self) -> int:
        """Bytes."""

    def resize(self, size: int) -> None:
        """Grow with zeros."""

    def write(self, offset: int, data: memoryview) -> None:
        """Put `data`, which lies inside."""

    def read_into(self, offset: int, target: memoryview) -> None:
        """Fill `target` from bytes that lie inside."""


@dataclass(slots=True, kw_only=True)
class World:
    """What a message sees of the replica.

    Attributes:
        now: time, constant in a message.
        make_certificate: gives the data certificate; None where there is none to be had.
    """

    now: int
    root_key: bytes = b""
    subnet_id: bytes = b""
    make_certificate: Callable[[], bytes] | None = None
    _certificate: bytes | None = None

    @property
    def has_certificate(self) -> bool:
        """Whether there is a data certificate."""
        return self.make_certificate is not None

    @property
    def certificate(self) -> bytes:
        """The data certificate, signed when it is first asked for.

        Raises:
            Trap: there is none.
        """
        if self.make_certificate is None:
            raise Trap("data_certificate: there is none in this message", 504)
        if self._certificate is None:
            self._certificate = self.make_certificate()
        return self._certificate


@dataclass(slots=True, kw_only=True)
class OutgoingCall:
    """A call in the making, and after `call_perform` one to be sent."""

    callee: bytes
    method: str
    reply: Closure
    reject: Closure
    cleanup: Closure | None = None
    arg: bytearray = field(default_factory=bytearray)
    cycles: int = 0
    timeout_s: int | None = None


@dataclass(slots=True, kw_only=True)
class Frame:
    """One running message.

    Attributes:
        stable: the canister's stable memory, or what the message sees in its place.
        method: for `inspect_message`.
        reject: what a reject callback learns.
        can_respond: whether the call context still waits for an answer.
        balance: of the canister, minus what calls in the making carry.
        available: cycles of the call context that were not accepted yet.
        refunded: cycles that came back with the answer.
        burned: cycles destroyed on request.
        response, calls, certified_data, global_timer, logs, is_accepted: effects.
        error: what a host function raised, on its way through the C interface.
        executed: instructions, known when the function returned.
    """

    mode: Mode
    canister: CanisterState
    world: World
    caller: bytes
    arg: bytes = b""
    method: str = ""
    reject: Reject | None = None
    can_respond: bool = True
    deadline: int = 0
    balance: int = 0
    available: int = 0
    refunded: int = 0
    burned: int = 0
    context_instructions: int = 0
    reply_data: bytearray = field(default_factory=bytearray)
    response: bytes | Reject | None = None
    call: OutgoingCall | None = None
    calls: list[OutgoingCall] = field(default_factory=list)
    certified_data: bytes | None = None
    global_timer: int | None = None
    logs: list[bytes] = field(default_factory=list)
    is_accepted: bool = False
    error: BaseException | None = None
    executed: int = 0
    machine: Machine | None = None
    limit: int = 0
    stable: StableMemory = field(init=False)

    def __post_init__(self) -> None:
        """Write stable memory in place."""
        self.stable = self.canister.stable

    @property
    def is_replicated(self) -> bool:
        """Whether the result of this message goes through consensus."""
        return self.mode in _REPLICATED

    def enter(self, machine: Machine, limit: int) -> None:
        """The message begins to run in `machine`."""
        self.machine = machine
        self.limit = limit

    def leave(self) -> None:
        """The message does not run any more."""
        self.executed += self.limit - self.memory.instructions_left()
        self.machine = None

    @property
    def memory(self) -> Machine:
        """The instance's memory."""
        assert self.machine is not None
        return self.machine

    def copy_out(self, target: int, offset: int, size: int, data: bytes) -> None:
        """Copy `data[offset:offset + size]` to the canister's memory.

        Raises:
            Trap: out of bounds on either side.
        """
        if offset + size > len(data):
            raise Trap(f"{size} bytes at {offset} of data with {len(data)} bytes", 504)
        self.memory.write(target, data[offset : offset + size])

    def put_u128(self, target: int, value: int) -> None:
        """Store 16 bytes, little-endian."""
        self.memory.write(target, value.to_bytes(16, "little"))

    def text(self, start: int, size: int) -> str:
        """A string from the canister's memory.

        Raises:
            Trap: out of bounds or not UTF-8.
        """
        try:
            return self.memory.read(start, size).decode()
        except UnicodeDecodeError as error:
            raise Trap("a string is not valid UTF-8", 504) from error
