import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dfx_backup.errors import CertificateError, NetworkError, RejectError
from dfx_backup.ic.principal import Principal
from dfx_backup.ic.session import Session
from dfx_backup.ic.surroundings import Surroundings
from tests.fakes import fake_network as fake
from tests.fakes.fake_network import FakeNetwork, Refusal
from tests.fakes.signers import Nobody

CANISTER = Principal(b"\x00\x00\x00\x00\x00\x00\x00\x07\x01\x01")


@pytest.fixture(params=[False, True], ids=["root", "delegated"])
def network(request: pytest.FixtureRequest) -> Iterator[FakeNetwork]:
    with FakeNetwork(delegated=request.param) as made:
        made.methods["echo"] = lambda arg: arg
        yield made


@pytest.fixture
def session(network: FakeNetwork) -> Iterator[Session]:
    made = Session(network.url, Nobody(), surroundings=Surroundings(sleep=lambda _: None))
    yield made
    made.close()


def altered(change: Callable[[dict[str, Any]], object]) -> fake.Fault:
    def fault(handler: fake.Handler, request: fake.Request) -> bool:
        answer = handler.server.network.signed_query(request.content)
        change(answer)
        handler.cbor(answer)
        return True

    return fault


def test_a_signed_answer_is_returned(network: FakeNetwork, session: Session) -> None:
    assert session.query(CANISTER, "echo", b"hello") == b"hello"
    assert session.query(CANISTER, "echo", b"again") == b"again"
    assert [request.kind for request in network.requests] == ["query", "read_state", "query"]
    assert network.requests[0].path == f"/api/v3/canister/{CANISTER}/query"


def test_the_anonymous_identity_sends_no_signature(network: FakeNetwork, session: Session) -> None:
    session.query(CANISTER, "echo", b"")
    assert set(network.requests[0].envelope) == {"content"}
    assert network.requests[0].content["sender"] == b"\x04"


def test_a_refusal_is_an_error_and_never_data(network: FakeNetwork, session: Session) -> None:
    network.methods["no"] = lambda _: Refusal(code=5, message="trapped", error_code="IC0503")
    with pytest.raises(RejectError) as caught:
        session.query(CANISTER, "no", b"")
    assert (caught.value.reject_code, caught.value.error_code) == (5, "IC0503")


CHANGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "another reply": lambda answer: answer["reply"].update(arg=b"evil"),
    "no signatures": lambda answer: answer.pop("signatures"),
    "an empty list": lambda answer: answer["signatures"].clear(),
    "no list": lambda answer: answer.update(signatures=b"x"),
    "another node": lambda answer: answer["signatures"][0].update(identity=b"\x01" * 29),
    "another time": lambda answer: answer["signatures"][0].update(timestamp=time.time_ns()),
    "an old time": lambda answer: answer["signatures"][0].update(timestamp=1),
    "another signature": lambda answer: answer["signatures"][0].update(signature=bytes(64)),
    "a short signature": lambda answer: answer["signatures"][0].update(signature=b""),
    "a second, wrong one": lambda answer: answer["signatures"].append(
        {**answer["signatures"][0], "signature": bytes(64)}
    ),
    "a time without end": lambda answer: answer["signatures"][0].update(timestamp=2**2000),
    "a time before time": lambda answer: answer["signatures"][0].update(timestamp=-(2**2000)),
    "no map": lambda answer: answer.update(signatures=[5]),
    "a time that is true": lambda answer: answer["signatures"][0].update(timestamp=True),
    "a refusal instead": lambda answer: answer.update(
        status="rejected", reject_code=4, reject_message="forged"
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_an_answer_that_no_node_signed_is_refused(
    network: FakeNetwork, session: Session, name: str
) -> None:
    network.faults["query"].append(altered(CHANGES[name]))
    with pytest.raises(CertificateError):
        session.query(CANISTER, "echo", b"honest")


def test_a_forged_refusal_is_refused(network: FakeNetwork, session: Session) -> None:
    network.methods["no"] = lambda _: Refusal(code=5, message="trapped")
    for change in (
        lambda answer: answer.update(reject_message="other"),
        lambda answer: answer.update(reject_code=4),
        lambda answer: answer.update(error_code="IC0207"),
        lambda answer: answer.pop("error_code"),
    ):
        network.faults["query"].append(altered(change))
        with pytest.raises(CertificateError):
            session.query(CANISTER, "no", b"")


def test_a_reply_to_another_query_is_refused(network: FakeNetwork, session: Session) -> None:
    def replay(handler: fake.Handler, request: fake.Request) -> bool:
        handler.cbor(handler.server.network.signed_query({**request.content, "arg": b"other"}))
        return True

    network.faults["query"].append(replay)
    with pytest.raises(CertificateError):
        session.query(CANISTER, "echo", b"mine")


@pytest.mark.parametrize("age", [250, -310])
def test_an_answer_that_a_node_signed_long_ago_is_refused(
    network: FakeNetwork, session: Session, age: float
) -> None:
    session.query(CANISTER, "echo", b"")
    network.now = lambda: time.time() - age
    with pytest.raises(CertificateError, match="node's signature is"):
        session.query(CANISTER, "echo", b"")


def test_node_keys_that_the_network_did_not_certify_are_not_used(
    network: FakeNetwork, session: Session
) -> None:
    def lie(handler: fake.Handler, _request: fake.Request) -> bool:
        liar = FakeNetwork(delegated=network.delegated)
        liar.subnet = fake.BlsKey(4242)
        nodes = {network.node_id: {b"public_key": network.node_der}}
        cert = liar.certify({b"subnet": {network.subnet_id: {b"node": nodes}}})
        handler.cbor({"certificate": cert})
        return True

    network.faults["read_state"].append(lie)
    with pytest.raises(CertificateError, match="not signed by this network"):
        session.query(CANISTER, "echo", b"")


def test_a_new_node_makes_the_keys_be_read_again(network: FakeNetwork, session: Session) -> None:
    session.query(CANISTER, "echo", b"")
    network.node_id = b"\x0a" * 29
    assert session.query(CANISTER, "echo", b"new") == b"new"


def test_keys_are_read_again_after_five_minutes(network: FakeNetwork) -> None:
    moved = [0.0]
    made = Session(network.url, Nobody(), surroundings=Surroundings(monotonic=lambda: moved[0]))
    for at in (0, 299, 301):
        moved[0] = at
        made.query(CANISTER, "echo", b"")
    made.close()
    kinds = [request.kind for request in network.requests]
    assert kinds == ["query", "read_state", "query", "query", "read_state"]


def test_a_passing_trouble_is_outlasted(network: FakeNetwork, session: Session) -> None:
    network.faults["query"] += [fake.drop, fake.status(429), fake.status(503)]
    assert session.query(CANISTER, "echo", b"x") == b"x"


def test_a_bad_request_is_final(network: FakeNetwork, session: Session) -> None:
    network.faults["query"].append(fake.status(400, b"bad"))
    with pytest.raises(NetworkError, match="HTTP 400: bad"):
        session.query(CANISTER, "echo", b"x")
    assert len(network.requests) == 1


@pytest.mark.parametrize("body", [b"", b"\xa0", b"\x80", b"\xff", b"\xa1\x66status\x61x"])
def test_garbage_is_an_error(network: FakeNetwork, session: Session, body: bytes) -> None:
    network.faults["query"].append(fake.raw(body))
    with pytest.raises(NetworkError):
        session.query(CANISTER, "echo", b"x")
