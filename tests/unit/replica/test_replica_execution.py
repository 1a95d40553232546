import threading

import pytest

from dfx_backup.replica.reject import Reject
from dfx_backup.replica.replica import Limits, Replica
from dfx_backup.replica.state import HookStatus, RunState, Settings
from tests.fakes.wat_canisters import (
    GROW,
    STABLE_GROW,
    STABLE_WRITE,
    WRITE,
    canister,
    scribe,
    scribe_order,
)

USER = b"\x04"
PAGE = 65_536

COUNTER = canister("""
  (global $n (mut i32) (i32.const 0))
  (data (i32.const 100) "boom")
  (func $bump (global.set $n (i32.add (global.get $n) (i32.const 1))))
  (func $say (i32.store (i32.const 0) (global.get $n)) (call $append (i32.const 0) (i32.const 4))
             (call $reply))
  (func (export "canister_update inc") (call $bump) (call $say))
  (func (export "canister_query get") (call $bump) (call $say))
  (func (export "canister_update silent"))
  (func (export "canister_update twice") (call $say) (call $reply))
  (func (export "canister_update trap") (call $bump) (call $print (i32.const 100) (i32.const 2))
        (call $certify (i32.const 100) (i32.const 4)) (call $trap (i32.const 100) (i32.const 4)))
  (func (export "canister_update certify")
        (call $certify (i32.const 100) (i32.const 4)) (call $say))
  (func (export "canister_update far") (drop (i32.load (i32.const 65536))))
  (func (export "canister_update loop") (loop $again (br $again)))
  (func (export "canister_query accept") (call $accept))
  (func $deep (export "canister_update deep") (call $deep) (call $bump))
  (func (export "canister_query version") (i64.store (i32.const 0) (call $version))
        (call $append (i32.const 0) (i32.const 8)) (call $reply))
  (func (export "canister_query certificate") (i32.store (i32.const 0) (call $has_certificate))
        (call $append (i32.const 0) (i32.const 4)) (call $reply))
""")


@pytest.fixture
def replica() -> Replica:
    return Replica(now_ns=lambda: 1_000_000, limits=Limits(update=1_000_000, query=1_000_000))


def deploy(replica: Replica, wasm: bytes, **options: object) -> bytes:
    canister_id = replica.create_canister(controllers=[USER])
    replica.install(canister_id, wasm, **options)
    return canister_id


def refused(replica: Replica, canister_id: bytes, method: str, arg: bytes = b"") -> Reject:
    reject = replica.ingress(USER, canister_id, method, arg).reject
    assert reject is not None
    return reject


def number(reply: bytes) -> int:
    return int.from_bytes(reply, "little")


def test_updates_stay_and_queries_do_not(replica: Replica) -> None:
    canister_id = deploy(replica, COUNTER)
    assert number(replica.ingress(USER, canister_id, "inc", b"").get()) == 1
    assert number(replica.query(USER, canister_id, "get", b"")) == 2
    assert number(replica.query(USER, canister_id, "get", b"")) == 2
    assert number(replica.ingress(USER, canister_id, "get", b"").get()) == 2
    assert number(replica.ingress(USER, canister_id, "inc", b"").get()) == 2


def test_versions_count_what_succeeded(replica: Replica) -> None:
    canister_id = deploy(replica, COUNTER)
    state = replica.canisters[canister_id]
    assert state.version == 1
    replica.ingress(USER, canister_id, "inc", b"")
    replica.ingress(USER, canister_id, "get", b"")
    assert state.version == 3
    replica.ingress(USER, canister_id, "trap", b"")
    replica.query(USER, canister_id, "get", b"")
    assert state.version == 3
    assert number(replica.query(USER, canister_id, "version", b"")) == 3


@pytest.mark.parametrize(
    ("method", "code", "error_code", "text"),
    [
        ("trap", 5, "IC0503", "boom"),
        ("far", 5, "IC0502", "out of bounds"),
        ("deep", 5, "IC0502", "stack"),
        ("loop", 5, "IC0522", "1000000 instructions"),
        ("twice", 5, "IC0504", "already replied"),
        ("silent", 5, "IC0506", "did not reply"),
        ("missing", 5, "IC0536", "no update method 'missing'"),
    ],
)
def test_failures_have_their_codes(
    replica: Replica, method: str, code: int, error_code: str, text: str
) -> None:
    if method == "deep":
        replica = Replica()
    canister_id = deploy(replica, COUNTER)
    reject = refused(replica, canister_id, method)
    assert (reject.code, reject.error_code) == (code, error_code)
    assert text in reject.message
    assert number(replica.query(USER, canister_id, "get", b"")) == 1


def test_a_trap_takes_everything_back_but_the_log(replica: Replica) -> None:
    canister_id = deploy(replica, COUNTER)
    refused(replica, canister_id, "trap")
    state = replica.canisters[canister_id]
    assert state.certified_data == b""
    assert [each.content for each in state.logs] == [b"bo", b"[TRAP]: boom"]
    replica.ingress(USER, canister_id, "certify", b"").get()
    assert state.certified_data == b"boom"


def test_logs_are_bounded(replica: Replica) -> None:
    canister_id = deploy(replica, COUNTER)
    state = replica.canisters[canister_id]
    state.settings.log_memory_limit = 30
    for _ in range(10):
        refused(replica, canister_id, "trap")
    assert state.log_size <= 30
    assert state.logs[-1].index == 19
    state.settings.log_memory_limit = 0
    refused(replica, canister_id, "trap")
    assert state.logs[-1].index == 19 if state.logs else True


def test_the_wrong_kind_of_message_traps(replica: Replica) -> None:
    canister_id = deploy(replica, COUNTER)
    with pytest.raises(Reject, match=r"ic0_accept_message.*non-replicated query") as caught:
        replica.query(USER, canister_id, "accept", b"")
    assert caught.value.error_code == "IC0504"
    with pytest.raises(Reject, match="no query method"):
        replica.query(USER, canister_id, "inc", b"")


def test_certificates_reach_queries(replica: Replica) -> None:
    canister_id = deploy(replica, COUNTER)
    assert number(replica.query(USER, canister_id, "certificate", b"")) == 0
    replica.data_certificate = lambda asked: b"certificate" if asked == canister_id else None
    assert number(replica.query(USER, canister_id, "certificate", b"")) == 1
    assert number(replica.ingress(USER, canister_id, "certificate", b"").get()) == 0


def test_unknown_and_empty_canisters(replica: Replica) -> None:
    assert refused(replica, b"nobody", "inc").error_code == "IC0301"
    empty = replica.create_canister(controllers=[USER])
    assert refused(replica, empty, "inc").error_code == "IC0537"
    with pytest.raises(Reject, match="IC0537"):
        replica.query(USER, empty, "get", b"")


def test_a_frozen_canister_takes_nothing(replica: Replica) -> None:
    canister_id = deploy(replica, COUNTER)
    state = replica.canisters[canister_id]
    state.settings.freezing_threshold = 10**14
    assert state.is_frozen
    assert refused(replica, canister_id, "inc").error_code == "IC0207"
    with pytest.raises(Reject, match="IC0207"):
        replica.query(USER, canister_id, "get", b"")
    with pytest.raises(Reject, match="IC0207"):
        replica.accepts_ingress(USER, canister_id, "inc", b"")
    state.cycles = state.freezing_limit
    assert replica.ingress(USER, canister_id, "inc", b"").reply is not None


def test_timers_and_heartbeats() -> None:
    clock = [10]
    replica = Replica(now_ns=lambda: clock[0])
    wasm = canister("""
      (global $fired (mut i32) (i32.const 0)) (global $beats (mut i32) (i32.const 0))
      (func (export "canister_init") (drop (call $set_timer (i64.const 1000))))
      (func (export "canister_global_timer")
        (global.set $fired (i32.add (global.get $fired) (i32.const 1))))
      (func (export "canister_heartbeat")
        (global.set $beats (i32.add (global.get $beats) (i32.const 1))))""")
    canister_id = deploy(replica, wasm)
    state = replica.canisters[canister_id]
    replica.tick()
    assert [each.bits for each in state.globals] == [0, 1]
    assert state.global_timer == 1000
    clock[0] = 2000
    replica.tick()
    replica.tick()
    assert [each.bits for each in state.globals] == [1, 3]
    assert state.global_timer == 0
    replica.stop(canister_id, lambda _result, _refund: None)
    assert state.status is RunState.STOPPED
    replica.tick()
    assert state.globals[1].bits == 3


def test_inspection_decides_what_enters(replica: Replica) -> None:
    wasm = canister("""
      (func (export "canister_inspect_message")
        (if (i32.eq (call $size) (i32.const 2)) (then (call $accept)))
        (if (i32.eq (call $size) (i32.const 3)) (then unreachable)))
      (func (export "canister_update go") (call $reply))""")
    canister_id = deploy(replica, wasm)
    replica.accepts_ingress(USER, canister_id, "go", b"ok")
    with pytest.raises(Reject, match="IC0406"):
        replica.accepts_ingress(USER, canister_id, "go", b"")
    with pytest.raises(Reject, match="IC0502"):
        replica.accepts_ingress(USER, canister_id, "go", b"bad")
    assert replica.ingress(USER, canister_id, "go", b"").reply == b""


UPGRADED = canister("""
  (global $runs (mut i32) (i32.const 5))
  (func $note (param $value i32)
    (i32.store8 (i32.const 0) (local.get $value))
    (drop (call $stable_grow (i64.const 1)))
    (call $stable_write (i64.const 0) (i64.const 0) (i64.const 1)))
  (func $start (i32.store8 (i32.const 9) (i32.const 1)))
  (start $start)
  (func (export "canister_init") (call $note (i32.const 1)))
  (func (export "canister_pre_upgrade") (call $note (i32.const 2))
    (drop (call $set_timer (i64.const 99))) (call $certify (i32.const 0) (i32.const 1)))
  (func (export "canister_post_upgrade")
    (i64.store (i32.const 16) (call $version))
    (global.set $runs (i32.add (global.get $runs) (i32.const 1)))
    (call $copy (i32.const 32) (i32.const 0) (call $size))
    (if (call $size) (then (call $note (i32.const 3)) unreachable)))
  (func (export "canister_query look")
    (call $append (i32.const 0) (i32.const 24)) (call $reply))
""")


def test_upgrades_run_their_hooks_and_keep_stable_memory(replica: Replica) -> None:
    canister_id = deploy(replica, UPGRADED)
    state = replica.canisters[canister_id]
    assert state.stable.read(0, 1) == b"\x01"
    replica.install(canister_id, UPGRADED, mode="upgrade")
    assert state.stable.size == 2 * PAGE
    assert state.stable.read(0, 1) == b"\x02"
    assert state.global_timer == 0
    assert state.certified_data == b"\x02"
    heap = replica.query(USER, canister_id, "look", b"")
    assert heap[0] == 0  # a new heap
    assert heap[9] == 1  # the start function ran
    assert number(heap[16:24]) == state.version == 2
    assert state.globals[0].bits == 6


def test_an_upgrade_that_traps_changes_nothing(replica: Replica) -> None:
    canister_id = deploy(replica, UPGRADED)
    state = replica.canisters[canister_id]
    before = (state.version, state.heap.read(0, PAGE), state.stable.read(0, state.stable.size))
    with pytest.raises(Reject, match="IC0502"):
        replica.install(canister_id, UPGRADED, b"x", mode="upgrade")
    after = (state.version, state.heap.read(0, PAGE), state.stable.read(0, state.stable.size))
    assert after == before
    assert state.certified_data == b""
    assert replica.query(USER, canister_id, "look", b"")[0] == 1


def test_pre_upgrade_can_be_skipped_and_reinstall_clears(replica: Replica) -> None:
    canister_id = deploy(replica, UPGRADED)
    state = replica.canisters[canister_id]
    replica.install(canister_id, UPGRADED, mode="upgrade", skip_pre_upgrade=True)
    assert state.stable.read(0, 1) == b"\x01"
    replica.install(canister_id, UPGRADED, mode="reinstall")
    assert state.stable.size == PAGE
    replica.uninstall(canister_id)
    assert (state.module, state.heap.size, state.stable.size) == (None, 0, 0)


def test_modes_fit_what_is_installed(replica: Replica) -> None:
    canister_id = replica.create_canister(controllers=[USER])
    with pytest.raises(Reject, match="IC0537"):
        replica.install(canister_id, COUNTER, mode="upgrade")
    replica.install(canister_id, COUNTER)
    with pytest.raises(Reject, match="IC0514"):
        replica.install(canister_id, COUNTER)


def test_heaps_are_kept_only_where_both_sides_agree(replica: Replica) -> None:
    marker = b"icp:private enhanced-orthogonal-persistence"
    enhanced = UPGRADED + bytes([0, len(marker) + 1, len(marker)]) + marker
    canister_id = deploy(replica, enhanced)
    with pytest.raises(Reject, match="Missing upgrade option: Enhanced orthogonal persistence"):
        replica.install(canister_id, enhanced, mode="upgrade")
    with pytest.raises(Reject, match=r"Invalid upgrade option: .*opt Keep"):
        replica.install(canister_id, COUNTER, mode="upgrade", wasm_memory_persistence="keep")
    replica.install(canister_id, enhanced, mode="upgrade", wasm_memory_persistence="keep")
    assert replica.query(USER, canister_id, "look", b"")[0] == 2  # pre_upgrade's note, kept
    assert replica.canisters[canister_id].globals[0].bits == 6  # globals begin anew
    replica.install(canister_id, enhanced, mode="upgrade", wasm_memory_persistence="replace")
    assert replica.query(USER, canister_id, "look", b"")[0] == 0


def test_stable_memory_goes_back_page_by_page(replica: Replica) -> None:
    canister_id = deploy(replica, scribe(is_64=False))
    state = replica.canisters[canister_id]
    send = lambda order: replica.ingress(USER, canister_id, "run", order)  # noqa: E731 - short
    send(scribe_order(STABLE_GROW, 1)).get()
    send(scribe_order(STABLE_WRITE, 4090, b"abcdefghijkl")).get()
    assert send(scribe_order(STABLE_WRITE, 4000, b"x" * 9000, traps=True)).reject
    assert state.stable.read(4090, 12) == b"abcdefghijkl"
    assert state.stable.read(8192, 8192) == bytes(8192)
    assert list(state.stable.data_ranges()) == [(0, 8192)]
    assert send(scribe_order(STABLE_GROW, 5, traps=True)).reject
    assert state.stable.size == PAGE


def test_memory_limit_and_hook(replica: Replica) -> None:
    wasm = canister("""
      (global $warned (mut i32) (i32.const 0))
      (func (export "canister_on_low_wasm_memory")
        (global.set $warned (i32.add (global.get $warned) (i32.const 1))))
      (func (export "canister_update grow") (drop (memory.grow (i32.const 1))) (call $reply))""")
    canister_id = deploy(replica, wasm)
    state = replica.canisters[canister_id]
    state.settings = Settings(wasm_memory_limit=3 * PAGE, wasm_memory_threshold=PAGE + 1)
    replica.ingress(USER, canister_id, "grow", b"").get()
    assert state.hook_status is HookStatus.READY
    replica.tick()
    assert (state.hook_status, state.globals[0].bits) == (HookStatus.EXECUTED, 1)
    replica.ingress(USER, canister_id, "grow", b"").get()
    assert refused(replica, canister_id, "grow").error_code == "IC0539"
    assert state.heap.size == 3 * PAGE
    assert state.globals[0].bits == 1


def test_a_heap_beyond_4_gib(replica: Replica) -> None:
    canister_id = deploy(replica, scribe(is_64=True))
    replica.canisters[canister_id].settings.wasm_memory_limit = 0
    send = lambda order: replica.ingress(USER, canister_id, "run", order)  # noqa: E731 - short
    send(scribe_order(GROW, 70_000)).get()
    send(scribe_order(WRITE, 0xFFFF_FFF0, b"across the border of four GiB")).get()
    assert send(scribe_order(WRITE, 0xFFFF_FFF0, b"never", traps=True)).reject
    heap = replica.canisters[canister_id].heap
    assert heap.size == 70_002 * PAGE
    assert heap.read(0xFFFF_FFF0, 29) == b"across the border of four GiB"
    assert sum(end - start for start, end in heap.data_ranges()) < 1 << 20


def test_a_replaced_state_runs_on(replica: Replica) -> None:
    canister_id = deploy(replica, scribe(is_64=False))
    state = replica.canisters[canister_id]
    replica.ingress(USER, canister_id, "run", scribe_order(WRITE, 70_000, b"kept")).get()
    copies = (state.heap.clone(), state.stable.clone(), list(state.globals))
    replica.ingress(USER, canister_id, "run", scribe_order(WRITE, 70_000, b"lost")).get()
    assert state.module is not None
    replica.replace_state(
        canister_id,
        module=state.module.raw,
        heap=copies[0],
        stable=copies[1],
        globals_=copies[2],
        certified_data=b"c",
        chunks={},
    )
    assert state.heap.read(70_000, 4) == b"kept"
    replica.ingress(USER, canister_id, "run", scribe_order(GROW, 1)).get()
    assert state.heap.size == 3 * PAGE
    with pytest.raises(Reject, match="IC0408"):
        replica.replace_state(
            canister_id,
            module=state.module.raw,
            heap=state.heap.clone(),
            stable=state.stable.clone(),
            globals_=[],
            certified_data=b"",
            chunks={},
        )


def test_deep_recursion_traps_in_threads_too() -> None:
    replica = Replica()
    canister_id = deploy(replica, COUNTER)
    rejects: list[Reject] = []
    threads = [
        threading.Thread(target=lambda: rejects.append(refused(replica, canister_id, "deep")))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ["stack" in each.message for each in rejects] == [True] * 3


def test_tables_and_segments_are_new_for_every_message(replica: Replica) -> None:
    module = canister("""
      (table $t 1 funcref)
      (data $d "x")
      (elem declare func $f)
      (func $f)
      (func $say (i32.store8 (i32.const 8) (table.size)) (memory.init $d (i32.const 9)
            (i32.const 0) (i32.const 1)) (data.drop $d)
            (drop (table.grow (ref.func $f) (i32.const 3)))
            (call $append (i32.const 8) (i32.const 2)) (call $reply))
      (func (export "canister_update run") (call $say) (i32.store (i32.const 100) (i32.add
            (i32.load (i32.const 100)) (i32.const 1))))
      (func (export "canister_query look") (call $say))
      (func (export "canister_update fail") (call $say) unreachable)
      (func (export "canister_query count")
            (call $append (i32.const 100) (i32.const 4)) (call $reply))""")
    canister_id = deploy(replica, module)
    for _ in range(2):
        assert replica.ingress(USER, canister_id, "run", b"").get() == b"\1x"
        assert replica.query(USER, canister_id, "look", b"") == b"\1x"
        refused(replica, canister_id, "fail")
    assert number(replica.query(USER, canister_id, "count", b"")) == 2


def test_globals_without_a_memory_stay(replica: Replica) -> None:
    module = canister(
        """(global $n (mut i64) (i64.const 5))
      (func (export "canister_update inc")
        (global.set $n (i64.add (global.get $n) (i64.const 1))) (call $reply))
      (func (export "canister_query look")
        (global.set $n (i64.add (global.get $n) (i64.const 100))) (call $reply))""",
        memory="",
    )
    canister_id = deploy(replica, module)
    for _ in range(3):
        replica.ingress(USER, canister_id, "inc", b"").get()
        replica.query(USER, canister_id, "look", b"")
    assert [each.bits for each in replica.canisters[canister_id].globals] == [8]
