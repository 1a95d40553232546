import sys
import threading
import time
from collections.abc import Iterator

import pytest

from dfx_backup.errors import (
    BackupError,
    CertificateError,
    DamageError,
    InterruptedRunError,
    NetworkError,
)
from dfx_backup.ic.outcome import ReplyPrunedError, UncertifiedOutcomeError
from dfx_backup.ic.surroundings import Surroundings
from dfx_backup.transfer import window as window_module
from dfx_backup.transfer.window import Pace, Window, slice_passes
from tests.fakes.memory_slices import Time, broken, expired, http, lost, quick, reject

PASSING = [
    broken(),
    http(429),
    http(503),
    lost(),
    expired(),
    ReplyPrunedError("done", request_id="ab", expires_at=0.0),
    reject("IC0210"),
    reject("IC0211"),
    reject("IC0504", "Error from Wasm chunk store: Canister is heap delta rate limited"),
    reject("IC0406", "Snapshot is not currently loadable on the specified canister"),
]
FINAL = [
    reject("IC0207"),
    reject("IC0305"),
    reject("IC0408"),
    reject("IC0409"),
    reject("IC0512"),
    reject("IC0504", "no such chunk"),
    reject("IC0406"),
    http(400),
    CertificateError("not signed"),
    UncertifiedOutcomeError("not signed", request_id="ab", expires_at=0.0),
    NetworkError("5 bytes came where 6 were asked for"),
]


def name(error: object) -> str:
    return str(error)


def run(window: "Window[int]", jobs: int, work: object) -> None:
    window.run(range(jobs), work)  # type: ignore[arg-type] # any callable


def silent(_reason: str) -> None:
    pass


@pytest.mark.parametrize("error", PASSING, ids=name)
def test_errors_that_pass_are_tried_again(error: NetworkError) -> None:
    clock, failures = Time(), [error, error]

    def work(_job: int) -> None:
        if failures:
            raise failures.pop()

    told: list[str] = []
    window: Window[int] = Window(quick(clock, window=1), on_retry=told.append)
    run(window, 3, work)
    assert window.retries == 2
    assert told == [error.message] * 2
    assert sum(clock.slept) >= 0.7  # 0.5 s and then 0.8 s, between half and all of each


@pytest.mark.parametrize("error", FINAL, ids=name)
def test_other_errors_end_it_at_once(error: NetworkError) -> None:
    calls = []

    def work(job: int) -> None:
        calls.append(job)
        raise error

    window: Window[int] = Window(quick(window=1), on_retry=silent)
    with pytest.raises(type(error)) as caught:
        run(window, 5, work)
    assert caught.value is error
    assert calls == [0]
    assert not slice_passes(error)


def test_patience_ends() -> None:
    clock = Time()

    def work(_job: int) -> None:
        raise broken()

    window: Window[int] = Window(quick(clock, window=1, patience_s=60.0), on_retry=silent)
    with pytest.raises(NetworkError, match="broke"):
        run(window, 1, work)
    assert 45 <= sum(clock.slept) <= 60


def test_the_server_says_how_long_to_wait() -> None:
    clock, answers = Time(), [http(429)]
    answers[0].retry_after_s = 7.0

    def work(_job: int) -> None:
        if answers:
            raise answers.pop()

    run(Window(quick(clock, window=1), on_retry=silent), 1, work)
    assert sum(clock.slept) == pytest.approx(7.0)


def test_never_more_in_flight_than_the_window_and_no_job_is_made_before_its_turn() -> None:
    in_flight, made, widest, ahead = 0, 0, 0, 0
    lock = threading.Lock()

    def jobs() -> Iterator[int]:
        nonlocal made
        for job in range(60):
            made += 1
            yield job

    def work(job: int) -> None:
        nonlocal in_flight, widest, ahead
        with lock:
            in_flight += 1
            widest, ahead = max(widest, in_flight), max(ahead, made - job)
        time.sleep(0.002)
        with lock:
            in_flight -= 1

    window: Window[int] = Window(quick(window=6), on_retry=silent)
    window.run(jobs(), work)
    assert made == 60
    assert widest == window.widest == 6
    assert ahead <= 12


def test_the_first_failure_stops_new_jobs_and_waits_for_those_in_flight() -> None:
    finished: list[int] = []
    started = threading.Barrier(4)

    def work(job: int) -> None:
        started.wait(5)
        if job == 0:
            raise DamageError("bad")
        time.sleep(0.05)
        finished.append(job)

    window: Window[int] = Window(quick(window=4), on_retry=silent)
    with pytest.raises(DamageError):
        run(window, 100, work)
    assert sorted(finished) == [1, 2, 3]
    assert window.running == 0


@pytest.mark.parametrize(("answer_s", "widest"), [(0.0, range(1, 9)), (0.3, range(30, 31))])
def test_it_opens_wide_only_when_answers_take_their_time(answer_s: float, widest: range) -> None:
    options = quick(window=30, surroundings=Surroundings())
    window: Window[int] = Window(options, on_retry=silent)
    run(window, 60, lambda _: time.sleep(answer_s))
    assert window.widest in widest


def test_should_stop_ends_it_and_keeps_what_is_in_flight() -> None:
    finished: list[int] = []
    stop = threading.Event()

    def work(job: int) -> None:
        if job:
            stop.set()
        time.sleep(0.15)
        finished.append(job)

    window: Window[int] = Window(quick(window=2, should_stop=stop.is_set), on_retry=silent)
    with pytest.raises(InterruptedRunError):
        run(window, 100, work)
    assert 2 <= len(finished) <= 4


def test_ctrl_c_ends_it_likewise() -> None:
    finished: list[int] = []

    def should_stop() -> bool:
        if finished:
            raise KeyboardInterrupt
        return False

    def work(job: int) -> None:
        time.sleep(0.02)
        finished.append(job)

    window: Window[int] = Window(quick(window=2, should_stop=should_stop), on_retry=silent)
    with pytest.raises(KeyboardInterrupt):
        run(window, 1000, work)
    assert window.running == 0
    assert len(finished) < 50


def test_what_hangs_is_left_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window_module, "DRAIN_S", 0.05)
    release, stop = threading.Event(), threading.Event()

    def work(_job: int) -> None:
        stop.set()
        release.wait(10)

    window: Window[int] = Window(quick(window=1, should_stop=stop.is_set), on_retry=silent)
    began = time.monotonic()
    with pytest.raises(InterruptedRunError):
        run(window, 2, work)
    assert time.monotonic() - began < 5
    assert window.running == 1
    release.set()


def test_a_wait_before_a_retry_ends_with_the_window() -> None:
    stop = threading.Event()

    def work(_job: int) -> None:
        stop.set()
        raise broken()

    real = quick(window=1, should_stop=stop.is_set, surroundings=Surroundings())
    began = time.monotonic()
    with pytest.raises(InterruptedRunError):
        run(Window(real, on_retry=silent), 1, work)
    assert time.monotonic() - began < 3


def test_errors_of_all_kinds_reach_the_caller() -> None:
    def work(_job: int) -> None:
        raise BackupError("our own bug")

    with pytest.raises(BackupError, match="our own bug"):
        run(Window(quick(), on_retry=silent), 3, work)


def test_429s_below_the_window_halve_it_and_it_grows_back() -> None:
    widths: list[int] = []
    window: Window[int] = Window(quick(window=8), on_retry=silent)

    def work(job: int) -> None:
        time.sleep(0.001)
        if job in (20, 21):
            window.noticed(http(429))
            widths.append(window._pace.allowed)
        widths.append(window._pace.allowed)

    run(window, 300, work)
    assert window.retries == 2
    assert min(widths) <= 4
    assert widths[-1] == 8


@pytest.mark.parametrize("error", [http(503), broken()], ids=name)
def test_other_trouble_below_the_window_does_not_narrow_it(error: NetworkError) -> None:
    window: Window[int] = Window(quick(window=8), on_retry=silent)
    for _ in range(10):
        window.noticed(error)
    assert window.retries == 10
    assert window._pace.allowed == 8


def halved(size: int) -> Pace:
    pace = Pace(size)
    pace.busy(size)
    assert pace.allowed == size  # one alone is chance
    pace.busy(size)
    assert pace.allowed == size // 2
    return pace


def test_pace_halves_only_once_for_a_burst() -> None:
    pace = halved(48)
    for running in (48, 40, 25):  # still more in flight than it allows
        pace.busy(running)
    assert pace.allowed == 24
    pace.busy(24)
    assert pace.allowed == 12


def test_pace_takes_refusals_far_apart_for_chance() -> None:
    pace = Pace(50)
    for _ in range(20):
        pace.busy(50)
        for _ in range(50):
            pace.success()
    assert pace.allowed == 50


def test_pace_grows_fast_at_first_then_slowly_then_faster() -> None:
    pace = halved(40)
    steps = [pace.allowed]
    while pace.allowed < 40:
        pace.success()
        steps.append(pace.allowed)
    assert steps.index(36) == 36 - 20
    assert steps.index(37) - steps.index(36) >= 30
    assert steps.index(40) - steps.index(38) < 40
    assert steps == sorted(steps)


def test_pace_settles_below_a_limit_of_the_other_side() -> None:
    pace, limit, refused, done = Pace(50), 30, 0, 0
    running = 0
    for _ in range(3000):
        running = max(running, pace.allowed) if running <= pace.allowed else running
        if running > limit:
            refused += 1
            pace.busy(running)
        pace.success()
        done += 1
        running = max(pace.allowed, running - 1)
    assert 15 <= pace.allowed <= 34
    assert refused / done < 0.25


def test_pace_never_stands_still() -> None:
    pace = Pace(2)
    for _ in range(10):
        pace.busy(1)
    assert pace.allowed == 1
    for _ in range(20):
        pace.success()
    assert pace.allowed == 2


def test_jobs_that_nobody_does_are_not_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    worker = Window._one
    done = []

    def tired(window: "Window[int]", waiting: Iterator[int], work: object) -> bool:
        worker(window, waiting, work)  # type: ignore[arg-type] # any callable
        return len(done) < 3

    monkeypatch.setattr(Window, "_one", tired)
    with pytest.raises(DamageError, match="3 of 3 parts were done, and perhaps not all"):
        run(Window(quick(window=1), on_retry=silent), 10, done.append)
    assert done == [0, 1, 2]


def test_every_job_is_done_exactly_once() -> None:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for _ in range(5):
            done: list[int] = []
            run(Window(quick(window=8), on_retry=silent), 400, done.append)
            assert sorted(done) == list(range(400))
    finally:
        sys.setswitchinterval(before)
