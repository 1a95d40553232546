from collections.abc import Callable
from typing import Any

import pytest

from dfx_backup.errors import NetworkError, RejectError, UnknownOutcomeError
from dfx_backup.ic import candid as c
from dfx_backup.ic import management_types as mt
from dfx_backup.ic.canister_settings import Audience, CanisterSettings, Visibility
from dfx_backup.ic.management import ManagementCanister
from dfx_backup.ic.principal import MANAGEMENT, Principal, PrincipalError
from dfx_backup.ic.retry import Backoff, RetryPolicy
from dfx_backup.ic.snapshot_metadata import (
    GlobalKind,
    GlobalTimer,
    HookStatus,
    SnapshotMetadata,
    SnapshotSource,
    WasmGlobal,
)
from dfx_backup.ic.snapshot_parts import Section, Slice, UploadPlace, WasmChunk
from dfx_backup.model import CanisterId, CanisterSnapshot, RunState, SnapshotId

CANISTER = CanisterId("rrkah-fqaaa-aaaaa-aaaaq-cai")
RAW = Principal.from_text(CANISTER)
SNAPSHOT = SnapshotId("0000000000000000ffff")


class FakeAgent:
    """Answers every call from a list, and keeps what it was asked."""

    def __init__(self, *answers: bytes | Exception) -> None:
        self.answers = list(answers)
        self.calls: list[dict[str, Any]] = []

    def call(self, canister: Principal, method: str, arg: bytes, **options: Any) -> bytes:
        self.calls.append({"canister": canister, "method": method, "arg": arg, **options})
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


NOTHING = c.encode([], [])
QUICK = RetryPolicy(backoff=Backoff(rng=lambda: 0.0), sleep=lambda _: None, monotonic=lambda: 0.0)


def made(*answers: bytes | Exception) -> tuple[ManagementCanister, FakeAgent]:
    agent = FakeAgent(*answers)
    return ManagementCanister(agent, retry=QUICK), agent


def argument(agent: FakeAgent, type_: c.Type, at: int = 0) -> Any:
    return c.decode(agent.calls[at]["arg"], [type_])[0]


def test_every_call_is_about_its_canister() -> None:
    canister, agent = made(NOTHING)
    canister.start(CANISTER)
    [call] = agent.calls
    assert (call["canister"], call["method"]) == (MANAGEMENT, "start_canister")
    assert call["effective"] == RAW
    assert argument(agent, mt.CANISTER) == {"canister_id": RAW}


def test_a_stop_expires_soon_and_is_told_to_the_journal() -> None:
    canister, agent = made(NOTHING)
    canister.stop(CANISTER, timeout_s=12, before_send=print)
    [call] = agent.calls
    assert (call["expiry_s"], call["timeout_s"]) == (60, 12)
    assert call["before_send"] is print


def lost() -> UnknownOutcomeError:
    return UnknownOutcomeError("the answer was lost", request_id=None, expires_at=0.0)


def test_a_status_that_is_wanted_soon_is_asked_for_once() -> None:
    canister, agent = made(lost(), lost())
    with pytest.raises(UnknownOutcomeError):
        canister.status(CANISTER, within_s=4)
    [call] = agent.calls
    assert call["timeout_s"] == 4


def test_another_status_is_asked_for_again() -> None:
    canister, agent = made(*(lost() for _ in range(8)))
    with pytest.raises(UnknownOutcomeError):
        canister.status(CANISTER)
    assert [call["timeout_s"] for call in agent.calls] == [120.0] * 8


def test_the_status_of_today() -> None:
    reply = c.encode(
        [mt.STATUS],
        [
            {
                "status": ("stopped", None),
                "version": 9,
                "settings": {
                    "controllers": [RAW],
                    "freezing_threshold": 100,
                    "snapshot_visibility": ("allowed_viewers", [RAW]),
                    "log_visibility": ("public", None),
                    "environment_variables": [{"name": "A", "value": "b"}],
                },
                "module_hash": b"\xab" * 32,
                "memory_size": 10,
                "memory_metrics": {"snapshots_size": 4},
                "cycles": 10**15,
                "reserved_cycles": 3,
                "idle_cycles_burned_per_day": 2,
            }
        ],
    )
    canister, _ = made(reply, reply)
    full = canister.full_status(CANISTER)
    assert full.status == canister.status(CANISTER)
    assert full.status.state is RunState.STOPPED
    assert full.status.module_hash == "ab" * 32
    assert full.status.controllers == (CANISTER,)
    assert full.status.snapshots_bytes == 4
    assert full.status.freezing_threshold_s == 100
    assert full.settings.snapshot_visibility == Visibility(
        audience=Audience.ALLOWED_VIEWERS, viewers=(CANISTER,)
    )
    assert full.settings.log_visibility == Visibility(audience=Audience.PUBLIC)
    assert full.settings.environment_variables == (("A", "b"),)
    assert full.settings.wasm_memory_limit is None


def test_a_status_with_little_and_one_with_much() -> None:
    little = c.record(
        {
            "status": c.variant({"running": c.NULL}),
            "settings": c.record({"controllers": c.Vec(c.PRINCIPAL)}),
            "surprise": c.Vec(c.record({"x": c.NAT})),
        }
    )
    sent = {
        "status": ("running", None),
        "settings": {"controllers": [RAW]},
        "surprise": [{"x": 5}],
    }
    canister, _ = made(c.encode([little], [sent]))
    found = canister.status(CANISTER)
    assert found.state is RunState.RUNNING
    assert found.version is None
    assert found.snapshots_bytes is None


def test_taking_and_listing() -> None:
    one = {"id": b"\x00\x02", "taken_at_timestamp": 20, "total_size": 5}
    two = {"id": b"\x00\x01", "taken_at_timestamp": 10, "total_size": 6}
    canister, agent = made(
        c.encode([mt.SNAPSHOT], [one]), c.encode([mt.SNAPSHOTS], [[one, two]]), NOTHING, NOTHING
    )
    taken = canister.take_snapshot(CANISTER, replace=SnapshotId("0a"))
    assert taken == CanisterSnapshot(snapshot_id=SnapshotId("0002"), taken_at_ns=20, size_bytes=5)
    assert argument(agent, mt.TAKE_ARGS) == {
        "canister_id": RAW,
        "replace_snapshot": b"\x0a",
        "uninstall_code": None,
        "sender_canister_version": None,
    }
    assert [each.snapshot_id for each in canister.list_snapshots(CANISTER)] == ["0001", "0002"]
    canister.load_snapshot(CANISTER, SNAPSHOT)
    canister.delete_snapshot(CANISTER, SNAPSHOT)
    assert argument(agent, mt.LOAD_ARGS, 2)["snapshot_id"] == bytes.fromhex(SNAPSHOT)
    assert argument(agent, mt.CANISTER_AND_SNAPSHOT, 3)["snapshot_id"] == bytes.fromhex(SNAPSHOT)


METADATA = SnapshotMetadata(
    source=SnapshotSource.TAKEN_FROM_CANISTER,
    taken_at_ns=7,
    wasm_module_size=100,
    globals=(
        WasmGlobal(kind=GlobalKind.I32, value=-5),
        WasmGlobal(kind=GlobalKind.I64, value=-(2**62)),
        WasmGlobal(kind=GlobalKind.F32, value=0x7FA00001),
        WasmGlobal(kind=GlobalKind.F64, value=0x7FF0000000000001),
        WasmGlobal(kind=GlobalKind.V128, value=2**128 - 1),
    ),
    wasm_memory_size=65536,
    stable_memory_size=131072,
    wasm_chunk_store=(bytes(32),),
    canister_version=3,
    certified_data=b"\x01\x02",
    global_timer=GlobalTimer(deadline_ns=2**63),
    hook_status=HookStatus.READY,
)


@pytest.mark.parametrize("deadline", [None, 5])
def test_metadata_travels_unchanged(deadline: int | None) -> None:
    timer = ("inactive", None) if deadline is None else ("active", deadline)
    reply = {
        "source": ("taken_from_canister", None),
        "taken_at_timestamp": 7,
        "wasm_module_size": 100,
        "globals": [(each.kind.value, each.value) for each in METADATA.globals if each],
        "wasm_memory_size": 65536,
        "stable_memory_size": 131072,
        "wasm_chunk_store": [{"hash": bytes(32)}],
        "canister_version": 3,
        "certified_data": b"\x01\x02",
        "global_timer": timer,
        "on_low_wasm_memory_hook_status": ("ready", None),
    }
    canister, agent = made(
        c.encode([mt.METADATA], [reply]),
        c.encode([mt.UPLOAD_METADATA_RESULT], [{"snapshot_id": b"\x0f"}]),
    )
    found = canister.read_snapshot_metadata(CANISTER, SNAPSHOT)
    assert found.global_timer == GlobalTimer(deadline_ns=deadline)
    assert found.globals == METADATA.globals
    assert canister.upload_snapshot_metadata(CANISTER, found) == "0f"
    sent = argument(agent, mt.UPLOAD_METADATA_ARGS, 1)
    assert sent["global_timer"] == timer
    assert sent["globals"] == reply["globals"]
    assert sent["replace_snapshot"] is None


def test_a_global_that_nobody_knows_is_not_uploaded() -> None:
    strange = SnapshotMetadata(
        **{
            **{name: getattr(METADATA, name) for name in METADATA.__slots__},
            "globals": (None,),
        }
    )
    canister, agent = made()
    with pytest.raises(NetworkError, match="does not know"):
        canister.upload_snapshot_metadata(CANISTER, strange)
    assert agent.calls == []


def chunk(data: bytes) -> bytes:
    return c.encode([mt.READ_DATA_RESULT], [{"chunk": data}])


def test_slices_are_read_and_uploaded() -> None:
    canister, agent = made(chunk(b"abc"), NOTHING, NOTHING)
    part = Slice(section=Section.STABLE_MEMORY, offset=5, size=3)
    assert canister.read_snapshot_data(CANISTER, SNAPSHOT, part) == b"abc"
    assert argument(agent, mt.READ_DATA_ARGS)["kind"] == (
        "stable_memory",
        {"offset": 5, "size": 3},
    )
    place = UploadPlace(section=Section.WASM_MODULE, offset=9)
    canister.upload_snapshot_data(CANISTER, SNAPSHOT, place, b"xyz")
    canister.upload_snapshot_data(CANISTER, SNAPSHOT, UploadPlace(section=None), b"chunk")
    assert argument(agent, mt.UPLOAD_DATA_ARGS, 1)["kind"] == ("wasm_module", {"offset": 9})
    assert argument(agent, mt.UPLOAD_DATA_ARGS, 2)["kind"] == ("wasm_chunk", None)


@pytest.mark.parametrize("data", [b"", b"ab", b"abcd"])
def test_a_slice_of_another_size_is_refused(data: bytes) -> None:
    canister, _ = made(chunk(data))
    with pytest.raises(NetworkError, match="were asked for"):
        canister.read_snapshot_data(
            CANISTER, SNAPSHOT, Slice(section=Section.WASM_MEMORY, offset=0, size=3)
        )


def test_a_chunk_with_another_hash_is_refused() -> None:
    canister, _ = made(chunk(b"abc"))
    with pytest.raises(NetworkError, match="other bytes"):
        canister.read_snapshot_data(CANISTER, SNAPSHOT, WasmChunk(hash=bytes(32)))


def reject(code: str) -> RejectError:
    return RejectError("x", reject_code=2, reject_message="", error_code=code)


LOST = UnknownOutcomeError("x", request_id="00", expires_at=0)

CHANGES: list[Callable[[ManagementCanister], object]] = [
    lambda canister: canister.take_snapshot(CANISTER),
    lambda canister: canister.load_snapshot(CANISTER, SNAPSHOT),
    lambda canister: canister.stop(CANISTER, timeout_s=5),
    lambda canister: canister.upload_snapshot_metadata(CANISTER, METADATA),
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_whose_answer_is_lost_is_never_made_again(
    change: Callable[[ManagementCanister], object],
) -> None:
    canister, agent = made(LOST, NOTHING)
    with pytest.raises(UnknownOutcomeError):
        change(canister)
    assert len(agent.calls) == 1


def test_a_read_whose_answer_is_lost_is_made_again() -> None:
    canister, agent = made(LOST, c.encode([mt.SNAPSHOTS], [[]]))
    assert canister.list_snapshots(CANISTER) == ()
    assert len(agent.calls) == 2


def test_refusals_that_pass_are_outlasted_and_others_are_not() -> None:
    canister, agent = made(reject("IC0210"), reject("IC0211"), NOTHING)
    canister.load_snapshot(CANISTER, SNAPSHOT)
    assert len(agent.calls) == 3
    canister, agent = made(reject("IC0207"))
    with pytest.raises(RejectError):
        canister.load_snapshot(CANISTER, SNAPSHOT)


def test_settings_are_written_as_they_are_read() -> None:
    settings = CanisterSettings(
        controllers=(CANISTER, "2vxsx-fae"),
        compute_allocation=1,
        memory_allocation=2,
        freezing_threshold=3,
        reserved_cycles_limit=4,
        minimum_incoming_canister_call_cycles=5,
        log_visibility=Visibility(audience=Audience.PUBLIC),
        log_memory_limit=6,
        snapshot_visibility=Visibility(audience=Audience.ALLOWED_VIEWERS, viewers=(CANISTER,)),
        status_visibility=Visibility(audience=Audience.CONTROLLERS),
        wasm_memory_limit=7,
        wasm_memory_threshold=8,
        environment_variables=(("A", "b"),),
    )
    canister, agent = made(NOTHING)
    canister.update_settings(CANISTER, settings)
    sent = argument(agent, mt.UPDATE_SETTINGS_ARGS)["settings"]
    status = {"status": ("running", None), "settings": sent}
    canister, _ = made(c.encode([mt.STATUS], [status]))
    assert canister.full_status(CANISTER).settings == settings


def test_creating_and_installing() -> None:
    hashes = [b"\x01" * 32, b"\x02" * 32]
    canister, agent = made(
        c.encode([mt.CREATE_RESULT], [{"canister_id": RAW}]),
        NOTHING,
        *(c.encode([mt.CHUNK_HASH], [{"hash": each}]) for each in hashes),
        NOTHING,
    )
    assert canister.create(cycles=5) == CANISTER
    assert agent.calls[0]["effective"] == MANAGEMENT
    canister.install_code(CANISTER, b"small", mode="upgrade", keep_memory=True)
    assert argument(agent, mt.INSTALL_ARGS, 1)["mode"] == (
        "upgrade",
        {"skip_pre_upgrade": None, "wasm_memory_persistence": ("keep", None)},
    )
    canister.install_code(CANISTER, bytes(2_000_000))
    assert [call["method"] for call in agent.calls[2:]] == [
        "upload_chunk",
        "upload_chunk",
        "install_chunked_code",
    ]
    sent = argument(agent, mt.INSTALL_CHUNKED_ARGS, 4)
    assert [each["hash"] for each in sent["chunk_hashes_list"]] == hashes


def test_what_is_no_id_is_refused_before_anything_is_sent() -> None:
    canister, agent = made()
    with pytest.raises(PrincipalError):
        canister.start(CanisterId("chat"))
    with pytest.raises(NetworkError, match="no snapshot id"):
        canister.load_snapshot(CANISTER, SnapshotId("xyz"))
    assert agent.calls == []


@pytest.mark.parametrize("reply", [b"", b"DIDL", NOTHING, c.encode([c.TEXT], ["x"])])
def test_an_answer_of_another_type_is_an_error(reply: bytes) -> None:
    canister, _ = made(reply, reply)
    with pytest.raises(c.CandidError):
        canister.status(CANISTER)
    with pytest.raises(c.CandidError):
        canister.take_snapshot(CANISTER)
