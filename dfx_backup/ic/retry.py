"""What is tried again, how often, and how long we wait in between."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from dfx_backup.errors import CertificateError, NetworkError, RejectError, UnknownOutcomeError
from dfx_backup.ic.http_errors import HttpStatusError, TransportError

_T = TypeVar("_T")

_PASSING_CODES = frozenset({"IC0210", "IC0211"})
"""Heap delta rate limited; subnet cooling down."""
_PASSING_TEXTS = {"IC0504": "heap delta", "IC0406": "not currently loadable"}
"""Codes that stand for several things: only with this text they pass."""


def passes(error: NetworkError) -> bool:
    """Whether an error is one that passes by itself, so that the same again can succeed.

    A call whose outcome is unknown is not among them: it may have executed.
    """
    if isinstance(error, TransportError | HttpStatusError):
        return not error.final
    return rejection_passes(error)


def rejection_passes(error: NetworkError) -> bool:
    """Whether an error is a refusal of the replica that passes by itself.

    For callers whose agent deals with everything below that.
    """
    if isinstance(error, RejectError):
        text = _PASSING_TEXTS.get(error.error_code or "")
        if text is not None:
            return text in error.reject_message.lower()
        return error.error_code in _PASSING_CODES
    return False


def rejection_passes_for_reads(error: NetworkError) -> bool:
    """As `rejection_passes`, for calls that change nothing: a lost answer is asked for again."""
    lost = isinstance(error, UnknownOutcomeError) and not isinstance(error, CertificateError)
    return lost or rejection_passes(error)


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Waits that grow, with jitter so that many clients do not come back together.

    Attributes:
        first_s: about the first wait.
        factor: by which waits grow.
        longest_s: no wait is longer.
        rng: gives numbers from 0 to 1.
    """

    first_s: float = 1.0
    factor: float = 1.6
    longest_s: float = 15.0
    rng: Callable[[], float] = random.random

    def wait_s(self, attempt: int) -> float:
        """Seconds to wait after an attempt, counted from 0: between half and all of its step."""
        step = min(self.longest_s, self.first_s * self.factor ** min(attempt, 64))
        return step * (0.5 + 0.5 * self.rng())


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """Tries again while errors pass, until attempts or time run out.

    Attributes:
        attempts: how often at most.
        within_s: no new attempt begins later than this many seconds after the first.
        backoff: how long to wait in between.
        sleep: waits for some seconds.
        monotonic: gives seconds of a clock that never jumps.
    """

    attempts: int = 8
    within_s: float = 60.0
    backoff: Backoff = Backoff()
    sleep: Callable[[float], None] = time.sleep
    monotonic: Callable[[], float] = time.monotonic

    def run(
        self, action: Callable[[], _T], *, passes: Callable[[NetworkError], bool] = passes
    ) -> _T:
        """Run an action until it succeeds.

        Args:
            action: what is done.
            passes: tells the errors after which it may be done again.

        Raises:
            NetworkError: the last attempt's error.
        """
        end = self.monotonic() + self.within_s
        attempt = 0
        while True:
            try:
                return action()
            except NetworkError as error:
                wait_s = max(self.backoff.wait_s(attempt), asked_wait_s(error))
                attempt += 1
                late = self.monotonic() + wait_s > end
                if attempt >= self.attempts or late or not passes(error):
                    raise
            self.sleep(wait_s)


NO_RETRY = RetryPolicy(attempts=1)
"""For callers that retry themselves."""


def asked_wait_s(error: NetworkError) -> float:
    """Seconds that the server asked us to wait, or 0."""
    if isinstance(error, HttpStatusError) and error.retry_after_s is not None:
        return error.retry_after_s
    return 0.0
