import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from dfx_backup.transfer.page_hash import FileHash, hash_file
from tests.fakes.snapshot_folder import paged

SIZE = 7
PIECES = st.lists(st.one_of(st.binary(max_size=20), st.integers(0, 30)), max_size=10)


@given(PIECES)
def test_pieces_and_zeros_of_any_length_make_the_same_hashes(pieces: list[bytes | int]) -> None:
    """A number stands for so many zeros."""
    hashes = FileHash(page_bytes=SIZE)
    data = b""
    for piece in pieces:
        if isinstance(piece, int):
            hashes.zeros(piece)
            data += bytes(piece)
        else:
            hashes.update(piece)
            data += piece
    wanted = FileHash()
    wanted.update(data)
    assert hashes.sha256 == wanted.sha256
    assert hashes.pages == paged("", data, SIZE).pages
    assert hashes.pages == hashes.pages  # looking changes nothing


def test_only_what_is_wanted_is_hashed() -> None:
    assert FileHash().pages is None
    assert FileHash(whole=False, page_bytes=SIZE).sha256 is None


def test_a_file_is_hashed_from_its_begin(tmp_path: Path) -> None:
    data = os.urandom(9 << 20)
    path = tmp_path / "file"
    path.write_bytes(data)
    hashes = FileHash(whole=False, page_bytes=65536)
    with path.open("rb") as file:
        file.seek(100)
        hash_file(file.fileno(), hashes)
    assert hashes.pages == paged("", data, 65536).pages
