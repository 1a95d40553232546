import pytest

from dfx_backup.replica.principal import to_text
from dfx_backup.replica.reject import Reject
from dfx_backup.replica.replica import Replica, Respond
from dfx_backup.replica.state import MANAGEMENT_ID, RunState, Settings
from tests.fakes.wat_canisters import proxy, proxy_order

USER = b"\x04"
SECOND = 1_000_000_000


class SlowManagement:
    """Answers when it is told to."""

    def __init__(self) -> None:
        self.waiting: list[tuple[str, int, Respond]] = []

    def call(self, _caller: bytes, method: str, _arg: bytes, cycles: int, respond: Respond) -> None:
        if method == "refuse":
            raise Reject.from_error_code(406, "no")
        self.waiting.append((method, cycles, respond))

    def query(self, _caller: bytes, method: str, _arg: bytes) -> bytes:
        return b"query " + method.encode()

    def accepts_ingress(self, _sender: bytes, _method: str, _arg: bytes) -> None: ...

    def effective_canister_id(self, _method: str, _arg: bytes) -> bytes | None:
        return None


class World:
    def __init__(self) -> None:
        self.clock = 1
        self.replica = Replica(now_ns=lambda: self.clock)
        self.management = SlowManagement()
        self.replica.management = self.management
        self.a, self.b = (self.replica.create_canister(controllers=[USER]) for _ in range(2))
        for each in (self.a, self.b):
            self.replica.install(each, proxy())

    def send(self, method: str, callee: bytes, inner: str, payload: bytes = b"") -> bytes | Reject:
        order = proxy_order(callee, inner, payload)
        result = self.replica.ingress(USER, self.a, method, order).result
        assert result is not None
        return result


@pytest.fixture
def world() -> World:
    return World()


def test_a_call_brings_the_reply_back(world: World) -> None:
    assert world.send("forward", world.b, "echo", b"hello") == bytes(8) + b"hello"
    assert world.replica.canisters[world.a].contexts == {}
    assert world.replica.canisters[world.a].callbacks == {}


def test_a_canister_may_call_itself(world: World) -> None:
    assert world.send("forward", world.a, "echo", b"me") == bytes(8) + b"me"


@pytest.mark.parametrize(
    ("method", "message"),
    [
        ("say_no", b"4no"),
        ("forget", b"5Canister"),
        ("missing", b"5Canister"),
    ],
)
def test_refusals_reach_the_callback(world: World, method: str, message: bytes) -> None:
    result = world.send("forward", world.b, method)
    assert isinstance(result, Reject)
    assert result.code == Reject.CANISTER_REJECT
    assert result.message.encode().startswith(message)


def test_calls_to_nobody_and_to_stopped_canisters_are_refused(world: World) -> None:
    world.replica.stop(world.b, lambda _result, _refund: None)
    stopped = world.send("forward", world.b, "echo")
    nobody = world.send("forward", b"\x01" * 10, "echo")
    assert isinstance(stopped, Reject)
    assert isinstance(nobody, Reject)
    assert stopped.message.startswith("5")
    assert nobody.message.startswith("3")


def test_cycles_go_out_and_come_back(world: World) -> None:
    a, b = (world.replica.canisters[each] for each in (world.a, world.b))
    total, before = a.cycles + b.cycles, b.cycles
    result = world.send("forward_with_cycles", world.b, "take_300")
    assert isinstance(result, bytes)
    assert int.from_bytes(result[:8], "little") == 700  # refunded
    assert int.from_bytes(result[8:16], "little") == 300  # accepted
    assert b.cycles == before + 300
    assert a.cycles + b.cycles == total
    refused = world.send("forward_with_cycles", world.b, "missing")
    assert isinstance(refused, Reject)
    assert a.cycles + b.cycles == total


def test_other_canisters_must_attach_the_minimum(world: World) -> None:
    b = world.replica.canisters[world.b]
    for setting, method, is_taken in (
        (1000, "forward_with_cycles", True),
        (1001, "forward_with_cycles", False),
        (1, "forward", False),
    ):
        b.settings = Settings(minimum_incoming_canister_call_cycles=setting)
        before = world.replica.canisters[world.a].cycles
        result = world.send(method, world.b, "echo")
        assert isinstance(result, bytes) == is_taken
        assert world.replica.canisters[world.a].cycles == before
        if isinstance(result, Reject):
            assert result.message.startswith(f"5Canister {to_text(world.b)} requires at least")
    # users and the canister itself need not
    assert world.replica.ingress(USER, world.b, "echo", b"x").get() == b"x"
    itself = proxy_order(world.b, "echo", b"me")
    assert world.replica.ingress(USER, world.b, "forward", itself).get() == bytes(8) + b"me"


def test_a_trap_sends_nothing(world: World) -> None:
    result = world.send("forward_and_trap", world.b, "take_300")
    assert isinstance(result, Reject)
    assert world.replica.canisters[world.b].version == 1
    assert world.replica.canisters[world.a].callbacks == {}


def test_cleanup_runs_after_a_callback_trapped(world: World) -> None:
    result = world.send("forward_and_fail_later", world.b, "echo")
    assert isinstance(result, Reject)
    assert result.error_code == "IC0502"
    heap = world.replica.canisters[world.a].heap
    assert heap.read(40_000, 4) == bytes(4)
    assert heap.read(40_004, 4) == b"\x4d\0\0\0"
    assert world.replica.canisters[world.a].contexts == {}


def test_composite_queries_see_other_canisters(world: World) -> None:
    order = proxy_order(world.b, "echo", b"far")
    assert world.replica.query(USER, world.a, "look", order) == b"far"
    inner = proxy_order(world.b, "look", proxy_order(world.a, "echo", b"round"))
    assert world.replica.query(USER, world.a, "look", inner) == b"round"
    itself = proxy_order(world.a, "look", proxy_order(world.a, "echo", b"self"))
    assert world.replica.query(USER, world.a, "look", itself) == b"self"
    outcome = world.replica.ingress(USER, world.a, "look", order)
    assert outcome.reject is not None
    assert outcome.reject.error_code == "IC0527"


def test_composite_queries_end_at_a_depth(world: World) -> None:
    order = proxy_order(world.b, "echo", b"deep")
    for _ in range(8):
        order = proxy_order(world.a, "look", order)
    with pytest.raises(Reject, match="deeper than 6"):
        world.replica.query(USER, world.a, "look", order)


def test_the_management_canister_answers_later(world: World) -> None:
    # the proxy names its callee with ten bytes, the management canister has none: ask as a user
    outcome = world.replica.ingress(USER, MANAGEMENT_ID, "anything", b"", request_id=b"r")
    assert not outcome.is_done
    seen: list[bytes | None] = []
    outcome.on_done(lambda done: seen.append(done.reply))
    world.management.waiting.pop()[2](b"done", 0)
    world.replica.commit()
    assert outcome.get() == b"done"
    assert seen == [b"done"]
    refused = world.replica.ingress(USER, MANAGEMENT_ID, "refuse", b"")
    assert refused.reject is not None
    assert world.replica.query(USER, MANAGEMENT_ID, "status", b"") == b"query status"


def test_stopping_waits_for_open_calls(world: World) -> None:
    replica, a = world.replica, world.replica.canisters[world.a]
    open_call = hold_a_call(world)
    answers: list[bytes | Reject] = []
    replica.stop(world.a, lambda result, _refund: answers.append(result))
    assert (a.status, answers) == (RunState.STOPPING, [])
    refused = replica.ingress(USER, world.a, "echo", b"").reject
    assert refused is not None
    assert refused.error_code == "IC0509"
    release_call(world)
    assert open_call.is_done
    assert (a.status, answers) == (RunState.STOPPED, [b"DIDL\0\0"])
    refused = replica.ingress(USER, world.a, "echo", b"").reject
    assert refused is not None
    assert refused.error_code == "IC0508"
    version = a.version
    replica.start(world.a)
    assert a.version == version + 1
    assert replica.ingress(USER, world.a, "echo", b"x").get() == b"x"


def test_stopping_ends_with_the_time_out(world: World) -> None:
    hold_a_call(world)
    answers: list[bytes | Reject] = []
    world.replica.stop(world.a, lambda result, _refund: answers.append(result))
    world.clock += 299 * SECOND
    world.replica.tick()
    assert answers == []
    world.clock += 2 * SECOND
    world.replica.tick()
    (answer,) = answers
    assert isinstance(answer, Reject)
    assert (answer.code, answer.error_code) == (2, "IC0206")
    assert world.replica.canisters[world.a].status is RunState.STOPPING


def test_starting_cancels_a_stop(world: World) -> None:
    hold_a_call(world)
    answers: list[bytes | Reject] = []
    world.replica.stop(world.a, lambda result, _refund: answers.append(result))
    world.replica.start(world.a)
    (answer,) = answers
    assert isinstance(answer, Reject)
    assert answer.error_code == "IC0511"
    assert world.replica.canisters[world.a].status is RunState.RUNNING


def test_uninstalling_rejects_open_calls(world: World) -> None:
    open_call = hold_a_call(world)
    world.replica.uninstall(world.a)
    assert open_call.reject is not None
    assert open_call.reject.message == "Canister has been uninstalled"
    release_call(world)
    assert world.replica.canisters[world.a].contexts == {}


def test_best_effort_calls_time_out(world: World) -> None:
    order = proxy_order(world.b, "echo", b"x")
    outcome = world.replica.ingress(USER, world.a, "forward_briefly", order)
    assert outcome.reply == bytes(8) + b"x"
    with_held_queue = hold_a_call(world, method="forward_briefly")
    world.clock += 11 * SECOND
    world.replica.tick()
    assert with_held_queue.reject is not None
    assert with_held_queue.reject.message.startswith("6")


def hold_a_call(world: World, method: str = "forward"):  # noqa: ANN201 - an outcome
    """An update on `a` whose inner call stays in the queue."""
    world.replica._host.limits = type(world.replica.limits)(messages_per_drain=0)
    outcome = world.replica.ingress(USER, world.a, method, proxy_order(world.b, "echo"))
    assert not outcome.is_done
    return outcome


def release_call(world: World) -> None:
    world.replica._host.limits = type(world.replica.limits)()
    world.replica.tick()
