"""Imports of streams, against a canister in memory."""

import hashlib
import random
from pathlib import Path
from typing import Any

import pytest

from dfx_backup.errors import DamageError, EndpointError, RejectError, UnknownOutcomeError
from dfx_backup.ic.stable_endpoints import StableEndpoints
from dfx_backup.ic.surroundings import Surroundings
from dfx_backup.model import CanisterId
from dfx_backup.transfer import stable_import, window
from dfx_backup.transfer.chunk_table import ChunkTable
from dfx_backup.transfer.stable_data import FileData
from dfx_backup.transfer.stable_import import import_stream
from dfx_backup.transfer.stable_reads import CHUNK_BYTES
from dfx_backup.transfer.stable_terms import ImportReport
from dfx_backup.transfer.terms import SilentTransfer, TransferOptions
from tests.fakes.memory_endpoints import CANISTER, Call, KitRefusedError, MemoryEndpoints, reject

FILE = random.Random(1).randbytes(int(6.5 * CHUNK_BYTES))


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window, "_LOOK_S", 0.003)


def table(data: bytes) -> ChunkTable:
    made = ChunkTable(len(data), CHUNK_BYTES)
    for index in range(made.count):
        at = index * CHUNK_BYTES
        made.put(index, hashlib.sha256(data[at : at + CHUNK_BYTES]).digest())
    return made


def bring(
    fake: MemoryEndpoints, folder: Path, data: bytes = FILE, hashes: ChunkTable | None = None
) -> ImportReport:
    (folder / "file").write_bytes(data)
    quick = Surroundings(sleep=lambda _seconds: None)
    return import_stream(
        StableEndpoints(fake, CanisterId(CANISTER)),
        "memory",
        FileData.open(folder / "file"),
        hashes or table(data),
        options=TransferOptions(window=2, patience_s=30.0, surroundings=quick),
        progress=SilentTransfer(),
    )


def test_everything_into_an_empty_stream(tmp_path: Path) -> None:
    fake = MemoryEndpoints(memory=b"")

    report = bring(fake, tmp_path)

    assert bytes(fake.streams["memory"]) == FILE
    assert report.moved_bytes == len(FILE)
    assert not report.resumed


def test_only_what_differs_is_sent_and_zeros_overwrite(tmp_path: Path) -> None:
    old = bytearray(FILE)
    old[2 * CHUNK_BYTES] ^= 1
    old[5 * CHUNK_BYTES + 7] ^= 1
    new = FILE[: 5 * CHUNK_BYTES] + bytes(CHUNK_BYTES) + FILE[6 * CHUNK_BYTES :]
    fake = MemoryEndpoints(memory=bytes(old))

    report = bring(fake, tmp_path, new)

    assert bytes(fake.streams["memory"]) == new
    assert report.moved_bytes == 2 * CHUNK_BYTES
    assert report.same_bytes == len(new) - 2 * CHUNK_BYTES
    offsets = [each.fields["offset"] for each in fake.calls if each.method == "backup_import_write"]
    assert sorted(offsets) == [2 * CHUNK_BYTES, 5 * CHUNK_BYTES]


def test_the_tail_is_cleared_and_finish_takes_several_messages(tmp_path: Path) -> None:
    fake = MemoryEndpoints(memory=random.Random(2).randbytes(9 * CHUNK_BYTES))
    fake.finish_steps = 3

    report = bring(fake, tmp_path)

    assert bytes(fake.streams["memory"]) == FILE + bytes(9 * CHUNK_BYTES - len(FILE))
    assert report.finish_calls == 4


def test_one_flipped_byte_is_refused_with_its_offset(tmp_path: Path) -> None:
    fake = MemoryEndpoints(memory=b"")

    def after(call: Call) -> None:
        if call.method == "backup_import_write":
            place = 3 * CHUNK_BYTES + 9
            fake.streams["memory"][place] = FILE[place] ^ 1

    fake.after = after
    with pytest.raises(EndpointError, match="hash mismatch") as caught:
        bring(fake, tmp_path)
    assert caught.value.case == "hash_mismatch"
    assert caught.value.detail == 3 * CHUNK_BYTES

    fake.after = lambda _call: None
    report = bring(fake, tmp_path)
    assert report.resumed
    assert report.moved_bytes == CHUNK_BYTES
    assert bytes(fake.streams["memory"]) == FILE


@pytest.mark.parametrize(
    "method",
    ["backup_import_begin", "backup_import_hashes", "backup_import_write", "backup_import_finish"],
)
@pytest.mark.parametrize("lost", [True, False], ids=["lost", "refused"])
def test_trouble_at_every_step(
    tmp_path: Path, method: str, monkeypatch: pytest.MonkeyPatch, *, lost: bool
) -> None:
    monkeypatch.setattr(stable_import, "HASHES_AT_ONCE", 3)
    fake = MemoryEndpoints(memory=b"")
    hits = []

    def trouble(call: Call) -> None:
        if call.method == method and len(hits) < 1:
            hits.append(call)
            if lost:
                raise UnknownOutcomeError("lost", request_id=None, expires_at=0)
            raise reject(5, "IC0503", "Canister trapped explicitly: no")

    if lost:
        fake.after = trouble
        report = bring(fake, tmp_path)
        assert report.retries == 1
    else:
        fake.before = trouble
        with pytest.raises(RejectError):
            bring(fake, tmp_path)
        assert fake.session is None or not fake.session.done
        report = bring(fake, tmp_path)
        assert report.resumed is (method != "backup_import_begin")
    assert hits
    assert bytes(fake.streams["memory"]) == FILE
    assert fake.session is not None
    assert fake.session.done


def test_a_session_that_is_done_is_begun_anew(tmp_path: Path) -> None:
    fake = MemoryEndpoints(memory=b"")
    bring(fake, tmp_path)

    report = bring(fake, tmp_path)

    assert not report.resumed
    assert report.moved_bytes == 0


def test_another_import_is_not_disturbed(tmp_path: Path) -> None:
    fake = MemoryEndpoints(memory=b"")
    fake._backup_import_begin(certified=True, stream="memory", size=5, chunk_size=4096)

    with pytest.raises(EndpointError, match="an import of memory is in progress"):
        bring(fake, tmp_path)
    assert fake.count("backup_import_write") == 0


def test_a_file_that_is_not_what_its_hashes_say_is_not_sent(tmp_path: Path) -> None:
    fake = MemoryEndpoints(memory=b"")
    wrong = FILE[: 4 * CHUNK_BYTES] + b"?" + FILE[4 * CHUNK_BYTES + 1 :]

    with pytest.raises(DamageError, match="has changed at offset"):
        bring(fake, tmp_path, wrong, table(FILE))
    assert bytes(fake.streams["memory"][4 * CHUNK_BYTES : 5 * CHUNK_BYTES]) == bytes(CHUNK_BYTES)


def test_messages_that_are_too_large_are_halved(tmp_path: Path) -> None:
    fake = MemoryEndpoints(memory=b"")

    def before(call: Call) -> None:
        if call.method == "backup_import_write" and len(call.fields["data"]) > 300_000:
            raise reject(4, "IC0504", "the message is too large")

    fake.before = before
    bring(fake, tmp_path)

    assert bytes(fake.streams["memory"]) == FILE


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES, CHUNK_BYTES + 1])
def test_every_size(tmp_path: Path, size: int) -> None:
    fake = MemoryEndpoints(memory=FILE[-3 * CHUNK_BYTES :])

    bring(fake, tmp_path, FILE[:size])

    assert bytes(fake.streams["memory"]) == FILE[:size] + bytes(3 * CHUNK_BYTES - size)


def test_memory_that_can_not_grow(tmp_path: Path) -> None:
    fake = MemoryEndpoints(memory=b"")

    def full(**_fields: Any) -> None:
        raise fake_error("cannot_grow", {"wanted_pages": 12})

    fake._backup_import_begin = full  # type: ignore[method-assign,assignment]
    with pytest.raises(EndpointError, match="cannot grow") as caught:
        bring(fake, tmp_path)
    assert caught.value.detail == 12


def fake_error(case: str, value: Any) -> Exception:
    return KitRefusedError(case, value)
