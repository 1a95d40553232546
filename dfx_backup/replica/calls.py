"""Calls between canisters as plain data: who asked, what is open, what waits in the queue."""

import threading
from collections.abc import Callable
from dataclasses import dataclass

from dfx_backup.replica.reject import Reject


@dataclass(frozen=True, slots=True)
class IngressOrigin:
    """The answer goes to a user.

    Attributes:
        memo: what must be known of the request when it is sent again after a restart of the
            replica; without one it is forgotten.
    """

    request_id: bytes
    memo: bytes = b""


@dataclass(frozen=True, slots=True)
class CanisterOrigin:
    """The answer goes to a callback of a canister; `deadline` is 0 for unbounded waits."""

    canister_id: bytes
    callback_id: int
    deadline: int


@dataclass(frozen=True, slots=True)
class SystemOrigin:
    """Nobody waits: timers, heartbeats and hooks."""


@dataclass(frozen=True, slots=True)
class LocalOrigin:
    """A Python function waits in this process."""

    number: int


Origin = IngressOrigin | CanisterOrigin | SystemOrigin | LocalOrigin


@dataclass(slots=True, kw_only=True)
class CallContext:
    """One call that a canister is answering (interface specification, "Call contexts").

    Attributes:
        cycles: still available to the canister; refunded with the answer.
        outstanding: calls made in this context that have no answer yet.
        instructions: executed in this context so far, for `performance_counter(1)`.
    """

    id: int
    origin: Origin
    caller: bytes
    method: str
    cycles: int
    deadline: int = 0
    responded: bool = False
    outstanding: int = 0
    instructions: int = 0


Closure = tuple[int, int]
"""Index into the module's table, and the environment value passed to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Callback:
    """What runs in the caller when an answer comes."""

    id: int
    context_id: int
    callee: bytes
    reply: Closure
    reject: Closure
    cleanup: Closure | None
    cycles: int
    deadline: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StopWaiter:
    """A stop request that waits until the canister's call contexts are closed."""

    origin: Origin
    deadline: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A call on its way from one canister to another."""

    sender: bytes
    callback_id: int
    receiver: bytes
    method: str
    arg: bytes
    cycles: int
    deadline: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """An answer on its way back to a canister's callback."""

    receiver: bytes
    callback_id: int
    result: bytes | Reject
    refund: int


class Outcome:
    """The result of an ingress message; there at once, unless the message waits for something.

    Attributes:
        request_id: of the message.
        result: reply bytes, a `Reject`, or None while pending.
    """

    def __init__(self, request_id: bytes) -> None:
        self.request_id = request_id
        self.result: bytes | Reject | None = None
        self._done = threading.Event()
        self._listeners: list[Callable[[Outcome], None]] = []

    @property
    def is_done(self) -> bool:
        """Whether the result is there."""
        return self._done.is_set()

    @property
    def reply(self) -> bytes | None:
        """The reply, or None when pending or rejected."""
        return self.result if isinstance(self.result, bytes) else None

    @property
    def reject(self) -> Reject | None:
        """The refusal, or None when pending or replied."""
        return self.result if isinstance(self.result, Reject) else None

    def get(self) -> bytes:
        """The reply.

        Raises:
            Reject: the message was refused.
            LookupError: the message is still pending.
        """
        if isinstance(self.result, Reject):
            raise self.result
        if self.result is None:
            raise LookupError("the message has no answer yet")
        return self.result

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until the result is there, without the replica's lock; False after `timeout_s`."""
        return self._done.wait(timeout_s)

    def on_done(self, listener: Callable[["Outcome"], None]) -> None:
        """Call `listener(self)` once, now if done, else under the replica's lock when it is."""
        if self.is_done:
            listener(self)
        else:
            self._listeners.append(listener)

    def finish(self, result: bytes | Reject) -> None:
        """Set the result; only the replica does."""
        if self.is_done:
            return
        self.result = result
        self._done.set()
        listeners, self._listeners = self._listeners, []
        for listener in listeners:
            listener(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Earlier:
    """An ingress message that an earlier process took in.

    Attributes:
        memo: as it was handed in.
        finished_ns: when it was answered; 0 when it waits for its answer.
        outcome: done, unless it waits for its answer or the answer was too large to be kept.
    """

    memo: bytes
    finished_ns: int
    outcome: Outcome
