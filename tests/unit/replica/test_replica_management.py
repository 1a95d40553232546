import hashlib
from contextlib import suppress
from functools import cache
from importlib.resources import files
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dfx_backup.replica.candid import parse_did
from dfx_backup.replica.candid_types import PRIMS, Opt, Record, Variant, Vec, resolve
from dfx_backup.replica.management_access import RULES, UNAVAILABLE
from dfx_backup.replica.reject import Reject
from dfx_backup.replica.state import Settings
from tests.fakes.replica_subnet import ALICE, BOB, CAROL, COUNTER, SECOND, Subnet, wasm

INSTALL = ("install", None)
UPGRADE = ("upgrade", None)
REINSTALL = ("reinstall", None)


@pytest.fixture
def subnet() -> Any:
    return Subnet()


def refused(code: Any, text: Any = "") -> Any:
    return pytest.raises(Reject, match=f"(?s)IC0{code} .*{text}")


def status(subnet: Any, canister: Any, caller: Any = ALICE) -> Any:
    return subnet.call(caller, "canister_status", canister_id=canister)


def update(subnet: Any, canister: Any, caller: Any = ALICE, **settings: Any) -> Any:
    subnet.call(caller, "update_settings", canister_id=canister, settings=settings)


def install(
    subnet: Any, canister: Any, mode: Any = INSTALL, caller: Any = ALICE, module: Any = None
) -> Any:
    subnet.call(
        caller,
        "install_code",
        canister_id=canister,
        mode=mode,
        wasm_module=wasm() if module is None else module,
        arg=b"",
    )


def changes(subnet: Any, canister: Any, count: Any = 99) -> Any:
    return subnet.query(CAROL, "canister_info", canister_id=canister, num_requested_changes=count)[
        "recent_changes"
    ]


def forward(method: Any, arg: Any) -> Any:
    return bytes([len(method)]) + method.encode() + arg


# --- the interface -------------------------------------------------------------------------------


def test_every_method_has_types_a_rule_and_code() -> None:
    text = files("dfx_backup.replica").joinpath("management.did").read_text()
    methods = parse_did(text).methods
    assert methods.keys() == RULES.keys()
    assert not UNAVAILABLE & methods.keys()
    assert {name for name, func in methods.items() if func.modes} == {
        name for name, rule in RULES.items() if rule.query
    }


def test_unknown_methods(subnet: Any) -> None:
    for caller in (ALICE, subnet.installed()):
        arg = subnet.codec.encode_args("raw_rand")
        answers: list[Any] = []
        subnet.management.call(
            caller, "nonsense", arg, 5, lambda *each, answers=answers: answers.append(each)
        )
        ((reject, refund),) = answers
        assert (reject.error_code, refund) == ("IC0536", 5)
    with refused(536, "has no method"):
        subnet.replica.accepts_ingress(ALICE, b"", "nonsense", b"")
    with refused(536):
        subnet.replica.query(ALICE, b"", "nonsense", b"")
    assert subnet.management.effective_canister_id("nonsense", b"") is None


@pytest.mark.parametrize("method", sorted(UNAVAILABLE))
def test_unavailable_methods(subnet: Any, method: Any) -> None:
    with refused(407, "not available on the development replica"):
        subnet.replica.ingress(ALICE, b"", method, b"").get()


@pytest.mark.parametrize("arg", [b"", b"DIDL", b"DIDL\0\0", b"DIDL\0\1\x7d\1", b"garbage"])
def test_bad_arguments(subnet: Any, arg: Any) -> None:
    for method, rule in RULES.items():
        if rule.target is not None:
            answers = []
            subnet.management.call(
                subnet.installed() if method == "deposit_cycles" else ALICE,
                method,
                arg,
                0,
                lambda result, _refund, answers=answers: answers.append(result),
            )
            assert answers[0].error_code == "IC0408"
            assert answers[0].code == 4
            if rule.ingress and method != "deposit_cycles":
                with refused("40[68]"):
                    subnet.replica.accepts_ingress(ALICE, b"", method, arg)
            assert subnet.management.effective_canister_id(method, arg) is None
            if rule.query:
                with refused(408):
                    subnet.replica.query(ALICE, b"", method, arg)


SOME_ID = (0x80000000_00100000).to_bytes(8, "big") + b"\1\1"


@given(st.sampled_from(sorted(RULES)), st.data())
@settings(max_examples=150, deadline=None)
def test_damaged_messages_never_crash(method: Any, data: Any) -> None:
    subnet = fuzzed()
    wanted = subnet.codec.methods[method].args
    values = [data.draw(plausible(of, subnet.codec.types)) for of in wanted]
    message = bytearray(subnet.codec.encode_args(method, *values))
    for _ in range(data.draw(st.integers(0, 2))):
        message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
    arg = bytes(message)
    for caller in (ALICE, BOB, SOME_ID):
        answers: list[Any] = []
        subnet.management.call(caller, method, arg, 5, lambda *each, to=answers: to.append(each))
        assert len(answers) == 1 or method == "stop_canister"
        for answer, refund in answers:
            assert (
                isinstance(answer, Reject) or subnet.codec.decode_reply(method, answer) is not None
            )
            assert 0 <= refund <= 5
        subnet.management.effective_canister_id(method, arg)
        for asked in (subnet.management.accepts_ingress, subnet.management.query):
            with suppress(Reject):
                asked(caller, method, arg)


@cache
def shared() -> Any:
    return Subnet()


def fuzzed() -> Any:
    """Give one subnet for all examples, with a canister as if nothing had happened."""
    subnet = shared()
    if SOME_ID not in subnet.replica.canisters:
        subnet.replica.create_canister(controllers=[], specified_id=SOME_ID)
    state = subnet.replica.canister(SOME_ID)
    state.controllers = [ALICE, SOME_ID]
    state.cycles = 10**15
    state.settings = Settings()
    state.snapshots.clear()
    state.next_snapshot = 0
    subnet.replica.start(SOME_ID)
    if state.module is None:
        subnet.replica.install(SOME_ID, wasm())
    subnet.call(ALICE, "take_canister_snapshot", canister_id=SOME_ID)
    sizes = dict.fromkeys(("wasm_module_size", "wasm_memory_size", "stable_memory_size"), 65536)
    subnet.call(
        ALICE,
        "upload_canister_snapshot_metadata",
        canister_id=SOME_ID,
        globals=[],
        certified_data=b"",
        **sizes,
    )
    return subnet


def plausible(of: Any, env: Any) -> Any:
    """Make values of a type that often mean something."""
    found = resolve(of, env)
    match found:
        case Opt(inner=inner):
            return st.none() | plausible(inner, env)
        case Vec(inner=inner):
            if resolve(inner, env) == PRIMS["nat8"]:
                ids = [(n).to_bytes(8, "big") + SOME_ID for n in range(3)]
                return st.sampled_from([b"", b"x", wasm(), hashlib.sha256(b"x").digest(), *ids])
            return st.lists(plausible(inner, env), max_size=2)
        case Record(fields=members):
            return st.fixed_dictionaries(
                {each.label: plausible(each.type, env) for each in members}
            )
        case Variant(fields=members):
            return st.sampled_from(members).flatmap(
                lambda each: st.tuples(st.just(each.label), plausible(each.type, env))
            )
    return {
        "principal": st.sampled_from([SOME_ID, ALICE, b"subnet"]),
        "bool": st.booleans(),
        "text": st.sampled_from(["", "a", "candid:service"]),
        "float32": st.floats(width=32),
        "float64": st.floats(),
        "reserved": st.none(),
        "null": st.none(),
        "int32": st.integers(-5, 5),
        "int64": st.integers(-5, 5),
    }.get(found.name, st.sampled_from([0, 1, 65536, 2_000_001, 2**64 - 1]))


def test_effective_canister_id(subnet: Any) -> None:
    def effective(method: Any, **fields: Any) -> Any:
        return subnet.management.effective_canister_id(method, subnet.arg(method, **fields))

    assert effective("start_canister", canister_id=b"one") == b"one"
    assert effective("provisional_top_up_canister", canister_id=b"one", amount=1) == b"one"
    assert effective("provisional_create_canister_with_cycles", specified_id=b"one") is None
    assert effective("create_canister") is None
    assert effective("raw_rand") is None
    chunked = {
        "target_canister": b"two",
        "mode": INSTALL,
        "chunk_hashes_list": [],
        "wasm_module_hash": b"",
        "arg": b"",
    }
    assert effective("install_chunked_code", **chunked) == b"two"


# --- creating and paying -------------------------------------------------------------------------


def test_provisional_create(subnet: Any) -> None:
    create = "provisional_create_canister_with_cycles"
    plain = subnet.call(BOB, create)["canister_id"]
    seen = status(subnet, plain, BOB)
    assert seen["cycles"] == 100 * 10**12
    assert seen["settings"]["controllers"] == [BOB]
    assert seen["status"] == ("running", None)
    assert seen["version"] == 0

    chosen = bytes.fromhex("000000000000beef0101")
    given = subnet.call(
        BOB,
        create,
        amount=5,
        specified_id=chosen,
        settings={
            "controllers": [ALICE, CAROL],
            "environment_variables": [{"name": "a", "value": "b"}],
        },
    )
    assert given == {"canister_id": chosen}
    seen = status(subnet, chosen)
    assert seen["cycles"] == 5
    assert seen["settings"]["controllers"] == [ALICE, CAROL]
    with refused(205, "already"):
        subnet.call(BOB, create, specified_id=chosen)
    (change,) = changes(subnet, chosen)
    assert change["canister_version"] == 0
    assert change["origin"] == ("from_user", {"user_id": BOB})
    kind, details = change["details"]
    assert kind == "creation"
    assert details["controllers"] == [ALICE, CAROL]
    pair = hashlib.sha256(b"a").digest() + hashlib.sha256(b"b").digest()
    assert details["environment_variables_hash"] == hashlib.sha256(pair).digest()
    subnet.accepts(BOB, create)


def test_create_canister(subnet: Any) -> None:
    parent = subnet.installed()
    reply, refund = subnet.pay(parent, "create_canister", 7 * 10**11, sender_canister_version=4)
    child = subnet.codec.decode_reply("create_canister", reply)[0]["canister_id"]
    assert refund == 0
    assert status(subnet, child, parent)["cycles"] == 7 * 10**11
    (change,) = changes(subnet, child)
    assert change["origin"] == ("from_canister", {"canister_id": parent, "canister_version": 4})
    subnet.accepts(BOB, "create_canister")
    owned = subnet.call(BOB, "create_canister")["canister_id"]
    assert status(subnet, owned, BOB)["settings"]["controllers"] == [BOB]


def test_creation_fee_when_cycles_are_charged() -> None:
    subnet = Subnet(charge_cycles=True)
    parent = subnet.create()
    reject, refund = subnet.pay(parent, "create_canister", 10**11)
    assert (reject.error_code, refund) == ("IC0403", 10**11)
    reply, refund = subnet.pay(parent, "create_canister", 6 * 10**11)
    child = subnet.codec.decode_reply("create_canister", reply)[0]["canister_id"]
    assert (subnet.replica.canisters[child].cycles, refund) == (10**11, 0)


def test_cycles_can_be_given(subnet: Any) -> None:
    canister, giver = subnet.create(), subnet.create()
    subnet.call(CAROL, "provisional_top_up_canister", canister_id=canister, amount=11)
    assert status(subnet, canister)["cycles"] == 100 * 10**12 + 11
    _, refund = subnet.pay(giver, "deposit_cycles", 22, canister_id=canister)
    assert refund == 0
    assert status(subnet, canister)["cycles"] == 100 * 10**12 + 33
    with refused(406, "Only canisters"):
        subnet.call(ALICE, "deposit_cycles", canister_id=canister)
    reject, refund = subnet.pay(giver, "deposit_cycles", 22, canister_id=b"nobody")
    assert (reject.error_code, refund) == ("IC0301", 22)


# --- permissions ---------------------------------------------------------------------------------


def arguments(canister: Any) -> Any:
    name = {"canister_id": canister}
    return {
        "update_settings": {**name, "settings": {}},
        "start_canister": name,
        "stop_canister": name,
        "delete_canister": name,
        "install_code": {**name, "mode": INSTALL, "wasm_module": b"", "arg": b""},
        "install_chunked_code": {
            "target_canister": canister,
            "mode": INSTALL,
            "chunk_hashes_list": [],
            "wasm_module_hash": b"",
            "arg": b"",
        },
        "uninstall_code": name,
        "upload_chunk": {**name, "chunk": b""},
        "stored_chunks": name,
        "clear_chunk_store": name,
        "canister_status": name,
        "canister_metrics": name,
    }


def test_only_controllers(subnet: Any) -> None:
    canister = subnet.installed()
    for method, args in arguments(canister).items():
        with refused(512, "Only the controllers of the canister"):
            subnet.call(BOB, method, **args)
        with refused(512, f"Only controllers of canister .* can call ic00 method {method}"):
            subnet.accepts(BOB, method, **args)
        subnet.accepts(ALICE, method, **args)
        missing = arguments(b"nobody")[method]
        with refused(301, "not found"):
            subnet.call(ALICE, method, **missing)
        with refused(301, "not found"):
            subnet.accepts(ALICE, method, **missing)
        if RULES[method].query:
            with refused(512):
                subnet.query(BOB, method, **args)
    assert status(subnet, canister)["status"] == ("running", None)


def test_canisters_only(subnet: Any) -> None:
    canister = subnet.installed()
    args = {
        "raw_rand": {},
        "deposit_cycles": {"canister_id": canister},
        "canister_metadata": {"canister_id": canister, "name": "x"},
        "subnet_info": {"subnet_id": b"subnet"},
        "subnet_metrics": {"subnet_id": b"subnet"},
        "node_metrics_history": {"subnet_id": b"subnet", "start_at_timestamp_nanos": 0},
    }
    for method, fields in args.items():
        with refused(406, f"Only canisters can call ic00 method {method}"):
            subnet.accepts(ALICE, method, **fields)
        with refused(406, "Only canisters"):
            subnet.call(ALICE, method, **fields)
    for method in ("canister_info", "fetch_canister_logs"):
        with refused(406):
            subnet.accepts(ALICE, method, canister_id=canister)


def test_a_canister_may_ask_about_itself(subnet: Any) -> None:
    canister = subnet.installed()
    assert status(subnet, canister, canister)["version"] == 1
    subnet.call(canister, "upload_chunk", canister_id=canister, chunk=b"x")
    assert subnet.call(canister, "stored_chunks", canister_id=canister)
    with refused(512):
        subnet.call(canister, "uninstall_code", canister_id=canister)


def test_frozen_canisters_take_only_what_helps(subnet: Any) -> None:
    canister = subnet.installed()
    subnet.replica.canisters[canister].cycles = 0
    for method, args in arguments(canister).items():
        if method == "update_settings":
            subnet.accepts(ALICE, method, **args)
        else:
            with refused(207, "out of cycles"):
                subnet.accepts(ALICE, method, **args)
    subnet.accepts(BOB, "provisional_top_up_canister", canister_id=canister, amount=1)


# --- settings ------------------------------------------------------------------------------------

ALL = {
    "controllers": [ALICE, BOB],
    "environment_variables": [{"name": "b", "value": "2"}, {"name": "a", "value": ""}],
    "compute_allocation": 100,
    "memory_allocation": 1 << 30,
    "freezing_threshold": 9,
    "reserved_cycles_limit": 2**128 - 1,
    "minimum_incoming_canister_call_cycles": 12,
    "wasm_memory_limit": 1 << 40,
    "wasm_memory_threshold": 55,
    "log_memory_limit": 2 << 20,
    "log_visibility": ("public", None),
    "snapshot_visibility": ("allowed_viewers", [CAROL, BOB]),
    "status_visibility": ("allowed_viewers", []),
}


def test_all_settings(subnet: Any) -> None:
    canister = subnet.create()
    first = status(subnet, canister)["settings"]
    assert first == {
        "controllers": [ALICE],
        "environment_variables": [],
        "compute_allocation": 0,
        "memory_allocation": 0,
        "freezing_threshold": 2_592_000,
        "reserved_cycles_limit": 5_000_000_000_000,
        "minimum_incoming_canister_call_cycles": 0,
        "wasm_memory_limit": 3 << 30,
        "wasm_memory_threshold": 0,
        "log_memory_limit": 4096,
        "log_visibility": ("controllers", None),
        "snapshot_visibility": ("controllers", None),
        "status_visibility": ("controllers", None),
    }
    update(subnet, canister)
    assert status(subnet, canister)["settings"] == first
    assert status(subnet, canister)["version"] == 1
    update(subnet, canister, **ALL)
    assert status(subnet, canister)["settings"] == ALL
    assert status(subnet, canister)["version"] == 2
    created = subnet.create(ALICE, BOB, **{k: v for k, v in ALL.items() if k != "controllers"})
    assert status(subnet, created)["settings"] == ALL


@pytest.mark.parametrize(
    ("settings", "code", "text"),
    [
        ({"controllers": [bytes([n]) for n in range(11)]}, 408, "maximum allowed 10"),
        ({"log_visibility": ("allowed_viewers", [ALICE] * 11)}, 408, "maximum allowed 10"),
        ({"snapshot_visibility": ("allowed_viewers", [ALICE] * 11)}, 408, "maximum allowed 10"),
        ({"status_visibility": ("allowed_viewers", [ALICE] * 11)}, 408, "maximum allowed 10"),
        ({"compute_allocation": 101}, 504, "compute_allocation"),
        ({"memory_allocation": (1 << 48) + 1}, 504, "memory_allocation"),
        ({"freezing_threshold": 1 << 64}, 504, "freezing_threshold"),
        ({"reserved_cycles_limit": 1 << 128}, 504, "reserved_cycles_limit"),
        ({"minimum_incoming_canister_call_cycles": 1 << 128}, 504, "minimum_incoming"),
        ({"wasm_memory_limit": (1 << 48) + 1}, 504, "wasm_memory_limit"),
        ({"wasm_memory_threshold": 1 << 64}, 504, "wasm_memory_threshold"),
        ({"log_memory_limit": 4095}, 504, "log_memory_limit"),
        ({"log_memory_limit": (2 << 20) + 1}, 504, "log_memory_limit"),
        (
            {"environment_variables": [{"name": str(n), "value": ""} for n in range(21)]},
            504,
            "Too many environment variables",
        ),
        (
            {"environment_variables": [{"name": "a", "value": v} for v in "xy"]},
            504,
            "Duplicate environment variables",
        ),
        ({"environment_variables": [{"name": "n" * 129, "value": ""}]}, 504, "name is too long"),
        ({"environment_variables": [{"name": "n", "value": "é" * 65}]}, 504, "value is too long"),
    ],
)
def test_invalid_settings(subnet: Any, settings: Any, code: Any, text: Any) -> None:
    canister = subnet.create()
    with refused(code, text):
        update(subnet, canister, **settings)
    assert status(subnet, canister)["version"] == 0
    with refused(code, text):
        subnet.call(ALICE, "provisional_create_canister_with_cycles", settings=settings)


def test_memory_allocation_must_be_had_and_paid_for(subnet: Any) -> None:
    canister = subnet.create(cycles=10**12)
    with refused(531, "Cannot increase memory allocation"):
        update(subnet, canister, memory_allocation=100 << 30)
    with refused(101, "available in the subnet"):
        update(subnet, canister, memory_allocation=3 << 40)
    update(subnet, canister, memory_allocation=100 << 30, freezing_threshold=60)
    # What is allocated is paid for: a snapshot within it needs nothing more.
    subnet.replica.canisters[canister].cycles = 0
    subnet.call(ALICE, "upload_chunk", canister_id=canister, chunk=b"x")
    update(subnet, canister, freezing_threshold=2**64 - 1)
    assert subnet.replica.canisters[canister].is_frozen


def test_ten_and_twenty_are_allowed(subnet: Any) -> None:
    canister = subnet.create()
    ten = [bytes([n]) for n in range(9)] + [ALICE]
    variables = [{"name": str(n), "value": "v" * 128} for n in range(20)]
    update(
        subnet,
        canister,
        controllers=ten,
        environment_variables=variables,
        snapshot_visibility=("allowed_viewers", ten),
    )
    seen = status(subnet, canister)["settings"]
    assert seen["controllers"] == sorted(ten)
    assert seen["environment_variables"] == variables


def test_controllers_can_lock_themselves_out(subnet: Any) -> None:
    canister = subnet.create()
    update(subnet, canister, controllers=[])
    with refused(512):
        status(subnet, canister)
    assert changes(subnet, canister)[-1]["details"] == ("controllers_change", {"controllers": []})


def test_status_visibility(subnet: Any) -> None:
    canister = subnet.create(status_visibility=("allowed_viewers", [BOB]))
    for asking in (subnet.call, subnet.query):
        assert asking(BOB, "canister_status", canister_id=canister)["version"] == 0
        with refused(512):
            asking(CAROL, "canister_status", canister_id=canister)
    subnet.accepts(BOB, "canister_status", canister_id=canister)
    update(subnet, canister, status_visibility=("public", None))
    assert status(subnet, canister, CAROL)
    with refused(512):
        update(subnet, canister, caller=BOB)


# --- code ----------------------------------------------------------------------------------------


def test_install_modes_and_history(subnet: Any) -> None:
    canister = subnet.create()
    with refused(537):
        install(subnet, canister, UPGRADE)
    install(subnet, canister)
    subnet.run(canister, "set", b"x")
    install(subnet, canister, UPGRADE)
    assert subnet.ask(canister, "get_stable") == b""
    install(subnet, canister, ("upgrade", {"skip_pre_upgrade": True}))
    install(subnet, canister, REINSTALL)
    with refused(514):
        install(subnet, canister)
    with refused(505):
        install(subnet, canister, REINSTALL, module=b"not wasm")
    subnet.call(ALICE, "uninstall_code", canister_id=canister)
    install(subnet, canister)
    found = changes(subnet, canister)
    deployed = [each["details"] for each in found]
    code = {"module_hash": hashlib.sha256(wasm()).digest()}
    assert deployed[1:] == [
        ("code_deployment", {"mode": INSTALL, **code}),
        ("code_deployment", {"mode": UPGRADE, **code}),
        ("code_deployment", {"mode": UPGRADE, **code}),
        ("code_deployment", {"mode": REINSTALL, **code}),
        ("code_uninstall", None),
        ("code_deployment", {"mode": INSTALL, **code}),
    ]
    versions = [each["canister_version"] for each in found]
    assert versions == [0, 1, 3, 4, 5, 6, 7]
    assert status(subnet, canister)["version"] == 7


def test_uninstall(subnet: Any) -> None:
    canister = subnet.installed()
    subnet.run(canister, "set", b"x")
    subnet.call(ALICE, "upload_chunk", canister_id=canister, chunk=b"abc")
    subnet.call(ALICE, "uninstall_code", canister_id=canister)
    seen = status(subnet, canister)
    assert seen["module_hash"] is None
    assert seen["memory_metrics"]["stable_memory_size"] == 0
    assert seen["memory_metrics"]["wasm_chunk_store_size"] == 0
    assert subnet.call(ALICE, "stored_chunks", canister_id=canister) == []
    with refused(537):
        subnet.run(canister, "set", b"x")


def test_chunk_store(subnet: Any) -> None:
    canister = subnet.create()
    assert subnet.call(ALICE, "stored_chunks", canister_id=canister) == []
    largest = bytes(1 << 20)
    reply = subnet.call(ALICE, "upload_chunk", canister_id=canister, chunk=largest)
    assert reply == {"hash": hashlib.sha256(largest).digest()}
    with refused(504, "Error from Wasm chunk store"):
        subnet.call(ALICE, "upload_chunk", canister_id=canister, chunk=largest + b"x")
    for n in range(99):
        subnet.call(ALICE, "upload_chunk", canister_id=canister, chunk=bytes([n]))
    with refused(504, "maximum capacity of 100"):
        subnet.call(ALICE, "upload_chunk", canister_id=canister, chunk=b"one more")
    subnet.call(ALICE, "upload_chunk", canister_id=canister, chunk=bytes([5]))
    assert len(subnet.call(ALICE, "stored_chunks", canister_id=canister)) == 100
    assert status(subnet, canister)["memory_metrics"]["wasm_chunk_store_size"] == 100 << 20
    subnet.call(ALICE, "clear_chunk_store", canister_id=canister)
    assert subnet.call(ALICE, "stored_chunks", canister_id=canister) == []
    subnet.replica.canisters[canister].cycles = 10
    with refused(532, "insufficient cycles"):
        subnet.call(ALICE, "upload_chunk", canister_id=canister, chunk=b"x")


def test_chunked_install(subnet: Any) -> None:
    store, target = subnet.create(), subnet.create()
    parts = [wasm()[:500], wasm()[500:]]
    keys = [subnet.call(ALICE, "upload_chunk", canister_id=store, chunk=part) for part in parts]

    def chunked(caller: Any = ALICE, **changed: Any) -> Any:
        args = {
            "target_canister": target,
            "store_canister": store,
            "mode": INSTALL,
            "chunk_hashes_list": keys,
            "wasm_module_hash": hashlib.sha256(wasm()).digest(),
            "arg": b"",
            **changed,
        }
        subnet.call(caller, "install_chunked_code", **args)

    with refused(504, "not found"):
        chunked(store_canister=None)
    with refused(504, "does not match given hash"):
        chunked(chunk_hashes_list=keys[::-1])
    with refused(301):
        chunked(store_canister=b"nobody")
    with refused(512):
        chunked(caller=BOB)
    update(subnet, target, controllers=[ALICE, BOB, store])
    with refused(512):
        chunked(caller=BOB)
    chunked(caller=store)
    assert status(subnet, target)["module_hash"] == hashlib.sha256(wasm()).digest()
    chunked(mode=UPGRADE)


# --- run state -----------------------------------------------------------------------------------


def test_stop_and_start(subnet: Any) -> None:
    canister = subnet.installed()
    subnet.call(ALICE, "stop_canister", canister_id=canister)
    assert status(subnet, canister)["status"] == ("stopped", None)
    assert status(subnet, canister)["ready_for_migration"] is True
    with refused(508):
        subnet.run(canister, "set", b"x")
    with refused(508):
        subnet.ask(canister, "get")
    subnet.call(ALICE, "stop_canister", canister_id=canister)
    subnet.call(ALICE, "start_canister", canister_id=canister)
    subnet.call(ALICE, "start_canister", canister_id=canister)
    assert status(subnet, canister)["status"] == ("running", None)
    subnet.run(canister, "set", b"x")


def hang(subnet: Any, canister: Any) -> Any:
    """Leave a call context open: the canister waits for itself to stop."""
    update(subnet, canister, controllers=[ALICE, canister])
    arg = forward("stop_canister", subnet.arg("stop_canister", canister_id=canister))
    outcome = subnet.replica.ingress(ALICE, canister, "forward", arg)
    assert not outcome.is_done
    return outcome


def test_starting_cancels_every_stop(subnet: Any) -> None:
    canister = subnet.installed()
    caller = hang(subnet, canister)
    assert status(subnet, canister)["status"] == ("stopping", None)
    with refused(509):
        subnet.run(canister, "set", b"x")
    stops = [subnet.send(ALICE, "stop_canister", canister_id=canister) for _ in range(2)]
    assert stops == [[], []]
    subnet.call(ALICE, "start_canister", canister_id=canister)
    assert [each[0].error_code for each in stops] == ["IC0511", "IC0511"]
    assert caller.get() == bytes([stops[0][0].code])
    assert status(subnet, canister)["status"] == ("running", None)


def test_stops_time_out(subnet: Any) -> None:
    canister = subnet.installed()
    caller = hang(subnet, canister)
    subnet.clock.advance(100)
    stop = subnet.send(ALICE, "stop_canister", canister_id=canister)
    subnet.clock.advance(199)
    subnet.replica.tick()
    assert not caller.is_done
    subnet.clock.advance(2)
    subnet.replica.tick()
    # The first one's time is over; its answer closes the call context, so the second one succeeds.
    assert caller.get() == b"\2"
    assert stop == [subnet.codec.encode_reply("stop_canister")]
    assert status(subnet, canister)["status"] == ("stopped", None)


def test_users_are_told_of_the_time_out(subnet: Any) -> None:
    canister, waiter = subnet.installed(), subnet.installed()
    hang(subnet, waiter)
    update(subnet, waiter, controllers=[ALICE, canister, waiter])
    arg = forward("stop_canister", subnet.arg("stop_canister", canister_id=waiter))
    subnet.replica.ingress(ALICE, canister, "forward", arg)
    stop = subnet.send(ALICE, "stop_canister", canister_id=canister)
    subnet.clock.advance(301)
    subnet.replica.tick()
    assert [(each.error_code, each.code) for each in stop] == [("IC0206", 2)]


def test_several_stops_succeed_together(subnet: Any) -> None:
    canister, waiter = subnet.installed(), subnet.installed()
    hang(subnet, waiter)
    update(subnet, waiter, controllers=[ALICE, canister, waiter])
    # The context of `canister` stays open until `waiter` stops.
    arg = forward("stop_canister", subnet.arg("stop_canister", canister_id=waiter))
    outcome = subnet.replica.ingress(ALICE, canister, "forward", arg)
    stops = [subnet.send(ALICE, "stop_canister", canister_id=canister) for _ in range(3)]
    assert stops == [[], [], []]
    subnet.call(ALICE, "start_canister", canister_id=waiter)
    assert outcome.is_done
    assert stops == [[subnet.codec.encode_reply("stop_canister")]] * 3


def test_delete(subnet: Any) -> None:
    canister = subnet.installed()
    with refused(510):
        subnet.call(ALICE, "delete_canister", canister_id=canister)
    update(subnet, canister, controllers=[ALICE, canister])
    subnet.call(ALICE, "stop_canister", canister_id=canister)
    with refused(406, "itself"):
        subnet.call(canister, "delete_canister", canister_id=canister)
    subnet.call(ALICE, "delete_canister", canister_id=canister)
    with refused(301):
        status(subnet, canister)


# --- asking --------------------------------------------------------------------------------------


def test_status_says_everything(subnet: Any) -> None:
    canister = subnet.installed()
    subnet.run(canister, "set", b"12345")
    seen = subnet.query(ALICE, "canister_status", canister_id=canister)
    assert seen == status(subnet, canister)
    metrics = seen["memory_metrics"]
    assert metrics["wasm_memory_size"] == 2 * 65536
    assert metrics["stable_memory_size"] == 65536
    assert metrics["wasm_binary_size"] == len(wasm())
    assert metrics["log_memory_store_size"] > 0
    assert metrics["canister_history_size"] > 0
    assert seen["module_hash"] == hashlib.sha256(wasm()).digest()
    assert seen["memory_size"] > 3 * 65536
    assert seen["idle_cycles_burned_per_day"] > 0
    assert seen["version"] == 2
    assert seen["ready_for_migration"] is False


def test_history_keeps_twenty(subnet: Any) -> None:
    canister = subnet.create()
    for n in range(25):
        update(subnet, canister, controllers=[ALICE, bytes([n])])
    info = subnet.query(BOB, "canister_info", canister_id=canister, num_requested_changes=20)
    assert info["total_num_changes"] == 26
    assert [each["canister_version"] for each in info["recent_changes"]] == list(range(6, 26))
    assert info["controllers"] == sorted([ALICE, bytes([24])])
    assert info["module_hash"] is None
    for none in (0, None):
        assert changes(subnet, canister, none) == []
    assert subnet.call(canister, "canister_info", canister_id=canister)["total_num_changes"] == 26


def test_metadata(subnet: Any) -> None:
    def section(name: Any, content: Any) -> Any:
        body = bytes([len(name)]) + name.encode() + content
        return b"\0" + bytes([len(body)]) + body

    module = (
        wasm("(module)")
        + section("icp:public candid:service", b"service {}")
        + section("icp:private secret", b"hidden")
    )
    canister, reader = subnet.create(), subnet.create()
    install(subnet, canister, module=module)

    def ask(caller: Any, name: Any) -> Any:
        return subnet.call(caller, "canister_metadata", canister_id=canister, name=name)["value"]

    assert ask(reader, "candid:service") == b"service {}"
    for name in ("secret", "nothing"):
        with refused(406, "no metadata section"):
            ask(reader, name)
    update(subnet, canister, controllers=[ALICE, reader])
    assert ask(reader, "secret") == b"hidden"


def test_logs(subnet: Any) -> None:
    canister = subnet.installed(log_visibility=("allowed_viewers", [BOB]))
    begin = subnet.clock.now
    for n in range(5):
        subnet.clock.advance(1)
        subnet.run(canister, "set", b"line %d" % n)

    def lines(caller: Any = BOB, *, wanted: Any = None) -> Any:
        reply = subnet.query(caller, "fetch_canister_logs", canister_id=canister, filter=wanted)
        return [(each["idx"], each["content"]) for each in reply["canister_log_records"]]

    all_lines = [(n, b"line %d" % n) for n in range(5)]
    assert lines() == lines(ALICE) == all_lines
    assert lines(wanted=("by_idx", {"start": 1, "end": 3})) == all_lines[1:3]
    span = {"start": begin + 2 * SECOND, "end": begin + 4 * SECOND}
    assert lines(wanted=("by_timestamp_nanos", span)) == all_lines[1:3]
    assert lines(wanted=("by_idx", {"start": 3, "end": 3})) == []
    with refused(408, "range"):
        lines(wanted=("by_idx", {"start": 3, "end": 2}))
    with refused(406, "not allowed to access canister logs"):
        lines(CAROL)
    update(subnet, canister, log_visibility=("public", None))
    assert lines(CAROL) == all_lines
    update(subnet, canister, log_memory_limit=0)
    assert lines() == []


def test_the_subnet(subnet: Any) -> None:
    ids = sorted(subnet.create() for _ in range(3))
    caller = ids[0]
    assert subnet.call(caller, "raw_rand") == b"r" * 32
    listed = subnet.query(ALICE, "list_canisters")["canisters"]
    assert listed == [{"start": each, "end": each} for each in ids]
    metrics = subnet.call(caller, "subnet_metrics", subnet_id=b"subnet")
    assert metrics["num_canisters"] == 3
    assert subnet.call(caller, "subnet_info", subnet_id=b"subnet")["replica_version"]
    since = {"start_at_timestamp_nanos": 0}
    assert subnet.call(caller, "node_metrics_history", subnet_id=b"subnet", **since) == []
    with refused(406, "not this subnet"):
        subnet.call(caller, "subnet_info", subnet_id=b"other")
    used = subnet.query(ALICE, "canister_metrics", canister_id=caller)["cycles_consumed"]
    assert used["memory"] == 0


def test_a_canister_calls_the_management_canister(subnet: Any) -> None:
    canister = subnet.installed(source=COUNTER)
    asked = forward("canister_status", subnet.arg("canister_status", canister_id=canister))
    reply = subnet.run(canister, "forward", asked)
    assert subnet.codec.decode_reply("canister_status", reply)[0]["cycles"] > 0
    random = subnet.run(canister, "forward", forward("raw_rand", subnet.arg("raw_rand")))
    assert subnet.codec.decode_reply("raw_rand", random) == [b"r" * 32]
    denied = forward("start_canister", subnet.arg("start_canister", canister_id=canister))
    assert subnet.run(canister, "forward", denied) == b"\5"
