import hashlib
import itertools
from collections import Counter
from pathlib import Path

import pytest

from benchmarks.memories import SHARES, Kind, Memories, distinct_page
from dfx_backup.transfer.folder import check_folder

PAGE = 65536


def test_the_image_is_what_the_bars_are_about() -> None:
    memories = Memories()
    counts = Counter(memories.kinds)
    assert {kind: round(counts[kind] / 8192, 2) for kind in Kind} == SHARES
    assert Counter(memories.changed.values()) == {Kind.TREE: 79, Kind.LOG: 37, Kind.TEXT: 6}
    lonely = sorted(number for number, kind in memories.changed.items() if kind is Kind.TREE)
    assert sum(b - a > 1 for a, b in itertools.pairwise(lonely)) > 70


@pytest.mark.parametrize("generation", [1, 2])
def test_generations_are_folders_that_differ_in_the_changed_pages(
    tmp_path: Path, generation: int
) -> None:
    memories = Memories(128)
    memories.write(tmp_path / "copy", generation)
    report = check_folder(tmp_path / "copy")
    assert report.problems == ()
    data = b"".join(
        (tmp_path / "copy" / f"{name}.bin").read_bytes()
        for name in ("wasm_memory", "stable_memory")
    )
    first = [memories.page(number, 1) for number in range(128)]
    found = [data[at : at + PAGE] for at in range(0, len(data), PAGE)]
    differ = {number for number in range(128) if found[number] != first[number]}
    assert differ == (set(memories.changed) if generation == 2 else set())


def test_every_machine_makes_the_same_pages() -> None:
    memories = Memories(64)
    digest = hashlib.sha256(b"".join(memories.page(number, 2) for number in range(64)))
    digest.update(distinct_page(5))
    assert digest.hexdigest() == "ec53477943bfa23a75bb1088e7a1027726133165a104bed31ea1b492cdf41616"


def test_distinct_pages_are_distinct() -> None:
    assert len({distinct_page(number) for number in range(100)}) == 100
