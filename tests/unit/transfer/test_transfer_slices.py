import hashlib
import os
from pathlib import Path

import pytest

from dfx_backup.ic.snapshot_parts import Section, Slice
from dfx_backup.transfer.page_hash import FileHash
from dfx_backup.transfer.section_file import SectionFile, TrailingHashes
from dfx_backup.transfer.slices import data_runs, pieces, read_exactly, read_slices

PAGE = 65536
DATA = b"\x01" * PAGE
ZERO = bytes(PAGE)


def runs(path: Path, *, start: int = 0, size: int | None = None) -> list[tuple[int, int]]:
    """Runs in pages, and a check of the hash on the way."""
    handle = os.open(path, os.O_RDONLY)
    try:
        length = path.stat().st_size - start if size is None else size
        hashes = FileHash()
        found = list(data_runs(handle, length, start=start, hashes=hashes))
        with path.open("rb") as file:
            file.seek(start)
            assert hashes.sha256 == hashlib.sha256(file.read(length)).hexdigest()
        assert list(data_runs(handle, length, start=start)) == found
        return found
    finally:
        os.close(handle)


def pages(path: Path, pattern: str) -> Path:
    """A file of pages: D data, 0 zeros that are written, . a hole."""
    with path.open("wb") as file:
        for at, kind in enumerate(pattern):
            if kind != ".":
                file.seek(at * PAGE)
                file.write(DATA if kind == "D" else ZERO)
        file.truncate(len(pattern) * PAGE)
    return path


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("", []),
        ("0", []),
        ("....", []),
        ("D", [(0, 1)]),
        ("D000D", [(0, 5)]),
        ("D0000D", [(0, 1), (5, 6)]),
        ("D0..0D", [(0, 1), (5, 6)]),
        ("D...D", [(0, 5)]),
        ("0D0", [(1, 2)]),
        ("...D....D000", [(3, 4), (8, 9)]),
        ("0000DD0000", [(4, 6)]),
        ("DD.DD....DD", [(0, 5), (9, 11)]),
    ],
)
def test_runs_of_four_zero_pages_separate_data(
    tmp_path: Path, pattern: str, expected: list[tuple[int, int]]
) -> None:
    found = runs(pages(tmp_path / "file", pattern))
    assert found == [(begin * PAGE, end * PAGE) for begin, end in expected]


def test_a_single_byte_makes_a_page_of_data_and_the_end_need_not_be_a_page(tmp_path: Path) -> None:
    path = tmp_path / "file"
    size = 5 * PAGE + 100
    for at in (0, PAGE - 1, PAGE, 5 * PAGE, size - 1):
        content = bytearray(size)
        content[at] = 1
        path.write_bytes(content)
        first = at // PAGE * PAGE
        assert runs(path) == [(first, min(first + PAGE, size))]


def test_data_that_begins_inside_a_page_is_found_once(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with path.open("wb") as file:
        file.truncate(20 * PAGE)
        for at in (PAGE + 4096, PAGE + 40_000, 2 * PAGE + 60_000, 11 * PAGE + 5000):
            file.seek(at)
            file.write(b"x")
    assert runs(path) == [(PAGE, 3 * PAGE), (11 * PAGE, 12 * PAGE)]


def test_a_range_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 1000 + bytes(6 * PAGE) + b"y" * 1000)
    assert runs(path, start=1000, size=6 * PAGE) == []
    assert runs(path, start=1000) == [(6 * PAGE, 6 * PAGE + 1000)]


def test_sixty_four_gib_of_holes_take_no_time(tmp_path: Path) -> None:
    path = tmp_path / "file"
    size = 64 << 30
    with path.open("wb") as file:
        file.truncate(size)
        file.seek(40 << 30)
        file.write(b"x")
    handle = os.open(path, os.O_RDONLY)
    try:
        assert list(data_runs(handle, size)) == [(40 << 30, (40 << 30) + PAGE)]
    finally:
        os.close(handle)


def test_read_slices_cover_everything() -> None:
    found = list(read_slices(Section.STABLE_MEMORY, 4_500_000))
    assert [(each.offset, each.size) for each in found] == [
        (0, 2_000_000),
        (2_000_000, 2_000_000),
        (4_000_000, 500_000),
    ]
    assert list(read_slices(Section.WASM_MODULE, 0)) == []


def test_pieces_end_where_pages_of_the_file_end() -> None:
    assert list(pieces(PAGE - 10, PAGE + 30)) == [(0, 10), (10, PAGE + 10), (PAGE + 10, PAGE + 30)]


def test_a_file_that_ends_too_early_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    handle = os.open(path, os.O_RDONLY)
    try:
        assert read_exactly(handle, 3, 0) == b"abc"
        with pytest.raises(OSError, match="too early"):
            read_exactly(handle, 4, 0)
    finally:
        os.close(handle)


def test_slices_are_written_where_they_belong_and_zeros_are_holes(tmp_path: Path) -> None:
    size = 5_000_000
    content = bytearray(size)
    content[100:200] = b"x" * 100
    content[3_999_990:4_000_010] = b"y" * 20
    file = SectionFile(tmp_path / "file", size)
    zeros = 0
    for part in reversed(list(read_slices(Section.WASM_MEMORY, size))):
        zeros += file.put(part.offset, bytes(content[part.offset : part.offset + part.size]))
    assert file.read(0, size) == content
    assert zeros >= size - 3 * PAGE
    assert (tmp_path / "file").stat().st_blocks * 512 <= 4 * PAGE
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o600
    file.sync()
    file.close()


def test_zeros_are_written_over_what_an_earlier_run_left(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"left over" * 100_000)
    file = SectionFile(path, 500_000)
    file.put(0, bytes(500_000))
    assert file.read(0, 500_000) == bytes(500_000)
    file.close()


def test_hashes_follow_slices_that_come_in_any_order(tmp_path: Path) -> None:
    size = 9_000_000
    content = os.urandom(size)
    file = SectionFile(tmp_path / "heap", size)
    empty = SectionFile(tmp_path / "module", 0)
    hashes = TrailingHashes({Section.WASM_MODULE: empty, Section.WASM_MEMORY: file})
    slices = list(read_slices(Section.WASM_MEMORY, size))
    for part in (*slices[2:], *slices[:2]):
        assert isinstance(part, Slice)
        file.put(part.offset, content[part.offset : part.offset + part.size])
        hashes.finished(part.section, part.offset)
    found = hashes.result()
    assert found[Section.WASM_MEMORY] == hashlib.sha256(content).hexdigest()
    assert found[Section.WASM_MODULE] == hashlib.sha256(b"").hexdigest()
    file.close()
    empty.close()


def test_hashes_can_be_given_up_and_tell_what_went_wrong(tmp_path: Path) -> None:
    file = SectionFile(tmp_path / "heap", 100)
    TrailingHashes({Section.WASM_MEMORY: file}).stop()
    hashes = TrailingHashes({Section.WASM_MEMORY: file})
    (tmp_path / "heap").write_bytes(b"short")
    hashes.finished(Section.WASM_MEMORY, 0)
    with pytest.raises(OSError, match="too early"):
        hashes.result()
    file.close()
