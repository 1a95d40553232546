"""A bounded window of jobs in flight, over threads: it yields when asked to, and it can be stopped.

A node that has too many calls answers 429, and a canister whose heap delta is used up refuses:
then the window is halved, and it grows back while jobs succeed. Where answers come at once it never
opens wide: what is near is limited by its CPU and ours. Memory is bounded by the window, because a
job is made only when there is room for it.
"""

import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

from dfx_backup.errors import (
    CertificateError,
    DamageError,
    InterruptedRunError,
    NetworkError,
    RejectError,
    UnknownOutcomeError,
)
from dfx_backup.ic.allocator import give_back
from dfx_backup.ic.http_errors import ExpiredError, HttpStatusError
from dfx_backup.ic.retry import Backoff, asked_wait_s, passes
from dfx_backup.transfer.terms import TransferOptions

J = TypeVar("J")
R = TypeVar("R")

DRAIN_S = 20.0
"""Seconds for which a stopped window waits for what is in flight; then it leaves it behind."""
_LOOK_S = 0.1
_STAGGER_S = 0.005
"""Between the starts of two threads: their first answers come one after the other, too."""
_NEAR_S = 0.05
_FEW = 8
"""As many threads do when somebody answers within `_NEAR_S`: more would wait for each other."""
_NEAR_CEILING = 0.9
_GIVE_BACK_EVERY = 256
"""Jobs after which memory that lies idle goes back: what it grows by meanwhile is a few MB."""


def slice_passes(error: NetworkError) -> bool:
    """Whether a slice that failed so is tried again.

    Slices may be repeated: reading changes nothing, and writing the same bytes to the same place
    twice is writing them once. So a lost answer passes too, unless what came is not certified.
    """
    lost = isinstance(error, UnknownOutcomeError) and not isinstance(error, CertificateError)
    return lost or isinstance(error, ExpiredError) or passes(error)


class Pace:
    """How many jobs may be in flight: halved when the other side is busy, growing back after.

    One refusal alone is chance: only a second one within a window of successes counts. While more
    are in flight than it allows, it is not halved again. Up to nine tenths of where it was busy it
    grows by one every success; beyond that by one in a whole window of them, then by two, by four.

    Args:
        size: the most that it allows.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._ceiling = float(size)
        self._allowed = float(size)
        self._quiet = size  # successes since the last refusal
        self._step = 1.0
        self._stepped = 0

    @property
    def allowed(self) -> int:
        """Jobs that may be in flight, at least one."""
        return int(self._allowed)

    def busy(self, running: int) -> None:
        """The other side refuses, with so many jobs in flight."""
        alone = self._quiet >= self.allowed
        self._quiet = 0
        if alone or running > self.allowed:
            return
        self._ceiling = max(2.0, float(running))
        self._allowed = max(1.0, running / 2)
        self._step, self._stepped = 1.0, 0

    def success(self) -> None:
        """A job succeeded."""
        self._quiet += 1
        if self._allowed < self._ceiling * _NEAR_CEILING:
            self._allowed += 1
        else:
            self._allowed += self._step / self._allowed
            self._stepped += 1
            if self._stepped >= self._allowed:
                self._step, self._stepped = self._step * 2, 0
        self._allowed = min(self._allowed, self._size)
        self._ceiling = max(self._ceiling, self._allowed)


class Window(Generic[J]):
    """Runs jobs, several at a time. Used once.

    Args:
        options: size, patience and surroundings.
        on_retry: hears why something is tried again; called by one thread at a time.

    Attributes:
        retries: requests that failed and were made again.
        widest: most jobs that were in flight at a time.
        began, ended: monotonic seconds of the first job's start and the last success, or None.
    """

    def __init__(self, options: TransferOptions, *, on_retry: Callable[[str], None]) -> None:
        self._options = options
        self._outside = options.surroundings
        self._on_retry = on_retry
        self._changed = threading.Condition()
        self._pace = Pace(options.window)
        self._running = 0
        self._alive = 0
        self._stopped = False
        self._failure: BaseException | None = None
        self._quickest_s: float | None = None
        self._taken = self._done = 0
        self._exhausted = False
        self.retries = 0
        self.widest = 0
        self.began: float | None = None
        self.ended: float | None = None

    @property
    def running(self) -> int:
        """Jobs in flight."""
        return self._running

    @property
    def seconds(self) -> float:
        """From the first job's start to the last success."""
        if self.began is None or self.ended is None:
            return 0.0
        return self.ended - self.began

    def noticed(self, error: NetworkError) -> None:
        """Hear of a request that failed below us and is made again there; a `TroubleListener`."""
        self._failed(error)

    def run(self, jobs: Iterable[J], work: Callable[[J], None]) -> None:
        """Do every job; returns when all are done.

        Args:
            jobs: asked for one more whenever there is room, by one thread at a time.
            work: does a job, in one of several threads; may be called again after an error that
                passes.

        Raises:
            InterruptedRunError: `should_stop` said so.
            DamageError: a job was left out.
            Exception: the first error that does not pass; what was in flight has ended, or has
                been left behind after `DRAIN_S`.
        """
        waiting = iter(jobs)
        try:
            self._watch(lambda: self._worker(waiting, work))
        except BaseException:
            self._end(None)
            self._drain()
            raise
        if self._failure is not None:
            self._drain()
            raise self._failure
        if not self._exhausted or self._done != self._taken:
            raise DamageError(
                f"{self._done} of {self._taken} parts were done, and perhaps not all were begun",
                hint="run it again, and report it: this is a fault of the program",
            )

    def _watch(self, target: Callable[[], None]) -> None:
        """Start threads as long as more are of use, and wait until all have ended."""
        started = 0
        while not self._is_over(started):
            if started < (_FEW if self._is_near() else self._options.window):
                with self._changed:
                    self._alive += 1
                threading.Thread(target=target, name="slice", daemon=True).start()
                started += 1
            with self._changed:
                more = started < self._options.window and not self._is_near()
                self._changed.wait(_STAGGER_S if more else _LOOK_S)
            if self._options.should_stop():
                raise InterruptedRunError("the transfer was interrupted")

    def _is_over(self, started: int) -> bool:
        return self._stopped or (started > 0 and not self._alive)

    def _is_near(self) -> bool:
        return self._quickest_s is not None and self._quickest_s < _NEAR_S

    def _drain(self) -> None:
        with self._changed:
            self._changed.wait_for(lambda: not self._running, timeout=DRAIN_S)

    def _end(self, failure: BaseException | None) -> None:
        with self._changed:
            self._stopped = True
            self._failure = self._failure or failure
            self._changed.notify_all()

    def _worker(self, waiting: Iterator[J], work: Callable[[J], None]) -> None:
        try:
            while self._one(waiting, work):
                pass
        except BaseException as error:  # noqa: BLE001 # told to the thread that waits for us
            self._end(error)
        finally:
            with self._changed:
                self._alive -= 1
                self._changed.notify_all()

    def _one(self, waiting: Iterator[J], work: Callable[[J], None]) -> bool:
        """Do one job; False when there is none left."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or self._running < self._pace.allowed)
            if self._stopped:
                return False
            try:
                job = next(waiting)
            except StopIteration:
                self._exhausted = True
                return False
            self._taken += 1
            self._running += 1
            self.widest = max(self.widest, self._running)
            began = self._outside.monotonic()
            if self.began is None:
                self.began = began
        done = False
        try:
            persist(lambda: work(job), self._options, failed=self._failed, pause=self._pause)
            done = True
        finally:
            with self._changed:
                self._running -= 1
                if done:
                    self._pace.success()
                    self.ended = self._outside.monotonic()
                    taken_s = self.ended - began
                    self._quickest_s = min(taken_s, self._quickest_s or taken_s)
                    self._done += 1
                due = done and self._done % _GIVE_BACK_EVERY == 0
                self._changed.notify_all()
        if due:
            give_back()
        return True

    def _failed(self, error: NetworkError) -> None:
        with self._changed:
            self.retries += 1
            if is_busy(error):
                self._pace.busy(self._running)
        self._on_retry(error.message)

    def _pause(self, seconds: float) -> None:
        """Wait.

        Raises:
            InterruptedRunError: the window was stopped meanwhile.
        """
        while seconds > 0 and not self._stopped:
            step = min(seconds, _LOOK_S)
            self._outside.sleep(step)
            seconds -= step
        if self._stopped:
            raise InterruptedRunError("the transfer was interrupted")


def is_busy(error: NetworkError) -> bool:
    """Whether an error says that the other side has too much to do."""
    if isinstance(error, HttpStatusError):
        return error.status == 429
    return isinstance(error, RejectError)


def persist(
    action: Callable[[], R],
    options: TransferOptions,
    *,
    failed: Callable[[NetworkError], None],
    pause: Callable[[float], None] | None = None,
    may_pass: Callable[[NetworkError], bool] = slice_passes,
) -> R:
    """Try until it succeeds.

    Args:
        action: what is done.
        options: patience and surroundings.
        failed: hears of an error before the same is tried again.
        pause: waits for some seconds; None takes that of the surroundings.
        may_pass: tells the errors after which it is tried again.

    Raises:
        NetworkError: the first error that does not pass, or the last one.
    """
    outside = options.surroundings
    backoff = Backoff(first_s=0.5, longest_s=15.0, rng=outside.rng)
    end = outside.monotonic() + options.patience_s
    attempt = 0
    while True:
        try:
            return action()
        except NetworkError as error:
            wait_s = max(backoff.wait_s(attempt), asked_wait_s(error))
            if outside.monotonic() + wait_s > end or not may_pass(error):
                raise
            failed(error)
        attempt += 1
        (pause or outside.sleep)(wait_s)
