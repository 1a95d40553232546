"""ic-py's agent and its `Canister`, on our wire. Each defect of the published agent has a test."""

import asyncio
import os
import time
from collections.abc import Iterator

import ic.agent
import ic.candid
import ic.certificate
import ic.principal
import pytest
from ic.canister import Canister

from dfx_backup.errors import BackupError, NetworkError, RejectError
from dfx_backup.ic import candid as c
from dfx_backup.ic.agent import BackupAgent
from dfx_backup.ic.principal import Principal
from dfx_backup.ic.surroundings import Surroundings
from tests.fakes import fake_network as fake
from tests.fakes.fake_network import FakeNetwork, Refusal
from tests.fakes.signers import Ed25519Signer

CANISTER = Principal(b"\x00\x00\x00\x00\x00\x00\x00\x07\x01\x01")
CHAT = """
type Post = record { id : nat; by : principal; body : text; tags : opt vec text };
type Tree = record { name : text; children : vec Tree };
service : {
  post : (text) -> (nat);
  all : () -> (vec Post) query;
  pair : () -> (record { nat; text });
  either : () -> (variant { ok : nat; err : text });
  blob : () -> (blob);
  tree : () -> (Tree) query;
}
"""
MANAGEMENT = """
service ic : {
  read_canister_snapshot_data : (record { canister_id : principal; snapshot_id : blob }) ->
    (record { chunk : blob });
}
"""


@pytest.fixture
def network() -> Iterator[FakeNetwork]:
    with FakeNetwork(delegated=True) as made:
        made.methods["echo"] = lambda arg: arg
        yield made


@pytest.fixture
def agent(network: FakeNetwork) -> Iterator[BackupAgent]:
    made = BackupAgent(
        network.url,
        Ed25519Signer(),
        root_key=network.root.der,
        surroundings=Surroundings(sleep=lambda _: None),
    )
    yield made
    made.close()


@pytest.fixture
def chat(agent: BackupAgent) -> Canister:
    return Canister(agent, str(CANISTER), CHAT)


def test_it_is_an_agent_of_ic_py(agent: BackupAgent) -> None:
    assert isinstance(agent, ic.agent.Agent)
    assert agent.get_principal().bytes == Ed25519Signer().principal.raw
    assert len(agent.network_id()) == 64
    assert agent.status()["replica_health_status"] == "healthy"


def test_updates_through_the_facade(network: FakeNetwork, chat: Canister) -> None:
    network.methods["post"] = lambda arg: c.encode([c.NAT], [len(c.decode(arg, [c.TEXT])[0])])
    assert chat.post("Hi there!") == [9]


def test_queries_through_the_facade(network: FakeNetwork, chat: Canister) -> None:
    post = c.record({"id": c.NAT, "by": c.PRINCIPAL, "body": c.TEXT, "tags": c.Opt(c.Vec(c.TEXT))})
    sent = [
        {"id": 0, "by": CANISTER, "body": "Hi there!", "tags": ["a"]},
        {"id": 2**70, "by": CANISTER, "body": "", "tags": None},
    ]
    network.methods["all"] = lambda _: c.encode([c.Vec(post)], [sent])
    [found] = chat.all()
    assert [each["body"] for each in found] == ["Hi there!", ""]
    assert [each["tags"] for each in found] == [[["a"]], []]
    assert isinstance(found[0]["by"], ic.principal.Principal)
    assert found[0]["by"].to_str() == str(CANISTER)
    assert found[1]["id"] == 2**70


def test_the_facades_shapes(network: FakeNetwork, chat: Canister) -> None:
    pair = c.record({"a": c.NAT, "b": c.TEXT})
    numbered = c.encode([pair], [{"a": 5, "b": "x"}])
    numbered = b"DIDL\x01\x6c\x02\x00\x7d\x01\x71\x01\x00" + numbered[-3:]
    network.methods["pair"] = lambda _: numbered
    network.methods["either"] = lambda _: c.encode(
        [c.variant({"ok": c.NAT, "err": c.TEXT})], [("err", "no")]
    )
    assert chat.pair() == [[5, "x"]]
    assert chat.either() == [{"err": "no"}]


def test_recursive_types_through_the_facade(network: FakeNetwork, chat: Canister) -> None:
    ic_py_tree = ic.candid.Types.Rec()
    ic_py_tree.fill(
        ic.candid.Types.Record(
            {"name": ic.candid.Types.Text, "children": ic.candid.Types.Vec(ic_py_tree)}
        )
    )
    tree = {"name": "a", "children": [{"name": "b", "children": []}]}
    network.methods["tree"] = lambda _: ic.candid.encode([{"type": ic_py_tree, "value": tree}])
    assert chat.tree() == [tree]


def test_functions_are_left_to_ic_py(network: FakeNetwork, agent: BackupAgent) -> None:
    func = b"DIDL\x01\x6a\x01\x71\x00\x01\x01\x01\x00\x01\x01" + b"\x0a" + CANISTER.raw + b"\x02hi"
    network.methods["callback"] = lambda _: func
    wanted = ic.candid.Types.Func([ic.candid.Types.Text], [], ["query"])
    [found] = agent.update_raw(str(CANISTER), "callback", c.encode([], []), [wanted])
    principal, method = found["value"]
    assert (principal.bytes, method) == (CANISTER.raw, "hi")


def test_a_blob_of_two_megabytes_takes_no_minute(network: FakeNetwork, chat: Canister) -> None:
    blob = os.urandom(2_000_000)
    network.methods["blob"] = lambda _: c.encode([c.BLOB], [blob])
    began = time.process_time()
    assert chat.blob() == [blob]
    assert time.process_time() - began < 3


def test_management_calls_go_to_the_canister_that_they_are_about(
    network: FakeNetwork, agent: BackupAgent
) -> None:
    network.methods["read_canister_snapshot_data"] = lambda _: c.encode(
        [c.record({"chunk": c.BLOB})], [{"chunk": b"abc"}]
    )
    management = Canister(agent, "aaaaa-aa", MANAGEMENT)
    found = management.read_canister_snapshot_data(
        {"canister_id": str(CANISTER), "snapshot_id": [1]}
    )
    assert found == [{"chunk": b"abc"}]
    assert network.requests[-1].path == f"/api/v4/canister/{CANISTER}/call"
    assert network.requests[-1].content["canister_id"] == b""


def test_calls_in_asyncio(network: FakeNetwork, chat: Canister, agent: BackupAgent) -> None:
    network.methods["post"] = lambda _: c.encode([c.NAT], [1])
    assert asyncio.run(chat.post_async("x")) == [1]
    paths = [[b"subnet"]]
    assert asyncio.run(agent.read_state_raw_async(str(CANISTER), paths))["tree"]


# What the published agent gets wrong


@pytest.mark.parametrize("code", [400, 429, 500])
def test_a_refused_request_does_not_poll_for_ever(network: FakeNetwork, code: int) -> None:
    network.faults["call"] += [fake.status(code)] * 1000
    moved = [0.0]
    quick = BackupAgent(
        network.url,
        Ed25519Signer(),
        root_key=network.root.der,
        surroundings=Surroundings(
            monotonic=lambda: moved[0], sleep=lambda s: moved.__setitem__(0, moved[0] + s)
        ),
    )
    with pytest.raises(NetworkError):
        quick.update_raw(str(CANISTER), "echo", b"", timeout=30)
    assert moved[0] <= 30
    quick.close()


@pytest.mark.parametrize("certified", [True, False])
def test_a_refused_update_is_an_error_with_codes(
    network: FakeNetwork, chat: Canister, *, certified: bool
) -> None:
    network.methods["post"] = lambda _: Refusal(5, "trapped", "IC0503", certified)
    with pytest.raises(RejectError) as caught:
        chat.post("x")
    assert (caught.value.reject_code, caught.value.error_code) == (5, "IC0503")


def test_a_refused_query_is_no_value(network: FakeNetwork, chat: Canister) -> None:
    network.methods["all"] = lambda _: Refusal(5, "trapped", None)
    with pytest.raises(RejectError, match="trapped"):
        chat.all()


def test_a_reply_without_an_optional_field_is_read(network: FakeNetwork, chat: Canister) -> None:
    old = c.record({"id": c.NAT, "by": c.PRINCIPAL, "body": c.TEXT})
    sent = [{"id": 1, "by": CANISTER, "body": "x"}]
    network.methods["all"] = lambda _: c.encode([c.Vec(old)], [sent])
    assert chat.all()[0][0]["tags"] == []


def test_equal_calls_within_a_second_are_two_calls(network: FakeNetwork, chat: Canister) -> None:
    network.methods["post"] = lambda _: c.encode([c.NAT], [1])
    chat.post("x")
    chat.post("x")
    assert len(network.executed) == 2


def test_a_clock_that_is_fast_by_a_minute_does_no_harm(
    network: FakeNetwork, agent: BackupAgent
) -> None:
    agent.update_raw(str(CANISTER), "echo", c.encode([], []))
    expiry = network.requests[-1].content["ingress_expiry"] / 1e9
    assert expiry - time.time() <= 300 - 60 + 1


def test_nothing_shows_the_key(agent: BackupAgent) -> None:
    assert ("03" * 32) not in repr(agent) + repr(agent.identity) + repr(vars(agent))


def test_the_status_is_not_printed(agent: BackupAgent, capsys: pytest.CaptureFixture[str]) -> None:
    agent.status()
    assert capsys.readouterr().out == ""


def test_nothing_gets_past_the_verification(agent: BackupAgent) -> None:
    for call in (
        lambda: agent.query_endpoint(str(CANISTER), b""),
        lambda: agent.call_endpoint(str(CANISTER), b"", b""),
        lambda: agent.read_state_endpoint(str(CANISTER), b""),
    ):
        with pytest.raises(BackupError, match="not be verified"):
            call()


def test_principals_are_taken_in_every_form(agent: BackupAgent) -> None:
    arg = c.encode([], [])
    for form in (CANISTER, str(CANISTER), ic.principal.Principal(CANISTER.raw)):
        assert agent.update_raw(form, "echo", arg) == []
        assert agent.query_raw(form, "echo", arg) == []


def test_ic_pys_lookup_reads_a_verified_certificate(
    network: FakeNetwork, agent: BackupAgent
) -> None:
    agent.update_raw(str(CANISTER), "echo", c.encode([], []))
    rid = network.executed[0]
    status, cert = agent.request_status_raw(str(CANISTER), rid)
    assert status == "replied"
    assert ic.certificate.lookup([b"request_status", rid, b"reply"], cert) == c.encode([], [])
    assert agent.request_status_raw(str(CANISTER), bytes(32))[0] is None
    assert agent.poll(str(CANISTER), rid) == ("replied", c.encode([], []))
    began = time.monotonic()
    assert agent.poll(str(CANISTER), bytes(32), delay=0.05, timeout=0.2)[0] is None
    assert time.monotonic() - began < 3
