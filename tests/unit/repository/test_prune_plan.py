"""Which packs a prune drops and which it writes anew."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dfx_backup.errors import UsageError
from dfx_backup.repository.prune_plan import PackFacts, plan_prune

DAY = 24 * 3600.0
NOW = 100 * DAY


def pack(
    name: str, used: int, payload: int = 100, age: float = 2 * DAY, **facts: bool
) -> PackFacts:
    indexed = facts.get("indexed", True)
    return PackFacts(
        pack_id=name,
        size=payload + 10,
        modified=NOW - age,
        indexed=indexed,
        payload=payload if indexed else 0,
        used=used,
    )


def test_a_pack_that_nobody_needs_is_dropped_and_a_full_one_stays() -> None:
    plan = plan_prune([pack("a", 100), pack("b", 0)], now=NOW)
    assert (plan.drop, plan.repack, plan.keep) == (("b",), (), 1)
    assert plan.freed_bytes == plan.dropped_bytes == 110


def test_a_pack_that_no_index_lists_is_dropped() -> None:
    plan = plan_prune([pack("a", 0, indexed=False)], now=NOW)
    assert plan.drop == ("a",)
    assert plan.unused_bytes == 110


def test_young_packs_are_left_alone() -> None:
    packs = [
        pack("a", 0, age=DAY - 1),
        pack("b", 1, age=DAY - 1),
        pack("c", 0, age=DAY - 1, indexed=False),
        pack("d", 0, age=-DAY),  # of the future
        pack("e", 0, age=DAY),
    ]
    plan = plan_prune(packs, now=NOW)
    assert (plan.drop, plan.repack, plan.keep, plan.young) == (("e",), (), 4, 4)
    assert plan_prune(packs, now=NOW, keep_younger_s=0).drop == ("a", "c", "e")


def test_the_least_used_packs_are_written_anew_until_enough_is_used() -> None:
    packs = [pack("a", 95), pack("b", 20), pack("c", 50), pack("d", 100)]
    # 265 bytes are used, so 29.4 may be unused: b and c go, and the 5 of a stay.
    plan = plan_prune(packs, now=NOW)
    assert plan.repack == ("b", "c")
    assert plan.repacked_bytes == 70
    assert plan.freed_bytes == 130
    assert plan_prune(packs, now=NOW, max_unused=0).repack == ("b", "c", "a")
    assert plan_prune(packs, now=NOW, max_unused=0.5).repack == ()


@pytest.mark.parametrize("fraction", [-0.1, 1, 2])
def test_what_is_no_fraction(fraction: float) -> None:
    with pytest.raises(UsageError):
        plan_prune([], now=NOW, max_unused=fraction)


packs_of_all_sorts = st.lists(
    st.builds(
        lambda name, used, age, indexed: pack(
            name, used if indexed else 0, age=age, indexed=indexed
        ),
        st.uuids().map(str),
        st.integers(0, 100),
        st.floats(0, 3 * DAY),
        st.booleans(),
    ),
    max_size=12,
    unique_by=lambda each: each.pack_id,
)


@settings(max_examples=60, deadline=None)
@given(packs_of_all_sorts, st.sampled_from([0, 0.05, 0.1, 0.5]))
def test_whatever_there_is_the_plan_holds_its_promises(
    packs: list[PackFacts], max_unused: float
) -> None:
    plan = plan_prune(packs, now=NOW, max_unused=max_unused)
    facts = {each.pack_id: each for each in packs}
    gone = {*plan.drop, *plan.repack}
    assert len(gone) == len(plan.drop) + len(plan.repack)
    assert plan.keep == len(packs) - len(gone)
    assert all(NOW - facts[name].modified >= DAY for name in gone)
    assert not any(facts[name].used for name in plan.drop)
    old = [each for each in packs if NOW - each.modified >= DAY and each.pack_id not in gone]
    used = sum(each.used for each in packs)
    assert sum(each.payload - each.used for each in old) <= used * max_unused / (1 - max_unused)
