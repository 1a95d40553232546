"""Exports of streams, against a canister in memory."""

import random
from pathlib import Path
from typing import Any

import pytest

from dfx_backup.errors import (
    EndpointError,
    MovingError,
    NetworkError,
    RefusedError,
    RejectError,
    UnknownOutcomeError,
)
from dfx_backup.ic.stable_endpoints import StableEndpoints
from dfx_backup.ic.surroundings import Surroundings
from dfx_backup.model import CanisterId, NetworkId
from dfx_backup.transfer import window
from dfx_backup.transfer.stable_reads import CHUNK_BYTES
from dfx_backup.transfer.stable_sidecar import Sidecar, StablePaths, StreamIdentity
from dfx_backup.transfer.stable_terms import ExportChoices, ExportReport, Reads
from dfx_backup.transfer.terms import SilentTransfer, TransferOptions
from tests.fakes.memory_endpoints import CANISTER, Call, MemoryEndpoints, reject
from tests.fakes.stream_files import export_stream

PAGE = 65536
RANDOM = random.Random(5)


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window, "_LOOK_S", 0.003)


def data(chunks: float, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(int(chunks * CHUNK_BYTES))


MEMORY = data(7.5)


def options(**more: Any) -> TransferOptions:
    quick = Surroundings(sleep=lambda _seconds: None)
    return TransferOptions(**({"window": 4, "patience_s": 30.0, "surroundings": quick} | more))


def identity(stream: str = "memory") -> StreamIdentity:
    return StreamIdentity(
        network_id=NetworkId("6c" * 32),
        canister_id=CanisterId(CANISTER),
        stream=stream,
        protocol="backup",
    )


def export(
    fake: MemoryEndpoints,
    folder: Path,
    reads: Reads = Reads.CERTIFIED,
    *,
    rounds_by_hashes: bool = True,
    stream: str = "memory",
    **more: Any,
) -> ExportReport:
    return export_stream(
        StableEndpoints(fake, CanisterId(CANISTER)),
        identity(stream),
        StablePaths.of(folder / "copy"),
        ExportChoices(
            reads=reads, rounds_by_hashes=rounds_by_hashes, tool="dfx-backup 0.1.0", created_at=1.0
        ),
        options=options(**more),
        progress=SilentTransfer(),
    )


def copied(folder: Path) -> bytes:
    return (folder / "copy.stable.bin").read_bytes()


def names(folder: Path) -> set[str]:
    return {each.name for each in folder.iterdir()}


WHOLE = {"copy.stable.bin", "copy.stable.json"}


@pytest.mark.parametrize("reads", Reads)
@pytest.mark.parametrize("size", [0, 1, 4095, CHUNK_BYTES, CHUNK_BYTES + 1, 5 * CHUNK_BYTES])
def test_a_copy_is_the_same(tmp_path: Path, reads: Reads, size: int) -> None:
    fake = MemoryEndpoints(memory=MEMORY[:size])

    report = export(fake, tmp_path, reads)

    assert copied(tmp_path) == MEMORY[:size]
    assert names(tmp_path) == WHOLE
    sidecar = Sidecar.read(tmp_path / "copy.stable.json")
    assert sidecar == report.sidecar
    assert sidecar.certified.value == reads.value.replace("certified", "reads")
    assert sidecar.moment.value == "versions"
    assert sidecar.hashes.size == size
    assert (tmp_path / "copy.stable.bin").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "copy.stable.json").stat().st_mode & 0o777 == 0o600


def test_certified_reads_need_no_queries(tmp_path: Path) -> None:
    fake = MemoryEndpoints(memory=MEMORY)

    report = export(fake, tmp_path)

    assert {each.certified for each in fake.calls} == {True}
    assert fake.count("backup_hashes") == 0
    assert fake.count("backup_read") == 4  # two chunks each
    assert report.rounds == 1
    assert report.sidecar.versions == (7, 7 + 5)
    assert report.tally.moved_bytes == len(MEMORY)


def test_the_second_copy_moves_only_what_changed(tmp_path: Path) -> None:
    fake = MemoryEndpoints(memory=MEMORY)
    export(fake, tmp_path)
    fake.touch("memory", 3 * CHUNK_BYTES + 100, b"new")
    fake.calls.clear()

    report = export(fake, tmp_path, Reads.HASHES)

    assert copied(tmp_path) == bytes(fake.streams["memory"])
    assert report.tally.moved_bytes == CHUNK_BYTES
    assert report.tally.copied_bytes == len(MEMORY) - CHUNK_BYTES
    assert fake.count("backup_read", certified=True) == 0
    assert fake.count("backup_read", certified=False) == 1


def test_zeros_are_not_read_and_take_no_space(tmp_path: Path) -> None:
    memory = bytearray(12 * CHUNK_BYTES)
    memory[5 * CHUNK_BYTES] = 1
    fake = MemoryEndpoints(memory=bytes(memory))

    report = export(fake, tmp_path, Reads.HASHES)

    assert copied(tmp_path) == memory
    assert report.tally.moved_bytes == CHUNK_BYTES
    assert report.tally.zero_bytes == 11 * CHUNK_BYTES
    assert (tmp_path / "copy.stable.bin").stat().st_blocks * 512 < 3 * PAGE


def test_an_earlier_file_that_was_damaged_is_not_trusted(tmp_path: Path) -> None:
    fake = MemoryEndpoints(memory=MEMORY)
    export(fake, tmp_path)
    with (tmp_path / "copy.stable.bin").open("r+b") as file:
        file.seek(CHUNK_BYTES)
        file.write(b"damage")

    report = export(fake, tmp_path, Reads.HASHES)

    assert copied(tmp_path) == MEMORY
    assert report.tally.moved_bytes == CHUNK_BYTES


@pytest.mark.parametrize("limit", [CHUNK_BYTES, 200_000, 5000])
@pytest.mark.parametrize("reads", Reads)
def test_what_is_too_large_is_halved(tmp_path: Path, reads: Reads, limit: int) -> None:
    fake = MemoryEndpoints(memory=MEMORY[: 2 * CHUNK_BYTES])
    fake.max_certified = fake.max_query = limit

    export(fake, tmp_path, reads)

    assert copied(tmp_path) == MEMORY[: 2 * CHUNK_BYTES]


def test_a_trap_for_the_size_of_the_answer_is_halved_too(tmp_path: Path) -> None:
    fake = MemoryEndpoints(memory=MEMORY)

    def before(call: Call) -> None:
        if call.method == "backup_read" and call.fields["length"] > 1_000_000:
            text = "ic0.msg_reply_data_append: payload size (…) cannot be larger than 1000000"
            raise reject(5, "IC0504", text)

    fake.before = before

    assert export(fake, tmp_path).rounds == 1
    assert copied(tmp_path) == MEMORY


class TestMoving:
    @pytest.mark.parametrize("by_hashes", [True, False])
    @pytest.mark.parametrize("reads", Reads)
    def test_what_becomes_zero_meanwhile_is_zero(
        self, tmp_path: Path, reads: Reads, *, by_hashes: bool
    ) -> None:
        fake = MemoryEndpoints(memory=MEMORY)

        def after(call: Call) -> None:
            if call.number == 3:
                fake.touch("memory", 0, bytes(4 * PAGE))
                fake.touch("memory", 3 * CHUNK_BYTES, bytes(2 * CHUNK_BYTES))

        fake.after = after

        report = export(fake, tmp_path, reads, rounds_by_hashes=by_hashes, window=1)

        assert report.rounds == 2
        assert copied(tmp_path) == bytes(fake.streams["memory"])

    def test_a_change_in_the_middle_is_read_again(self, tmp_path: Path) -> None:
        fake = MemoryEndpoints(memory=MEMORY)

        def after(call: Call) -> None:
            if call.number == 3:
                fake.touch("memory", 0, b"changed")

        fake.after = after

        report = export(fake, tmp_path, window=1)

        assert copied(tmp_path) == bytes(fake.streams["memory"])
        assert report.rounds == 2
        assert report.sidecar.certified.value == "hashes"
        assert report.tally.moved_bytes == len(MEMORY) + CHUNK_BYTES

    def test_reading_again_without_hashes(self, tmp_path: Path) -> None:
        fake = MemoryEndpoints(memory=MEMORY)

        def after(call: Call) -> None:
            if call.number == 3:
                fake.touch("memory", 0, b"changed")

        fake.after = after

        report = export(fake, tmp_path, rounds_by_hashes=False)

        assert copied(tmp_path) == bytes(fake.streams["memory"])
        assert report.rounds == 2
        assert fake.count("backup_hashes") == 0

    def test_hashes_of_two_moments_are_no_proof(self, tmp_path: Path) -> None:
        fake = MemoryEndpoints(memory=MEMORY)
        export(fake, tmp_path)
        began = len(fake.calls)

        def after(call: Call) -> None:
            if call.number == began + 1 and call.method == "backup_hashes":
                fake.touch("memory", 0, b"first")  # its hash is told already
                fake.touch("memory", 6 * CHUNK_BYTES, b"then")  # the hash of this one is not

        fake.after = after
        report = export(fake, tmp_path, Reads.HASHES, window=1)

        assert len(fake.streams["memory"]) == len(MEMORY)
        assert copied(tmp_path) == bytes(fake.streams["memory"])
        assert report.rounds == 2

    @pytest.mark.parametrize("by_hashes", [True, False])
    @pytest.mark.parametrize("reads", Reads)
    def test_messages_that_change_nothing_here_need_a_second_pass(
        self, tmp_path: Path, reads: Reads, *, by_hashes: bool
    ) -> None:
        fake = MemoryEndpoints(memory=MEMORY)

        def after(_call: Call) -> None:
            fake.version += 1  # a heartbeat

        fake.after = after

        report = export(fake, tmp_path, reads, rounds_by_hashes=by_hashes)

        assert copied(tmp_path) == MEMORY
        assert report.rounds == 2
        assert report.sidecar.moment.value == "second_pass"

    @pytest.mark.parametrize("by_hashes", [True, False])
    @pytest.mark.parametrize("reads", Reads)
    def test_one_that_never_holds_still_is_no_copy(
        self, tmp_path: Path, reads: Reads, *, by_hashes: bool
    ) -> None:
        fake = MemoryEndpoints(memory=MEMORY)
        counter = iter(range(10**6))

        def after(_call: Call) -> None:
            place = next(counter)
            at = place * 1000 % len(MEMORY)
            fake.touch("memory", at, place.to_bytes(8))

        fake.after = after

        with pytest.raises(MovingError, match="changed all the time") as caught:
            export(fake, tmp_path, reads, rounds_by_hashes=by_hashes)
        assert "snapshot" in str(caught.value.hint)
        assert not names(tmp_path) & WHOLE

        fake.after = lambda _call: None
        export(fake, tmp_path, Reads.HASHES)
        assert copied(tmp_path) == bytes(fake.streams["memory"])
        assert names(tmp_path) == WHOLE

    def test_the_earlier_copy_survives_that(self, tmp_path: Path) -> None:
        fake = MemoryEndpoints(memory=MEMORY)
        export(fake, tmp_path)
        fake.touch("memory", 0, b"x")
        fake.after = lambda call: fake.touch("memory", 0, call.number.to_bytes(8))

        with pytest.raises(MovingError):
            export(fake, tmp_path, Reads.HASHES)

        assert copied(tmp_path) == MEMORY

    @pytest.mark.parametrize("reads", Reads)
    @pytest.mark.parametrize("size", [3 * CHUNK_BYTES, 9 * CHUNK_BYTES + 5])
    def test_another_size_in_the_middle(self, tmp_path: Path, reads: Reads, size: int) -> None:
        fake = MemoryEndpoints(memory=MEMORY)
        other = data(10, seed=2)[:size]

        def after(call: Call) -> None:
            if call.number == 2:
                fake.streams["memory"] = bytearray(other)
                fake.version += 1

        fake.after = after

        report = export(fake, tmp_path, reads)

        assert copied(tmp_path) == other
        assert report.rounds >= 2


class TestTrouble:
    @pytest.mark.parametrize("reads", Reads)
    @pytest.mark.parametrize(
        "error",
        [
            reject(5, "IC0503", "Canister trapped explicitly: no"),
            reject(4, "IC0406", "no"),
            reject(2, "IC0207", "Canister is out of cycles"),
        ],
        ids=["trap", "reject", "cycles"],
    )
    def test_a_failing_call_is_an_error_and_not_the_end(
        self, tmp_path: Path, reads: Reads, error: RejectError
    ) -> None:
        fake = MemoryEndpoints(memory=MEMORY)

        def before(call: Call) -> None:
            if call.method == "backup_read" and call.fields["offset"] >= 4 * CHUNK_BYTES:
                raise error

        fake.before = before
        with pytest.raises(RejectError):
            export(fake, tmp_path, reads, window=1)
        assert not names(tmp_path) & WHOLE

        fake.before = lambda _call: None
        fake.calls.clear()
        report = export(fake, tmp_path, reads)
        assert copied(tmp_path) == MEMORY
        assert report.tally.resumed_bytes >= 3 * CHUNK_BYTES
        assert report.tally.moved_bytes == len(MEMORY) - report.tally.resumed_bytes
        assert names(tmp_path) == WHOLE

    @pytest.mark.parametrize("cut", [1, 1000, 10**9])
    def test_a_truncated_answer(self, tmp_path: Path, cut: int) -> None:
        fake = MemoryEndpoints(memory=MEMORY)
        real = fake._backup_read

        def short(**fields: Any) -> bytes:
            found = real(**fields)
            return found[: max(0, len(found) - cut)] if fields["offset"] else found

        fake._backup_read = short  # type: ignore[method-assign]
        with pytest.raises(EndpointError, match="were asked for") as caught:
            export(fake, tmp_path, window=1)
        assert caught.value.case == "malformed"
        assert not names(tmp_path) & WHOLE

        fake._backup_read = real  # type: ignore[method-assign]
        assert export(fake, tmp_path).tally.resumed_bytes == 2 * CHUNK_BYTES
        assert copied(tmp_path) == MEMORY

    def test_an_answer_that_is_no_candid(self, tmp_path: Path) -> None:
        fake = MemoryEndpoints(memory=MEMORY)
        fake.mangle = lambda call, reply: reply[:20] if call.number == 3 else reply

        with pytest.raises(EndpointError) as caught:
            export(fake, tmp_path)
        assert caught.value.case == "malformed"

    def test_a_lost_answer_is_asked_for_again_and_proves_nothing(self, tmp_path: Path) -> None:
        fake = MemoryEndpoints(memory=MEMORY)

        def after(call: Call) -> None:
            if call.number == 2:
                raise UnknownOutcomeError("lost", request_id=None, expires_at=0)

        fake.after = after
        report = export(fake, tmp_path)

        assert copied(tmp_path) == MEMORY
        assert report.tally.retries == 1
        assert report.rounds == 2  # the lost call has raised the version, or somebody else has

    def test_a_node_that_lags_behind_is_asked_again(self, tmp_path: Path) -> None:
        fake = MemoryEndpoints(memory=MEMORY)
        real = fake._backup_read
        seen = []

        def old(**fields: Any) -> bytes:
            seen.append(fields["offset"])
            return bytes(fields["length"]) if len(seen) == 1 else real(**fields)

        fake._backup_read = old  # type: ignore[method-assign]
        report = export(fake, tmp_path, Reads.HASHES)

        assert copied(tmp_path) == MEMORY
        assert report.rounds == 1

    def test_a_node_that_lies_is_never_believed(self, tmp_path: Path) -> None:
        fake = MemoryEndpoints(memory=MEMORY)
        real = fake._backup_read

        def lie(**fields: Any) -> bytes:
            found = bytearray(real(**fields))
            found[-1] ^= 1
            return bytes(found)

        fake._backup_read = lie  # type: ignore[method-assign]
        with pytest.raises(MovingError):
            export(fake, tmp_path, Reads.HASHES)
        assert not names(tmp_path) & WHOLE

    def test_who_may_not_read_is_told(self, tmp_path: Path) -> None:
        fake = MemoryEndpoints(memory=MEMORY)
        fake.is_authorized = False

        with pytest.raises(EndpointError, match="not allowed") as caught:
            export(fake, tmp_path)
        assert caught.value.case == "unauthorized"

    def test_no_such_stream(self, tmp_path: Path) -> None:
        fake = MemoryEndpoints(other=MEMORY)

        with pytest.raises(EndpointError, match="no stream memory"):
            export(fake, tmp_path)

    @pytest.mark.parametrize("hashes", [0, 6, 1000])
    def test_wrong_numbers_of_hashes(self, tmp_path: Path, hashes: int) -> None:
        fake = MemoryEndpoints(memory=MEMORY)
        fake._backup_hashes = lambda **_fields: {  # type: ignore[method-assign]
            "canister_version": 1,
            "size": 5 * CHUNK_BYTES,
            "hashes": [bytes(32)] * hashes,
        }

        with pytest.raises(EndpointError) as caught:
            export(fake, tmp_path, Reads.HASHES)
        assert caught.value.case == "malformed"


class TestFiles:
    def test_another_stream_is_not_overwritten(self, tmp_path: Path) -> None:
        fake = MemoryEndpoints(memory=MEMORY, other=MEMORY)
        export(fake, tmp_path)

        with pytest.raises(RefusedError, match="is a copy of memory"):
            export(fake, tmp_path, stream="other")

    def test_a_file_of_somebody_else_is_not_overwritten(self, tmp_path: Path) -> None:
        (tmp_path / "copy.stable.bin").write_bytes(b"mine")

        with pytest.raises(RefusedError, match="may be anything"):
            export(MemoryEndpoints(memory=MEMORY), tmp_path)
        assert copied(tmp_path) == b"mine"

    def test_an_interrupted_export_of_another_stream_is_kept(self, tmp_path: Path) -> None:
        fake = MemoryEndpoints(memory=MEMORY, other=MEMORY)
        fake.mangle = lambda call, reply: b"" if call.number == 3 else reply
        with pytest.raises(NetworkError):
            export(fake, tmp_path)

        with pytest.raises(RefusedError, match="interrupted export of something else"):
            export(fake, tmp_path, stream="other")

    @pytest.mark.parametrize("stage", range(4))
    def test_killed_while_the_files_get_their_names(self, tmp_path: Path, stage: int) -> None:
        fake = MemoryEndpoints(memory=MEMORY)
        export(fake, tmp_path)
        old = MEMORY
        fake.touch("memory", 0, b"new")
        replaced = []

        class Killed(BaseException):
            pass

        real = Path.replace

        def replace(path: Path, target: Path) -> Path:
            if ".new.tmp" not in path.name or stage == 0:
                replaced.append(path)
            if len(replaced) > stage:
                raise Killed
            return real(path, target)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Path, "replace", replace)
            try:
                export(fake, tmp_path, Reads.HASHES)
            except Killed:
                assert copied(tmp_path) in (old, bytes(fake.streams["memory"]))

        export(fake, tmp_path, Reads.HASHES)
        assert copied(tmp_path) == bytes(fake.streams["memory"])
        assert Sidecar.read(tmp_path / "copy.stable.json") is not None
        assert names(tmp_path) == WHOLE
