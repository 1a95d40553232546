"""Transfers over real HTTP with every fault that the replica can make, and killed at any time."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from dfx_backup.errors import CertificateError, InterruptedRunError, NetworkError, RejectError
from dfx_backup.ic.transport import Answer, Transport
from dfx_backup.replica.faults import RejectFault
from dfx_backup.replica.server import ReplicaServer
from dfx_backup.transfer.folder import check_folder
from dfx_backup.transfer.snapshot_download import download_snapshot
from dfx_backup.transfer.snapshot_upload import upload_snapshot
from dfx_backup.transfer.terms import (
    DownloadReport,
    ReadBack,
    SilentTransfer,
    UploadChoices,
    UploadReport,
    UploadTarget,
)
from dfx_backup.transfer.upload_plan import plan_upload
from tests.fakes.snapshot_stage import MIB, PAGE, SnapshotStage, options, tree

READ = "read_canister_snapshot_data"
UPLOAD = "upload_canister_snapshot_data"
METADATA = "upload_canister_snapshot_metadata"
NOISE = os.urandom(5 * MIB)
CHUNKS = (b"one", NOISE[:MIB])


DELEGATION = True


@pytest.fixture
def stage(server: ReplicaServer) -> Iterator[SnapshotStage]:
    server.faults.reset()
    made = SnapshotStage(server)
    yield made
    server.faults.reset()
    made.session.close()


def plant(stage: SnapshotStage) -> Any:
    return stage.plant(
        heap={5: b"heap"},
        heap_size=40 * PAGE,
        stable={0: NOISE, 7 * MIB: NOISE[:3000], 9 * MIB: b"end"},
        stable_size=10 * MIB,
        globals_=(("i32", -5), ("v128", 2**127 + 1)),
        chunks=CHUNKS,
    )


def download(stage: SnapshotStage, snapshot: Any, folder: Path, **more: Any) -> DownloadReport:
    values: dict[str, Any] = {"options": options(), "progress": SilentTransfer()}
    return download_snapshot(stage.management, stage.what(snapshot), folder, **(values | more))


def upload(stage: SnapshotStage, folder: Path, **more: Any) -> UploadReport:
    target = UploadTarget(
        canister_id=stage.canister,
        network_id=stage.session.network_id(),
        state=folder.parent / "state" / "upload",
    )
    return upload_snapshot(
        stage.management,
        target,
        plan_upload(folder),
        UploadChoices(**{"read_back": ReadBack.ALL, **more}),
        options=options(),
        progress=SilentTransfer(),
    )


def check(stage: SnapshotStage, snapshot: Any, folder: Path) -> None:
    module, heap, stable, chunks = stage.content(snapshot)
    found = tree(folder)
    assert found["wasm_module.bin"] == module
    assert found["wasm_memory.bin"] == heap
    assert found["stable_memory.bin"] == stable
    assert {bytes.fromhex(Path(name).stem) for name in found if "/" in name} == chunks.keys()
    assert check_folder(folder).problems == ()


FAULTS: dict[str, dict[str, Any]] = {
    "none": {},
    "429": {"too_many_requests_next": 6},
    "503": {"http_error_next": 4},
    "cap of three in flight": {"max_calls_in_flight": 3, "latency_call_s": 0.02},
    "dropped before": {"drop_before_next": 5},
    "dropped after": {"drop_after_next": 5},
    "truncated": {"truncate_next": 5},
    "lost replies": {"lost_reply": {READ: 3, UPLOAD: 3, METADATA: 1}},
    "polling": {"always_202": True, "processing_s": 0.05},
    "heap delta": {
        "reject": {
            READ: RejectFault(error_code="IC0210", times=2),
            METADATA: RejectFault(error_code="IC0211", times=2),
            UPLOAD: RejectFault(
                reject_code=5,
                error_code="IC0504",
                message="Error from Wasm chunk store: Canister is heap delta rate limited",
                times=2,
            ),
        }
    },
    "one certificate with a wrong signature": {"bad_signature_next": 1},
    "one certificate of another subnet": {"wrong_subnet_next": 1},
    "a bit of everything": {
        "seed": 5,
        "http_error_rate": 0.03,
        "drop_before_rate": 0.03,
        "drop_after_rate": 0.03,
        "latency_jitter_s": 0.02,
    },
}


@pytest.mark.parametrize("name", FAULTS)
def test_faults_that_pass_are_sat_out(stage: SnapshotStage, tmp_path: Path, name: str) -> None:
    snapshot = plant(stage)
    stage.server.faults.set(**FAULTS[name])
    download(stage, snapshot, tmp_path / "copy")
    stage.server.faults.reset()
    check(stage, snapshot, tmp_path / "copy")
    before = stage.snapshots()
    stage.server.faults.set(**FAULTS[name])
    report = upload(stage, tmp_path / "copy")
    stage.server.faults.reset()
    assert stage.content(report.snapshot_id) == stage.content(snapshot)
    assert [each for each in stage.snapshots() if each not in before] == [report.snapshot_id]


def test_429_is_heeded(stage: SnapshotStage, tmp_path: Path) -> None:
    snapshot = plant(stage)
    stage.server.faults.set(max_calls_in_flight=3, latency_call_s=0.03)
    report = download(stage, snapshot, tmp_path / "copy", options=options(window=8))
    assert report.window > 3
    assert 0 < report.retries < report.slices * 3


def test_replies_that_are_gone_are_read_again_and_writes_are_settled(
    stage: SnapshotStage, tmp_path: Path
) -> None:
    snapshot = plant(stage)
    stage.server.faults.set(always_202=True, prune_replies=True)

    def relent() -> None:
        time.sleep(0.5)
        stage.server.faults.reset()

    thread = threading.Thread(target=relent)
    thread.start()
    download(stage, snapshot, tmp_path / "copy")
    thread.join()
    check(stage, snapshot, tmp_path / "copy")


@pytest.mark.parametrize("code", ["IC0207", "IC0305", "IC0408", "IC0409", "IC0512"])
def test_refusals_end_it_at_once(stage: SnapshotStage, tmp_path: Path, code: str) -> None:
    snapshot = plant(stage)
    number = int(code[3])
    fault = RejectFault(reject_code=number, error_code=code, message="no", times=-1)
    stage.server.faults.set(reject={READ: fault})
    stage.server.faults.reset_counters()
    with pytest.raises(RejectError) as caught:
        download(stage, snapshot, tmp_path / "copy", options=options(window=2))
    assert caught.value.error_code == code
    stage.server.faults.set(reject={})
    report = download(stage, snapshot, tmp_path / "copy", resume=True)
    assert report.slices > 0


# What is wrong with an answer is named


BAD = {
    "bad_signature_next": "is not signed by this network",
    "wrong_subnet_next": "canister",
    "stale_time_s": "s old",
}


@pytest.mark.parametrize("fault", BAD)
def test_a_certificate_that_stays_wrong_is_named(
    stage: SnapshotStage, tmp_path: Path, fault: str
) -> None:
    snapshot = plant(stage)

    class Spoil(SilentTransfer):
        def begin(self, *_args: object, **_sizes: object) -> None:
            stage.server.faults.set(**{fault: 3600.0 if fault == "stale_time_s" else -1})

    with pytest.raises(CertificateError, match=BAD[fault]):
        download(stage, snapshot, tmp_path / "copy", progress=Spoil())
    assert not (tmp_path / "copy" / "metadata.json").exists()
    stage.server.faults.reset()
    download(stage, snapshot, tmp_path / "copy", resume=True)
    check(stage, snapshot, tmp_path / "copy")


def test_a_slice_that_was_changed_on_the_way_is_named(
    stage: SnapshotStage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = plant(stage)
    real = Transport.post

    def flipped(self: Transport, path: str, body: Any, *, within_s: float) -> Answer:
        answer = real(self, path, body, within_s=within_s)
        if len(answer.body) < MIB:
            return answer
        data = bytearray(answer.body)
        data[len(data) // 2] ^= 1
        return Answer(status=answer.status, body=bytes(data))

    with monkeypatch.context() as patch:
        patch.setattr(Transport, "post", flipped)
        with pytest.raises(CertificateError, match="is not signed by this network"):
            download(stage, snapshot, tmp_path / "copy")
    download(stage, snapshot, tmp_path / "copy", resume=True)
    check(stage, snapshot, tmp_path / "copy")


def test_a_chunk_that_a_bad_subnet_certifies_is_named(stage: SnapshotStage, tmp_path: Path) -> None:
    snapshot = stage.plant(chunks=CHUNKS)
    stage.server.faults.set(corrupt_chunk_next=1, corrupt_chunk_skip=1)
    with pytest.raises(NetworkError, match="other bytes came than the Wasm chunk"):
        download(stage, snapshot, tmp_path / "copy", options=options(window=1))


def test_what_arrived_damaged_is_found_by_reading_back(
    stage: SnapshotStage, tmp_path: Path
) -> None:
    download(stage, plant(stage), tmp_path / "copy")
    stage.server.faults.set(corrupt_chunk_next=1, corrupt_chunk_skip=3)
    with pytest.raises(Exception, match="is not what was sent"):
        upload(stage, tmp_path / "copy")
    stage.server.faults.reset()
    before = stage.snapshots()
    report = upload(stage, tmp_path / "copy")
    assert stage.snapshots() == before
    assert report.sent_bytes == 0


def test_an_interrupt_ends_within_a_slice(stage: SnapshotStage, tmp_path: Path) -> None:
    snapshot = plant(stage)
    stage.server.faults.set(latency_call_s=0.2)
    stop = threading.Event()
    timer = threading.Timer(0.5, stop.set)
    timer.start()
    wanted = options(window=2, should_stop=stop.is_set)
    with pytest.raises(InterruptedRunError):
        download(stage, snapshot, tmp_path / "copy", options=wanted)
    stage.server.faults.reset()
    report = download(stage, snapshot, tmp_path / "copy", resume=True)
    assert report.resumed_bytes > 0
    check(stage, snapshot, tmp_path / "copy")


# Killed


@contextmanager
def child(stage: SnapshotStage, **order: str) -> Iterator["subprocess.Popen[str]"]:
    told = {
        "url": stage.server.url,
        "root_key": stage.server.root_key.hex(),
        "canister": stage.canister,
        **order,
    }
    argv = [sys.executable, "-m", "tests.fakes.transfer_child", json.dumps(told)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def kill_until_done(
    stage: SnapshotStage,
    rng: random.Random,
    kills: int,
    longest_s: float,
    *,
    is_done: Callable[[], bool] = lambda: False,
    **order: str,
) -> int:
    """Kill the transfer at random moments, so many times at most; then let it finish.

    `is_done` tells whether it was done already when it was killed.
    """
    for killed in range(kills):
        with child(stage, **order) as process:
            try:
                process.wait(rng.uniform(0.0, longest_s))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
            else:
                assert process.returncode == 0
                return killed
        if is_done():
            return killed + 1
    with child(stage, **order) as process:
        assert process.wait() == 0
    return kills


def kill_both_ways(
    stage: SnapshotStage, folder: Path, rng: random.Random, kills: int
) -> tuple[int, int]:
    """Out and in again; nothing but what was in flight at a kill is moved twice."""
    snapshot = plant(stage)
    stage.server.faults.set(latency_call_s=0.04, latency_jitter_s=0.04)
    stage.server.faults.reset_counters()
    copy = str(folder / "copy")
    out = kill_until_done(stage, rng, kills, 0.5, verb="download", snapshot=snapshot, folder=copy)
    calls = stage.server.faults.counters().calls[READ]
    slices = 1 + 2 + 6 + 2
    assert slices <= calls <= slices + 4 * out
    check(stage, snapshot, folder / "copy")

    before = stage.snapshots()
    state = str(folder / "state" / "upload")
    stage.server.faults.reset_counters()

    def is_done() -> bool:
        return not Path(state).exists() and len(stage.snapshots()) > len(before)

    in_ = kill_until_done(
        stage, rng, kills, 0.7, is_done=is_done, verb="upload", folder=copy, state=state
    )
    sent = stage.server.faults.counters().calls[UPLOAD]
    envelopes = plan_upload(folder / "copy").envelopes
    assert envelopes <= sent <= envelopes + 4 * in_
    (made,) = [each for each in stage.snapshots() if each not in before]
    assert stage.content(made) == stage.content(snapshot)
    for each in stage.snapshots():
        stage.management.delete_snapshot(stage.canister, each)
    return out, in_


def test_killed_a_few_times_it_ends_with_the_same_bytes(
    stage: SnapshotStage, tmp_path: Path
) -> None:
    out, in_ = kill_both_ways(stage, tmp_path, random.Random(3), 2)
    assert out + in_ > 0


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_killed_fifty_times_it_ends_with_the_same_bytes(
    stage: SnapshotStage, tmp_path: Path
) -> None:
    rng = random.Random(7)
    out = in_ = rounds = 0
    while out < 50 or in_ < 50:
        rounds += 1
        (tmp_path / str(rounds)).mkdir()
        more = kill_both_ways(stage, tmp_path / str(rounds), rng, 5)
        out, in_ = out + more[0], in_ + more[1]
