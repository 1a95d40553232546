"""The wire against the embedded replica, which shares no code with it."""

import contextlib
import os
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from ic.canister import Canister

from dfx_backup.errors import (
    CertificateError,
    NetworkError,
    RejectError,
    UnknownOutcomeError,
)
from dfx_backup.ic import candid as c
from dfx_backup.ic.agent import BackupAgent
from dfx_backup.ic.canister_settings import Audience, CanisterSettings, Visibility
from dfx_backup.ic.envelope import call_content, sign
from dfx_backup.ic.http_errors import HttpStatusError
from dfx_backup.ic.management import ManagementCanister
from dfx_backup.ic.outcome import ReplyPrunedError
from dfx_backup.ic.principal import Principal
from dfx_backup.ic.retry import Backoff, RetryPolicy
from dfx_backup.ic.snapshot_metadata import GlobalKind, SnapshotSource, WasmGlobal
from dfx_backup.ic.snapshot_parts import Section, Slice, UploadPlace
from dfx_backup.model import CanisterId, RunState, SentCall, SnapshotId
from dfx_backup.replica.faults import RejectFault
from dfx_backup.replica.server import ReplicaServer
from tests.fakes.signers import Ed25519Signer
from tests.fakes.wat_canisters import STABLE_GROW, STABLE_WRITE, WRITE, scribe, scribe_order

QUICK = RetryPolicy(within_s=5, backoff=Backoff(first_s=0.01, longest_s=0.1))
PAGE = 65536
CHAT = Path(__file__).parents[2] / "examples" / "chat" / "chat.wasm"
CHAT_DID = "service : { append : (text) -> (nat); dump : () -> (vec text) query; }"


@pytest.fixture(scope="module")
def server() -> Iterator[ReplicaServer]:
    with ReplicaServer.start(delegation=True, sync_timeout_s=0.5) as made:
        yield made


@pytest.fixture
def agent(server: ReplicaServer) -> Iterator[BackupAgent]:
    made = BackupAgent(server.url, Ed25519Signer(), timeout_s=5)
    yield made
    server.faults.reset()
    made.close()


@pytest.fixture
def management(agent: BackupAgent) -> ManagementCanister:
    return ManagementCanister(agent, retry=QUICK)


@pytest.fixture
def canister(management: ManagementCanister) -> CanisterId:
    """A canister of ours that holds something in both memories."""
    made = management.create(cycles=10**13)
    management.install_code(made, scribe(is_64=False), arg=b"")
    return made


def run(agent: BackupAgent, canister: CanisterId, order: bytes) -> None:
    agent.call(Principal.from_text(canister), "run", order)


def test_the_network_is_known_by_its_root_key(agent: BackupAgent, server: ReplicaServer) -> None:
    assert agent.session.root_key() == server.root_key
    assert agent.status()["replica_health_status"] == "healthy"


def test_a_subnet_that_holds_the_root_key_is_believed_too() -> None:
    with ReplicaServer.start(delegation=False) as root:
        agent = BackupAgent(root.url, Ed25519Signer())
        management = ManagementCanister(agent)
        made = management.create()
        management.install_code(made, CHAT.read_bytes())
        chat = Canister(agent, made, CHAT_DID)
        chat.append("Hi there!")
        assert chat.dump() == [["Hi there!"]]
        assert management.list_snapshots(made) == ()
        agent.close()


def test_a_snapshot_from_taking_to_loading(
    agent: BackupAgent, management: ManagementCanister, canister: CanisterId
) -> None:
    blob = os.urandom(5000)
    run(agent, canister, scribe_order(WRITE, 1000, blob))
    sent: list[SentCall] = []
    management.stop(canister, timeout_s=10, before_send=sent.append)
    assert management.status(canister).state is RunState.STOPPED
    taken = management.take_snapshot(canister, before_send=sent.append)
    assert management.list_snapshots(canister) == (taken,)
    management.start(canister)
    assert len({each.request_id for each in sent}) == 2

    metadata = management.read_snapshot_metadata(canister, taken.snapshot_id)
    assert metadata.source is SnapshotSource.TAKEN_FROM_CANISTER
    assert metadata.wasm_memory_size == 2 * PAGE
    assert metadata.taken_at_ns == taken.taken_at_ns
    kinds = [each.kind for each in metadata.globals if each is not None]
    assert kinds == [GlobalKind.I32, GlobalKind.I64, GlobalKind.F64]
    part = Slice(section=Section.WASM_MEMORY, offset=1000, size=5000)
    assert management.read_snapshot_data(canister, taken.snapshot_id, part) == blob

    run(agent, canister, scribe_order(WRITE, 1000, bytes(5000)))
    management.stop(canister, timeout_s=10)
    management.load_snapshot(canister, taken.snapshot_id)
    again = management.take_snapshot(canister, replace=taken.snapshot_id)
    assert management.read_snapshot_data(canister, again.snapshot_id, part) == blob
    management.delete_snapshot(canister, again.snapshot_id)
    assert management.list_snapshots(canister) == ()


def test_an_uploaded_snapshot_holds_every_bit(
    agent: BackupAgent, management: ManagementCanister, canister: CanisterId
) -> None:
    run(agent, canister, scribe_order(STABLE_GROW, 40))
    taken = management.take_snapshot(canister)
    metadata = management.read_snapshot_metadata(canister, taken.snapshot_id)
    strange = replace(
        metadata,
        globals=(
            WasmGlobal(kind=GlobalKind.I32, value=-3),
            WasmGlobal(kind=GlobalKind.I64, value=-(2**63)),
            WasmGlobal(kind=GlobalKind.F64, value=0x7FF0000000000001),
        ),
    )
    uploaded = management.upload_snapshot_metadata(canister, strange)
    module = management.read_snapshot_data(
        canister,
        taken.snapshot_id,
        Slice(section=Section.WASM_MODULE, offset=0, size=metadata.wasm_module_size),
    )
    place = UploadPlace(section=Section.WASM_MODULE)
    management.upload_snapshot_data(canister, uploaded, place, module)
    blob = os.urandom(2_000_000)
    place = UploadPlace(section=Section.STABLE_MEMORY, offset=7)
    management.upload_snapshot_data(canister, uploaded, place, blob)
    part = Slice(section=Section.STABLE_MEMORY, offset=7, size=2_000_000)
    assert management.read_snapshot_data(canister, uploaded, part) == blob
    back = management.read_snapshot_metadata(canister, uploaded)
    assert back.globals == strange.globals
    assert back.source is SnapshotSource.METADATA_UPLOAD
    management.load_snapshot(canister, uploaded)


def test_settings_are_read_and_written(
    management: ManagementCanister, canister: CanisterId
) -> None:
    before = management.full_status(canister)
    assert before.status.controllers == (str(Ed25519Signer().principal),)
    assert before.status.module_hash is not None
    for name in CanisterSettings.__slots__:
        assert getattr(before.settings, name) is not None, name
    wanted = CanisterSettings(
        snapshot_visibility=Visibility(audience=Audience.ALLOWED_VIEWERS, viewers=("2vxsx-fae",)),
        environment_variables=(("NAME", "value"),),
        freezing_threshold=1234,
    )
    management.update_settings(canister, wanted)
    after = management.full_status(canister)
    assert after.settings == replace(
        before.settings,
        snapshot_visibility=wanted.snapshot_visibility,
        environment_variables=wanted.environment_variables,
        freezing_threshold=1234,
    )
    assert (after.status.version or 0) > (before.status.version or 0)


def test_a_large_module_goes_through_the_chunk_store(management: ManagementCanister) -> None:
    small = scribe(is_64=True)
    padding = os.urandom(2_500_000)
    size = bytearray()
    left = len(padding) + 2
    while left > 127:
        size.append(left & 127 | 128)
        left >>= 7
    size.append(left)
    module = small + b"\x00" + bytes(size) + b"\x01p" + padding
    made = management.create()
    management.install_code(made, module)
    assert management.status(made).module_hash is not None


def test_refusals_carry_the_replicas_codes(
    management: ManagementCanister, canister: CanisterId, server: ReplicaServer
) -> None:
    with pytest.raises(RejectError) as caught:
        management.load_snapshot(canister, SnapshotId("00" * 18))
    assert caught.value.error_code in ("IC0305", "IC0408")
    stranger = BackupAgent(server.url, Ed25519Signer(9))
    with pytest.raises(RejectError) as caught:
        ManagementCanister(stranger).stop(canister, timeout_s=5)
    assert caught.value.error_code == "IC0512"
    stranger.close()


def test_ic_pys_facade_on_a_motoko_canister(
    agent: BackupAgent, management: ManagementCanister
) -> None:
    made = management.create()
    management.install_code(made, CHAT.read_bytes())
    chat = Canister(agent, made, CHAT_DID)
    chat.append("Hi there!")
    assert chat.dump() == [["Hi there!"]]


def test_a_lost_answer_does_not_execute_twice(
    management: ManagementCanister, canister: CanisterId, server: ReplicaServer
) -> None:
    server.faults.set(lost_reply={"take_canister_snapshot": 1})
    taken = management.take_snapshot(canister)
    assert management.list_snapshots(canister) == (taken,)


def test_troubles_on_the_way_are_outlasted(
    management: ManagementCanister, canister: CanisterId, server: ReplicaServer
) -> None:
    for faults in (
        {"http_error_next": 1},
        {"too_many_requests_next": 1},
        {"drop_before_next": 1},
        {"drop_after_next": 1},
        {"truncate_next": 1},
        {"bad_signature_next": 1},
        {"wrong_subnet_next": 1},
        {"always_202": True},
        {"always_202": True, "processing_s": 0.3},
        {"reject": {"take_canister_snapshot": RejectFault(error_code="IC0210")}},
    ):
        server.faults.reset()
        server.faults.set(**faults)
        taken = management.take_snapshot(canister)
        server.faults.reset()
        assert management.list_snapshots(canister) == (taken,), faults
        management.delete_snapshot(canister, taken.snapshot_id)


def test_a_call_that_executes_late_is_waited_for(
    management: ManagementCanister, canister: CanisterId, server: ReplicaServer
) -> None:
    server.faults.set(delayed_execution={"take_canister_snapshot": {"seconds": 0.5}})
    taken = management.take_snapshot(canister)
    assert management.list_snapshots(canister) == (taken,)


def test_a_stop_that_executes_late_is_an_unknown_outcome(
    management: ManagementCanister, canister: CanisterId, server: ReplicaServer
) -> None:
    server.faults.set(delayed_execution={"stop_canister": {"seconds": 1.0}})
    with pytest.raises(UnknownOutcomeError) as caught:
        management.stop(canister, timeout_s=0.3)
    assert caught.value.expires_at - time.time() == pytest.approx(60, abs=5)
    assert management.status(canister).state is RunState.RUNNING
    for _ in range(100):
        if management.status(canister).state is RunState.STOPPED:
            break
        time.sleep(0.05)
    assert management.status(canister).state is RunState.STOPPED


def test_a_pruned_reply_is_told(
    management: ManagementCanister, canister: CanisterId, server: ReplicaServer
) -> None:
    server.faults.set(prune_replies=True, always_202=True)
    with pytest.raises(ReplyPrunedError):
        management.take_snapshot(canister)
    server.faults.reset()
    assert len(management.list_snapshots(canister)) == 1


def test_old_and_forged_answers_are_refused(
    agent: BackupAgent, canister: CanisterId, server: ReplicaServer
) -> None:
    target = Principal.from_text(canister)
    server.faults.set(stale_time_s=300.0)
    with pytest.raises(CertificateError, match="old"):
        agent.read_state_certified([[b"canister", target.raw, b"module_hash"]], target)
    server.faults.reset()
    server.faults.set(bad_signature_next=-1)
    with pytest.raises(CertificateError):
        agent.call(target, "run", scribe_order(WRITE, 0))
    server.faults.reset()
    server.faults.set(bad_query_signature_next=1)
    with pytest.raises(CertificateError):
        agent.query_verified(target, "peek", scribe_order(WRITE, 0))


def test_certified_facts_are_read_without_a_call(
    agent: BackupAgent, management: ManagementCanister, canister: CanisterId
) -> None:
    target = Principal.from_text(canister)
    path = [b"canister", target.raw, b"module_hash"]
    found = agent.read_state_certified([path], target).tree.value(path)
    assert found is not None
    assert found.hex() == management.status(canister).module_hash


def test_sixty_reads_at_once(
    agent: BackupAgent, management: ManagementCanister, canister: CanisterId
) -> None:
    run(agent, canister, scribe_order(STABLE_GROW, 16))
    run(agent, canister, scribe_order(STABLE_WRITE, 0, os.urandom(100_000)))
    taken = management.take_snapshot(canister).snapshot_id
    whole = management.read_snapshot_data(
        canister, taken, Slice(section=Section.STABLE_MEMORY, offset=0, size=60 * 1500)
    )
    parts: dict[int, bytes] = {}

    def one(number: int) -> None:
        part = Slice(section=Section.STABLE_MEMORY, offset=number * 1500, size=1500)
        parts[number] = management.read_snapshot_data(canister, taken, part)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(60)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert b"".join(parts[number] for number in range(60)) == whole


def test_every_altered_byte_of_an_envelope_is_refused(
    agent: BackupAgent, canister: CanisterId
) -> None:
    target = Principal.from_text(canister)
    content = call_content(target, "run", scribe_order(WRITE, 0, b"x"), nonce=bytes(16))
    request = sign(Ed25519Signer(), content, now=time.time(), expiry_s=240)
    session = agent.session
    believed = []
    for at in range(3, len(request.body)):  # the tag in front says nothing
        raw = bytearray(request.body)
        raw[at] ^= 0x80 if at % 3 else 0x01
        with contextlib.suppress(HttpStatusError):
            session.send_call(replace(request, parts=(bytes(raw),)), target, 5)
            believed.append(at)
    assert believed == []
    assert session.send_call(request, target, 5).status == 200


def test_a_clock_that_is_wrong_is_told_with_a_hint(
    server: ReplicaServer, canister: CanisterId
) -> None:
    from dfx_backup.ic.surroundings import Surroundings  # noqa: PLC0415 # this test alone

    slow = BackupAgent(
        server.url,
        Ed25519Signer(),
        surroundings=Surroundings(clock=lambda: time.time() - 1000),
    )
    with pytest.raises(NetworkError) as caught:
        slow.call(Principal.from_text(canister), "run", c.encode([], []))
    assert "clock" in (caught.value.hint or "")
    slow.close()
