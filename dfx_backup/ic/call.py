"""One call, from its first byte until its outcome is certain or can't be learnt."""

import threading
from collections.abc import Sequence
from typing import Protocol

from dfx_backup.errors import CertificateError, NetworkError, RejectError
from dfx_backup.ic import cbor, outcome
from dfx_backup.ic.certificate import Certificate, CertificateVerifier
from dfx_backup.ic.envelope import SignedRequest
from dfx_backup.ic.http_errors import ExpiredError
from dfx_backup.ic.outcome import CallState, CallStatus
from dfx_backup.ic.principal import Principal
from dfx_backup.ic.retry import NO_RETRY, Backoff, RetryPolicy, asked_wait_s
from dfx_backup.ic.surroundings import Surroundings
from dfx_backup.ic.transport import Answer, HttpStatusError, TransportError

UNREACHABLE_PATIENCE_S = 10.0
"""Seconds for which a call is tried that never reached the network."""
ATTEMPT_S = 60.0
"""Seconds that one HTTP request may take in all."""
REMEMBERED_S = 285.0
"""Seconds after sending for which a call that has executed is surely still in the state."""
BAD_ANSWERS = 3
"""Answers that can't be used, after which nothing better is expected."""


class Line(Protocol):
    """What a call needs of its session."""

    outside: Surroundings
    checking: threading.Semaphore
    """Held while an answer is checked, which takes copies of it and nothing but time."""

    def send_call(self, request: SignedRequest, effective: Principal, within_s: float) -> Answer:
        """Send a signed call once."""

    def read_state(
        self,
        paths: Sequence[Sequence[bytes]],
        effective: Principal,
        *,
        within_s: float,
        policy: RetryPolicy | None,
    ) -> Certificate:
        """Read parts of the certified state."""

    def verifier(self) -> CertificateVerifier:
        """Verifies certificates."""


class Call:
    """Sends a signed call and follows it. Used once.

    Args:
        line: the session.
        request: the signed call.
        effective: the canister that it is about.
        what: the call, for messages.
        patience_s: seconds after which the outcome is given up.
    """

    def __init__(
        self,
        line: Line,
        request: SignedRequest,
        effective: Principal,
        what: str,
        *,
        patience_s: float,
    ) -> None:
        self._line = line
        self._outside = line.outside
        self._request = request
        self._effective = effective
        self._what = what
        self._began = self._outside.monotonic()
        self._give_up = self._began + patience_s
        self._maybe_sent = False
        self._refusal: NetworkError | None = None  # of a node that knows nothing of other copies
        self._trouble: NetworkError | None = None  # why the outcome is not known, so far
        self._bad = 0

    def settle(self) -> bytes:
        """Send until the replica has it, and follow it to its end.

        Returns:
            The certified reply.

        Raises:
            RejectError: it was refused.
            UnknownOutcomeError: it can have been executed, or can still be.
            NetworkError: it has not been executed and never will be.
        """
        return self._answered(self._send())

    def _send(self) -> Answer | None:
        """Send until an answer comes; None when the certified state is to be asked instead."""
        backoff = Backoff(first_s=0.5, longest_s=10.0, rng=self._outside.rng)
        attempt = 0
        while True:
            try:
                answer = self._line.send_call(self._request, self._effective, self._attempt_s())
            except TransportError as error:
                self._maybe_sent |= error.sent
                failure: TransportError | HttpStatusError = error
            except HttpStatusError as error:
                self._maybe_sent |= error.status >= 500  # a gateway can have passed it on
                failure = error
            else:
                return answer
            wait_s = max(backoff.wait_s(attempt), asked_wait_s(failure))
            attempt += 1
            if failure.final or self._too_late(failure, wait_s):
                self._stop_sending(failure)
                return None
            self._outside.sleep(wait_s)

    def _too_late(self, failure: NetworkError, wait_s: float) -> bool:
        """Whether there is no sense in sending again after a wait."""
        then = self._outside.monotonic() + wait_s
        unreachable = not self._maybe_sent and isinstance(failure, TransportError)
        expired = self._outside.clock() + wait_s >= self._request.expires_at
        return (
            then >= self._give_up
            or expired
            or (unreachable and then - self._began > UNREACHABLE_PATIENCE_S)
        )

    def _stop_sending(self, failure: TransportError | HttpStatusError) -> None:
        if not self._maybe_sent:
            raise failure
        self._trouble = failure
        if failure.final:
            self._refusal = failure

    def _answered(self, answer: Answer | None) -> bytes:
        if answer is None:
            return self._follow()
        before = self._maybe_sent
        self._maybe_sent = True
        if answer.status == 200:
            with self._line.checking:
                found = self._opened(answer.body)
                del answer  # as large as a slice, and its content has been copied
                status = None if found is None else self._read_answer(found, sent_before=before)
                del found
            if status is not None and self._is_settled(status):
                return status.reply
        return self._follow()

    def _opened(self, body: bytes) -> bytes | RejectError | None:
        """A certificate, or the refusal of one node; None when it is neither."""
        try:
            found = cbor.load_map(body, "the answer to the call")
            if "certificate" not in found and "reject_code" in found:
                return outcome.plain_rejection(found, self._what)
            raw: bytes = cbor.field(found, "certificate", bytes, "the answer to the call")
        except NetworkError as error:
            self._count_bad(error)
            return None
        return raw

    def _read_answer(self, found: bytes | RejectError, *, sent_before: bool) -> CallStatus | None:
        if isinstance(found, bytes):
            try:
                certificate = self._line.verifier().verify(found, self._effective)
                return outcome.call_status(certificate, self._request.request_id, self._what)
            except CertificateError as error:
                self._count_bad(error)
                return None
        if sent_before:  # this node refuses, but an earlier copy may have got through
            self._refusal = found
            return None
        raise found

    def _follow(self) -> bytes:
        """Ask the certified state until the call is settled."""
        outside = self._outside
        backoff = Backoff(first_s=0.15, factor=1.5, longest_s=1.5, rng=outside.rng)
        attempt = 0
        while True:
            wait_s = backoff.wait_s(attempt)
            attempt += 1
            if outside.monotonic() + wait_s >= self._give_up:
                raise outcome.unknown(self._what, self._request, self._trouble)
            outside.sleep(wait_s)
            status = self._ask()
            if status is not None and self._is_settled(status):
                return status.reply

    def _ask(self) -> CallStatus | None:
        path = [b"request_status", self._request.request_id]
        try:
            certificate = self._line.read_state(
                [path], self._effective, within_s=self._attempt_s(), policy=NO_RETRY
            )
            return outcome.call_status(certificate, self._request.request_id, self._what)
        except (TransportError, HttpStatusError) as error:
            if error.final:
                self._count_bad(error)
            self._trouble = error
        except NetworkError as error:
            self._count_bad(error)
        return None

    def _is_settled(self, status: CallStatus) -> bool:
        """Whether there is a reply; every other end is raised."""
        if status.state is CallState.REPLIED:
            return True
        if status.rejection is not None:
            raise status.rejection
        if status.state is CallState.DONE:
            raise outcome.pruned(self._what, self._request)
        if status.state is CallState.ABSENT and self._never(status):
            raise self._refusal or ExpiredError(
                f"{self._what}: the call expired without being executed", hint="Try again."
            )
        if status.state in (CallState.RECEIVED, CallState.PROCESSING):
            self._trouble = NetworkError("the replica is still executing it")
        return False

    def _never(self, status: CallStatus) -> bool:
        """Whether absence proves that the call was not and will not be executed."""
        elapsed = self._outside.monotonic() - self._began
        return status.time_ns > self._request.expiry_ns and elapsed < REMEMBERED_S

    def _count_bad(self, error: NetworkError) -> None:
        self._bad += 1
        self._trouble = error
        if self._bad >= BAD_ANSWERS:
            raise outcome.unknown(self._what, self._request, error)

    def _attempt_s(self) -> float:
        left = self._give_up - self._outside.monotonic()
        return max(0.1, min(ATTEMPT_S, left))
