"""Calls on their way into the replica: accepted, executed once, late, or not at all."""

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dfx_backup.replica.auth import Request
from dfx_backup.replica.injector import FaultInjector
from dfx_backup.replica.reject import Reject, ReplicaFailedError
from dfx_backup.replica.replica import Replica
from dfx_backup.replica.request_log import Entry, RequestLog, memo_of

if TYPE_CHECKING:
    from dfx_backup.replica.calls import Outcome

__all__ = ["CallDesk", "Ticket"]

_CHUNK_METHOD: Final = "read_canister_snapshot_data"
_CHUNK_HEAD: Final = 32
"""More than the Candid head of a reply that holds one blob."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """A call that was handed in.

    Attributes:
        entry: in the log.
        delayed: it waits for its time; there is no use in waiting for the answer.
        lost: close the connection without an answer.
        future: of its execution, when this request started it.
    """

    entry: Entry
    delayed: bool = False
    lost: bool = False
    future: "Future[None] | None" = None

    def raise_failure(self) -> None:
        """Raise what went wrong in the replica itself while it executed the call."""
        if self.future is not None and self.future.done():
            self.future.result()


class CallDesk:
    """Takes calls in and keeps the log of what became of them.

    Attributes:
        executed: calls executed so far.
    """

    def __init__(
        self,
        replica: Replica,
        log: RequestLog,
        injector: FaultInjector,
        executor: Executor,
        now_ns: Callable[[], int],
    ) -> None:
        self._now_ns = now_ns
        self._replica = replica
        self._log = log
        self._injector = injector
        self._executor = executor
        self._lock = threading.Lock()
        self._timers: set[threading.Timer] = set()
        self._closed = False
        self.executed = 0

    def close(self) -> None:
        """Give up the calls that wait for their time."""
        with self._lock:
            self._closed = True
            timers = list(self._timers)
        for timer in timers:
            timer.cancel()

    def submit(self, request: Request, effective: bytes) -> Ticket:
        """Hand in a call; one that was handed in before is not executed again.

        `RequestLog.release` the entry of the ticket in the end.
        """
        entry, new = self._log.open(request, effective)
        if not new:
            return Ticket(entry=entry, delayed=entry.delayed)
        accepted = False
        try:
            accepted = self._accept(entry)
        except Reject as reject:
            self._log.refuse(entry, reject)
            return Ticket(entry=entry)
        finally:
            if not accepted and entry.refusal is None and not entry.finished_ns:
                self._log.refuse(entry, None)  # a bug of ours; nobody must wait for this entry
                self._log.release(entry)
        if entry.finished_ns:
            return Ticket(entry=entry)
        delay = self._injector.delay(request.method)
        if delay is not None:
            entry.delayed = True
            self._later(entry, delay.seconds)
            return Ticket(entry=entry, delayed=True, lost=True)
        return Ticket(entry=entry, future=self._start(entry))

    def reject_by_fault(self, method: str) -> None:
        """Raise the reject that a fault switch has for a query.

        Raises:
            Reject: there is one.
        """
        fault = self._injector.rejection(method)
        if fault is not None:
            raise Reject(fault.reject_code, fault.message, fault.error_code)

    def _accept(self, entry: Entry) -> bool:
        """Ask whether the call may enter; a certified reject by a fault answers it at once."""
        request = entry.request
        fault = self._injector.rejection(request.method)
        if fault is None:
            self._replica.accepts_ingress(
                request.sender, request.canister_id, request.method, request.arg
            )
            return True
        reject = Reject(fault.reject_code, fault.message, fault.error_code)
        if not fault.certified:
            raise reject
        self._log.finish(entry, reject, self._now_ns())
        return True

    def _start(self, entry: Entry) -> "Future[None]":
        return self._executor.submit(lambda: self._execute(entry))

    def _later(self, entry: Entry, seconds: float) -> None:
        def run() -> None:
            with self._lock:
                self._timers.discard(timer)
                if self._closed:
                    return
            if self._now_ns() > entry.request.ingress_expiry:
                self._log.refuse(entry, None)
            else:
                self._start(entry).result()

        timer = threading.Timer(seconds, run)
        timer.daemon = True
        with self._lock:
            self._timers.add(timer)
        timer.start()

    def _execute(self, entry: Entry) -> None:
        request = entry.request
        self._log.begin(entry)
        self._injector.note("executed", request.method)
        self.executed += 1
        outcome: Outcome | None = None
        try:
            outcome = self._replica.ingress(
                request.sender,
                request.canister_id,
                request.method,
                request.arg,
                request_id=request.request_id,
                memo=memo_of(entry),
            )
        except ReplicaFailedError:
            self._log.refuse(entry, None)  # it was not executed, and may be sent again
            raise
        finally:
            if (
                outcome is None and not entry.finished.is_set()
            ):  # a bug of ours; the client must not wait for ever
                self._finish(entry, Reject(Reject.SYS_FATAL, "the replica failed", "IC0500"))
        outcome.on_done(lambda done: self._finish(entry, done.result))

    def _finish(self, entry: Entry, result: bytes | Reject | None) -> None:
        assert result is not None
        if isinstance(result, bytes) and entry.request.method == _CHUNK_METHOD:
            result = self._maybe_corrupt(result)
        self._log.finish(entry, result, self._now_ns())

    def _maybe_corrupt(self, reply: bytes) -> bytes:
        if len(reply) <= _CHUNK_HEAD or not self._injector.corrupts_chunk():
            return reply
        place = (len(reply) + _CHUNK_HEAD) // 2
        return reply[:place] + bytes([reply[place] ^ 0x01]) + reply[place + 1 :]
