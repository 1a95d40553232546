"""What docs/stable-memory.md tells of costs is what is computed."""

import re
from pathlib import Path

import pytest

from dfx_backup.operations import stable_costs as costs
from dfx_backup.operations.cycles import GIB

DOCUMENT = Path(__file__).parents[3] / "docs" / "stable-memory.md"


def told(pattern: str) -> int:
    found = re.search(pattern, DOCUMENT.read_text(encoding="utf-8"))
    assert found, pattern
    return int(found[1]) * 10**9


def test_prices_are_those_of_the_document() -> None:
    reads = told(r"\| `certified` \|.*about (\d+) B ")
    hashes = told(r"\| `hashes` \|.*about (\d+) B \(Rust\)")
    motoko = told(r"in Motoko the hashes of 1 GiB cost (\d+) B cycles")

    assert costs.reads_cost(GIB) == pytest.approx(reads, rel=0.03)
    assert costs.hashes_cost(GIB, "rust 0.1.0") == pytest.approx(hashes, rel=0.03)
    assert costs.hashes_cost(GIB, "motoko 0.1.0") == pytest.approx(motoko, rel=0.03)


def test_an_unknown_kit_counts_as_slow() -> None:
    assert costs.hashes_cheap("rust 9")
    assert not costs.hashes_cheap("motoko 1")
    assert not costs.hashes_cheap("cobol 1")
    assert not costs.hashes_cheap("")


def test_nothing_costs_one_question() -> None:
    assert costs.reads(0, 50).calls == 0
    assert costs.hashes(0, "rust").calls == 1


def test_an_import_pays_for_hashing_twice_and_for_what_it_sends() -> None:
    assert costs.writes_cost(GIB, GIB, "rust") > 2 * costs.hashes_cost(GIB, "rust") + 2000 * GIB
