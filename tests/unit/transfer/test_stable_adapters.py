"""Exports through methods that are older than ours, against canisters in memory."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dfx_backup.errors import EndpointError, MovingError, RejectError
from dfx_backup.ic.candid import BLOB, NAT64, decode, encode
from dfx_backup.ic.principal import Principal
from dfx_backup.ic.stable_adapters import FactlandReader, OffsetBlobReader
from dfx_backup.ic.surroundings import Surroundings
from dfx_backup.model import CanisterId, NetworkId
from dfx_backup.transfer import window
from dfx_backup.transfer.stable_reads import CHUNK_BYTES, StreamReader
from dfx_backup.transfer.stable_sidecar import StablePaths, StreamIdentity
from dfx_backup.transfer.stable_terms import ExportChoices, ExportReport, Reads
from dfx_backup.transfer.terms import SilentTransfer, TransferOptions
from tests.fakes.memory_endpoints import CANISTER, reject
from tests.fakes.old_canister import OldCanister
from tests.fakes.stream_files import export_stream

MEMORY = random.Random(3).randbytes(5 * CHUNK_BYTES + 77)


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window, "_LOOK_S", 0.003)


def factland(old: OldCanister, *, knows: bool = True) -> StreamReader:
    return FactlandReader(old, CanisterId(CANISTER), lambda: old.version if knows else None)


def blob(old: OldCanister, *, knows: bool = True) -> StreamReader:
    def version() -> int | None:
        return old.version if knows else None

    return OffsetBlobReader(old, CanisterId(CANISTER), version, "db_download")


def export(reader: StreamReader, folder: Path) -> ExportReport:
    quick = Surroundings(sleep=lambda _seconds: None)
    return export_stream(
        reader,
        StreamIdentity(
            network_id=NetworkId("6c" * 32),
            canister_id=CanisterId(CANISTER),
            stream=reader.info().streams[0].name,
            protocol="old",
        ),
        StablePaths.of(folder / "copy"),
        ExportChoices(
            reads=Reads.CERTIFIED,
            rounds_by_hashes=False,
            accept_unproven=True,
            tool="dfx-backup",
            created_at=0.0,
        ),
        options=TransferOptions(window=3, patience_s=5.0, surroundings=quick),
        progress=SilentTransfer(),
    )


def copied(folder: Path) -> bytes:
    return (folder / "copy.stable.bin").read_bytes()


@pytest.mark.parametrize("make", [factland, blob])
def test_a_version_that_is_known_proves_the_moment(
    tmp_path: Path, make: Callable[..., StreamReader]
) -> None:
    report = export(make(OldCanister(MEMORY)), tmp_path)

    assert copied(tmp_path) == MEMORY
    assert report.sidecar.moment.value == "versions"
    assert report.sidecar.certified.value == ("reads" if make is factland else "uncertified")


@pytest.mark.parametrize("make", [factland, blob])
def test_without_one_it_is_unproven(tmp_path: Path, make: Callable[..., StreamReader]) -> None:
    report = export(make(OldCanister(MEMORY), knows=False), tmp_path)

    assert copied(tmp_path) == MEMORY
    assert report.sidecar.moment.value == "unproven"
    assert report.sidecar.versions is None


@pytest.mark.parametrize("make", [factland, blob])
def test_a_change_in_the_middle_is_read_again(
    tmp_path: Path, make: Callable[..., StreamReader]
) -> None:
    old = OldCanister(MEMORY)
    reader = make(old)
    reads = [0]

    def after(number: int) -> None:
        if old.calls[-1][1] and old.calls[-1][1][0] == 4 * CHUNK_BYTES:
            reads[0] += 1
            if reads[0] == 1:
                old.memory[0] ^= 1
                old.version += 1
        del number

    old.after = after
    report = export(reader, tmp_path)

    assert copied(tmp_path) == bytes(old.memory)
    assert report.rounds == 2


def test_one_that_always_changes(tmp_path: Path) -> None:
    old = OldCanister(MEMORY)

    def after(number: int) -> None:
        old.memory[number % 100] ^= 1
        old.version += 1

    old.after = after
    with pytest.raises(MovingError):
        export(factland(old), tmp_path)
    assert not (tmp_path / "copy.stable.bin").exists()


@pytest.mark.parametrize("step", [2_000_000, 1_000_000, 70_000])
@pytest.mark.parametrize("size", [1, 69_999, 70_000, 140_001, 2_000_000, 2_000_001, 4_000_000])
def test_the_end_is_found(tmp_path: Path, step: int, size: int) -> None:
    data = MEMORY[:size]

    report = export(blob(OldCanister(data, step)), tmp_path)

    assert copied(tmp_path) == data
    assert report.sidecar.moment.value == "versions"


def test_no_bytes_at_all_are_no_copy(tmp_path: Path) -> None:
    with pytest.raises(EndpointError, match="nothing at offset 0"):
        export(blob(OldCanister(b"")), tmp_path)


def test_an_empty_answer_in_the_middle_is_not_the_end(tmp_path: Path) -> None:
    old = OldCanister(MEMORY)
    reader = blob(old)
    export(reader, tmp_path)
    before = copied(tmp_path)
    real = old.call

    def hiding(canister: Principal, method: str, arg: bytes, **more: Any) -> bytes:
        reply = real(canister, method, arg, **more)
        middle = decode(arg, [NAT64]) == [2 * CHUNK_BYTES]
        return encode([BLOB], [b""]) if middle else reply

    old.call = hiding  # type: ignore[method-assign]
    with pytest.raises(EndpointError, match="nothing at offset"):
        export(reader, tmp_path)
    assert copied(tmp_path) == before


def test_a_refusal_is_an_error(tmp_path: Path) -> None:
    old = OldCanister(MEMORY)
    reader = factland(old)
    real = old.call

    def refusing(canister: Principal, method: str, arg: bytes, **more: Any) -> bytes:
        if method == "stable_read":
            raise reject(4, "IC0406", "You are not stable authorized")
        return real(canister, method, arg, **more)

    old.call = refusing  # type: ignore[method-assign]
    with pytest.raises(RejectError):
        export(reader, tmp_path)


def test_a_canister_without_the_methods(tmp_path: Path) -> None:
    old = OldCanister(MEMORY)
    reader = OffsetBlobReader(old, CanisterId(CANISTER), lambda: None, "other")

    with pytest.raises(EndpointError, match="no method other") as caught:
        export(reader, tmp_path)
    assert caught.value.case == "missing"
