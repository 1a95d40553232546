"""Random messages against a model of what a canister's memories and globals must hold."""

import struct
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dfx_backup.replica import heap
from dfx_backup.replica.reject import Reject
from dfx_backup.replica.replica import Replica
from tests.fakes.wat_canisters import (
    GROW,
    NOTHING,
    STABLE_GROW,
    STABLE_WRITE,
    WRITE,
    scribe,
    scribe_order,
)

USER = b"\x04"
PAGE = 65_536


class Model:
    """What the scribe's state must be."""

    def __init__(self) -> None:
        self.heap = bytearray(2 * PAGE)
        self.stable = bytearray()
        self.sum, self.mix, self.ratio = 7, 1, 0.5

    def apply(self, order: bytes) -> bool:
        """Do what the canister does; False when it traps, and then nothing is changed."""
        operation, traps, number = order[0], order[1], int.from_bytes(order[2:6], "little")
        data = order[6:]
        if operation == WRITE and number + len(data) > len(self.heap):
            return False
        if operation == STABLE_WRITE and number + len(data) > len(self.stable):
            return False
        if traps:
            return False
        self.heap[: len(order)] = order
        if operation == WRITE:
            self.heap[number : number + len(data)] = data
        elif operation == STABLE_WRITE:
            self.stable[number : number + len(data)] = data
        elif operation == GROW:
            self.heap += bytes(number * PAGE)
        elif operation == STABLE_GROW:
            self.stable += bytes(number * PAGE)
        self.sum = (self.sum + number) % (1 << 32)
        self.mix = (self.mix * 31 + number) % (1 << 64)
        self.ratio = -self.ratio
        return True

    def check(self, replica: Replica, canister_id: bytes) -> None:
        state = replica.canisters[canister_id]
        assert state.heap.read(0, state.heap.size) == self.heap
        assert state.stable.read(0, state.stable.size) == self.stable
        ratio = struct.unpack("<Q", struct.pack("<d", self.ratio))[0]
        assert [each.bits for each in state.globals] == [self.sum, self.mix, ratio]
        instance = replica._host.executor.instance(state)
        assert instance.read(0, instance.size()) == self.heap


def orders() -> st.SearchStrategy[tuple[bytes, bool]]:
    addresses = st.integers(6, 5 * PAGE) | st.sampled_from([PAGE - 3, 2 * PAGE - 1, 4095, 4096])
    data = st.binary(min_size=1, max_size=40) | st.builds(
        bytes.__mul__, st.binary(min_size=1, max_size=1), st.integers(4090, 9000)
    )
    write = st.builds(
        lambda operation, address, content, traps: scribe_order(
            operation, address, content, traps=traps
        ),
        st.sampled_from([WRITE, STABLE_WRITE]),
        addresses,
        data,
        st.booleans(),
    )
    grow = st.builds(
        lambda operation, pages, traps: scribe_order(operation, pages, traps=traps),
        st.sampled_from([GROW, STABLE_GROW, NOTHING]),
        st.integers(0, 2),
        st.booleans(),
    )
    is_query = st.sampled_from([False, False, True])
    return st.tuples(write | grow | grow.filter(lambda order: not order[1]), is_query)


def play(
    replica: Replica, canister_id: bytes, model: Model, order: bytes, *, is_query: bool
) -> None:
    if is_query:
        expected = Model.__new__(Model)
        expected.__dict__.update(model.__dict__)
        expected.heap, expected.stable = bytearray(model.heap), bytearray(model.stable)
        is_good = expected.apply(order)
        try:
            replica.query(USER, canister_id, "peek", order)
        except Reject:
            assert not is_good
        else:
            assert is_good
        return
    outcome = replica.ingress(USER, canister_id, "run", order)
    assert (outcome.reject is None) == model.apply(order)


def run_script(replica: Replica, script: list[tuple[bytes, bool]], *, is_64: bool) -> None:
    canister_id = replica.create_canister(controllers=[USER])
    replica.install(canister_id, scribe(is_64=is_64))
    model = Model()
    model.check(replica, canister_id)
    for order, is_query in script:
        play(replica, canister_id, model, order, is_query=is_query)
        model.check(replica, canister_id)


FAST = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
SLOW = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("is_64", [False, True])
def test_memories_follow_the_model(is_64: bool) -> None:  # noqa: FBT001 - a parameter of the test
    @FAST
    @given(st.lists(orders(), min_size=5, max_size=25))
    def check(script: list[tuple[bytes, bool]]) -> None:
        run_script(Replica(), script, is_64=is_64)

    check()


def test_copying_heap_follows_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heap, "has_pagemap", lambda: False)

    @settings(FAST, max_examples=20)
    @given(st.lists(orders(), min_size=5, max_size=15))
    def check(script: list[tuple[bytes, bool]]) -> None:
        run_script(Replica(), script, is_64=False)

    check()


def test_a_reopened_state_directory_follows_the_model(tmp_path: Path) -> None:
    numbers = iter(range(1000))

    @settings(FAST, max_examples=8)
    @given(st.lists(orders(), min_size=3, max_size=12), st.booleans())
    def check(script: list[tuple[bytes, bool]], is_64: bool) -> None:  # noqa: FBT001 - generated
        path = tmp_path / str(next(numbers))
        replica = Replica(state_dir=path, cache_dir=tmp_path / "cache")
        canister_id = replica.create_canister(controllers=[USER])
        replica.install(canister_id, scribe(is_64=is_64))
        model = Model()
        for order, is_query in script:
            play(replica, canister_id, model, order, is_query=is_query)
            replica.close()
            replica = Replica(state_dir=path, cache_dir=tmp_path / "cache")
            model.check(replica, canister_id)
        replica.close()

    check()


@pytest.mark.slow
@pytest.mark.parametrize("is_64", [False, True])
def test_memories_follow_the_model_for_long(is_64: bool) -> None:  # noqa: FBT001 - a parameter
    @SLOW
    @given(st.lists(orders(), min_size=30, max_size=60))
    def check(script: list[tuple[bytes, bool]]) -> None:
        run_script(Replica(), script, is_64=is_64)

    check()
