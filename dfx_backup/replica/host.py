"""What the parts of the replica share: canisters, clock, numbers, commits, answers."""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from dfx_backup.replica import codec
from dfx_backup.replica.calls import (
    CanisterOrigin,
    Earlier,
    IngressOrigin,
    LocalOrigin,
    Origin,
    Outcome,
    Request,
    Response,
)
from dfx_backup.replica.execution import Executor
from dfx_backup.replica.principal import to_text
from dfx_backup.replica.reject import Reject
from dfx_backup.replica.state import CanisterState, RunState
from dfx_backup.replica.system_api.frame import World

Respond = Callable[[bytes | Reject, int], None]
"""Takes the result of a management call and the cycles to refund; call it exactly once."""


class Management(Protocol):
    """What the replica asks of the management canister. All run under the replica's lock."""

    def call(self, caller: bytes, method: str, arg: bytes, cycles: int, respond: Respond) -> None:
        """Run a replicated call by a user (`cycles` 0) or canister, and answer, now or later.

        Raises:
            Reject: taken as the answer; all cycles are refunded.
        """

    def query(self, caller: bytes, method: str, arg: bytes) -> bytes:
        """Answer a query call, or raise `Reject`."""

    def accepts_ingress(self, sender: bytes, method: str, arg: bytes) -> None:
        """Raise `Reject` when users may not send this message."""

    def effective_canister_id(self, method: str, arg: bytes) -> bytes | None:
        """The canister that the message is about, or None when it is about none."""


KEEP_ANSWERS_NS = 360_000_000_000
"""Longer than a message may be sent again: it expires at most five and a half minutes ahead."""
_ANSWER = "answer/"


class Native(Protocol):
    """A canister of the network that is written in Python. All run under the replica's lock."""

    def call(
        self, caller: bytes, canister_id: bytes, method: str, arg: bytes, cycles: int
    ) -> tuple[bytes, int]:
        """Run a replicated call; gives the reply and the cycles to refund, or raises `Reject`."""

    def query(self, caller: bytes, canister_id: bytes, method: str, arg: bytes) -> bytes:
        """Answer a query, or raise `Reject`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Instructions that one message may execute, and other bounds that tests shrink."""

    update: int = 40_000_000_000
    query: int = 5_000_000_000
    install: int = 300_000_000_000
    inspect: int = 200_000_000
    stop_timeout_ns: int = 300_000_000_000
    messages_per_drain: int = 10_000


class Responder:
    """Answers one call to the management canister; the replica can write it down and find it again.

    Attributes:
        origin: who waits.
        cycles: that came with the call.
    """

    def __init__(self, host: "Host", origin: Origin, cycles: int) -> None:
        self._host = host
        self.origin = origin
        self.cycles = cycles
        self.is_used = False

    def __call__(self, result: bytes | Reject, refund: int) -> None:
        """Answer; a second answer is ignored."""
        if not self.is_used:
            self.is_used = True
            self._host.answer(self.origin, result, refund)


class Host:
    """State and small services for the scheduler, the queries and the life cycle.

    Attributes:
        queue: requests and answers between canisters that did not run yet.
        outcomes: pending ingress messages by request id.
        earlier: messages with a memo that earlier processes took in.
        natives: canisters without code, by id.
    """

    def __init__(
        self, executor: Executor, limits: Limits, clock: Callable[[], int] = time.time_ns
    ) -> None:
        self.executor = executor
        self.store = executor.store
        self.limits = limits
        self.charge_cycles = False
        self.canisters: dict[bytes, CanisterState] = {}
        self.queue: deque[Request | Response] = deque()
        self.outcomes: dict[bytes, Outcome] = {}
        self.management: Management | None = None
        self.natives: dict[bytes, Native] = {}
        self.data_certificate: Callable[[bytes], bytes] | None = None
        self.root_key = b""
        self.subnet_id = b""
        self.earlier: list[Earlier] = []
        self.next_number = 1
        self.canisters_created = 0
        self._clock = clock
        self._last_ns = 0
        self._finished: list[tuple[Outcome, IngressOrigin, bytes | Reject]] = []
        self._answers: deque[tuple[int, str]] = deque()
        self._local: dict[int, Respond] = {}
        self._deleted: list[bytes] = []
        self._known: dict[str, bytes] = {}
        self._log_marks: dict[bytes, tuple[int, int]] = {}
        self._is_held = False

    def now_ns(self) -> int:
        """Time that never goes back, and moves on by at least one from call to call."""
        self._last_ns = max(self._clock(), self._last_ns + 1)
        return self._last_ns

    def number(self) -> int:
        """A number never given before, for contexts and callbacks."""
        self.next_number += 1
        return self.next_number

    def world(self, canister_id: bytes, *, in_query: bool = False) -> World:
        """What a message on this canister sees of the replica."""
        certify = self.data_certificate
        return World(
            now=self.now_ns(),
            root_key=self.root_key,
            subnet_id=self.subnet_id,
            make_certificate=partial(certify, canister_id) if certify and in_query else None,
        )

    def find(self, canister_id: bytes) -> CanisterState:
        """The canister.

        Raises:
            Reject: IC0301, there is none.
        """
        canister = self.canisters.get(canister_id)
        if canister is None:
            raise Reject.from_error_code(301, f"Canister {to_text(canister_id)} not found")
        return canister

    def check_runs(self, canister: CanisterState) -> None:
        """Check that the canister takes new calls.

        Raises:
            Reject: IC0508 stopped, IC0509 stopping, IC0207 frozen.
        """
        if canister.status is RunState.STOPPED:
            raise Reject.from_error_code(
                508, f"Canister {to_text(canister.canister_id)} is stopped"
            )
        if canister.status is RunState.STOPPING:
            raise Reject.from_error_code(
                509, f"Canister {to_text(canister.canister_id)} is stopping"
            )
        self.check_balance(canister)

    @staticmethod
    def check_balance(canister: CanisterState) -> None:
        """Check that the canister is not frozen.

        Raises:
            Reject: IC0207.
        """
        if canister.is_frozen:
            missing = canister.freezing_limit - canister.cycles
            raise Reject.from_error_code(
                207,
                f"Canister {to_text(canister.canister_id)} is out of cycles: "
                f"please top up the canister with at least {missing} additional cycles",
            )

    # Answers

    def local_origin(self, respond: Respond) -> Origin:
        """An origin for a Python function that waits for an answer."""
        number = self.number()
        self._local[number] = respond
        return LocalOrigin(number)

    def answer(self, origin: Origin, result: bytes | Reject, refund: int) -> None:
        """Send an answer on its way; users see it after the next commit."""
        match origin:
            case IngressOrigin(request_id):
                outcome = self.outcomes.pop(request_id, None) or Outcome(request_id)
                self._finished.append((outcome, origin, result))
            case CanisterOrigin(canister_id, callback_id):
                self.queue.append(
                    Response(
                        receiver=canister_id, callback_id=callback_id, result=result, refund=refund
                    )
                )
            case LocalOrigin(number):
                respond = self._local.pop(number, None)
                if respond is not None:
                    respond(result, refund)
            case _:  # nobody waits for tasks of the system
                pass

    # Commits

    def forget(self, canister: CanisterState) -> None:
        """Remove a canister; its documents go with the next commit."""
        del self.canisters[canister.canister_id]
        self.executor.drop(canister)
        self._deleted.append(canister.canister_id)

    def commit(self, canister: CanisterState | None = None) -> None:
        """Make everything durable that changed, then tell users their answers.

        With a canister only what a message on it can change is looked at. Within `one_message`
        nothing happens.
        """
        if self._is_held:
            return
        touched = list(self.canisters.values()) if canister is None else [canister]
        self.executor.stretch(touched)
        documents: codec.Documents = {}
        if self.store.is_durable:
            documents = self._documents(touched, is_message=canister is not None)
        self.executor.commit(touched, documents=documents)
        finished, self._finished = self._finished, []
        for outcome, _, result in finished:
            outcome.finish(result)

    @contextmanager
    def one_message(self) -> Iterator[None]:
        """Put off commits to the end of the block, and make one there."""
        self._is_held = True
        try:
            yield
        finally:
            self._is_held = False
            self.commit()

    def set_numbers(self, next_number: int, canisters_created: int, last_ns: int) -> None:
        """Go on counting where an earlier process ended."""
        self.next_number = next_number
        self.canisters_created = canisters_created
        self._last_ns = last_ns

    def restore(self, documents: dict[str, bytes]) -> None:
        """Remember what is on disk already, and what was answered lately."""
        self._known = dict(documents)
        for name, document in documents.items():
            if name.startswith(_ANSWER):
                memo, finished_ns, result = codec.read_answer(document)
                outcome = Outcome(bytes.fromhex(name.removeprefix(_ANSWER)))
                if result is not None:
                    outcome.finish(result)
                self.earlier.append(Earlier(memo=memo, finished_ns=finished_ns, outcome=outcome))
                self._answers.append((finished_ns, name))
        self._answers = deque(sorted(self._answers))

    def await_answer(self, origin: Origin) -> None:
        """Expect the answer to a message that an earlier process took in."""
        if isinstance(origin, IngressOrigin) and origin.memo:
            outcome = self.outcomes[origin.request_id] = Outcome(origin.request_id)
            self.earlier.append(Earlier(memo=origin.memo, finished_ns=0, outcome=outcome))

    def _documents(self, touched: Iterable[CanisterState], *, is_message: bool) -> codec.Documents:
        made: codec.Documents = {
            "queue": codec.queue(self.queue),
            "numbers": codec.numbers(self.next_number, self.canisters_created, self._last_ns),
        }
        for canister in touched:
            key = canister.canister_id.hex()
            made[f"{key}/hot"] = codec.hot(canister)
            mark = (canister.next_log_index, len(canister.logs))
            if self._log_marks.get(canister.canister_id) != mark:
                self._log_marks[canister.canister_id] = mark
                made[f"{key}/log"] = codec.log(canister)
            if not is_message:
                self.store.keep(codec.objects(canister))
                made[f"{key}/cold"] = codec.cold(canister)
        made |= self._new_answers()
        changed = {name: text for name, text in made.items() if self._known.get(name) != text}
        while self._answers and self._answers[0][0] < self._last_ns - KEEP_ANSWERS_NS:
            changed[self._answers.popleft()[1]] = None
        for canister_id in self._deleted:
            self._log_marks.pop(canister_id, None)
            changed |= {f"{canister_id.hex()}/{part}": None for part in ("hot", "cold", "log")}
        self._deleted.clear()
        for name, text in changed.items():
            if text is None:
                self._known.pop(name, None)
            else:
                self._known[name] = text
        return changed

    def _new_answers(self) -> dict[str, bytes]:
        made: dict[str, bytes] = {}
        for _, origin, result in self._finished:
            if origin.memo:
                name = _ANSWER + origin.request_id.hex()
                made[name] = codec.answer(origin.memo, self._last_ns, result)
                self._answers.append((self._last_ns, name))
        return made
