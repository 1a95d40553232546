from typing import Any

import pytest

from dfx_backup.replica.reject import Reject
from dfx_backup.replica.replica import Replica
from dfx_backup.replica.system_canisters import (
    CYCLES_LEDGER,
    CYCLES_MINTING,
    SystemCanisters,
)
from tests.fakes.replica_subnet import ALICE, BOB, Subnet
from tests.fakes.wat_canisters import proxy, proxy_order


@pytest.fixture
def subnet() -> Subnet:
    return Subnet()


@pytest.fixture
def system(subnet: Subnet) -> SystemCanisters:
    return SystemCanisters(subnet.replica)


def create(system: SystemCanisters, **fields: Any) -> Any:
    arg = system.codec.encode_args("create_canister", {"amount": 10**12, **fields})
    reply, _ = system.call(ALICE, CYCLES_LEDGER, "create_canister", arg, 0)
    return system.codec.decode_reply("create_canister", reply)[0]


def test_the_ledger_creates_canisters(subnet: Subnet, system: SystemCanisters) -> None:
    kind, made = create(system)
    assert (kind, made["block_id"]) == ("Ok", 1)
    found = subnet.call(ALICE, "canister_status", canister_id=made["canister_id"])
    assert found["cycles"] == 10**12
    assert found["settings"]["controllers"] == [ALICE]
    chosen = {
        "subnet_selection": ("Subnet", {"subnet": subnet.replica.subnet_id}),
        "settings": {"controllers": [BOB], "freezing_threshold": 9},
    }
    kind, made = create(system, creation_args=chosen)
    assert (kind, made["block_id"]) == ("Ok", 2)
    found = subnet.call(BOB, "canister_status", canister_id=made["canister_id"])
    assert found["settings"]["freezing_threshold"] == 9
    refused = {"subnet_selection": None, "settings": {"compute_allocation": 101}}
    kind, error = create(system, creation_args=refused)
    assert kind == "Err"
    assert "compute_allocation" in error[1]["error"]


def test_the_minting_canister_knows_one_subnet(subnet: Subnet, system: SystemCanisters) -> None:
    arg = system.codec.encode_args("get_default_subnets")
    asked = (ALICE, CYCLES_MINTING, "get_default_subnets", arg)
    assert system.call(*asked, 5)[1] == 5
    for reply in (system.query(*asked), system.call(*asked, 0)[0]):
        assert system.codec.decode_reply("get_default_subnets", reply) == [
            [subnet.replica.subnet_id]
        ]


def test_refusals(system: SystemCanisters) -> None:
    arg = system.codec.encode_args("get_default_subnets")
    for canister, method, code in (
        (CYCLES_LEDGER, "get_default_subnets", "IC0536"),
        (CYCLES_MINTING, "create_canister", "IC0536"),
        (CYCLES_LEDGER, "nonsense", "IC0536"),
        (CYCLES_LEDGER, "create_canister", "IC0503"),
    ):
        with pytest.raises(Reject, match=code):
            system.call(ALICE, canister, method, arg, 0)
    with pytest.raises(Reject, match="IC0536"):
        system.query(ALICE, CYCLES_LEDGER, "create_canister", arg)


def test_users_reach_them_through_the_replica() -> None:
    replica = Replica()
    codec = SystemCanisters.join(replica).codec
    replica.subnet_id = b"subnet"
    asked = codec.encode_args("get_default_subnets")
    reply = replica.query(ALICE, CYCLES_MINTING, "get_default_subnets", asked)
    assert codec.decode_reply("get_default_subnets", reply) == [[b"subnet"]]
    wanted = codec.encode_args("create_canister", {"amount": 5})
    replica.accepts_ingress(ALICE, CYCLES_LEDGER, "create_canister", wanted)
    outcome = replica.ingress(ALICE, CYCLES_LEDGER, "create_canister", wanted, request_id=b"r")
    made = codec.decode_reply("create_canister", outcome.get())[0][1]["canister_id"]
    assert replica.canister(made).controllers == [ALICE]
    assert outcome.request_id == b"r"
    refused = replica.ingress(ALICE, CYCLES_LEDGER, "icrc1_transfer", b"")
    assert refused.reject is not None
    assert refused.reject.error_code == "IC0536"
    # The others are served as ever.
    for entry in (replica.accepts_ingress, replica.query):
        with pytest.raises(Reject, match="IC0301"):
            entry(ALICE, b"nobody", "m", b"")
    stranger = replica.ingress(ALICE, b"nobody", "m", b"").reject
    assert stranger is not None
    assert stranger.error_code == "IC0301"


def test_canisters_deposit_their_cycles() -> None:
    replica = Replica()
    codec = SystemCanisters.join(replica).codec
    giver = replica.create_canister(controllers=[ALICE])
    replica.install(giver, proxy())
    before = replica.canister(giver).cycles
    deposit = codec.encode_args("deposit", {"to": {"owner": ALICE}})
    order = proxy_order(CYCLES_LEDGER, "deposit", deposit)
    reply = replica.ingress(ALICE, giver, "forward_with_cycles", order).get()
    assert int.from_bytes(reply[:8], "little") == 0  # refunded
    assert codec.decode_reply("deposit", reply[8:]) == [{"balance": 1000, "block_index": 1}]
    assert replica.canister(giver).cycles == before - 1000
    order = proxy_order(CYCLES_LEDGER, "nonsense")
    refused = replica.ingress(ALICE, giver, "forward_with_cycles", order).reject
    assert refused is not None
    assert refused.message.startswith("5")
    assert replica.canister(giver).cycles == before - 1000
    with pytest.raises(Reject, match="has no query method 'nonsense'"):
        replica.query(ALICE, giver, "look", order)
