import threading
import time
from collections.abc import Callable, Iterator

import pytest

from dfx_backup.errors import (
    CertificateError,
    NetworkError,
    RejectError,
    UnknownOutcomeError,
)
from dfx_backup.ic.outcome import ReplyPrunedError
from dfx_backup.ic.principal import Principal
from dfx_backup.ic.session import Session
from dfx_backup.ic.surroundings import Surroundings
from dfx_backup.ic.transport import HttpStatusError, TransportError
from dfx_backup.model import SentCall
from tests.fakes import fake_network as fake
from tests.fakes.fake_network import FakeNetwork, Refusal
from tests.fakes.signers import Ed25519Signer

CANISTER = Principal(b"\x00\x00\x00\x00\x00\x00\x00\x07\x01\x01")


class Time:
    """Wall clock and monotonic clock that sleeping moves, and nothing else unless told."""

    def __init__(self) -> None:
        self.start = time.time()
        self.moved = 0.0
        self.sleeps: list[float] = []

    def clock(self) -> float:
        return self.start + self.moved

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.moved += seconds

    def surroundings(self) -> Surroundings:
        return Surroundings(
            clock=self.clock,
            monotonic=lambda: self.moved,
            sleep=self.sleep,
            nonce=iter(bytes([i]) * 16 for i in range(256)).__next__,
            rng=lambda: 1.0,
        )


@pytest.fixture
def times() -> Time:
    return Time()


@pytest.fixture(params=[False, True], ids=["root", "delegated"])
def network(request: pytest.FixtureRequest, times: Time) -> Iterator[FakeNetwork]:
    with FakeNetwork(delegated=request.param, now=times.clock) as made:
        made.methods["echo"] = lambda arg: arg
        yield made


@pytest.fixture
def session(network: FakeNetwork, times: Time) -> Iterator[Session]:
    made = Session(network.url, Ed25519Signer(), surroundings=times.surroundings(), timeout_s=5)
    yield made
    made.close()


def kinds(network: FakeNetwork) -> list[str]:
    return [request.kind for request in network.requests]


def test_a_call_returns_its_certified_reply(network: FakeNetwork, session: Session) -> None:
    assert session.call(CANISTER, "echo", b"hello") == b"hello"
    assert kinds(network) == ["call"]
    assert network.requests[0].path == f"/api/v4/canister/{CANISTER}/call"


def test_the_envelope_carries_nonce_expiry_and_a_good_signature(
    network: FakeNetwork, session: Session, times: Time
) -> None:
    session.call(CANISTER, "echo", b"", expiry_s=60)
    request = network.requests[0]
    assert request.content["nonce"] == bytes(16)
    assert request.content["ingress_expiry"] == int((times.start + 60) * 1_000_000_000)
    assert request.content["sender"] == Ed25519Signer().principal.raw
    Ed25519Signer().check(
        request.envelope["sender_sig"], b"\x0aic-request" + fake.hash_map(request.content)
    )


def test_two_equal_calls_are_two_calls(network: FakeNetwork, session: Session) -> None:
    session.call(CANISTER, "echo", b"x")
    session.call(CANISTER, "echo", b"x")
    assert len(network.executed) == 2


def test_before_send_is_told_once_and_before_anything_leaves(
    network: FakeNetwork, session: Session, times: Time
) -> None:
    network.faults["call"] += [fake.drop, fake.drop]
    seen: list[tuple[SentCall, int]] = []
    session.call(
        CANISTER,
        "echo",
        b"x",
        before_send=lambda sent: seen.append((sent, len(network.requests))),
    )
    [(sent, requests_before)] = seen
    assert requests_before == 0
    assert sent.request_id == network.executed[0].hex()
    assert sent.expires_at == pytest.approx(times.start + 240, abs=1e-3)


def test_before_send_can_hold_the_call_back(network: FakeNetwork, session: Session) -> None:
    def refuse(_sent: SentCall) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        session.call(CANISTER, "echo", b"x", before_send=refuse)
    assert network.requests == []


def test_a_certified_refusal_carries_both_codes(network: FakeNetwork, session: Session) -> None:
    network.methods["no"] = lambda _: Refusal(code=5, message="not yours", error_code="IC0512")
    with pytest.raises(RejectError) as caught:
        session.call(CANISTER, "no", b"")
    error = caught.value
    assert (error.reject_code, error.error_code, error.reject_message) == (5, "IC0512", "not yours")
    assert "controller" in (error.hint or "")


def test_a_nodes_own_refusal_ends_the_call_at_once(network: FakeNetwork, session: Session) -> None:
    network.methods["no"] = lambda _: Refusal(code=2, error_code=None, certified=False)
    with pytest.raises(RejectError) as caught:
        session.call(CANISTER, "no", b"")
    assert (caught.value.reject_code, caught.value.error_code) == (2, None)
    assert kinds(network) == ["call"]


@pytest.mark.parametrize("code", [400, 403, 404, 413])
def test_a_refused_request_ends_the_call_at_once(
    network: FakeNetwork, session: Session, code: int
) -> None:
    network.faults["call"].append(fake.status(code, b"Invalid request expiry"))
    with pytest.raises(HttpStatusError) as caught:
        session.call(CANISTER, "echo", b"")
    assert caught.value.status == code
    assert "clock" in (caught.value.hint or "")
    assert kinds(network) == ["call"]


def test_a_busy_replica_is_asked_again_with_the_same_envelope(
    network: FakeNetwork, session: Session, times: Time
) -> None:
    network.faults["call"] += [
        fake.status(429, b"", {"retry-after": "7"}),
        fake.status(503),
        fake.drop,
        fake.lose_reply,
    ]
    assert session.call(CANISTER, "echo", b"once") == b"once"
    assert len({request.body for request in network.requests}) == 1
    assert len(network.executed) == 1
    assert times.sleeps[0] == 7
    assert all(wait > 0 for wait in times.sleeps)


def test_a_call_that_goes_on_is_followed(network: FakeNetwork, session: Session) -> None:
    network.faults["call"].append(fake.accept)
    network.faults["read_state"] += [
        fake.tell_state(b"received"),
        fake.tell_state(b"processing"),
        fake.tell_state(None),
        fake.drop,
        fake.status(503),
    ]
    assert session.call(CANISTER, "echo", b"later") == b"later"
    assert len(network.executed) == 1


@pytest.mark.parametrize("state", [b"processing", b"received", None])
def test_an_answer_without_an_outcome_is_followed(
    network: FakeNetwork, session: Session, state: bytes | None
) -> None:
    def early(handler: fake.Handler, request: fake.Request) -> bool:
        fake.tell_state(state)(handler, request)
        network.run(request)
        return True

    network.faults["call"].append(early)
    assert session.call(CANISTER, "echo", b"x") == b"x"
    assert "read_state" in kinds(network)


def test_a_pruned_reply_has_an_error_of_its_own(network: FakeNetwork, session: Session) -> None:
    network.faults["call"].append(fake.tell_state(b"done"))
    with pytest.raises(ReplyPrunedError) as caught:
        session.call(CANISTER, "echo", b"x")
    assert caught.value.request_id is not None
    assert "executed" in caught.value.message


def test_a_lost_answer_is_settled_from_the_state_after_the_expiry(
    network: FakeNetwork, session: Session
) -> None:
    network.faults["call"] += [fake.lose_reply] + [fake.drop] * 200
    assert session.call(CANISTER, "echo", b"x", expiry_s=60) == b"x"
    assert len(network.executed) == 1


def test_a_call_that_never_arrived_is_known_not_to_have_executed(
    network: FakeNetwork, session: Session, times: Time
) -> None:
    network.faults["call"] += [fake.drop] * 200
    with pytest.raises(NetworkError) as caught:
        session.call(CANISTER, "echo", b"x", expiry_s=60)
    assert not isinstance(caught.value, UnknownOutcomeError)
    assert "without being executed" in caught.value.message
    assert 60 <= times.moved < 120
    assert network.executed == []


def test_a_refusal_of_a_second_copy_does_not_hide_the_first(
    network: FakeNetwork, session: Session
) -> None:
    refused = {"status": "non_replicated_rejection", "reject_code": 5, "reject_message": "stopped"}
    network.faults["call"] += [fake.lose_reply, lambda handler, _: handler.cbor(refused) or True]
    assert session.call(CANISTER, "echo", b"first") == b"first"


def test_a_refusal_of_a_second_copy_counts_when_the_first_never_arrived(
    network: FakeNetwork, session: Session
) -> None:
    refused = {"status": "non_replicated_rejection", "reject_code": 5, "reject_message": "stopped"}
    network.faults["call"] += [fake.drop, lambda handler, _: handler.cbor(refused) or True]
    with pytest.raises(RejectError, match="stopped"):
        session.call(CANISTER, "echo", b"first", expiry_s=60)


def test_absence_proves_nothing_when_the_state_may_have_forgotten(
    network: FakeNetwork, session: Session, times: Time
) -> None:
    def silent(handler: fake.Handler, _request: fake.Request) -> bool:
        if times.moved < 286:
            network.faults["read_state"].append(silent)  # first: the client is quick to ask again
            handler.hang_up()
        return times.moved < 286

    session.root_key()
    network.faults["call"] += [fake.drop] * 500
    network.faults["read_state"].append(silent)
    with pytest.raises(UnknownOutcomeError):
        session.call(CANISTER, "echo", b"x")
    assert times.moved > 290


def test_a_gateways_error_does_not_mean_that_the_call_was_not_passed_on(
    network: FakeNetwork, session: Session
) -> None:
    def passed_on(handler: fake.Handler, request: fake.Request) -> bool:
        network.run(request)
        handler.answer(504, b"gateway time-out")
        return True

    network.faults["call"] += [passed_on, fake.status(400, b"duplicate")]
    assert session.call(CANISTER, "echo", b"x") == b"x"
    assert len(network.executed) == 1


def test_an_outcome_that_stays_unknown_names_request_and_expiry(
    network: FakeNetwork, session: Session, times: Time
) -> None:
    session.root_key()
    network.faults["call"] += [fake.lose_reply] + [fake.drop] * 500
    network.faults["read_state"] += [fake.drop] * 500
    with pytest.raises(UnknownOutcomeError) as caught:
        session.call(CANISTER, "echo", b"x")
    assert caught.value.request_id == network.executed[0].hex()
    assert caught.value.expires_at == pytest.approx(times.start + 240, abs=1e-3)
    assert times.moved <= 300


def test_a_call_that_takes_longer_than_we_wait_is_given_up(
    network: FakeNetwork, session: Session, times: Time
) -> None:
    network.faults["call"].append(fake.accept)
    network.faults["read_state"] += [fake.tell_state(b"processing")] * 500
    with pytest.raises(UnknownOutcomeError, match="still executing"):
        session.call(CANISTER, "echo", b"x", timeout_s=20)
    assert times.moved <= 20


def test_an_unreachable_network_is_no_unknown_outcome(times: Time) -> None:
    made = Session(
        "http://127.0.0.1:1",
        Ed25519Signer(),
        root_key=fake.BlsKey(99).der,
        surroundings=times.surroundings(),
    )
    with pytest.raises(TransportError) as caught:
        made.call(CANISTER, "echo", b"x")
    assert not caught.value.sent
    assert 0 < times.moved <= 10


def test_a_server_that_never_answers_does_not_hold_us(network: FakeNetwork) -> None:
    made = Session(network.url, Ed25519Signer(), timeout_s=0.1)
    made.root_key()
    network.faults["call"] += [fake.hang] * 20
    network.faults["read_state"] += [fake.hang] * 20
    began = time.monotonic()
    with pytest.raises(UnknownOutcomeError):
        made.call(CANISTER, "echo", b"x", timeout_s=0.8)
    assert time.monotonic() - began < 4


def test_a_server_that_drips_does_not_hold_us(network: FakeNetwork) -> None:
    def drip(handler: fake.Handler, _request: fake.Request) -> bool:
        handler.send_response(200)
        handler.send_header("content-length", "1000000")
        handler.end_headers()
        for _ in range(200):
            handler.wfile.write(b"x")
            handler.wfile.flush()
            if network.release.wait(0.05):
                break
        return True

    made = Session(network.url, Ed25519Signer(), timeout_s=0.5)
    made.root_key()
    network.faults["call"] += [drip] * 20
    network.faults["read_state"] += [drip] * 20
    began = time.monotonic()
    with pytest.raises(UnknownOutcomeError):
        made.call(CANISTER, "echo", b"x", timeout_s=0.6)
    assert time.monotonic() - began < 3


def test_an_answer_without_end_is_cut(network: FakeNetwork, session: Session) -> None:
    network.faults["call"] += [fake.raw(bytes(5 * 1024 * 1024))]
    with pytest.raises(NetworkError):
        session.call(CANISTER, "echo", b"x", expiry_s=60)


def forged(mutate: Callable[[bytes], bytes]) -> fake.Fault:
    def fault(handler: fake.Handler, request: fake.Request) -> bool:
        network = handler.server.network
        network.run(request) if request.kind == "call" else None
        rid = (
            fake.hash_map(request.content)
            if request.kind == "call"
            else request.content["paths"][0][1]
        )
        cert = mutate(network.status_certificate(rid))
        handler.cbor({"status": "replied", "certificate": cert})
        return True

    return fault


def test_a_forged_answer_is_not_believed_and_the_state_is_asked(
    network: FakeNetwork, session: Session
) -> None:
    network.faults["call"].append(forged(lambda cert: cert.replace(b"mine", b"evil")))
    assert session.call(CANISTER, "echo", b"mine") == b"mine"


def test_forged_answers_only_are_refused_and_the_outcome_stays_open(
    network: FakeNetwork, session: Session, times: Time
) -> None:
    lie = forged(lambda cert: cert.replace(b"mine", b"evil"))
    network.faults["call"].append(lie)
    network.faults["read_state"] += [lie] * 10
    with pytest.raises(CertificateError) as caught:
        session.call(CANISTER, "echo", b"mine")
    assert isinstance(caught.value, UnknownOutcomeError)
    assert caught.value.code == "certificate"
    assert times.moved < 10


def test_garbage_for_an_answer_does_not_hang(network: FakeNetwork, session: Session) -> None:
    network.faults["call"].append(fake.raw(b"<html>"))
    network.faults["read_state"] += [fake.raw(b"")] * 10
    with pytest.raises(UnknownOutcomeError, match="no CBOR"):
        session.call(CANISTER, "echo", b"x")


def test_fifty_calls_at_once(network: FakeNetwork) -> None:
    made = Session(network.url, Ed25519Signer())
    answers: dict[int, bytes] = {}

    def one(number: int) -> None:
        answers[number] = made.call(CANISTER, "echo", b"%d" % number)

    threads = [threading.Thread(target=one, args=(number,)) for number in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    made.close()
    assert answers == {number: b"%d" % number for number in range(50)}


def test_answers_with_and_without_the_tag_are_read(times: Time) -> None:
    for tag in (True, False):
        with FakeNetwork(now=times.clock, tag=tag) as network:
            network.methods["echo"] = lambda arg: arg
            made = Session(network.url, Ed25519Signer(), surroundings=times.surroundings())
            assert made.call(CANISTER, "echo", b"x") == b"x"
            assert made.query(CANISTER, "echo", b"q") == b"q"
            made.close()
