import os
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dfx_backup.errors import (
    CertificateError,
    DamageError,
    InterruptedRunError,
    LockedError,
    NetworkError,
    RefusedError,
    RejectError,
    UnknownOutcomeError,
)
from dfx_backup.ic.outcome import ReplyPrunedError, UncertifiedOutcomeError
from dfx_backup.ic.snapshot_metadata import GlobalKind, SnapshotSource, WasmGlobal
from dfx_backup.ic.snapshot_parts import Section, Slice, WasmChunk
from dfx_backup.model import SnapshotId
from dfx_backup.transfer.read_back import Check, checks
from dfx_backup.transfer.snapshot_download import download_snapshot
from dfx_backup.transfer.snapshot_upload import upload_snapshot
from dfx_backup.transfer.terms import (
    ReadBack,
    SilentTransfer,
    UploadChoices,
    UploadReport,
    UploadTarget,
)
from dfx_backup.transfer.upload_plan import plan_upload
from tests.fakes.memory_slices import (
    CANISTER,
    NETWORK,
    PAGE,
    Held,
    MemorySlices,
    broken,
    expired,
    http,
    lost,
    quick,
    reject,
)
from tests.fakes.snapshot_stage import tree

NAN = WasmGlobal(kind=GlobalKind.F64, value=0x7FF8000000000001)
HEAP = b"heap".ljust(3 * PAGE, b"\0")
STABLE = b"".join(
    (
        os.urandom(2_500_000).ljust(40 * PAGE, b"\0"),
        bytes(20 * PAGE),
        b"tail".ljust(PAGE, b"\0"),
        bytes(2 * PAGE),
        b"end".rjust(PAGE, b"\0"),
        bytes(8 * PAGE),
    )
)
CHUNKS = (b"one", b"two" * 1000)


@pytest.fixture
def slices() -> MemorySlices:
    return MemorySlices()


class Stage:
    """A folder, the network that it came from, and a place for the state."""

    def __init__(self, slices: MemorySlices, folder: Path, **more: Any) -> None:
        self.slices = slices
        values = {"heap": HEAP, "stable": STABLE, "chunks": CHUNKS, "globals_": (NAN,)} | more
        self.original = slices.plant(**values)
        download_snapshot(
            slices,
            slices.what(self.original),
            folder / "copy",
            options=quick(slices.time),
            progress=SilentTransfer(),
        )
        self.folder = folder / "copy"
        self.target = UploadTarget(
            canister_id=CANISTER, network_id=NETWORK, state=folder / "state" / "upload.json"
        )
        self.calls_before()

    def calls_before(self) -> None:
        self.slices.calls.clear()

    def upload(self, *, window: int = 1, **more: Any) -> UploadReport:
        choices = {
            name: more.pop(name)
            for name in ("read_back", "keep_timer", "keep_hook_status", "seed")
            if name in more
        }
        target = {
            name: more.pop(name)
            for name in ("snapshot_id", "replace", "canister_id")
            if name in more
        }
        plan = more.pop("plan", None) or plan_upload(self.folder)
        return upload_snapshot(
            self.slices,
            replace(self.target, **target),
            plan,
            UploadChoices(**choices),
            options=quick(self.slices.time, window=window, **more),
            progress=SilentTransfer(),
        )

    def made(self) -> list[SnapshotId]:
        return [each for each in self.slices.held if each != self.original]

    def same(self, snapshot: SnapshotId) -> bool:
        first, second = self.slices.held[self.original], self.slices.held[snapshot]
        return (first.sections, first.chunks) == (second.sections, second.chunks)

    def interrupt(self, method: str = "upload_data", *, skip: int = 2, error: Any = None) -> None:
        self.slices.fail(method, error or (lambda: reject("IC0207")), skip=skip)
        with pytest.raises(NetworkError):
            self.upload()
        self.calls_before()


@pytest.fixture
def stage(slices: MemorySlices, tmp_path: Path) -> Stage:
    return Stage(slices, tmp_path)


@pytest.mark.parametrize("read_back", ReadBack)
def test_a_folder_becomes_the_same_snapshot_and_stays_as_it_is(
    stage: Stage, read_back: ReadBack
) -> None:
    before = tree(stage.folder)
    report = stage.upload(window=4, read_back=read_back)
    assert stage.same(report.snapshot_id)
    metadata = stage.slices.held[report.snapshot_id].metadata
    original = stage.slices.held[stage.original].metadata
    assert metadata.globals == (NAN,)
    assert metadata.certified_data == original.certified_data
    assert metadata.global_timer == original.global_timer
    assert metadata.hook_status == original.hook_status
    assert tree(stage.folder) == before
    assert list(stage.target.state.parent.iterdir()) == []
    checked = {ReadBack.NONE: 0, ReadBack.ALL: report.total_bytes}
    assert report.checked_bytes == checked.get(read_back, report.checked_bytes)
    assert (report.checked_bytes > 0) == (read_back is not ReadBack.NONE)


def test_zeros_stay_at_home(stage: Stage) -> None:
    report = stage.upload()
    sent = [detail for name, detail in stage.slices.calls if name == "upload_data"]
    stable = [(place.offset, size) for place, size in sent if place.section == "stable_memory"]
    assert stable == [
        (0, 2_000_000),
        (2_000_000, 39 * PAGE - 2_000_000),
        (60 * PAGE, 4 * PAGE),
    ]
    assert report.sent_bytes == sum(size for _, size in sent)
    assert report.zero_bytes == report.total_bytes - report.sent_bytes > 28 * PAGE
    assert report.envelopes == len(sent)


def test_a_clone_gets_no_timer_and_no_hook(stage: Stage) -> None:
    report = stage.upload(keep_timer=False, keep_hook_status=False)
    metadata = stage.slices.held[report.snapshot_id].metadata
    assert metadata.global_timer is None
    assert metadata.hook_status is None


def test_a_replaced_snapshot_is_gone(stage: Stage) -> None:
    report = stage.upload(replace=stage.original)
    assert list(stage.slices.held) == [report.snapshot_id]


@pytest.mark.parametrize(
    "error",
    [
        broken,
        expired,
        lambda: http(429),
        lambda: http(502),
        lambda: reject("IC0210"),
        lambda: reject(
            "IC0504", "Error from Wasm chunk store: Canister is heap delta rate limited"
        ),
    ],
)
def test_errors_that_pass_are_sat_out(stage: Stage, error: Any) -> None:
    stage.slices.fail("upload_data", error, times=3, skip=1)
    stage.slices.fail("upload_metadata", error, times=2)
    stage.slices.fail("read_data", error, times=2)
    report = stage.upload()
    assert stage.same(report.snapshot_id)
    assert stage.made() == [report.snapshot_id]
    assert report.retries >= 5


@pytest.mark.parametrize("code", ["IC0207", "IC0305", "IC0408", "IC0409", "IC0512"])
def test_refusals_end_it_at_once(stage: Stage, code: str) -> None:
    stage.slices.fail("upload_data", lambda: reject(code))
    with pytest.raises(RejectError) as caught:
        stage.upload()
    assert caught.value.error_code == code
    assert stage.slices.count("upload_data") == 1


@pytest.mark.parametrize("method", ["list", "upload_metadata"])
def test_a_snapshot_that_was_refused_leaves_nothing_behind(stage: Stage, method: str) -> None:
    stage.slices.fail(method, lambda: reject("IC0512"))
    with pytest.raises(RejectError):
        stage.upload()
    assert list(stage.target.state.parent.iterdir()) == []
    assert stage.made() == []


# A write whose answer was lost


def pruned() -> ReplyPrunedError:
    return ReplyPrunedError("done", request_id="ab", expires_at=0.0)


@pytest.mark.parametrize("error", [lost, pruned])
@pytest.mark.parametrize("skip", range(7))
def test_a_write_that_arrived_is_not_sent_again(stage: Stage, error: Any, skip: int) -> None:
    stage.slices.fail("upload_data", error, skip=skip, executed=True)
    report = stage.upload(read_back=ReadBack.NONE)
    assert stage.same(report.snapshot_id)
    assert stage.slices.count("upload_data") == report.envelopes
    assert stage.slices.count("read_data") == (1 if skip < report.envelopes else 0)


@pytest.mark.parametrize("skip", range(7))
def test_a_write_that_did_not_arrive_is_sent_again(stage: Stage, skip: int) -> None:
    stage.slices.fail("upload_data", lost, skip=skip)
    report = stage.upload(read_back=ReadBack.NONE)
    assert stage.same(report.snapshot_id)
    extra = 1 if skip < report.envelopes else 0
    assert stage.slices.count("upload_data") == report.envelopes + extra


def test_what_is_not_certified_is_not_believed(stage: Stage) -> None:
    stage.slices.fail(
        "upload_data",
        lambda: UncertifiedOutcomeError("not signed", request_id="ab", expires_at=0.0),
    )
    with pytest.raises(CertificateError):
        stage.upload()
    assert stage.slices.count("read_data") == 0


# The snapshot is made exactly once


def test_an_unknown_outcome_is_settled_by_the_list(stage: Stage) -> None:
    stage.slices.fail("upload_metadata", lost, executed=True)
    report = stage.upload()
    assert stage.made() == [report.snapshot_id]
    assert stage.same(report.snapshot_id)
    assert stage.slices.count("upload_metadata") == 1


def test_a_call_that_executes_late_is_waited_for(stage: Stage) -> None:
    slices, original = stage.slices, stage.slices.held[stage.original]
    late = SnapshotId("77" * 9)

    def arrive(method: str) -> None:
        if method == "list" and slices.count("list") == 5:
            zeros = {key: bytearray(len(data)) for key, data in original.sections.items()}
            metadata = replace(original.metadata, source=SnapshotSource.METADATA_UPLOAD)
            slices.held[late] = Held(metadata, zeros)

    slices.before_call = arrive
    slices.fail("upload_metadata", lost)
    assert stage.upload().snapshot_id == late
    assert stage.same(late)


def test_a_call_that_expired_is_made_again(stage: Stage) -> None:
    began = stage.slices.time.now
    stage.slices.fail("upload_metadata", lost)
    report = stage.upload()
    assert stage.made() == [report.snapshot_id]
    assert stage.slices.time.now - began > 240


def test_it_is_not_made_again_and_again(stage: Stage) -> None:
    stage.slices.fail("upload_metadata", lost, times=-1)
    with pytest.raises(NetworkError, match="again and again"):
        stage.upload()
    assert stage.slices.count("upload_metadata") == 3
    assert stage.made() == []


def test_somebody_elses_snapshot_is_not_taken_for_ours(stage: Stage) -> None:
    slices = stage.slices

    def meddle(method: str) -> None:
        if method == "upload_metadata":
            slices.plant(heap=bytes(PAGE))

    slices.before_call = meddle
    slices.fail("upload_metadata", lost)
    with pytest.raises(UnknownOutcomeError, match="it is not ours"):
        stage.upload()
    assert slices.count("upload_data") == 0


def test_two_new_snapshots_are_for_the_user_to_tell_apart(stage: Stage) -> None:
    slices = stage.slices

    def meddle(method: str) -> None:
        if method == "upload_metadata":
            slices.plant(heap=bytes(PAGE))

    slices.before_call = meddle
    slices.fail("upload_metadata", lost, executed=True)
    with pytest.raises(RefusedError, match="2 new snapshots"):
        stage.upload()


@pytest.mark.parametrize("executed", [True, False])
def test_a_kill_after_the_call_left_is_settled_by_the_next_run(
    stage: Stage, *, executed: bool
) -> None:
    class Killed(BaseException):
        pass

    stage.slices.fail("upload_metadata", Killed, executed=executed)
    with pytest.raises(Killed):
        stage.upload()
    report = stage.upload()
    assert stage.made() == [report.snapshot_id]
    assert stage.same(report.snapshot_id)
    assert stage.slices.count("upload_metadata") == (1 if executed else 2)


def test_a_kill_before_the_call_left_needs_no_wait(stage: Stage) -> None:
    class Killed(BaseException):
        pass

    real = stage.slices.upload_snapshot_metadata

    def killed(*_arguments: Any, **_more: Any) -> SnapshotId:
        raise Killed

    stage.slices.upload_snapshot_metadata = killed  # type: ignore[method-assign] # dies here
    with pytest.raises(Killed):
        stage.upload()
    stage.slices.upload_snapshot_metadata = real  # type: ignore[method-assign] # as above
    began = stage.slices.time.now
    assert stage.made() == []
    stage.upload()
    assert stage.slices.time.now == began


# Resume


def test_what_was_sent_is_not_sent_again(stage: Stage) -> None:
    stage.interrupt(skip=3)
    report = stage.upload()
    assert stage.same(report.snapshot_id)
    assert stage.made() == [report.snapshot_id]
    assert stage.slices.count("upload_metadata") == 0
    assert report.resumed_bytes > 0
    assert report.resumed_bytes + report.sent_bytes == plan_upload(stage.folder).send_bytes
    assert stage.slices.count("upload_data") == report.envelopes == 7 - 3


def test_an_upload_that_failed_its_check_can_be_checked_again(stage: Stage) -> None:
    stage.interrupt("read_data", skip=1)
    report = stage.upload()
    assert report.envelopes == 0
    assert report.checked_bytes > 0
    assert stage.same(report.snapshot_id)


def test_a_snapshot_without_a_state_is_compared_and_only_the_rest_is_sent(stage: Stage) -> None:
    stage.interrupt(skip=4)
    stage.target.state.unlink()
    (snapshot,) = stage.made()
    report = stage.upload(snapshot_id=snapshot, read_back=ReadBack.NONE)
    assert report.snapshot_id == snapshot
    assert stage.made() == [snapshot]
    assert stage.same(snapshot)
    assert report.envelopes == 3
    assert stage.slices.count("read_data") == 7


def test_a_snapshot_that_is_not_an_upload_of_this_folder_is_refused(stage: Stage) -> None:
    with pytest.raises(RefusedError, match="is not one that this folder can go into"):
        stage.upload(snapshot_id=stage.original)
    assert stage.slices.count("upload_data") == 0


def test_a_snapshot_that_is_gone_is_told(stage: Stage) -> None:
    stage.interrupt()
    del stage.slices.held[stage.made()[0]]
    with pytest.raises(RefusedError, match="is gone"):
        stage.upload()
    assert stage.slices.count("upload_metadata") == 0


@pytest.mark.parametrize(
    "change", [{"keep_timer": False}, {"keep_hook_status": False}, {"canister_id": "aaaaa-aa"}]
)
def test_the_state_of_another_upload_is_refused(stage: Stage, change: dict[str, Any]) -> None:
    stage.interrupt()
    with pytest.raises(RefusedError, match="unfinished upload"):
        stage.upload(**change)
    assert stage.slices.calls == []


def test_another_folder_does_not_go_into_the_same_snapshot(
    stage: Stage, slices: MemorySlices, tmp_path: Path
) -> None:
    stage.interrupt()
    (tmp_path / "other").mkdir()
    other = Stage(slices, tmp_path / "other", heap=b"other".ljust(3 * PAGE, b"\0"))
    stage.folder = other.folder
    with pytest.raises(RefusedError, match="from another folder"):
        stage.upload()


def test_another_snapshot_than_that_of_the_state_is_refused(stage: Stage) -> None:
    stage.interrupt()
    with pytest.raises(RefusedError, match="fills snapshot"):
        stage.upload(snapshot_id=SnapshotId("00ee"))


def test_a_folder_with_problems_takes_no_slot(stage: Stage) -> None:
    os.truncate(stage.folder / "wasm_memory.bin", 5)
    with pytest.raises(DamageError, match=r"wasm_memory\.bin has 5 bytes"):
        stage.upload()
    assert stage.slices.calls == []


def test_a_folder_that_changes_on_the_way_is_not_called_done(stage: Stage) -> None:
    def change(method: str) -> None:
        if method == "upload_data":
            (stage.folder / "stable_memory.bin").touch()

    stage.slices.before_call = change
    with pytest.raises(DamageError, match="was changed"):
        stage.upload()


def test_two_runs_of_one_upload(stage: Stage) -> None:
    inside, go_on = threading.Event(), threading.Event()

    def wait(method: str) -> None:
        if method == "upload_data":
            inside.set()
            go_on.wait(10)

    stage.slices.before_call = wait
    first = threading.Thread(target=stage.upload)
    first.start()
    assert inside.wait(10)
    with pytest.raises(LockedError):
        stage.upload()
    go_on.set()
    first.join(10)
    assert len(stage.made()) == 1


def test_an_interrupted_upload_goes_on(stage: Stage) -> None:
    stage.slices.before_call = lambda _method: threading.Event().wait(0.12)  # type: ignore[assignment,return-value] # slower than the look
    with pytest.raises(InterruptedRunError):
        stage.upload(should_stop=lambda: stage.slices.count("upload_data") > 2)
    stage.slices.before_call = lambda _method: None
    sent = stage.slices.count("upload_data")
    report = stage.upload()
    assert report.resumed_bytes > 0
    assert sent + report.envelopes == 7
    assert stage.same(report.snapshot_id)


# Reading back


@pytest.mark.parametrize("read_back", [ReadBack.SAMPLED, ReadBack.ALL])
@pytest.mark.parametrize("section", Section)
def test_other_bytes_at_the_end_of_a_section_are_found(
    stage: Stage, read_back: ReadBack, section: Section
) -> None:
    def corrupt(part: Any, data: bytes) -> bytes:
        if isinstance(part, Slice) and part.section is section:
            held = stage.slices.held[stage.original].sections[section]
            at = len(held) - 1 - part.offset
            if 0 <= at < len(data):
                return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        return data

    stage.slices.corrupt = corrupt
    with pytest.raises(DamageError, match=section.value) as caught:
        stage.upload(read_back=read_back)
    assert "do not load it" in (caught.value.hint or "")


def test_everything_is_read_when_all_is_asked_for(stage: Stage) -> None:
    plan = plan_upload(stage.folder)
    covered: dict[Section, bytearray] = {}
    for data, part in checks(plan, ReadBack.ALL, 0):
        if isinstance(part, Slice):
            section = covered.setdefault(part.section, bytearray(data.size))
            section[part.offset : part.offset + part.size] = b"x" * part.size
    assert {key: len(value) for key, value in covered.items()} == {
        Section.WASM_MODULE: plan.metadata.wasm_module_size,
        Section.WASM_MEMORY: len(HEAP),
        Section.STABLE_MEMORY: len(STABLE),
    }
    assert all(set(value) == {ord("x")} for value in covered.values())


def test_a_sample_has_every_border_and_some_zeros_and_is_the_same_for_the_same_seed(
    stage: Stage,
) -> None:
    plan = plan_upload(stage.folder)
    found = list(checks(plan, ReadBack.SAMPLED, 5))
    assert found == list(checks(plan, ReadBack.SAMPLED, 5))
    assert list(checks(plan, ReadBack.NONE, 5)) == []
    parts = [part for _, part in found if isinstance(part, Slice)]
    assert all(0 < part.size <= 2_000_000 for part in parts)
    stable = [part for part in parts if part.section is Section.STABLE_MEMORY]
    for edge in (0, 39 * PAGE, 60 * PAGE, 64 * PAGE, len(STABLE)):
        assert any(part.offset <= edge <= part.offset + part.size for part in stable)
    assert any(part.offset < 60 * PAGE and part.offset + part.size > 39 * PAGE for part in stable)
    assert sum(isinstance(part, WasmChunk) for _, part in found) == len(CHUNKS)


def read_bytes(found: list[Check]) -> int:
    return sum(data.size if isinstance(part, WasmChunk) else part.size for data, part in found)


@pytest.mark.parametrize("pages", [1, 3, 40, 100, 300])
def test_a_sample_is_never_more_than_there_is(tmp_path: Path, pages: int) -> None:
    pattern = (b"x".ljust(PAGE, b"\0") + bytes(PAGE)) * pages
    plan = plan_upload(Stage(MemorySlices(), tmp_path, stable=pattern).folder)
    found = list(checks(plan, ReadBack.SAMPLED, 1))
    assert read_bytes(found) <= read_bytes(list(checks(plan, ReadBack.ALL, 1)))
    assert {data.part for data, _ in found} == {data.part for data in plan.sections}


def test_a_sample_of_much_is_small(tmp_path: Path) -> None:
    pattern = (b"x".ljust(PAGE, b"\0") + bytes(4 * PAGE)) * 600
    stage = Stage(MemorySlices(), tmp_path, stable=pattern)
    found = list(checks(plan_upload(stage.folder), ReadBack.SAMPLED, 1))
    assert len(found) < 200
    gaps = [
        part
        for _, part in found
        if isinstance(part, Slice) and PAGE <= part.offset % (5 * PAGE) <= 5 * PAGE - part.size
    ]
    assert gaps  # places that were not sent
