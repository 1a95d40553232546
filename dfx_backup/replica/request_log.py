"""What became of the calls that users sent: one entry per request id, kept while somebody may ask.

Source: interface specification, "Overview of canister calling". An entry lives until its ingress
expiry has passed and at least five minutes after its answer. Replies are kept up to a number of
bytes; then the oldest become "done", except those whose HTTP request still waits.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

import cbor2

from dfx_backup.replica.auth import Request
from dfx_backup.replica.calls import Earlier, Outcome
from dfx_backup.replica.certificate import Leaf, Tree
from dfx_backup.replica.leb128 import leb128
from dfx_backup.replica.reject import Reject

__all__ = ["Entry", "RequestLog", "Status"]

MAX_REPLY_BYTES: Final = 64 * 1024 * 1024
KEEP_NS: Final = 5 * 60 * 10**9


class Status(StrEnum):
    """Where a call stands; the names are those of the state tree."""

    RECEIVED = "received"
    PROCESSING = "processing"
    REPLIED = "replied"
    REJECTED = "rejected"
    DONE = "done"


@dataclass(slots=True, kw_only=True, eq=False)
class Entry:
    """One call.

    Attributes:
        request: as it was sent first; without its argument once that was executed.
        effective: canister or subnet id of the URL.
        delayed: accepted, but for now nobody knows of it.
        refusal: why it was not accepted after all; it is then no longer in the log.
        reply, reject: the answer.
        finished_ns: when the answer came, nanoseconds since 1970; 0 before.
        waiters: HTTP requests that wait for the answer or are sending it.
        finished: set when the answer or the refusal is there.
    """

    request: Request
    effective: bytes
    status: Status = Status.RECEIVED
    delayed: bool = False
    refusal: Reject | None = None
    reply: Leaf | None = None
    reject: Reject | None = None
    finished_ns: int = 0
    waiters: int = 0
    finished: threading.Event = field(default_factory=threading.Event)


class RequestLog:
    """All calls that are remembered; its methods may be called from several threads."""

    def __init__(
        self,
        *,
        max_reply_bytes: int = MAX_REPLY_BYTES,
        now_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._now_ns = now_ns
        self._lock = threading.Lock()
        self._entries: dict[bytes, Entry] = {}
        self._replies: deque[Entry] = deque()
        self._reply_bytes = 0
        self._max_reply_bytes = max_reply_bytes

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def reply_bytes(self) -> int:
        """Bytes of all replies kept."""
        return self._reply_bytes

    def open(self, request: Request, effective: bytes) -> tuple[Entry, bool]:
        """Enter a call; gives its entry, and whether it is new. `release` the entry in the end."""
        with self._lock:
            entry = self._entries.get(request.request_id)
            new = entry is None
            if entry is None:
                entry = Entry(request=request, effective=effective)
                self._entries[request.request_id] = entry
            entry.waiters += 1
            return entry, new

    def release(self, entry: Entry) -> None:
        """The HTTP request that opened the entry has its answer."""
        with self._lock:
            entry.waiters -= 1
            self._shrink()

    def refuse(self, entry: Entry, reject: Reject | None) -> None:
        """Forget a call that was not accepted, or that expired before it was executed."""
        with self._lock:
            self._entries.pop(entry.request.request_id, None)
            entry.refusal = reject
        entry.finished.set()

    def recall(self, earlier: Iterable[Earlier]) -> None:
        """Enter the calls that were taken in before the replica was started again."""
        for each in earlier:
            effective, request = _read_memo(each)
            entry = Entry(request=request, effective=effective, status=Status.PROCESSING)
            self._entries[request.request_id] = entry
            if each.finished_ns and each.outcome.result is None:
                entry.status, entry.finished_ns = Status.DONE, each.finished_ns
                entry.finished.set()
                continue
            self._expect(entry, each)

    def _expect(self, entry: Entry, earlier: Earlier) -> None:
        def finish(outcome: Outcome) -> None:
            assert outcome.result is not None
            self.finish(entry, outcome.result, earlier.finished_ns or self._now_ns())

        earlier.outcome.on_done(finish)

    def begin(self, entry: Entry) -> None:
        """The call is being executed."""
        with self._lock:
            entry.delayed = False
            entry.status = Status.PROCESSING

    def finish(self, entry: Entry, result: bytes | Reject, now_ns: int) -> None:
        """The call has its answer."""
        with self._lock:
            entry.finished_ns = now_ns
            entry.request = replace(entry.request, arg=b"")
            if isinstance(result, Reject):
                entry.status, entry.reject = Status.REJECTED, result
            else:
                entry.status, entry.reply = Status.REPLIED, Leaf(result)
                self._replies.append(entry)
                self._reply_bytes += len(result)
                self._shrink()
        entry.finished.set()

    def find(self, request_id: bytes) -> Entry | None:
        """The entry that read_state may know of."""
        entry = self._entries.get(request_id)
        return None if entry is None or entry.delayed else entry

    def neighbours(self, request_id: bytes) -> list[bytes]:
        """The known request ids next to one that is not known, for proofs of absence."""
        with self._lock:
            visible = [key for key, entry in self._entries.items() if not entry.delayed]
        before = [key for key in visible if key < request_id]
        after = [key for key in visible if key > request_id]
        return ([max(before)] if before else []) + ([min(after)] if after else [])

    def forget(self, now_ns: int) -> None:
        """Drop entries that nobody may ask for any more."""
        with self._lock:
            old = [
                key
                for key, entry in self._entries.items()
                if entry.finished_ns
                and now_ns > entry.request.ingress_expiry
                and now_ns > entry.finished_ns + KEEP_NS
                and not entry.waiters
            ]
            for key in old:
                self._prune(self._entries.pop(key))
            if old:
                self._replies = deque(entry for entry in self._replies if entry.reply is not None)

    def _shrink(self) -> None:
        if self._reply_bytes <= self._max_reply_bytes:
            return
        kept: deque[Entry] = deque()
        while self._replies and self._reply_bytes > self._max_reply_bytes:
            entry = self._replies.popleft()
            if entry.waiters:
                kept.append(entry)
            else:
                self._prune(entry)
        self._replies.extendleft(reversed(kept))

    def _prune(self, entry: Entry) -> None:
        if entry.reply is not None:
            self._reply_bytes -= len(entry.reply.value)
            entry.reply = None
            entry.status = Status.DONE


def memo_of(entry: Entry) -> bytes:
    """What has to be known of a call after a restart of the replica."""
    request = entry.request
    return cbor2.dumps(
        [
            entry.effective,
            request.sender,
            request.canister_id,
            request.method,
            request.ingress_expiry,
        ]
    )


def _read_memo(earlier: Earlier) -> tuple[bytes, Request]:
    effective, sender, canister_id, method, expiry = cbor2.loads(earlier.memo)
    request = Request(
        kind="call",
        request_id=earlier.outcome.request_id,
        sender=sender,
        ingress_expiry=expiry,
        canister_id=canister_id,
        method=method,
    )
    return effective, request


def status_tree(entry: Entry, *, processing: bool = False, done: bool = False) -> Tree:
    """The part of the state tree below `/request_status/<request id>`.

    Args:
        entry: the call.
        processing: show it as not finished yet.
        done: show it as finished long ago.
    """
    if processing:
        return {b"status": Leaf(b"processing")}
    if done and entry.finished_ns:
        return {b"status": Leaf(b"done")}
    reply, reject = entry.reply, entry.reject
    if reply is not None:
        return {b"status": Leaf(b"replied"), b"reply": reply}
    tree: dict[bytes, Tree] = {b"status": Leaf(entry.status.value.encode())}
    if reject is not None:
        tree[b"reject_code"] = Leaf(leb128(reject.code))
        tree[b"reject_message"] = Leaf(reject.message.encode())
        tree[b"error_code"] = Leaf(reject.error_code.encode())
    return tree
