"""NAME.stable.json: written, read, and refused when it is wrong."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from dfx_backup.errors import DamageError
from dfx_backup.model import CanisterId, NetworkId
from dfx_backup.transfer.chunk_table import ChunkTable, ZeroHashes
from dfx_backup.transfer.stable_sidecar import (
    Certified,
    Moment,
    Sidecar,
    StablePaths,
    StreamIdentity,
)


def table(size: int = 250, chunk: int = 100) -> ChunkTable:
    made = ChunkTable(size, chunk)
    for index in range(made.count):
        made.put(index, bytes([index + 1]) * 32)
    return made


def sidecar(**more: Any) -> Sidecar:
    values: dict[str, Any] = {
        "identity": StreamIdentity(
            network_id=NetworkId("6c" * 32),
            canister_id=CanisterId("bkyz2-fmaaa-aaaaa-qaaaq-cai"),
            stream="ballast",
            protocol="backup",
        ),
        "kind": "virtual_memory",
        "kit": "rust 0.1.0",
        "hashes": table(),
        "certified": Certified.HASHES,
        "moment": Moment.SECOND_PASS,
        "versions": (5, 9),
        "tool": "dfx-backup 0.1.0",
        "created_at": 1_700_000_000.5,
    }
    return Sidecar(**(values | more))


@pytest.mark.parametrize("versions", [(5, 9), None])
@pytest.mark.parametrize("size", [0, 1, 100, 250])
def test_what_is_written_is_read(tmp_path: Path, size: int, versions: Any) -> None:
    path = tmp_path / "x.stable.json"
    made = sidecar(versions=versions, hashes=table(size))
    path.write_bytes(made.to_json())

    assert Sidecar.read(path) == made


def test_none_is_none(tmp_path: Path) -> None:
    assert Sidecar.read(tmp_path / "none") is None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("format", 2),
        ("size", -1),
        ("size", 10**15),
        ("chunk_size", 0),
        ("root", "00" * 32),
        ("hashes", ["00"] * 3),
        ("hashes", ["zz" * 32] * 3),
        ("hashes", None),
        ("certified", "surely"),
        ("moment", None),
        ("canister_versions", [1]),
        ("canister_versions", ["1", "2"]),
        ("created_at", "now"),
        ("stream", 5),
    ],
)
def test_what_is_wrong_is_refused(tmp_path: Path, field: str, value: Any) -> None:
    path = tmp_path / "x.stable.json"
    told = json.loads(sidecar().to_json())
    told[field] = value
    path.write_text(json.dumps(told))

    with pytest.raises(DamageError, match=r"x\.stable\.json"):
        Sidecar.read(path)


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"\xff", b"[" * 100_000])
def test_what_is_no_json_is_refused(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "x.stable.json"
    path.write_bytes(raw)

    with pytest.raises(DamageError):
        Sidecar.read(path)


@pytest.mark.parametrize("named", ["monday", "monday.stable.bin", "monday.stable.json"])
def test_every_name_of_the_files_means_them(named: str) -> None:
    paths = StablePaths.of(Path("/x") / named)

    assert paths.data == Path("/x/monday.stable.bin")
    assert paths.sidecar == Path("/x/monday.stable.json")


def test_a_table_of_another_size_keeps_the_chunks_that_are_the_same() -> None:
    made = table(250).resized(450)

    assert [each is not None for each in made] == [True, True, False, False, False]
    assert made.resized(250) != table(250)
    assert table(200).resized(450).resized(200) == table(200)
    assert not made.is_whole()


def test_hashes_of_zeros() -> None:
    zeros = ZeroHashes()
    for length in (0, 1, 65_536, 65_537, 983_040):
        assert zeros.of(length) == hashlib.sha256(bytes(length)).digest()
