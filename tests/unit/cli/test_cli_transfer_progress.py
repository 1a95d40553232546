import io
import threading
from typing import Any

import pytest

from dfx_backup.cli import text
from dfx_backup.cli.progress_view import ProgressView, TerminalView, make_view
from dfx_backup.cli.transfer_progress import Meter, TransferView
from tests.fakes.stage import Terminal

MIB = 1 << 20


class Time:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def shown(stream: Any, **more: Any) -> ProgressView:
    choices: dict[str, Any] = {"quiet": False, "warnings_aloud": True} | more
    env = {"TERM": "xterm", "NO_COLOR": "1"}
    return make_view(stream, environment=env.get, on_terminal=stream.isatty(), **choices)


def test_a_meter_tells_bytes_rate_time_and_retries() -> None:
    time = Time()
    meter = Meter(total=100 * MIB, done=20 * MIB, monotonic=time)
    assert meter.line() == "20 %, 20.0 MiB of 100.0 MiB"

    time.now += 4
    meter.add(40 * MIB)
    meter.retries = 1

    # What was there before does not count for the rate.
    assert meter.line() == "60 %, 60.0 MiB of 100.0 MiB, 10.5 MB/s, 4 s left, 1 retry"
    meter.retries = 2
    assert meter.line().endswith("2 retries")


def test_more_than_was_expected_is_no_more_than_all() -> None:
    time = Time()
    meter = Meter(total=MIB, done=0, monotonic=time)
    time.now += 1
    meter.add(2 * MIB)

    assert meter.line().startswith("100 %")
    assert "0 s left" in meter.line()


def test_nothing_to_move() -> None:
    assert Meter(total=0, done=0, monotonic=Time()).line() == "100 %, 0 B of 0 B"


def test_without_a_terminal_a_line_comes_every_ten_seconds() -> None:
    stream, time = Terminal(), Time()
    view = TransferView(shown(stream), time)

    view.begin("downloading", total_bytes=100 * MIB, done_bytes=10 * MIB)
    for _ in range(25):
        time.now += 1
        view.advance(2 * MIB)
    view.step("checking the files")
    view.advance(1)

    assert stream.getvalue().splitlines() == [
        "downloading 100.0 MiB, 10.0 MiB of it are there already ...",
        "  30 %, 30.0 MiB of 100.0 MiB, 2.1 MB/s, 35 s left",
        "  50 %, 50.0 MiB of 100.0 MiB, 2.1 MB/s, 25 s left",
        "checking the files ...",
    ]


def test_retries_are_told_too() -> None:
    stream, time = Terminal(), Time()
    view = TransferView(shown(stream), time)

    view.retry("before anything began")
    view.begin("uploading", total_bytes=MIB, done_bytes=0)
    time.now += 11
    view.retry("429")

    assert stream.getvalue().splitlines()[-1] == "  0 %, 0 B of 1.0 MiB, 1 retry"


def test_quiet_hides_it_and_not_warnings() -> None:
    stream, time = Terminal(), Time()
    view = TransferView(shown(stream, quiet=True), time)

    view.begin("downloading", total_bytes=MIB, done_bytes=0)
    time.now += 100
    view.advance(5)
    view.warn("Something is odd.")

    assert stream.getvalue() == "Warning: Something is odd.\n"


def test_a_terminal_shows_it_beside_the_step() -> None:
    stream, time = Terminal(real=True), Time()
    plain = shown(stream)
    assert isinstance(plain, TerminalView)
    view = TransferView(plain, time)

    view.begin("downloading", total_bytes=100 * MIB, done_bytes=0)
    time.now += 0.5
    view.advance(50 * MIB)
    plain._running.close()  # draws a last time
    plain.pause()

    assert "downloading 100.0 MiB: 50 %, 50.0 MiB of 100.0 MiB" in stream.getvalue()
    assert stream.getvalue().endswith("downloading 100.0 MiB\n")


def test_progress_without_a_step_is_nothing() -> None:
    stream = Terminal(real=True)
    shown(stream).progress("50 %")

    assert stream.getvalue() == ""


def test_threads_may_tell_it() -> None:
    stream, time = io.StringIO(), Time()
    view = TransferView(ProgressView(stream, quiet=False, warnings_aloud=True), time)
    view.begin("downloading", total_bytes=800, done_bytes=0)
    lock = threading.Lock()

    def work() -> None:
        for _ in range(100):
            with lock:
                time.now += 1
                view.advance(1)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    lines = stream.getvalue().splitlines()
    assert len(lines) == 1 + 80
    assert lines[-1].startswith("  100 %, 800 B of 800 B")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0 s"), (0.2, "1 s"), (99, "99 s"), (101, "2 min"), (5399, "90 min"), (9000, "2.5 h")],
)
def test_durations(seconds: float, words: str) -> None:
    assert text.duration(seconds) == words


def test_counts_and_rates() -> None:
    assert text.counted(1, "call") == "1 call"
    assert text.counted(0, "call") == "0 calls"
    assert text.rate(33_240_000) == "33.2 MB/s"
