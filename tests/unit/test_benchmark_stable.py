"""The bars of exports, and the memory that they are measured with."""

from typing import Any

import pytest

from benchmarks import kit_memory
from benchmarks.cases import Case
from benchmarks.measure import Finished
from benchmarks.peers import Run
from benchmarks.stable import CERTIFIED, HASHES, SNAPSHOT
from benchmarks.stable_bars import judge_stable
from dfx_backup.replica.replica import Replica
from tests.fakes.kit_stage import CHAT, RUST

SIZE = 2**30


def run(name: str, *, wall_s: float = 10.0, **more: Any) -> Run:
    """A run of a GiB that did well."""
    peak = more.pop("peak_mb", 90.0)
    finished = Finished(code=0, stdout="", stderr="", wall_s=wall_s, cpu_s=1.0, peak_mb=peak)
    usual: dict[str, Any] = {
        "whole": True,
        "seconds": wall_s,
        "bytes_in": 1000,
        "bytes_out": SIZE,
        "calls": 365,
        "injected": {},
        "disk": 1000,
        "told": {"window": 8},
        "error": None,
    }
    return Run(peer=name, size=SIZE, finished=finished, **{**usual, **more})


def missed(name: str, *runs: Run, quick: bool = False) -> list[str]:
    case = Case(name=name, title="")
    for each in runs:
        case.runs.setdefault(each.peer, []).append(each)
    bars = judge_stable({name: case}, quick=quick)
    return [bar.what for bar in bars if bar.judged and not bar.passed]


@pytest.mark.parametrize(
    ("certified_s", "hashes_s", "count"), [(12.0, 28.0, 0), (13.0, 28.0, 1), (13.0, 29.0, 2)]
)
def test_rates_are_held_against_the_snapshot(
    certified_s: float, hashes_s: float, count: int
) -> None:
    runs = [run(SNAPSHOT), run(CERTIFIED, wall_s=certified_s), run(HASHES, wall_s=hashes_s)]
    assert len(missed("stable", *runs)) == count
    assert not missed("stable", *runs, quick=True)


def test_queries_are_held_against_what_is_possible() -> None:
    # 365 queries in 46 waves of 0.17 s: 7.82 s
    assert not missed("stable-queries", run(HASHES, seconds=9.7))
    assert missed("stable-queries", run(HASHES, seconds=9.8))


def test_bytes_disk_memory_and_content_are_bars() -> None:
    assert not missed("stable-again", run(HASHES, bytes_out=SIZE // 51))
    assert missed("stable-again", run(HASHES, bytes_out=SIZE // 49))
    assert not missed("stable-sparse", run(CERTIFIED))
    assert missed("stable-sparse", run(CERTIFIED, disk=SIZE // 99))
    assert not missed("stable-motoko", run(CERTIFIED, peak_mb=116.0))
    assert missed("stable-motoko", run(CERTIFIED, peak_mb=116.1))
    assert missed("stable-motoko", run(CERTIFIED, whole=False))


def test_everybody_computes_what_the_canisters_hold() -> None:
    replica = Replica()
    rust = RUST.install(replica)
    rust.send("fill", 0, 3, kit_memory.SEED)
    pages = b"".join(kit_memory.page(number) for number in range(3))
    assert rust.read("ballast") == pages

    chat = CHAT.install(replica)
    for number in range(2):
        chat.send("append", kit_memory.message(number))
    chat.call("backup_stage", stream="messages")
    assert chat.read("messages") == b"".join(kit_memory.stream_of_messages(2))
