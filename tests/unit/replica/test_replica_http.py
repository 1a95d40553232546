import threading
import time
from collections.abc import Iterator
from typing import Any

import cbor2
import pytest

from dfx_backup.replica.http import Response
from dfx_backup.replica.reject import Reject
from dfx_backup.replica.request_log import RequestLog
from tests.fakes import small_client as small
from tests.fakes.edge_stage import ME, ROOT, STRANGER, Stage, body, call
from tests.fakes.scripted_replica import CONTROLLER, ELSEWHERE, OWN


@pytest.fixture(params=[False, True], ids=["root", "delegation"])
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    stage = Stage(delegation=request.param)
    yield stage
    stage.close()


def text(response: Response) -> str:
    assert response.content_type.startswith("text/plain")
    return response.body.decode()


def test_status(stage: Stage) -> None:
    answer = body(stage.edge.handle("GET", "/api/v2/status"))
    assert answer["root_key"] == ROOT.root.public_der
    assert answer["replica_health_status"] == "healthy"
    assert "development" in answer["impl_version"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/api/v2/status", 405),
        ("GET", "/api/v4/canister/bnz7o-iuaaa-aaaaa-qaaaa-cai/call", 405),
        ("POST", "/api/v4/canister/bnz7o-iuaaa-aaaaa-qaaaa-cab/call", 400),
        ("POST", "/api/v4/canister/bnz7o-iuaaa-aaaaa-qaaaa-cai/query", 404),
        ("POST", "/api/v4/canister/bnz7o-iuaaa-aaaaa-qaaaa-cai/read_state", 404),
        ("POST", "/api/v2/subnet/bnz7o-iuaaa-aaaaa-qaaaa-cai/call", 404),
        ("POST", "/api/v5/canister/bnz7o-iuaaa-aaaaa-qaaaa-cai/call", 404),
        ("GET", "/", 404),
        ("POST", "/api/v2/status/", 404),
    ],
)
def test_paths_that_lead_nowhere(stage: Stage, method: str, path: str, status: int) -> None:
    assert stage.edge.handle(method, path).status == status


# Calls


@pytest.mark.parametrize("version", [3, 4])
def test_a_call_is_answered_with_a_certificate(stage: Stage, version: int) -> None:
    content = call("greet", b"!")
    response = stage.send(content, version=version)
    assert body(response)["status"] == "replied"
    tree = stage.tree(response, version)
    path = (b"request_status", small.hash_value(content))
    assert small.lookup(tree, *path, b"status") == b"replied"
    assert small.lookup(tree, *path, b"reply") == b"reply to greet!"
    assert small.lookup(tree, *path, b"reject_code") == small.ABSENT
    assert small.lookup(tree, b"canister") == small.UNKNOWN
    now = small.unleb(small.lookup(tree, b"time"))
    assert abs(now - time.time_ns()) < 5e9
    assert stage.replica.executed == [(ME.principal, OWN, "greet", b"!")]


@pytest.mark.parametrize("version", [3, 4])
def test_a_reject_is_certified_too(stage: Stage, version: int) -> None:
    content = call("reject")
    tree = stage.tree(stage.send(content, version=version), version)
    path = (b"request_status", small.hash_value(content))
    assert small.lookup(tree, *path, b"status") == b"rejected"
    assert small.lookup(tree, *path, b"reject_code") == b"\x05"
    assert small.lookup(tree, *path, b"reject_message") == b"it trapped"
    assert small.lookup(tree, *path, b"error_code") == b"IC0503"
    assert small.lookup(tree, *path, b"reply") == small.ABSENT


@pytest.mark.parametrize("version", [2, 3, 4])
def test_a_call_that_is_not_accepted(stage: Stage, version: int) -> None:
    content = call("refuse")
    answer = body(stage.send(content, version=version))
    assert answer.pop("status", None) == ("non_replicated_rejection" if version > 2 else None)
    expected = {"reject_code": 4, "reject_message": "not accepted", "error_code": "IC0406"}
    assert answer == expected
    assert not stage.replica.executed
    assert stage.status_of(content) == small.ABSENT


def test_an_asynchronous_call_is_polled(stage: Stage) -> None:
    content = call("greet")
    assert stage.status_of(content) == small.ABSENT
    response = stage.send(content, version=2)
    assert (response.status, response.body) == (202, b"")
    assert stage.status_of(content) == b"replied"


def test_a_call_that_takes_long_is_answered_202() -> None:
    stage = Stage(sync_timeout_s=0.05)
    content = call("stuck")
    assert stage.send(content).status == 202
    assert stage.status_of(content) == b"processing"
    stage.replica.open[0].finish(b"at last")
    assert stage.status_of(content) == b"replied"
    stage.close()


def test_a_call_waits_for_its_answer() -> None:
    stage = Stage(threads=True)
    content = call("stuck")
    timer = threading.Timer(0.1, lambda: stage.replica.open[0].finish(b"at last"))
    timer.start()
    tree = stage.tree(stage.send(content), 4)
    timer.join()
    reply = small.lookup(tree, b"request_status", small.hash_value(content), b"reply")
    assert reply == b"at last"
    stage.close()


def test_the_same_request_executes_once(stage: Stage) -> None:
    content = call("greet", nonce=b"1")
    first, second = stage.send(content), stage.send(content)
    assert first.status == second.status == 200
    assert len(stage.replica.executed) == 1
    assert stage.send({**content, "nonce": b"2"}).status == 200
    assert len(stage.replica.executed) == 2


def test_sending_again_while_it_executes_executes_once() -> None:
    stage = Stage(threads=True)
    content = call("stuck")
    answers: list[Response] = []
    threads = [
        threading.Thread(target=lambda: answers.append(stage.send(content))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    while not stage.replica.open:
        time.sleep(0.01)
    stage.replica.open[0].finish(b"")
    for thread in threads:
        thread.join()
    assert len(stage.replica.executed) == 1
    assert all(body(answer)["status"] == "replied" for answer in answers)
    assert len(answers) == 4
    stage.close()


def test_anonymous_calls(stage: Stage) -> None:
    content = small.call(OWN, "greet")
    response = stage.send(content, signer=None)
    assert body(response)["status"] == "replied"
    tree = stage.tree(stage.read([b"request_status", small.hash_value(content)], signer=None), 3)
    assert small.lookup(tree, b"request_status", small.hash_value(content), b"status") == b"replied"


def test_bad_bodies_are_answered_in_words(stage: Stage) -> None:
    path = "/api/v4/canister/bnz7o-iuaaa-aaaaa-qaaaa-cai/call"
    response = stage.post(path, b"\xff")
    assert response.status == 400
    assert "not CBOR" in text(response)
    expired = {**call("greet"), "ingress_expiry": 1}
    response = stage.send(expired)
    assert response.status == 400
    assert "Invalid request expiry" in text(response)
    response = stage.post(path, small.envelope(call("greet"), STRANGER))
    assert response.status == 400
    assert "Invalid signature" in text(response)


def test_sizes(stage: Stage) -> None:
    path = "/api/v4/canister/bnz7o-iuaaa-aaaaa-qaaaa-cai/"
    assert stage.call("greet", bytes(2_090_000)).status == 200
    assert stage.call("greet", bytes(2 * 1024 * 1024)).status == 413
    assert stage.query("greet", bytes(2_100_000)).status == 200
    for kind in ("call", "query", "read_state"):
        version = path if kind == "call" else path.replace("v4", "v3")
        response = stage.post(version + kind, bytes(5 * 1024 * 1024 + 1))
        assert response.status == 413
        assert "larger" in text(response)


def test_large_replies(stage: Stage) -> None:
    content = call("big:2000000")
    tree = stage.tree(stage.send(content), 4)
    reply = small.lookup(tree, b"request_status", small.hash_value(content), b"reply")
    assert reply == bytes(2_000_000)


# Effective ids


def management(method: str, arg: bytes = b"", **more: Any) -> dict[str, Any]:
    return {**call(method, arg, **more), "canister_id": b""}


def test_a_call_goes_to_its_canister(stage: Stage) -> None:
    response = stage.send(call("greet"), place=ELSEWHERE)
    assert response.status == 400
    assert "does not match" in text(response)
    response = stage.send(call("greet", kind="query"), place=ELSEWHERE, version=3)
    assert response.status == 400
    assert not stage.replica.executed


def test_a_management_call_goes_to_the_canister_it_is_about(stage: Stage) -> None:
    assert stage.send(management("start_canister", OWN)).status == 200
    assert stage.send(management("start_canister", OWN), place=ELSEWHERE).status == 400
    assert stage.send(management("start_canister", OWN), place=b"").status == 400
    assert stage.send(management("raw_rand"), place=OWN).status == 200  # refused by others
    for method in ("create_canister", "provisional_create_canister_with_cycles"):
        assert stage.send(management(method, OWN), place=ELSEWHERE).status == 200
        assert stage.send(management(method, OWN), place=b"").status == 200


def test_a_subnet_takes_only_few_requests(stage: Stage) -> None:
    subnet = stage.keys.subnet_id
    create = management("create_canister")
    assert stage.send(create, place=subnet, scope="subnet").status == 200
    assert stage.send(create, place=OWN, scope="subnet").status == 400
    assert stage.send(management("start_canister", OWN), place=subnet, scope="subnet").status == 400
    assert stage.send(call("greet"), place=subnet, scope="subnet").status == 400
    listing = management("list_canisters", kind="query")
    assert stage.send(listing, place=subnet, scope="subnet", version=3).status == 200
    other = call("greet", kind="query")
    assert stage.send(other, place=subnet, scope="subnet", version=3).status == 400


# Queries


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("method", ["greet", "reject", "big:2000000"])
def test_queries_are_signed_by_a_certified_node(stage: Stage, version: int, method: str) -> None:
    content = call(method, kind="query")
    answer = body(stage.send(content, version=version))
    identity = answer["signatures"][0]["identity"]
    tree = stage.tree(stage.read([b"subnet"]), 3)
    key = small.lookup(tree, b"subnet", stage.keys.subnet_id, b"node", identity, b"public_key")
    small.check_query(answer, content, key)
    if method == "reject":
        assert answer["status"] == "rejected"
        assert (answer["reject_code"], answer["error_code"]) == (5, "IC0503")
    else:
        assert answer["status"] == "replied"
        assert answer["reply"]["arg"] == stage.replica.query(b"", OWN, method, b"")


@pytest.mark.parametrize("version", [2, 3])
def test_a_query_sees_its_canisters_certificate(stage: Stage, version: int) -> None:
    answer = body(stage.query("certificate", version=version))
    form = ("sharded" if version == 3 else "flat") if stage.delegation else None
    tree = small.check_certificate(
        answer["reply"]["arg"], ROOT.root.public_der, canister_id=OWN, form=form
    )
    assert small.lookup(tree, b"canister", OWN, b"certified_data") == b"certified"
    assert small.lookup(tree, b"canister", OWN, b"controllers") == small.UNKNOWN
    assert isinstance(small.lookup(tree, b"time"), bytes)


# Read state


@pytest.mark.parametrize("version", [2, 3])
def test_a_canister_can_be_read(stage: Stage, version: int) -> None:
    names = (
        b"module_hash",
        b"controllers",
        b"canister_creation_timestamp",
        b"last_install_timestamp",
    )
    paths = [[b"canister", OWN, name] for name in names]
    paths.append([b"canister", OWN, b"metadata", b"candid:service"])
    tree = stage.tree(stage.read(*paths, version=version), version)
    assert small.lookup(tree, b"canister", OWN, b"module_hash") == b"\x11" * 32
    controllers = small.lookup(tree, b"canister", OWN, b"controllers")
    assert controllers.startswith(small.TAG)
    assert cbor2.loads(controllers) in ([CONTROLLER], (CONTROLLER,))
    assert small.lookup(tree, b"canister", OWN, b"canister_creation_timestamp") == b"\x07"
    assert small.lookup(tree, b"canister", OWN, b"last_install_timestamp") == b"\x08"
    metadata = small.lookup(tree, b"canister", OWN, b"metadata", b"candid:service")
    assert metadata == b"service : {}"
    assert small.lookup(tree, b"canister", OWN, b"metadata", b"secret") == small.UNKNOWN
    assert small.lookup(tree, b"canister", OWN, b"certified_data") == small.UNKNOWN


def test_absence_is_proven(stage: Stage) -> None:
    nobody = bytes.fromhex("80000000001000050101")
    cases = [
        (nobody, (b"canister", nobody, b"module_hash")),
        (OWN, (b"canister", OWN, b"metadata", b"no such")),
        (OWN, (b"request_status", bytes(32), b"status")),
        (OWN, (b"api_boundary_nodes",)),
    ]
    for place, path in cases:
        tree = stage.tree(stage.read(list(path), place=place), 3, place)
        assert small.lookup(tree, *path) in (small.ABSENT, [0])


def test_a_specified_id_is_in_the_ranges(stage: Stage) -> None:
    response = stage.read([b"canister", ELSEWHERE, b"module_hash"], place=ELSEWHERE)
    tree = stage.tree(response, 3, ELSEWHERE)
    assert small.lookup(tree, b"canister", ELSEWHERE, b"module_hash") == b"\x11" * 32


def test_private_sections_are_for_controllers(stage: Stage) -> None:
    path = [b"canister", OWN, b"metadata", b"secret"]
    assert stage.read(path).status == 403
    stage.replica.canisters[OWN].controllers.append(ME.principal)
    tree = stage.tree(stage.read(path), 3)
    assert small.lookup(tree, *path) == b"private"
    assert stage.read(path, signer=None).status == 403
    assert stage.read([b"canister", OWN, b"metadata", b"\xff"]).status == 400


def test_a_status_is_for_its_sender_at_its_place(stage: Stage) -> None:
    content = call("greet")
    stage.send(content)
    path = [b"request_status", small.hash_value(content)]
    assert stage.read(path).status == 200
    assert stage.read([*path, b"status"], [*path, b"reply"]).status == 200
    assert stage.read(path, signer=STRANGER).status == 403
    assert stage.read(path, signer=None).status == 403
    assert stage.read(path, place=ELSEWHERE).status == 400
    assert stage.read(path, place=stage.keys.subnet_id, scope="subnet").status == 400
    assert stage.read(path, [b"request_status", bytes(32)]).status == 400
    assert stage.read([b"request_status", bytes(31)]).status == 400


def test_a_status_is_for_delegations_that_hold_for_the_canister(stage: Stage) -> None:
    content = call("greet")
    stage.send(content)
    read = small.read([b"request_status", small.hash_value(content)], sender=ME.principal)
    path = "/api/v3/canister/bnz7o-iuaaa-aaaaa-qaaaa-cai/read_state"
    for targets, status in (([OWN], 200), ([ELSEWHERE], 403)):
        chain = (small.delegate(ME, STRANGER, small.expiry(), targets=targets),)
        envelope = small.envelope(read, STRANGER, chain=chain, root=ME)
        assert stage.post(path, envelope).status == status


def test_the_subnet_can_be_read(stage: Stage) -> None:
    subnet = stage.keys.subnet_id
    for version in (2, 3):
        for scope, place in (("canister", OWN), ("subnet", subnet)):
            response = stage.read([b"subnet"], version=version, scope=scope, place=place)
            tree = stage.tree(response, version, OWN if scope == "canister" else None)
            assert small.lookup(tree, b"subnet", subnet, b"public_key") == (
                stage.keys.subnet.public_der
            )
            assert small.lookup(tree, b"subnet", subnet, b"type") == b"application"
            ranges = small.lookup(tree, b"subnet", subnet, b"canister_ranges")
            if version == 2 or not stage.delegation:
                assert any(low <= ELSEWHERE <= high for low, high in cbor2.loads(ranges))
            else:
                assert ranges == small.UNKNOWN


def test_ranges_and_metrics_are_read_at_the_subnet(stage: Stage) -> None:
    subnet = stage.keys.subnet_id
    ranges, metrics = [b"canister_ranges", subnet], [b"subnet", subnet, b"metrics"]
    assert stage.read(ranges).status == 404
    assert stage.read(metrics).status == 404
    assert stage.read(ranges, [b"canister_ranges", b"x"]).status == 400
    flat = stage.read([b"subnet", subnet, b"canister_ranges"], scope="subnet", place=subnet)
    assert flat.status == (404 if stage.delegation else 200)
    response = stage.read(ranges, metrics, scope="subnet", place=subnet)
    tree = stage.tree(response, 3, None)
    shards = small.children(small.lookup(tree, *ranges))
    pairs = [pair for _, leaf in shards.values() for pair in cbor2.loads(leaf)]
    assert all(cbor2.loads(leaf)[0][0] == start for start, (_, leaf) in shards.items())
    assert all(any(low <= one <= high for low, high in pairs) for one in (OWN, ELSEWHERE))
    values = cbor2.loads(small.lookup(tree, *metrics))
    assert values["num_canisters"] == 2
    assert values["canister_state_bytes"] == 2000


@pytest.mark.parametrize(
    "path",
    [
        [],
        [b"nothing"],
        [b"time", b"x"],
        [b"canister"],
        [b"canister", OWN],
        [b"canister", OWN, b"certified_data"],
        [b"canister", OWN, b"module_hash", b"x"],
        [b"request_status"],
        [b"request_status", bytes(32), b"x"],
        [b"subnet", b"x", b"y"],
        [b"subnet", b"x", b"type", b"z"],
        [b"subnet", b"x", b"node", b"y", b"z"],
        [b"api_boundary_nodes", b"x", b"y"],
        [b"\xff\x00"],
    ],
)
def test_paths_that_nobody_reads(stage: Stage, path: list[bytes]) -> None:
    response = stage.read(path)
    assert response.status == 404
    assert "Invalid path" in text(response)


def test_a_canister_is_read_at_its_place(stage: Stage) -> None:
    path = [b"canister", OWN, b"module_hash"]
    assert stage.read(path, place=ELSEWHERE).status == 400
    assert stage.read(path, place=stage.keys.subnet_id, scope="subnet").status == 400


def test_anonymous_reads_may_be_old(stage: Stage) -> None:
    content = {**small.read([b"time"]), "ingress_expiry": 1}
    assert stage.send(content, version=3, signer=None).status == 200
    content = {**call("greet", kind="query"), "ingress_expiry": 1, "sender": small.ANONYMOUS}
    assert stage.send(content, version=3, signer=None).status == 200


# The log of calls


def test_old_replies_make_room_but_never_those_in_use() -> None:
    log = RequestLog(max_reply_bytes=250)
    stage = Stage()
    entries = []
    for number in range(4):
        content = call("greet", nonce=bytes([number]))
        stage.log = log
        request = stage_request(content)
        entry, new = log.open(request, OWN)
        assert new
        entries.append(entry)
        if number != 1:
            log.release(entry)
        log.finish(entry, bytes(100), 10)
    statuses = [entry.status.value for entry in entries]
    assert statuses == ["done", "replied", "done", "replied"]
    assert log.reply_bytes == 200
    log.finish(log.open(stage_request(call("big")), OWN)[0], bytes(240), 10)
    log.release(entries[1])
    assert [entry.status.value for entry in entries] == ["done"] * 4
    assert log.reply_bytes == 240


def stage_request(content: dict[str, Any]) -> Any:
    from dfx_backup.replica.auth import open_envelope  # noqa: PLC0415 - one use

    return open_envelope(small.envelope(content, ME), "call", time.time_ns())


def test_the_log_forgets_but_not_before_the_expiry() -> None:
    log = RequestLog()
    request = stage_request(call("greet"))
    entry, _ = log.open(request, OWN)
    log.finish(entry, b"x", time.time_ns())
    log.release(entry)
    log.forget(request.ingress_expiry)
    assert log.find(request.request_id) is entry
    log.forget(time.time_ns() + 301 * 10**9)
    assert log.find(request.request_id) is None
    assert (len(log), log.reply_bytes) == (0, 0)


def test_refused_calls_can_be_sent_again() -> None:
    stage = Stage()
    content = call("refuse")
    assert body(stage.send(content))["status"] == "non_replicated_rejection"
    stage.replica.accepts_ingress = lambda *_: None  # type: ignore[method-assign]
    assert body(stage.send(content))["status"] == "replied"


def test_a_bug_in_the_replica_ends_the_call() -> None:
    stage = Stage()

    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    stage.replica.ingress = broken  # type: ignore[method-assign,assignment]
    content = call("greet")
    with pytest.raises(ZeroDivisionError):
        stage.send(content)
    assert stage.status_of(content) == b"rejected"
    stage.replica.accepts_ingress = broken  # type: ignore[method-assign,assignment]
    other = call("greet", nonce=b"x")
    with pytest.raises(ZeroDivisionError):
        stage.send(other)
    assert stage.status_of(other) == small.ABSENT
    assert stage.faults.counters().in_flight == 0


def test_rejects_are_texts_of_any_kind(stage: Stage) -> None:
    def rejecting(*_: object, **__: object) -> bytes:
        raise Reject(5, "ünïcode \0", "IC0503")

    stage.replica.query = rejecting  # type: ignore[method-assign]
    assert body(stage.query("greet"))["reject_message"] == "ünïcode \0"
