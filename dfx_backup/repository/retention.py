"""Which backups a policy keeps: a pure function, with the meaning that restic gives to `--keep-*`.

The rules are those of restic's `forget`. A counted rule (`daily=7`) walks from the newest backup to
the oldest and keeps the newest of each of its 7 latest days that have one; the oldest backup of all
is kept while a count is left. A `within` rule counts back from the newest backup that doesn't lie
in the future. Days and weeks are those of the offset that a backup's time carries.

On top of that come our own: a pin keeps; and unless a group may be emptied, the last backup of a
group stays, and so does the newest one of the highest level that verification reached.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from dfx_backup.errors import UsageError

KEEP_ALL = -1
"""As a count: keep every one of its kind."""

_SPAN_PART = re.compile(r"(\d{1,5})([ymdh])")
_SPAN_UNITS = {"y": "years", "m": "months", "d": "days", "h": "hours"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A length of time in calendar units, as in `--keep-within 1y5m7d2h`."""

    years: int = 0
    months: int = 0
    days: int = 0
    hours: int = 0

    @classmethod
    def parse(cls, text: str) -> "Span":
        """Read `1y5m7d2h`: any of the parts, each at most once.

        Raises:
            UsageError: the text is nothing of that sort, or no time at all.
        """
        parts = _SPAN_PART.findall(text)
        units = [unit for _, unit in parts]
        whole = "".join(number + unit for number, unit in parts)
        if not parts or whole != text.strip() or len(set(units)) != len(units):
            raise UsageError(
                f"`{text}` is no length of time",
                hint="Write years, months, days and hours like 1y5m7d2h.",
            )
        span = cls(**{_SPAN_UNITS[unit]: int(number) for number, unit in parts})
        if not span:
            raise UsageError(f"`{text}` is no time at all")
        return span

    def __bool__(self) -> bool:
        return any((self.years, self.months, self.days, self.hours))

    def __str__(self) -> str:
        values = (self.years, self.months, self.days, self.hours)
        return "".join(
            f"{value}{unit}" for value, unit in zip(values, "ymdh", strict=True) if value
        )

    def before(self, moment: datetime) -> datetime:
        """The moment this long before another; a day that a month lacks runs into the next month.

        A moment before the year 1 becomes the first there is.
        """
        months = moment.year * 12 + (moment.month - 1) - self.years * 12 - self.months
        try:
            first = moment.replace(year=months // 12, month=months % 12 + 1, day=1)
            return first + timedelta(days=moment.day - 1 - self.days, hours=-self.hours)
        except (ValueError, OverflowError):
            return datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupFacts:
    """What the rules need to know of one backup.

    Attributes:
        id: unique name; decides between backups of the same moment.
        time: when it was taken, with its offset from UTC.
        network: identity of the network, not its name.
        canister: text of the canister's principal.
        part: what of the canister, when it is not all of it; a group of its own.
        tags: the tags of the snapshot object.
        pinned: whether the user pinned it.
        level: highest level that a verification of it reached; 0 for none.
    """

    id: str
    time: datetime
    network: str
    canister: str
    part: str = ""
    tags: frozenset[str] = frozenset()
    pinned: bool = False
    level: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What to keep of each group; several rules keep what any of them keeps.

    Attributes:
        last, hourly, daily, weekly, monthly, yearly: how many to keep, 0 for no such rule,
            `KEEP_ALL` for all.
        within: keep everything this far back from the newest.
        within_hourly, within_daily, within_weekly, within_monthly, within_yearly: keep the newest
            of each hour, day, ISO week, month or year this far back from the newest.
        tags: keep a backup that has all tags of one of these lists; an empty tag stands for
            backups without tags.
    """

    last: int = 0
    hourly: int = 0
    daily: int = 0
    weekly: int = 0
    monthly: int = 0
    yearly: int = 0
    within: Span | None = None
    within_hourly: Span | None = None
    within_daily: Span | None = None
    within_weekly: Span | None = None
    within_monthly: Span | None = None
    within_yearly: Span | None = None
    tags: tuple[tuple[str, ...], ...] = ()

    def __bool__(self) -> bool:
        return self != Policy()


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What a policy means for a list of backups.

    Attributes:
        keep: backups that stay, group by group, newest first.
        remove: backups that go, in the same order.
        reasons: for the id of each kept backup, why it stays; never empty.
    """

    keep: tuple[BackupFacts, ...]
    remove: tuple[BackupFacts, ...]
    reasons: Mapping[str, tuple[str, ...]]


def apply_policy(
    backups: Iterable[BackupFacts],
    policy: Policy,
    *,
    now: datetime,
    allow_empty_group: bool = False,
) -> Decision:
    """Decide which backups stay; nothing is read or changed.

    Args:
        backups: all that the repository has and the user's filters let through, in any order.
        policy: what to keep; an empty one keeps everything.
        now: the present; backups of the future don't move the start of a `within` rule.
        allow_empty_group: whether the last backup of a network's canister may go, and the newest
            of the highest verified level.

    Raises:
        UsageError: a count is below -1.
    """
    _check_counts(policy)
    groups: dict[tuple[str, str, str], list[BackupFacts]] = {}
    for backup in sorted(backups, key=lambda each: each.id):
        groups.setdefault((backup.network, backup.canister, backup.part), []).append(backup)
    keep: list[BackupFacts] = []
    remove: list[BackupFacts] = []
    reasons: dict[str, tuple[str, ...]] = {}
    for _, members in sorted(groups.items()):
        group = sorted(members, key=lambda each: each.time, reverse=True)
        why = _reasons(group, policy, now)
        if not allow_empty_group:
            _protect(group, why)
        for backup in group:
            (keep if why[backup.id] else remove).append(backup)
        reasons.update((name, tuple(texts)) for name, texts in why.items() if texts)
    return Decision(keep=tuple(keep), remove=tuple(remove), reasons=reasons)


def _check_counts(policy: Policy) -> None:
    """Refuse counts that mean nothing."""
    for name in ("last", "hourly", "daily", "weekly", "monthly", "yearly"):
        count = getattr(policy, name)
        if count < KEEP_ALL:
            raise UsageError(f"`{name}` of the retention can't be {count}")


def _protect(group: Sequence[BackupFacts], why: dict[str, list[str]]) -> None:
    """Keep a group from becoming empty, and keep its newest backup of the highest level."""
    if not any(why.values()):
        why[group[0].id].append("last of its canister")
    level = max(backup.level for backup in group)
    if level > 0:
        best = next(backup for backup in group if backup.level == level)
        if not why[best.id]:
            why[best.id].append("newest of the highest verified level")


def _reasons(group: Sequence[BackupFacts], policy: Policy, now: datetime) -> dict[str, list[str]]:
    """For each backup of one group (newest first), what keeps it; an empty list for nothing."""
    why: dict[str, list[str]] = {backup.id: [] for backup in group}
    if not policy:
        for texts in why.values():
            texts.append("policy is empty")
        return why
    past = [backup.time for backup in group if backup.time < now]
    latest = max(past, default=datetime.min.replace(tzinfo=UTC))
    rules = _rules(policy, latest)
    for number, backup in enumerate(group):
        texts = why[backup.id]
        if backup.pinned:
            texts.append("pinned")
        texts += [f"has tags {','.join(tags)}" for tags in policy.tags if _has(backup, tags)]
        if policy.within and backup.time > policy.within.before(latest):
            texts.append(f"within {policy.within}")
        oldest = number == len(group) - 1
        texts += [text for rule in rules if (text := rule.keeps(backup.time, number, oldest))]
    return why


def _has(backup: BackupFacts, tags: Sequence[str]) -> bool:
    """Whether a backup has all tags of a list; none at all satisfies the empty tag."""
    for tag in tags:
        if tag == "" and not backup.tags:
            return True
        if tag not in backup.tags:
            return False
    return True


@dataclass(slots=True, kw_only=True)
class _Rule:
    """One rule on its way from the newest backup to the oldest.

    Attributes:
        bucket: the number of the hour, day, … of a time; a run of equal ones is one bucket.
        kind: word for reasons.
        left: how many may still be kept; -1 for any number.
        after: times up to this one are out of reach.
        suffix: end of the reason.
        previous: bucket of the last one kept.
    """

    bucket: Callable[[datetime, int], int]
    kind: str
    left: int = KEEP_ALL
    after: datetime | None = None
    suffix: str = ""
    previous: int = field(default=-1)

    def keeps(self, time: datetime, number: int, oldest: bool) -> str | None:  # noqa: FBT001 - internal
        """The reason why this rule keeps the next backup, or None."""
        if self.left == 0 or (self.after is not None and time <= self.after):
            return None
        bucket = self.bucket(time, number)
        if bucket == self.previous and not oldest:
            return None
        text = f"oldest {self.kind}" if bucket == self.previous else self.kind
        self.previous = bucket
        if self.left > 0:
            self.left -= 1
        return text + self.suffix


def _rules(policy: Policy, latest: datetime) -> list[_Rule]:
    """The rules of a policy that walk from backup to backup."""
    buckets = {"hourly": _hour, "daily": _day, "weekly": _week, "monthly": _month, "yearly": _year}
    rules = []
    if policy.last:
        rules.append(_Rule(bucket=lambda _, number: number, kind="last", left=policy.last))
    for kind, bucket in buckets.items():
        count: int = getattr(policy, kind)
        if count:
            rules.append(_Rule(bucket=bucket, kind=kind, left=count))
    for kind, bucket in buckets.items():
        span: Span | None = getattr(policy, f"within_{kind}")
        if span:
            after = span.before(latest)
            rules.append(_Rule(bucket=bucket, kind=kind, after=after, suffix=f" within {span}"))
    return rules


def _hour(time: datetime, _: int) -> int:
    return _day(time, 0) * 100 + time.hour


def _day(time: datetime, _: int) -> int:
    return _month(time, 0) * 100 + time.day


def _week(time: datetime, _: int) -> int:
    year, week, _day_of_week = time.isocalendar()
    return year * 100 + week


def _month(time: datetime, _: int) -> int:
    return time.year * 100 + time.month


def _year(time: datetime, _: int) -> int:
    return time.year
