"""Policies and what they keep, case by case; then what holds for every list and every policy."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from dfx_backup.errors import UsageError
from dfx_backup.repository.retention import (
    KEEP_ALL,
    BackupFacts,
    Policy,
    Span,
    apply_policy,
)

NOW = datetime(2026, 12, 31, 12, tzinfo=UTC)


def backup(text: str, **facts: object) -> BackupFacts:
    """`2026-11-21 10:30` as a backup that bears its time as its name."""
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        time = time.replace(tzinfo=UTC)
    merged: dict = {"id": text, "time": time, "network": "net", "canister": "c"} | facts
    return BackupFacts(**merged)


def kept(backups: list[BackupFacts], policy: Policy, **options: object) -> list[str]:
    decision = apply_policy(backups, policy, now=NOW, **options)
    return [each.id for each in decision.keep]


# Newest first, as the walk goes.
BUSY = [
    backup(text)
    for text in (
        "2026-11-21 10:30",
        "2026-11-21 10:00",
        "2026-11-21 09:59",
        "2026-11-20 23:00",
        "2026-11-20 01:00",
        "2026-11-18 12:00",
        "2026-11-15 12:00",  # a Sunday: the week before
        "2026-10-31 12:00",
        "2026-10-01 12:00",
        "2026-01-01 00:00",  # ISO week 1 of 2026
        "2025-12-31 23:59",  # ISO week 1 of 2026 as well
        "2025-12-28 12:00",  # ISO week 52 of 2025
        "2024-02-29 12:00",
    )
]
ALL = [each.id for each in BUSY]

CASES = {
    "an empty policy keeps all": (Policy(), ALL),
    "last 1": (Policy(last=1), ALL[:1]),
    "last 3": (Policy(last=3), ALL[:3]),
    "more than there are": (Policy(last=99), ALL),
    "all": (Policy(last=KEEP_ALL), ALL),
    "hourly 2: the newest of an hour": (Policy(hourly=2), [ALL[0], ALL[2]]),
    "hourly 3 reaches the day before": (Policy(hourly=3), [ALL[0], ALL[2], ALL[3]]),
    "daily 2": (Policy(daily=2), [ALL[0], ALL[3]]),
    "daily 3 skips days without any": (Policy(daily=3), [ALL[0], ALL[3], ALL[5]]),
    "weekly 2: weeks begin on Monday": (Policy(weekly=2), [ALL[0], ALL[6]]),
    "weekly 5 crosses the year as ISO does": (
        Policy(weekly=5),
        [ALL[0], ALL[6], ALL[7], ALL[8], ALL[9]],
    ),
    "weekly 6: December 31 shares a week with January 1": (
        Policy(weekly=6),
        [ALL[0], ALL[6], ALL[7], ALL[8], ALL[9], ALL[11]],
    ),
    "monthly 2": (Policy(monthly=2), [ALL[0], ALL[7]]),
    "monthly 4": (Policy(monthly=4), [ALL[0], ALL[7], ALL[9], ALL[10]]),
    "yearly 2": (Policy(yearly=2), [ALL[0], ALL[10]]),
    "yearly all": (Policy(yearly=KEEP_ALL), [ALL[0], ALL[10], ALL[12]]),
    "the oldest stays while a count is left": (
        Policy(monthly=99),
        [ALL[0], ALL[7], ALL[9], ALL[10], ALL[12]],
    ),
    "within 1 hour of the newest": (Policy(within=Span(hours=1)), ALL[:3]),
    "within 3 days": (Policy(within=Span(days=3)), ALL[:6]),
    "within excludes its edge": (Policy(within=Span(hours=9, days=2, months=0)), ALL[:5]),
    "within 6 days 1 hour": (Policy(within=Span(days=6, hours=1)), ALL[:7]),
    "within a month": (Policy(within=Span(months=1)), ALL[:8]),
    "within a year": (Policy(within=Span(years=1)), ALL[:12]),
    "daily within 2 days": (Policy(within_daily=Span(days=2)), [ALL[0], ALL[3]]),
    "hourly within 11 hours": (Policy(within_hourly=Span(hours=11)), [ALL[0], ALL[2]]),
    "weekly within 7 days": (Policy(within_weekly=Span(days=7)), [ALL[0], ALL[6]]),
    "monthly within 2 months": (Policy(within_monthly=Span(months=2)), [ALL[0], ALL[7]]),
    "yearly within 2 years": (Policy(within_yearly=Span(years=2)), [ALL[0], ALL[10]]),
    "rules add up": (
        Policy(last=2, daily=2, yearly=2),
        [ALL[0], ALL[1], ALL[3], ALL[10]],
    ),
}


@pytest.mark.parametrize(("policy", "expected"), CASES.values(), ids=CASES.keys())
def test_what_a_policy_keeps(policy: Policy, expected: list[str]) -> None:
    decision = apply_policy(reversed(BUSY), policy, now=NOW)
    assert [each.id for each in decision.keep] == expected
    assert [each.id for each in decision.remove] == [name for name in ALL if name not in expected]
    assert set(decision.reasons) == set(expected)
    assert all(decision.reasons.values())


def test_within_excludes_its_edge() -> None:
    pair = [backup("2026-11-21 10:00"), backup("2026-11-20 10:00")]
    assert kept(pair, Policy(within=Span(hours=24))) == [pair[0].id]
    assert len(kept(pair, Policy(within=Span(hours=25)))) == 2


def test_the_oldest_stays_while_a_count_is_left_and_says_so() -> None:
    day = [backup(f"2026-11-21 {hour}:00") for hour in (12, 11, 10)]
    decision = apply_policy(day, Policy(daily=2), now=NOW)
    assert [each.id for each in decision.keep] == [day[0].id, day[2].id]
    assert decision.reasons[day[2].id] == ("oldest daily",)
    assert kept(day, Policy(daily=1)) == [day[0].id]


def test_a_month_before_march_31_is_march_3() -> None:
    start = datetime(2026, 3, 31, 12, tzinfo=UTC)
    assert Span(months=1).before(start) == datetime(2026, 3, 3, 12, tzinfo=UTC)
    assert Span(years=1).before(datetime(2024, 2, 29, tzinfo=UTC)).isoformat()[:10] == "2023-03-01"
    assert Span(months=14).before(start) == datetime(2025, 1, 31, 12, tzinfo=UTC)
    assert Span(years=9999).before(start).year == 1


def test_backups_of_the_future_do_not_move_the_start_of_within() -> None:
    clock_gone_wrong = backup("2199-01-01 00:00")
    real = [backup("2026-11-21 10:00"), backup("2026-11-20 10:00"), backup("2026-10-01 10:00")]
    names = kept([clock_gone_wrong, *real], Policy(within=Span(days=7)))
    assert names == [clock_gone_wrong.id, real[0].id, real[1].id]
    assert kept([clock_gone_wrong], Policy(within=Span(days=7))) == [clock_gone_wrong.id]


def test_days_are_those_of_the_offset_that_the_time_carries() -> None:
    late = backup("2026-11-21 23:30+02:00")
    early = backup("2026-11-21 22:30+00:00")  # one hour later, and the same day as it is written
    assert kept([late, early], Policy(daily=1)) == [early.id]
    next_day = backup("2026-11-22 00:30+02:00", id="next")
    assert kept([late, next_day], Policy(daily=2)) == ["next", late.id]


def test_tags_keep_a_backup_that_has_all_of_one_list() -> None:
    both = backup("2026-11-03", tags=frozenset({"a", "b"}))
    one = backup("2026-11-02", tags=frozenset({"a"}))
    none = backup("2026-11-01")
    backups = [none, one, both]
    assert kept(backups, Policy(tags=(("a", "b"),))) == [both.id]
    assert kept(backups, Policy(tags=(("a",),))) == [both.id, one.id]
    assert kept(backups, Policy(tags=(("b",), ("",)))) == [both.id, none.id]
    assert apply_policy(backups, Policy(tags=(("a", "b"),)), now=NOW).reasons == {
        both.id: ("has tags a,b",)
    }


def test_groups_are_counted_apart() -> None:
    backups = [
        backup(
            f"2026-11-0{day}", id=f"{network}{canister}{day}", network=network, canister=canister
        )
        for network in "NM"
        for canister in "cd"
        for day in (1, 2)
    ]
    assert kept(backups, Policy(last=1)) == ["Mc2", "Md2", "Nc2", "Nd2"]


def test_parts_of_a_canister_are_counted_apart() -> None:
    backups = [
        backup(f"2026-11-0{day}", id=f"{part}{day}", part=part)
        for part in ("", "stable/a", "stable/b")
        for day in (1, 2)
    ]
    assert kept(backups, Policy(last=1)) == ["2", "stable/a2", "stable/b2"]


def test_a_pin_keeps() -> None:
    pinned = backup("2020-01-01", pinned=True)
    decision = apply_policy([*BUSY, pinned], Policy(last=1), now=NOW)
    assert [each.id for each in decision.keep] == [ALL[0], pinned.id]
    assert decision.reasons[pinned.id] == ("pinned",)


def test_the_last_of_a_group_goes_only_when_the_group_may_be_emptied() -> None:
    nothing_matches = Policy(tags=(("no-such-tag",),))
    decision = apply_policy(BUSY, nothing_matches, now=NOW)
    assert decision.reasons == {ALL[0]: ("last of its canister",)}
    assert kept(BUSY, nothing_matches, allow_empty_group=True) == []


def test_the_newest_of_the_highest_level_goes_only_when_the_group_may_be_emptied() -> None:
    backups = [
        backup("2026-11-05"),
        backup("2026-11-04", level=1),
        backup("2026-11-03", level=2),
        backup("2026-11-02", level=2),
    ]
    decision = apply_policy(backups, Policy(last=1), now=NOW)
    assert [each.id for each in decision.keep] == [backups[0].id, backups[2].id]
    assert decision.reasons[backups[2].id] == ("newest of the highest verified level",)
    assert kept(backups, Policy(last=1), allow_empty_group=True) == [backups[0].id]


def test_backups_of_one_moment_are_told_apart_by_their_names() -> None:
    twins = [backup("2026-11-05", id=name) for name in "cab"]
    assert kept(twins, Policy(last=1)) == kept(twins[::-1], Policy(last=1))


@pytest.mark.parametrize("text", ["", "7", "d", "7w", "1d2d", "-1d", "1.5h", "1d 2h", "0d", "7d!"])
def test_what_is_no_length_of_time(text: str) -> None:
    with pytest.raises(UsageError):
        Span.parse(text)


def test_lengths_of_time_are_read_and_written_alike() -> None:
    assert Span.parse("1y5m7d2h") == Span(years=1, months=5, days=7, hours=2)
    assert str(Span.parse("2h7d")) == "7d2h"


def test_a_count_below_all_is_refused() -> None:
    with pytest.raises(UsageError):
        apply_policy(BUSY, Policy(weekly=-2), now=NOW)


spans = st.builds(
    Span,
    years=st.integers(0, 3),
    months=st.integers(0, 14),
    days=st.integers(0, 40),
    hours=st.integers(0, 50),
)
counts = st.one_of(st.just(0), st.integers(0, 5))
COUNTS = ("last", "hourly", "daily", "weekly", "monthly", "yearly")
SPANS = ("within", *(f"within_{kind}" for kind in COUNTS[1:]))
policies = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(COUNTS, counts)
    | dict.fromkeys(SPANS, spans)
    | {"tags": st.just((("a",),))},
).map(lambda chosen: Policy(**chosen))
START = datetime(2024, 1, 1, tzinfo=UTC)
facts = st.builds(
    BackupFacts,
    id=st.uuids().map(str),
    time=st.builds(
        lambda hours, offset: (START + timedelta(hours=hours)).astimezone(
            timezone(timedelta(minutes=offset))
        ),
        st.one_of(st.integers(0, 100), st.integers(0, 20_000)),
        st.sampled_from([0, 0, 0, 330, -480]),
    ),
    network=st.just("net"),
    canister=st.sampled_from("cd"),
    tags=st.sampled_from([frozenset(), frozenset("a"), frozenset("ab")]),
    pinned=st.sampled_from([False, False, False, True]),
    level=st.sampled_from([0, 0, 1, 2]),
)
few = settings(max_examples=60, deadline=None)
lists = st.lists(facts, min_size=1, max_size=12, unique_by=(lambda each: each.id))


@few
@given(lists, policies, st.booleans(), st.randoms())
def test_every_backup_is_kept_or_removed_whatever_the_order(
    backups: list, policy: Policy, allow: object, random: object
) -> None:
    decision = apply_policy(backups, policy, now=NOW, allow_empty_group=bool(allow))
    names = [each.id for each in (*decision.keep, *decision.remove)]
    assert sorted(names) == sorted(each.id for each in backups)
    assert set(decision.reasons) == {each.id for each in decision.keep}
    random.shuffle(backups)
    assert apply_policy(backups, policy, now=NOW, allow_empty_group=bool(allow)) == decision


@few
@given(lists, policies)
def test_no_group_is_emptied_and_pins_and_the_best_stay(backups: list, policy: Policy) -> None:
    decision = apply_policy(backups, policy, now=NOW)
    assert {each.canister for each in decision.keep} == {each.canister for each in backups}
    assert not any(each.pinned for each in decision.remove)
    for group in {each.canister for each in backups}:
        levels = [each.level for each in backups if each.canister == group]
        kept_levels = [each.level for each in decision.keep if each.canister == group]
        assert max(kept_levels) == max(levels)


@few
@given(lists, policies)
def test_the_newest_stays_under_any_rule_but_tags(backups: list, policy: Policy) -> None:
    policy = replace(policy, tags=())
    assume(any(getattr(policy, name) for name in (*COUNTS, *SPANS)))
    decision = apply_policy(backups, policy, now=NOW, allow_empty_group=True)
    for group in {each.canister for each in backups}:
        newest = max(each.time for each in backups if each.canister == group)
        assert newest in [each.time for each in decision.keep if each.canister == group]


@few
@given(lists, policies, st.sampled_from((*COUNTS, *SPANS)), st.integers(1, 5), spans)
def test_asking_for_more_keeps_no_less(
    backups: list, policy: Policy, name: str, more: int, span: Span
) -> None:
    assume(policy)
    current = getattr(policy, name)
    if name in COUNTS:
        grown = current + more
    elif current:
        grown = Span(**{part: getattr(current, part) + getattr(span, part) for part in PARTS})
    else:
        grown = span
    values = {field: getattr(policy, field) for field in (*COUNTS, *SPANS, "tags")}
    bigger = Policy(**(values | {name: grown}))
    less = apply_policy(backups, policy, now=NOW, allow_empty_group=True)
    larger = apply_policy(backups, bigger, now=NOW, allow_empty_group=True)
    assert {each.id for each in less.keep} <= {each.id for each in larger.keep}


PARTS = ("years", "months", "days", "hours")
