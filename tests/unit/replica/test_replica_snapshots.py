import hashlib
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dfx_backup.replica.reject import Reject
from dfx_backup.replica.state import GlobalValue, HookStatus
from tests.fakes.replica_subnet import ALICE, BOB, CAROL, SECOND, Subnet, wasm

TAKE = "take_canister_snapshot"
LOAD = "load_canister_snapshot"
LIST = "list_canister_snapshots"
DELETE = "delete_canister_snapshot"
READ_META = "read_canister_snapshot_metadata"
READ = "read_canister_snapshot_data"
UP_META = "upload_canister_snapshot_metadata"
UP = "upload_canister_snapshot_data"
PAGE = 65536
WASM64 = "(module (memory i64 1))"


@pytest.fixture
def subnet() -> Any:
    return Subnet()


def refused(code: Any, text: Any = "") -> Any:
    return pytest.raises(Reject, match=f"(?s)IC0{code} .*{text}")


def take(subnet: Any, canister: Any, **fields: Any) -> Any:
    return subnet.call(ALICE, TAKE, canister_id=canister, **fields)


def meta(subnet: Any, canister: Any, snapshot: Any, caller: Any = ALICE) -> Any:
    return subnet.call(caller, READ_META, canister_id=canister, snapshot_id=snapshot)


def read(
    subnet: Any, canister: Any, snapshot: Any, kind: Any, caller: Any = ALICE, **place: Any
) -> Any:
    reply = subnet.call(
        caller, READ, canister_id=canister, snapshot_id=snapshot, kind=(kind, place)
    )
    return reply["chunk"]


def announce(subnet: Any, canister: Any, **fields: Any) -> Any:
    args = {
        "wasm_module_size": 10,
        "wasm_memory_size": PAGE,
        "stable_memory_size": PAGE,
        "globals": [],
        "certified_data": b"",
        **fields,
    }
    return subnet.call(ALICE, UP_META, canister_id=canister, **args)["snapshot_id"]


def put(
    subnet: Any,
    canister: Any,
    snapshot: Any,
    kind: Any,
    chunk: Any,
    offset: Any = 0,
    caller: Any = ALICE,
) -> Any:
    place = None if kind == "wasm_chunk" else {"offset": offset}
    subnet.call(
        caller, UP, canister_id=canister, snapshot_id=snapshot, kind=(kind, place), chunk=chunk
    )


def copy(subnet: Any, source: Any, snapshot: Any, target: Any, **changes: Any) -> Any:
    """Download a snapshot and upload it onto a canister, as a backup tool does."""
    info = meta(subnet, source, snapshot)
    announced = {
        name: info[name]
        for name in (
            "wasm_module_size",
            "wasm_memory_size",
            "stable_memory_size",
            "globals",
            "certified_data",
            "global_timer",
            "on_low_wasm_memory_hook_status",
        )
    }
    uploaded = announce(subnet, target, **{**announced, **changes})
    for kind in ("wasm_module", "wasm_memory", "stable_memory"):
        size = info[f"{kind}_size"]
        data = read(subnet, source, snapshot, kind, offset=0, size=size)
        half = size // 2
        put(subnet, target, uploaded, kind, data[half:], half)
        put(subnet, target, uploaded, kind, data[:half])
    for each in info["wasm_chunk_store"]:
        chunk = read(subnet, source, snapshot, "wasm_chunk", hash=each["hash"])
        put(subnet, target, uploaded, "wasm_chunk", chunk)
    return uploaded


def soon(subnet: Any, nanoseconds: Any) -> Any:
    """Tell whether it is now; the replica's time moves on a little with every message."""
    return subnet.clock.now <= nanoseconds < subnet.clock.now + 1000


def version(subnet: Any, canister: Any) -> Any:
    return subnet.call(ALICE, "canister_status", canister_id=canister)["version"]


# --- taking --------------------------------------------------------------------------------------


def test_take_and_load_put_everything_back(subnet: Any) -> None:
    canister = subnet.installed()
    subnet.run(canister, "set", b"first")
    chunk = subnet.call(ALICE, "upload_chunk", canister_id=canister, chunk=b"abc")["hash"]
    before = version(subnet, canister)
    taken = take(subnet, canister)
    assert taken["id"] == (0).to_bytes(8, "big") + canister
    assert soon(subnet, taken["taken_at_timestamp"])
    assert version(subnet, canister) == before

    subnet.run(canister, "set", b"second thoughts")
    subnet.call(ALICE, "clear_chunk_store", canister_id=canister)
    now = version(subnet, canister)
    subnet.clock.advance(5)
    subnet.call(ALICE, LOAD, canister_id=canister, snapshot_id=taken["id"])

    assert subnet.ask(canister, "get") == b"first"
    assert subnet.ask(canister, "get_stable") == b"first"
    assert subnet.ask(canister, "count") == (-6).to_bytes(8, "little", signed=True)
    state = subnet.replica.canisters[canister]
    assert state.certified_data == b"first"
    assert state.chunks == {chunk: b"abc"}
    assert state.version == now + 1
    assert soon(subnet, state.last_install_at)
    assert state.status == "running"

    subnet.run(canister, "set", b"third")
    subnet.call(ALICE, LOAD, canister_id=canister, snapshot_id=taken["id"])
    assert subnet.ask(canister, "get") == b"first"


def test_total_size(subnet: Any) -> None:
    canister = subnet.installed()
    subnet.run(canister, "set", b"12345")
    subnet.call(ALICE, "upload_chunk", canister_id=canister, chunk=b"x")
    taken = take(subnet, canister)
    # Allocated, not touched; a chunk counts as 1 MiB; 8 bytes for a global.
    assert taken["total_size"] == len(wasm()) + 3 * PAGE + 3 * 8 + 5 + (1 << 20)
    status = subnet.call(ALICE, "canister_status", canister_id=canister)
    assert status["memory_metrics"]["snapshots_size"] == taken["total_size"]
    assert subnet.call(ALICE, LIST, canister_id=canister) == [taken]


def test_at_most_ten(subnet: Any) -> None:
    canister = subnet.installed()
    ids = [take(subnet, canister)["id"] for _ in range(10)]
    assert ids == [n.to_bytes(8, "big") + canister for n in range(10)]
    with refused(406, "maximum number of snapshots allowed: 10"):
        take(subnet, canister)
    with refused(406, "maximum number of snapshots allowed: 10"):
        announce(subnet, canister)
    replacing = take(subnet, canister, replace_snapshot=ids[3])["id"]
    uploaded = announce(subnet, canister, replace_snapshot=ids[5])
    left = [each["id"] for each in subnet.call(ALICE, LIST, canister_id=canister)]
    assert left == [*ids[:3], ids[4], *ids[6:], replacing, uploaded]
    assert uploaded == (11).to_bytes(8, "big") + canister


def test_replacing_a_snapshot_that_is_not_ones_own(subnet: Any) -> None:
    mine, other = subnet.installed(), subnet.installed()
    foreign = take(subnet, other)["id"]
    for method in (take, announce):
        with refused(305, "Could not find the snapshot ID"):
            method(subnet, mine, replace_snapshot=(7).to_bytes(8, "big") + mine)
        with refused(305):
            method(subnet, mine, replace_snapshot=b"")
        with refused(406, "does not belong to canister"):
            method(subnet, mine, replace_snapshot=foreign)
    assert subnet.call(ALICE, LIST, canister_id=mine) == []


def test_empty_canister_has_nothing_to_take(subnet: Any) -> None:
    with refused(406, "Failed to create snapshot for empty canister"):
        take(subnet, subnet.create())


def test_take_and_uninstall(subnet: Any) -> None:
    canister = subnet.installed()
    subnet.run(canister, "set", b"kept")
    taken = take(subnet, canister, uninstall_code=True)["id"]
    status = subnet.call(ALICE, "canister_status", canister_id=canister)
    assert status["module_hash"] is None
    assert status["memory_metrics"]["wasm_memory_size"] == 0
    subnet.call(ALICE, LOAD, canister_id=canister, snapshot_id=taken)
    assert subnet.ask(canister, "get") == b"kept"
    info = subnet.query(ALICE, "canister_info", canister_id=canister, num_requested_changes=9)
    assert [each["details"][0] for each in info["recent_changes"]][-2:] == [
        "code_uninstall",
        "load_snapshot",
    ]


def test_a_stopped_canister_stays_stopped(subnet: Any) -> None:
    canister = subnet.installed()
    subnet.call(ALICE, "stop_canister", canister_id=canister)
    taken = take(subnet, canister)["id"]
    subnet.call(ALICE, LOAD, canister_id=canister, snapshot_id=taken)
    status = subnet.call(ALICE, "canister_status", canister_id=canister)
    assert status["status"] == ("stopped", None)


def test_settings_are_not_in_a_snapshot(subnet: Any) -> None:
    canister = subnet.installed(freezing_threshold=100)
    taken = take(subnet, canister)["id"]
    subnet.call(
        ALICE,
        "update_settings",
        canister_id=canister,
        settings={"controllers": [ALICE, BOB], "freezing_threshold": 200},
    )
    cycles = subnet.replica.canisters[canister].cycles
    subnet.call(ALICE, LOAD, canister_id=canister, snapshot_id=taken)
    status = subnet.call(ALICE, "canister_status", canister_id=canister)
    assert status["settings"]["freezing_threshold"] == 200
    assert status["settings"]["controllers"] == sorted([ALICE, BOB])
    assert status["cycles"] == cycles


def test_deleting(subnet: Any) -> None:
    canister, other = subnet.installed(), subnet.installed()
    taken, foreign = take(subnet, canister)["id"], take(subnet, other)["id"]
    with refused(406, "does not belong"):
        subnet.call(ALICE, DELETE, canister_id=canister, snapshot_id=foreign)
    subnet.call(ALICE, DELETE, canister_id=canister, snapshot_id=taken)
    for method in (DELETE, LOAD, READ_META):
        with refused(305, "Could not find the snapshot ID"):
            subnet.call(ALICE, method, canister_id=canister, snapshot_id=taken)
    assert take(subnet, canister)["id"] != taken


def test_snapshots_go_with_their_canister(subnet: Any) -> None:
    canister, other = subnet.installed(), subnet.installed()
    taken = take(subnet, canister)["id"]
    subnet.call(ALICE, "stop_canister", canister_id=canister)
    subnet.call(ALICE, "delete_canister", canister_id=canister)
    with refused(305):
        subnet.call(ALICE, LOAD, canister_id=other, snapshot_id=taken)


# --- who may -------------------------------------------------------------------------------------


def one_of_each(canister: Any, snapshot: Any) -> Any:
    name = {"canister_id": canister, "snapshot_id": snapshot}
    return {
        TAKE: {"canister_id": canister},
        LOAD: name,
        DELETE: name,
        UP: {**name, "kind": ("wasm_chunk", None), "chunk": b""},
        UP_META: {
            "canister_id": canister,
            "wasm_module_size": 1,
            "wasm_memory_size": 0,
            "stable_memory_size": 0,
            "globals": [],
            "certified_data": b"",
        },
        LIST: {"canister_id": canister},
        READ_META: name,
        READ: {**name, "kind": ("wasm_module", {"offset": 0, "size": 1})},
    }


def test_strangers_may_nothing(subnet: Any) -> None:
    canister = subnet.installed()
    snapshot = take(subnet, canister)["id"]
    for method, args in one_of_each(canister, snapshot).items():
        with refused(512):
            subnet.call(BOB, method, **args)
        with refused(512, f"Only controllers of canister .* can call ic00 method {method}"):
            subnet.accepts(BOB, method, **args)
        with refused(512):  # a canister has no right to its own snapshots
            subnet.call(canister, method, **args)
        subnet.accepts(ALICE, method, **args)
    with refused(512, "Only the controllers of the canister"):
        subnet.call(BOB, TAKE, canister_id=canister)


@pytest.mark.parametrize(
    ("visibility", "reader"),
    [(("public", None), CAROL), (("allowed_viewers", [BOB]), BOB)],
)
def test_readers(subnet: Any, visibility: Any, reader: Any) -> None:
    canister = subnet.installed(snapshot_visibility=visibility)
    snapshot = take(subnet, canister)["id"]
    for method, args in one_of_each(canister, snapshot).items():
        if method in (LIST, READ_META, READ):
            subnet.accepts(reader, method, **args)
            subnet.call(reader, method, **args)
        else:
            with refused(512):
                subnet.accepts(reader, method, **args)
            with refused(512):
                subnet.call(reader, method, **args)
    if visibility[0] == "allowed_viewers":
        with refused(512):
            subnet.call(CAROL, LIST, canister_id=canister)
        assert subnet.call(ALICE, LIST, canister_id=canister)


def test_none_of_them_is_a_query(subnet: Any) -> None:
    canister = subnet.installed()
    snapshot = take(subnet, canister)["id"]
    for method, args in one_of_each(canister, snapshot).items():
        with refused(536):
            subnet.query(ALICE, method, **args)


def test_unknown_canister(subnet: Any) -> None:
    for method, args in one_of_each(b"nobody", b"nothing").items():
        with refused(301, "not found"):
            subnet.call(ALICE, method, **args)
        with refused(301):
            subnet.accepts(ALICE, method, **args)
        arg = subnet.arg(method, **args)
        assert subnet.management.effective_canister_id(method, arg) == b"nobody"


# --- reading -------------------------------------------------------------------------------------


def test_metadata_of_a_taken_snapshot(subnet: Any) -> None:
    canister = subnet.installed()
    subnet.run(canister, "set", b"data")
    subnet.run(canister, "arm", (subnet.clock.now + 99 * SECOND).to_bytes(8, "little"))
    chunk = subnet.call(ALICE, "upload_chunk", canister_id=canister, chunk=b"abc")
    at = version(subnet, canister)
    taken = take(subnet, canister)
    subnet.run(canister, "set", b"later")
    assert meta(subnet, canister, taken["id"]) == {
        "source": ("taken_from_canister", None),
        "taken_at_timestamp": taken["taken_at_timestamp"],
        "canister_version": at,
        "wasm_module_size": len(wasm()),
        "wasm_memory_size": 2 * PAGE,
        "stable_memory_size": PAGE,
        # Exported ones in export order, then the other mutable ones.
        "globals": [("f64", 0.5), ("i32", 4), ("i64", -6)],
        "wasm_chunk_store": [chunk],
        "certified_data": b"data",
        "global_timer": ("active", subnet.clock.now + 99 * SECOND),
        "on_low_wasm_memory_hook_status": ("condition_not_satisfied", None),
    }


def test_reading_data(subnet: Any) -> None:
    canister = subnet.installed()
    subnet.run(canister, "set", b"content")
    snapshot = take(subnet, canister)["id"]
    size = len(wasm())
    module = read(subnet, canister, snapshot, "wasm_module", offset=0, size=size)
    assert module == wasm()
    assert read(subnet, canister, snapshot, "wasm_module", offset=5, size=7) == wasm()[5:12]
    assert read(subnet, canister, snapshot, "wasm_memory", offset=1024, size=8) == b"content\0"
    assert read(subnet, canister, snapshot, "stable_memory", offset=0, size=8) == b"content\0"
    assert read(subnet, canister, snapshot, "stable_memory", offset=PAGE, size=0) == b""


@pytest.mark.parametrize(
    ("kind", "name", "end"),
    [
        ("wasm_module", "wasm module", len(wasm())),
        ("wasm_memory", "main memory", 2 * PAGE),
        ("stable_memory", "stable memory", PAGE),
    ],
)
def test_slices_that_are_not_there(subnet: Any, kind: Any, name: Any, end: Any) -> None:
    canister = subnet.installed()
    snapshot = take(subnet, canister)["id"]
    for offset, size in ((0, end + 1), (end, 1), (end + 1, 0), (2**64 - 1, 1)):
        with refused(408, f"Invalid subslice into {name}: offset: {offset}, size: {size}"):
            read(subnet, canister, snapshot, kind, offset=offset, size=size)
    uploaded = announce(
        subnet, canister, wasm_module_size=end, wasm_memory_size=2 * PAGE, stable_memory_size=PAGE
    )
    for offset, size in ((0, end + 1), (end, 1), (2**64 - 1, 1)):
        with refused(408, f"Invalid subslice into {name}: offset: {offset}, size: {size}"):
            put(subnet, canister, uploaded, kind, bytes(size), offset)


def test_slice_limit(subnet: Any) -> None:
    canister = subnet.create()
    snapshot = announce(subnet, canister, stable_memory_size=40 * PAGE)
    assert read(subnet, canister, snapshot, "stable_memory", offset=0, size=2_000_000) == bytes(
        2_000_000
    )
    with refused(408, "Requested slice too large"):
        read(subnet, canister, snapshot, "stable_memory", offset=0, size=2_000_001)


def test_reading_what_is_not_ones_own(subnet: Any) -> None:
    mine, other = subnet.installed(), subnet.installed()
    foreign = take(subnet, other)["id"]
    with refused(406, "does not belong"):
        read(subnet, mine, foreign, "wasm_module", offset=0, size=1)
    with refused(406, "does not belong"):
        meta(subnet, mine, foreign)
    with refused(305):
        read(subnet, mine, foreign[:-1], "wasm_module", offset=0, size=1)


def test_reading_chunks(subnet: Any) -> None:
    canister = subnet.installed()
    chunk = bytes(range(256)) * 4096
    subnet.call(ALICE, "upload_chunk", canister_id=canister, chunk=chunk)
    snapshot = take(subnet, canister)["id"]
    key = hashlib.sha256(chunk).digest()
    assert read(subnet, canister, snapshot, "wasm_chunk", hash=key) == chunk
    with refused(504, "Error from Wasm chunk store"):
        read(subnet, canister, snapshot, "wasm_chunk", hash=bytes(32))


def test_reading_is_fast(subnet: Any) -> None:
    canister = subnet.create()
    snapshot = announce(subnet, canister, stable_memory_size=100 * PAGE)
    put(subnet, canister, snapshot, "stable_memory", bytes(range(250)) * 8000)
    arg = subnet.arg(
        READ,
        canister_id=canister,
        snapshot_id=snapshot,
        kind=("stable_memory", {"offset": 0, "size": 2_000_000}),
    )
    answers, best = [], 9.0
    for _ in range(10):
        begin = time.perf_counter()
        subnet.management.call(ALICE, READ, arg, 0, lambda result, _refund: answers.append(result))
        best = min(best, time.perf_counter() - begin)
    assert answers[0].endswith(bytes(range(250)))
    assert best < 0.008


# --- uploading -----------------------------------------------------------------------------------


def test_an_uploaded_snapshot_is_zeros(subnet: Any) -> None:
    canister = subnet.installed()
    subnet.run(canister, "set", b"data")
    at = version(subnet, canister)
    snapshot = announce(
        subnet,
        canister,
        wasm_module_size=100,
        stable_memory_size=2 * PAGE,
        globals=[("i32", -1), ("f32", 1.5), ("v128", 2**128 - 1)],
        certified_data=b"c" * 32,
        global_timer=("active", 5),
        on_low_wasm_memory_hook_status=("executed", None),
    )
    found = meta(subnet, canister, snapshot)
    assert soon(subnet, found.pop("taken_at_timestamp"))
    assert found == {
        "source": ("metadata_upload", None),
        "canister_version": at,
        "wasm_module_size": 100,
        "wasm_memory_size": PAGE,
        "stable_memory_size": 2 * PAGE,
        "globals": [("i32", -1), ("f32", 1.5), ("v128", 2**128 - 1)],
        "wasm_chunk_store": [],
        "certified_data": b"c" * 32,
        "global_timer": ("active", 5),
        "on_low_wasm_memory_hook_status": ("executed", None),
    }
    for kind, size in (("wasm_module", 100), ("wasm_memory", PAGE), ("stable_memory", 2 * PAGE)):
        assert read(subnet, canister, snapshot, kind, offset=0, size=size) == bytes(size)
    put(subnet, canister, snapshot, "stable_memory", b"end", 2 * PAGE - 3)
    put(subnet, canister, snapshot, "stable_memory", b"END", 2 * PAGE - 3)
    put(subnet, canister, snapshot, "wasm_module", b"", 100)
    tail = read(subnet, canister, snapshot, "stable_memory", offset=2 * PAGE - 5, size=5)
    assert tail == b"\0\0END"


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"wasm_module_size": 0}, "module size"),
        ({"wasm_module_size": (100 << 20) + 1}, "module size"),
        ({"wasm_memory_size": PAGE + 1}, "page size"),
        ({"stable_memory_size": PAGE - 1}, "page size"),
        ({"wasm_memory_size": (4 << 30) + PAGE}, "above"),
        ({"stable_memory_size": (500 << 30) + PAGE}, "above"),
        ({"globals": [("i32", 0)] * 1001}, "1000"),
        ({"certified_data": bytes(33)}, "32"),
        ({"globals": [("v128", 2**128)]}, "v128"),
    ],
)
def test_invalid_metadata(subnet: Any, fields: Any, text: Any) -> None:
    canister = subnet.create(cycles=10**18)
    with refused(408, f"Snapshot Metadata contains invalid data: .*{text}"):
        announce(subnet, canister, **fields)
    assert subnet.call(ALICE, LIST, canister_id=canister) == []


def test_the_largest_metadata(subnet: Any) -> None:
    canister = subnet.create(cycles=10**18)
    begin = time.perf_counter()
    snapshot = announce(
        subnet,
        canister,
        wasm_module_size=100 << 20,
        wasm_memory_size=4 << 30,
        stable_memory_size=500 << 30,
        globals=[("i32", 0)] * 1000,
    )
    end = (500 << 30) - 1
    put(subnet, canister, snapshot, "stable_memory", b"!", end)
    assert read(subnet, canister, snapshot, "stable_memory", offset=end - 1, size=2) == b"\0!"
    assert time.perf_counter() - begin < 2
    (listed,) = subnet.call(ALICE, LIST, canister_id=canister)
    assert listed["total_size"] == (100 << 20) + (504 << 30) + 8000


def test_heap_limit_depends_on_the_installed_module(subnet: Any) -> None:
    narrow = subnet.installed(cycles=10**18)
    wide = subnet.installed(source=WASM64, cycles=10**18)
    announce(subnet, wide, wasm_memory_size=6 << 30)
    with refused(408, "contains invalid data"):
        announce(subnet, wide, wasm_memory_size=(6 << 30) + PAGE)
    with refused(408, "contains invalid data"):
        announce(subnet, narrow, wasm_memory_size=6 << 30)
    with refused(408, "contains invalid data"):  # an empty canister counts as wasm32
        announce(subnet, subnet.create(cycles=10**18), wasm_memory_size=6 << 30)


def test_taken_snapshots_are_immutable(subnet: Any) -> None:
    canister = subnet.installed()
    snapshot = take(subnet, canister)["id"]
    for kind in ("wasm_module", "wasm_memory", "stable_memory", "wasm_chunk"):
        with refused(409, "Only canister snapshots created by metadata upload can be mutated"):
            put(subnet, canister, snapshot, kind, b"x")


def test_uploading_chunks(subnet: Any) -> None:
    canister = subnet.create()
    snapshot = announce(subnet, canister)
    before = subnet.call(ALICE, LIST, canister_id=canister)[0]["total_size"]
    with refused(504, "Error from Wasm chunk store"):
        put(subnet, canister, snapshot, "wasm_chunk", bytes((1 << 20) + 1))
    put(subnet, canister, snapshot, "wasm_chunk", bytes(1 << 20))
    put(subnet, canister, snapshot, "wasm_chunk", bytes(1 << 20))
    assert subnet.call(ALICE, LIST, canister_id=canister)[0]["total_size"] == before + (1 << 20)
    for n in range(99):
        put(subnet, canister, snapshot, "wasm_chunk", bytes([n]))
    with refused(504, "capacity"):
        put(subnet, canister, snapshot, "wasm_chunk", b"one too many")
    assert len(meta(subnet, canister, snapshot)["wasm_chunk_store"]) == 100


def test_download_and_upload_onto_another_canister(subnet: Any) -> None:
    source, target = subnet.installed(), subnet.create()
    subnet.run(source, "set", b"precious")
    subnet.call(ALICE, "upload_chunk", canister_id=source, chunk=b"abc")
    uploaded = copy(subnet, source, take(subnet, source)["id"], target)
    subnet.call(ALICE, LOAD, canister_id=target, snapshot_id=uploaded)
    for method in ("get", "get_stable"):
        assert subnet.ask(target, method) == b"precious"
    before, after = (subnet.replica.canisters[each] for each in (source, target))
    assert after.globals == before.globals
    assert after.certified_data == b"precious"
    assert after.chunks == before.chunks
    assert after.module.sha256 == before.module.sha256
    subnet.run(target, "set", b"goes on")
    assert subnet.ask(target, "count") == (-5).to_bytes(8, "little", signed=True)


# --- loading -------------------------------------------------------------------------------------


def test_load_history(subnet: Any) -> None:
    canister = subnet.installed()
    taken = take(subnet, canister)
    taken_version = version(subnet, canister)
    subnet.run(canister, "set", b"x")
    subnet.clock.advance(7)
    subnet.call(ALICE, LOAD, canister_id=canister, snapshot_id=taken["id"])
    info = subnet.query(ALICE, "canister_info", canister_id=canister, num_requested_changes=1)
    assert soon(subnet, info["recent_changes"][0].pop("timestamp_nanos"))
    assert info["recent_changes"] == [
        {
            "canister_version": version(subnet, canister),
            "origin": ("from_user", {"user_id": ALICE}),
            "details": (
                "load_snapshot",
                {
                    "snapshot_id": taken["id"],
                    "from_canister_id": None,
                    "canister_version": taken_version,
                    "taken_at_timestamp": taken["taken_at_timestamp"],
                    "source": ("taken_from_canister", None),
                },
            ),
        }
    ]


def test_load_from_another_canister(subnet: Any) -> None:
    source = subnet.installed(ALICE, BOB)
    target = subnet.installed(ALICE, BOB)
    bobs = subnet.installed(BOB)
    subnet.run(source, "set", b"shared")
    taken = take(subnet, source)["id"]
    subnet.call(BOB, LOAD, canister_id=target, snapshot_id=taken)
    assert subnet.ask(target, "get") == b"shared"
    info = subnet.query(ALICE, "canister_info", canister_id=target, num_requested_changes=1)
    assert info["recent_changes"][0]["details"][1]["from_canister_id"] == source
    only_bobs = subnet.call(BOB, TAKE, canister_id=bobs)["id"]
    with refused(406, "Only a controller of the canister that snapshot .* belongs to can load it"):
        subnet.call(ALICE, LOAD, canister_id=subnet.create(), snapshot_id=only_bobs)


def test_timer_stays_when_a_taken_snapshot_is_loaded(subnet: Any) -> None:
    canister = subnet.installed()
    first, second = (subnet.clock.now + n * SECOND for n in (1000, 2000))
    subnet.run(canister, "arm", first.to_bytes(8, "little"))
    taken = take(subnet, canister)["id"]
    subnet.run(canister, "arm", second.to_bytes(8, "little"))
    subnet.call(ALICE, LOAD, canister_id=canister, snapshot_id=taken)
    assert subnet.replica.canisters[canister].global_timer == second
    uploaded = copy(subnet, canister, taken, canister)
    subnet.call(ALICE, LOAD, canister_id=canister, snapshot_id=uploaded)
    assert subnet.replica.canisters[canister].global_timer == first
    stopped = copy(subnet, canister, taken, canister, global_timer=("inactive", None))
    silent = copy(subnet, canister, taken, canister, global_timer=None)
    subnet.call(ALICE, LOAD, canister_id=canister, snapshot_id=silent)
    assert subnet.replica.canisters[canister].global_timer == first
    subnet.call(ALICE, LOAD, canister_id=canister, snapshot_id=stopped)
    assert subnet.replica.canisters[canister].global_timer == 0


def test_hook_status_must_agree_with_the_limits(subnet: Any) -> None:
    canister = subnet.installed()
    taken = take(subnet, canister)["id"]
    name = "on_low_wasm_memory_hook_status"
    calm = copy(subnet, canister, taken, canister, **{name: ("condition_not_satisfied", None)})
    done = copy(subnet, canister, taken, canister, **{name: ("executed", None)})
    silent = copy(subnet, canister, taken, canister, **{name: None})
    subnet.call(ALICE, LOAD, canister_id=canister, snapshot_id=calm)
    with refused(408, "hook status"):
        subnet.call(ALICE, LOAD, canister_id=canister, snapshot_id=done)
    # 128 KiB of heap and a threshold of 1 byte: above a limit of 128 KiB.
    subnet.call(
        ALICE,
        "update_settings",
        canister_id=canister,
        settings={"wasm_memory_limit": 2 * PAGE, "wasm_memory_threshold": 1},
    )
    with refused(408, "hook status"):
        subnet.call(ALICE, LOAD, canister_id=canister, snapshot_id=calm)
    subnet.call(ALICE, LOAD, canister_id=canister, snapshot_id=done)
    assert subnet.replica.canisters[canister].hook_status is HookStatus.EXECUTED
    subnet.call(ALICE, LOAD, canister_id=canister, snapshot_id=silent)
    assert subnet.replica.canisters[canister].hook_status is HookStatus.EXECUTED


@pytest.mark.parametrize(
    "wrong",
    [
        [],
        [("f64", 0.5), ("i32", 4)],
        [("f64", 0.5), ("i64", 4), ("i64", -6)],
        [("f64", 0.5), ("i32", 4), ("i64", -6), ("i32", 1)],
    ],
)
def test_globals_must_fit_the_module(subnet: Any, wrong: Any) -> None:
    canister = subnet.installed()
    subnet.run(canister, "set", b"data")
    uploaded = copy(subnet, canister, take(subnet, canister)["id"], canister, globals=wrong)
    at = version(subnet, canister)
    with refused(408, "globals"):
        subnet.call(ALICE, LOAD, canister_id=canister, snapshot_id=uploaded)
    assert version(subnet, canister) == at
    assert subnet.ask(canister, "get") == b"data"


def test_globals_come_from_the_snapshot(subnet: Any) -> None:
    canister = subnet.installed()
    changed = [("f64", 0.5), ("i32", 3), ("i64", 2**40)]
    uploaded = copy(subnet, canister, take(subnet, canister)["id"], canister, globals=changed)
    subnet.call(ALICE, LOAD, canister_id=canister, snapshot_id=uploaded)
    assert subnet.ask(canister, "count") == (2**40).to_bytes(8, "little")
    assert subnet.replica.canisters[canister].globals[2] == GlobalValue("i64", 2**40)


@pytest.mark.parametrize("sign", ["", "-"])
@pytest.mark.parametrize("payload", [1, 0x3F_FFFF, 0x40_0000, 0x55_5555, 0x7F_FFFF])
def test_every_nan_keeps_its_bits(subnet: Any, payload: int, sign: str) -> None:
    source = f"""(module (import "ic0" "msg_reply" (func $reply)) (memory 1)
      (global (export "a") (mut f32) (f32.const {sign}nan:{payload:#x}))
      (global (mut f64) (f64.const {sign}nan:{payload:#x}))
      (func (export "canister_update nothing") (call $reply)))"""
    canister = subnet.installed(source=source)
    other = subnet.installed()
    state = subnet.replica.canisters[other]
    minus = int(bool(sign))
    nans = [
        GlobalValue("f32", minus << 31 | 0x7F80_0000 | payload),
        GlobalValue("f64", minus << 63 | 0x7FF << 52 | payload),
    ]
    uploaded = copy(subnet, canister, take(subnet, canister)["id"], other)
    subnet.call(ALICE, LOAD, canister_id=other, snapshot_id=uploaded)
    assert state.globals == nans
    subnet.run(other, "nothing")
    subnet.replica._host.executor.drop(state)
    subnet.run(other, "nothing")
    assert state.globals == nans


def test_an_unfinished_upload_is_no_module(subnet: Any) -> None:
    canister = subnet.installed()
    subnet.run(canister, "set", b"data")
    snapshot = announce(subnet, canister, wasm_module_size=500)
    with refused(505):
        subnet.call(ALICE, LOAD, canister_id=canister, snapshot_id=snapshot)
    assert subnet.ask(canister, "get") == b"data"


# --- cycles and memory ---------------------------------------------------------------------------


def test_memory_must_be_paid_for(subnet: Any) -> None:
    # 128 GiB for 30 days cost 42.1 T cycles.
    canister = subnet.create(cycles=10**13)
    with refused(532, "cannot grow memory by .* bytes due to insufficient cycles"):
        announce(subnet, canister, stable_memory_size=128 << 30)
    assert subnet.call(ALICE, LIST, canister_id=canister) == []
    subnet.call(ALICE, "provisional_top_up_canister", canister_id=canister, amount=10**14)
    announce(subnet, canister, stable_memory_size=128 << 30)


def test_taking_needs_cycles_unless_the_code_goes(subnet: Any) -> None:
    canister = subnet.installed(cycles=10**12)
    state = subnet.replica.canisters[canister]
    state.cycles = state.freezing_limit + 1
    with refused(532):
        take(subnet, canister)
    assert take(subnet, canister, uninstall_code=True)


def test_operations_cost_cycles_when_they_are_charged() -> None:
    subnet = Subnet(charge_cycles=True)
    canister = subnet.create(cycles=10**13)
    subnet.replica.install(canister, wasm())
    state = subnet.replica.canisters[canister]
    before = state.cycles
    size = take(subnet, canister)["total_size"]
    assert before - state.cycles >= 2_005_000_000 + size
    state.cycles = state.freezing_limit * 3
    with refused(207, "Canister snapshotting failed with: .* out of cycles"):
        take(subnet, canister)


def test_the_subnet_has_two_tebibytes(subnet: Any) -> None:
    canister = subnet.create(cycles=10**19)
    for _ in range(4):
        announce(subnet, canister, stable_memory_size=500 << 30)
    with refused(101, "available in the subnet"):
        announce(subnet, canister, stable_memory_size=500 << 30)


# --- against a model -----------------------------------------------------------------------------

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("set"), st.binary(max_size=20)),
        st.tuples(st.just("take"), st.none()),
        st.tuples(st.just("copy"), st.integers(0, 9)),
        st.tuples(st.just("load"), st.integers(0, 9)),
        st.tuples(st.just("delete"), st.integers(0, 9)),
        st.tuples(st.just("replace"), st.integers(0, 9)),
        st.tuples(st.just("reinstall"), st.none()),
    ),
    max_size=14,
)


@given(STEPS)
@settings(max_examples=30, deadline=None)
def test_any_order_of_steps(steps: Any) -> None:
    """Compare data and counters after every step with what a dictionary of copies says."""
    subnet = Subnet()
    canister = subnet.installed()
    data, count = b"", -7
    saved: dict[bytes, tuple[bytes, int]] = {}
    for step, value in steps:
        chosen = sorted(saved)[value % len(saved)] if isinstance(value, int) and saved else None
        if step == "set":
            subnet.run(canister, "set", value)
            data, count = value, count + 1
        elif step == "reinstall":
            subnet.replica.install(canister, wasm(), mode="reinstall")
            data, count = b"", -7
        elif step == "take" and len(saved) < 10:
            saved[take(subnet, canister)["id"]] = (data, count)
        elif chosen is None:
            continue
        elif step == "copy" and len(saved) < 10:
            saved[copy(subnet, canister, chosen, canister)] = saved[chosen]
        elif step == "load":
            subnet.call(ALICE, LOAD, canister_id=canister, snapshot_id=chosen)
            data, count = saved[chosen]
        elif step == "delete":
            subnet.call(ALICE, DELETE, canister_id=canister, snapshot_id=chosen)
            del saved[chosen]
        elif step == "replace":
            saved[take(subnet, canister, replace_snapshot=chosen)["id"]] = (data, count)
            del saved[chosen]
        assert subnet.ask(canister, "get") == data
        assert subnet.ask(canister, "get_stable") == data
        assert subnet.ask(canister, "count") == count.to_bytes(8, "little", signed=True)
        listed = subnet.call(ALICE, LIST, canister_id=canister)
        assert [each["id"] for each in listed] == sorted(saved)


# --- restart -------------------------------------------------------------------------------------


def test_snapshots_survive_a_restart(tmp_path: Any) -> None:
    first = Subnet(state_dir=tmp_path)
    canister = first.installed(snapshot_visibility=("allowed_viewers", [BOB]))
    first.run(canister, "set", b"kept")
    first.call(ALICE, "upload_chunk", canister_id=canister, chunk=b"abc")
    taken = take(first, canister)["id"]
    uploaded = announce(
        first,
        canister,
        stable_memory_size=100 << 30,
        globals=[("f64", 0.5), ("v128", 2**100)],
        global_timer=("active", 7),
    )
    put(first, canister, uploaded, "stable_memory", b"!", 99 << 30)
    put(first, canister, uploaded, "wasm_chunk", b"chunk")
    infos = [meta(first, canister, each, BOB) for each in (taken, uploaded)]
    listed = first.call(ALICE, LIST, canister_id=canister)
    first.run(canister, "set", b"lost")
    first.call(ALICE, LOAD, canister_id=canister, snapshot_id=taken)
    question = {"canister_id": canister, "num_requested_changes": 9}
    history = first.query(ALICE, "canister_info", **question)
    first.replica.close()

    second = Subnet(state_dir=tmp_path)
    assert second.ask(canister, "get") == b"kept"
    assert [meta(second, canister, each, BOB) for each in (taken, uploaded)] == infos
    assert second.call(ALICE, LIST, canister_id=canister) == listed
    assert second.query(ALICE, "canister_info", **question) == history
    byte = read(second, canister, uploaded, "stable_memory", offset=99 << 30, size=1)
    assert byte == b"!"
    key = infos[1]["wasm_chunk_store"][0]["hash"]
    assert read(second, canister, uploaded, "wasm_chunk", hash=key) == b"chunk"
    put(second, canister, uploaded, "wasm_module", b"more")
    assert take(second, canister)["id"] == (2).to_bytes(8, "big") + canister
    second.replica.close()
    used = sum(path.stat().st_blocks * 512 for path in tmp_path.rglob("*") if path.is_file())
    assert used < 10 << 20
