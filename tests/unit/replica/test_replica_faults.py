import dataclasses
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from dfx_backup.errors import UsageError
from dfx_backup.replica.faults import Delay, Faults, RejectFault
from dfx_backup.replica.injector import FaultInjector
from tests.fakes import small_client as small
from tests.fakes.edge_stage import ROOT, Stage, body, call
from tests.fakes.scripted_replica import OWN


@pytest.fixture
def stage() -> Iterator[Stage]:
    stage = Stage()
    yield stage
    stage.close()


# The switches as data

GOOD: dict[str, Any] = {
    "seed": 7,
    "latency_status_s": 0.1,
    "latency_call_s": 1,
    "latency_query_s": 0.1,
    "latency_read_state_s": 0.1,
    "latency_by_method_s": {"take": 2.5},
    "latency_jitter_s": 0.1,
    "max_calls_in_flight": 3,
    "affected_kinds": ["call", "status"],
    "http_error_next": -1,
    "http_error_rate": 0.5,
    "http_error_status": 500,
    "too_many_requests_next": 1,
    "too_many_requests_rate": 0.25,
    "drop_before_next": 1,
    "drop_before_rate": 1,
    "drop_after_next": 1,
    "drop_after_rate": 0,
    "hang_next": 1,
    "hang_s": 2,
    "truncate_next": 1,
    "lost_reply": {"*": -1},
    "delayed_execution": {"stop_canister": {"seconds": 3, "times": 2, "skip": 1}},
    "reject": {"take": {"reject_code": 2, "message": "m", "certified": False}},
    "always_202": True,
    "processing_s": 1.5,
    "prune_replies": True,
    "stale_time_s": 400,
    "bad_signature_next": 1,
    "bad_query_signature_next": 1,
    "wrong_subnet_next": 1,
    "corrupt_chunk_next": 1,
    "corrupt_chunk_skip": 2,
}  # fmt: skip


def test_every_switch_goes_through_json() -> None:
    assert set(GOOD) == {field.name for field in dataclasses.fields(Faults)}
    faults = Faults().changed(json.loads(json.dumps(GOOD)))
    assert faults.delayed_execution == {"stop_canister": Delay(seconds=3, times=2, skip=1)}
    assert faults.reject["take"] == RejectFault(message="m", certified=False)
    again = Faults().changed(json.loads(json.dumps(faults.to_json())))
    assert again == faults
    assert all(getattr(faults, name) != getattr(Faults(), name) for name in GOOD if GOOD[name])


@pytest.mark.parametrize(
    "changes",
    [
        {"nothing": 1},
        {"seed": "1"},
        {"seed": 1.5},
        {"latency_call_s": -1},
        {"latency_call_s": True},
        {"latency_call_s": "1"},
        {"http_error_rate": 1.1},
        {"http_error_next": -2},
        {"http_error_status": 200},
        {"affected_kinds": ["calls"]},
        {"affected_kinds": "call"},
        {"always_202": 1},
        {"max_calls_in_flight": 1.5},
        {"lost_reply": 1},
        {"lost_reply": {"a": "b"}},
        {"latency_by_method_s": {"a": -1}},
        {"delayed_execution": {"a": {}}},
        {"delayed_execution": {"a": 3}},
        {"delayed_execution": {"a": {"seconds": 1, "hours": 2}}},
        {"reject": {"a": {"reject_code": 7}}},
        {"reject": {"a": {"code": 2}}},
        {"reject": {"a": {"message": 2}}},
        {"reject": {"a": {"certified": 1}}},
    ],
)
def test_wrong_switches_are_refused_by_name(changes: dict[str, Any]) -> None:
    injector = FaultInjector()
    with pytest.raises(UsageError) as caught:
        injector.set(**changes)
    assert next(iter(changes)) in caught.value.message
    assert injector.current == Faults()


def test_random_faults_repeat_with_their_seed() -> None:
    def draw(seed: int) -> list[bool]:
        injector = FaultInjector()
        injector.set(http_error_rate=0.5, seed=seed)
        return [injector.strikes("http_error", "call") for _ in range(64)]

    assert draw(1) == draw(1) != draw(2)
    assert 10 < sum(draw(1)) < 54


def test_reset_switches_all_off_and_keeps_the_counters(stage: Stage) -> None:
    stage.faults.set(http_error_next=-1)
    assert stage.call("greet").status == 503
    stage.faults.reset()
    assert stage.faults.current == Faults()
    assert stage.call("greet").status == 200
    assert stage.faults.counters().injected == {"http_error": 1}
    stage.faults.reset_counters()
    assert stage.faults.counters().injected == {}


# The switches at work


def test_latency_by_kind_and_by_method(stage: Stage) -> None:
    stage.faults.set(
        latency_status_s=0.1,
        latency_call_s=0.2,
        latency_query_s=0.3,
        latency_read_state_s=0.4,
        latency_by_method_s={"slow": 5},
    )
    stage.edge.handle("GET", "/api/v2/status")
    stage.call("greet")
    stage.query("greet")
    stage.read([b"time"])
    assert stage.slept == [0.1, 0.2, 0.3, 0.4]
    stage.call("slow")
    stage.query("slow")
    assert stage.slept[4:] == [0.2, 5, 0.3, 5]
    stage.faults.reset()
    stage.faults.set(latency_jitter_s=1)
    for _ in range(10):
        stage.query("greet")
    jitter = stage.slept[8:]
    assert len(set(jitter)) == 10
    assert all(0 < seconds < 1 for seconds in jitter)


def test_calls_in_flight_are_capped(stage: Stage) -> None:
    stage.faults.set(max_calls_in_flight=1)
    statuses: list[int] = []
    real = stage.replica.accepts_ingress

    def meanwhile(*_: Any) -> None:
        stage.replica.accepts_ingress = real  # type: ignore[method-assign]
        statuses.append(stage.call("second").status)
        statuses.append(stage.query("greet").status)

    stage.replica.accepts_ingress = meanwhile  # type: ignore[method-assign]
    assert stage.call("first").status == 200
    assert statuses == [429, 200]
    assert stage.call("third").status == 200
    counters = stage.faults.counters()
    assert counters.injected == {"max_calls_in_flight": 1}
    assert (counters.max_calls_in_flight, counters.max_in_flight, counters.in_flight) == (2, 2, 0)


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"http_error_next": 2}, 503),
        ({"http_error_next": 2, "http_error_status": 500}, 500),
        ({"too_many_requests_next": 2}, 429),
    ],
)
def test_the_next_requests_fail(stage: Stage, changes: dict[str, Any], status: int) -> None:
    stage.faults.set(**changes)
    assert [stage.call("greet").status, stage.query("greet").status] == [status, status]
    assert stage.call("greet").status == 200
    assert len(stage.replica.executed) == 1


@pytest.mark.parametrize(
    ("switch", "status"), [("http_error_rate", 503), ("too_many_requests_rate", 429)]
)
def test_a_part_of_the_requests_fails(stage: Stage, switch: str, status: int) -> None:
    stage.faults.set(**{switch: 0.3, "seed": 1})
    statuses = [stage.send(call("greet", nonce=bytes([i]))).status for i in range(100)]
    assert 15 < statuses.count(status) < 45
    assert statuses.count(200) == 100 - statuses.count(status)


def test_faults_spare_kinds_that_are_not_meant(stage: Stage) -> None:
    stage.faults.set(http_error_next=-1, affected_kinds=["read_state"])
    assert stage.call("greet").status == stage.query("greet").status == 200
    assert stage.edge.handle("GET", "/api/v2/status").status == 200
    assert stage.read([b"time"]).status == 503
    stage.faults.set(affected_kinds=["status"])
    assert stage.edge.handle("GET", "/api/v2/status").status == 503


def test_connections_drop_before_or_after_execution(stage: Stage) -> None:
    stage.faults.set(drop_before_next=1)
    assert stage.call("greet").drop
    assert not stage.replica.executed
    stage.faults.set(drop_after_next=1)
    content = call("greet")
    assert stage.send(content).drop
    assert len(stage.replica.executed) == 1
    assert stage.status_of(content) == b"replied"
    assert stage.faults.counters().responses["dropped"] == 2


def test_connections_drop_at_a_rate(stage: Stage) -> None:
    stage.faults.set(drop_before_rate=0.5)
    dropped = [stage.query("greet").drop for _ in range(40)]
    assert 5 < sum(dropped) < 35
    stage.faults.set(drop_before_rate=0, drop_after_rate=1)
    assert stage.query("greet").drop


def test_connections_hang(stage: Stage) -> None:
    stage.faults.set(hang_next=1, hang_s=7)
    response = stage.call("greet")
    assert (response.hang_s, response.drop) == (7, True)
    assert not stage.replica.executed


def test_answers_are_cut(stage: Stage) -> None:
    stage.faults.set(truncate_next=1)
    assert stage.call("greet").truncate
    assert not stage.call("greet").truncate


def test_a_reply_is_lost_after_execution(stage: Stage) -> None:
    stage.faults.set(lost_reply={"take": 1})
    content = call("take")
    assert not stage.call("greet").drop
    assert stage.send(content).drop
    assert [entry[2] for entry in stage.replica.executed] == ["greet", "take"]
    assert stage.status_of(content) == b"replied"
    assert body(stage.send(content))["status"] == "replied"
    assert len(stage.replica.executed) == 2
    assert not stage.call("take", b"again").drop


def test_execution_is_delayed_and_the_answer_lost(stage: Stage) -> None:
    stage.faults.set(delayed_execution={"stop": {"seconds": 0.15, "skip": 1}})
    assert stage.call("stop", b"skipped").status == 200
    content = call("stop")
    assert stage.send(content).drop
    assert stage.status_of(content) == small.ABSENT
    assert stage.send(content).status == 202
    assert stage.call("start").status == 200
    assert [entry[2] for entry in stage.replica.executed] == ["stop", "start"]
    deadline = time.monotonic() + 5
    while stage.status_of(content) != b"replied":
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert [entry[2] for entry in stage.replica.executed] == ["stop", "start", "stop"]
    assert stage.call("stop", b"third").status == 200


def test_a_delayed_call_never_executes_after_its_expiry(stage: Stage) -> None:
    stage.faults.set(delayed_execution={"stop": {"seconds": 0.05}})
    content = call("stop")
    assert stage.send(content).drop
    stage.replica.offset_ns = 300 * 10**9
    time.sleep(0.2)
    assert not stage.replica.executed
    assert len(stage.log) == 0


def test_delayed_calls_are_given_up_when_the_edge_closes(stage: Stage) -> None:
    stage.faults.set(delayed_execution={"*": {"seconds": 0.05}})
    assert stage.call("stop").drop
    stage.edge.close()
    time.sleep(0.15)
    assert not stage.replica.executed


@pytest.mark.parametrize("certified", [True, False])
def test_a_method_is_rejected_a_number_of_times(stage: Stage, certified: bool) -> None:  # noqa: FBT001
    fault = {
        "reject_code": 2,
        "error_code": "IC0210",
        "message": "heap delta",
        "times": 2,
        "skip": 1,
        "certified": certified,
    }
    stage.faults.set(reject={"take": fault})
    kinds = []
    for number in range(5):
        content = call("take", nonce=bytes([number]))
        answer = stage.send(content)
        if body(answer)["status"] == "non_replicated_rejection":
            assert body(answer)["error_code"] == "IC0210"
            kinds.append("refused")
            continue
        path = (b"request_status", small.hash_value(content))
        tree = stage.tree(answer, 4)
        kinds.append(small.lookup(tree, *path, b"status").decode())
        if kinds[-1] == "rejected":
            assert small.lookup(tree, *path, b"reject_code") == b"\x02"
            assert small.lookup(tree, *path, b"error_code") == b"IC0210"
            assert small.lookup(tree, *path, b"reject_message") == b"heap delta"
    bad = "rejected" if certified else "refused"
    assert kinds == ["replied", bad, bad, "replied", "replied"]
    assert len(stage.replica.executed) == 3


def test_queries_are_rejected_too(stage: Stage) -> None:
    stage.faults.set(reject={"*": {"reject_code": 1, "error_code": "IC0101", "times": -1}})
    answer = body(stage.query("greet"))
    assert (answer["status"], answer["reject_code"]) == ("rejected", 1)


def test_calls_are_always_polled(stage: Stage) -> None:
    stage.faults.set(always_202=True)
    content = call("greet")
    assert stage.send(content).status == 202
    assert stage.status_of(content) == b"replied"
    assert body(stage.call("refuse"))["status"] == "non_replicated_rejection"


def test_calls_read_as_processing_for_a_while(stage: Stage) -> None:
    stage.faults.set(always_202=True, processing_s=60)
    content = call("greet")
    stage.send(content)
    assert stage.status_of(content) == b"processing"
    stage.replica.offset_ns = 61 * 10**9
    assert stage.status_of(content) == b"replied"


def test_replies_are_pruned(stage: Stage) -> None:
    stage.faults.set(always_202=True, prune_replies=True)
    content = call("greet")
    stage.send(content)
    assert stage.status_of(content) == b"done"
    path = (b"request_status", small.hash_value(content))
    tree = stage.tree(stage.read(list(path)), 3)
    assert small.lookup(tree, *path, b"reply") == small.ABSENT


def test_time_is_stale(stage: Stage) -> None:
    stage.faults.set(stale_time_s=1000)
    for response in (stage.call("greet"), stage.read([b"time"])):
        seen = small.unleb(small.lookup(stage.tree(response, 4), b"time"))
        assert 990e9 < time.time_ns() - seen < 1010e9
    stamp = body(stage.query("greet"))["signatures"][0]["timestamp"]
    assert 990e9 < time.time_ns() - stamp < 1010e9


def test_signatures_are_bad(stage: Stage) -> None:
    stage.faults.set(bad_signature_next=2)
    for response in (stage.call("greet"), stage.read([b"time"])):
        with pytest.raises(small.BadProof, match="signature"):
            stage.tree(response, 4)
    stage.tree(stage.read([b"time"]), 3)


def test_query_signatures_are_bad(stage: Stage) -> None:
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - one use

    stage.faults.set(bad_query_signature_next=1)
    content = call("greet", kind="query")
    key = stage.keys.node_public_der
    with pytest.raises(InvalidSignature):
        small.check_query(body(stage.send(content, version=3)), content, key)
    small.check_query(body(stage.send(content, version=3)), content, key)


@pytest.mark.parametrize("delegation", [False, True])
@pytest.mark.parametrize("version", [3, 4])
def test_certificates_of_another_subnet(version: int, delegation: bool) -> None:  # noqa: FBT001
    stage = Stage(delegation=delegation)
    stage.faults.set(wrong_subnet_next=1)
    content = call("greet")
    form = "sharded" if version == 4 else "flat"
    certificate = body(stage.send(content, version=version))["certificate"]
    root = ROOT.root.public_der
    tree = small.check_certificate(certificate, root, form=form)
    assert small.lookup(tree, b"request_status", small.hash_value(content), b"status") == b"replied"
    with pytest.raises(small.BadProof, match="not in the ranges"):
        small.check_certificate(certificate, root, canister_id=OWN, form=form)
    stage.tree(stage.send(content, version=version), version)


def test_a_chunk_is_corrupted_but_certified(stage: Stage) -> None:
    stage.faults.set(corrupt_chunk_next=1, corrupt_chunk_skip=1)
    replies = []
    for number in range(3):
        content = call("read_canister_snapshot_data", bytes(100) + bytes([number]))
        tree = stage.tree(stage.send(content), 4)
        replies.append(small.lookup(tree, b"request_status", small.hash_value(content), b"reply"))
    good = [stage.replica.query(b"", OWN, entry[2], entry[3]) for entry in stage.replica.executed]
    assert replies[0] == good[0]
    assert replies[2] == good[2]
    assert sum(a != b for a, b in zip(replies[1], good[1], strict=True)) == 1
    stage.faults.set(corrupt_chunk_next=1)
    assert stage.call("greet", bytes(100)).status == 200
    assert stage.faults.current.corrupt_chunk_next == 1


def test_counters(stage: Stage) -> None:
    stage.call("greet")
    stage.call("greet", b"again")
    stage.call("refuse")
    stage.query("look")
    stage.read([b"time"])
    stage.edge.handle("GET", "/api/v2/status")
    stage.edge.handle("GET", "/nothing")
    counters = stage.faults.counters()
    assert counters.requests == {"call": 3, "query": 1, "read_state": 1, "status": 1, "other": 1}
    assert counters.calls == {"greet": 2, "refuse": 1}
    assert counters.queries == {"look": 1}
    assert counters.executed == {"greet": 2}
    assert counters.responses == {"200": 6, "404": 1}
    assert counters.bytes_in > 500
    assert counters.bytes_out > 500
    assert json.loads(json.dumps(counters.to_json()))["calls"] == {"greet": 2, "refuse": 1}
