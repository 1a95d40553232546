"""Retention as restic does it: the same backups, the same policies, the same decisions."""

import random
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from dfx_backup.repository.layout import ObjectKind
from dfx_backup.repository.local import LocalStore
from dfx_backup.repository.repository import Repository
from dfx_backup.repository.retention import BackupFacts, Policy, Span, apply_policy
from dfx_backup.repository.snapshots import encode_snapshot
from tests.fakes.repositories import Restic, back_up, new_repository

POLICIES = {
    "--keep-last 3": Policy(last=3),
    "--keep-hourly 5": Policy(hourly=5),
    "--keep-daily 7": Policy(daily=7),
    "--keep-weekly 8": Policy(weekly=8),
    "--keep-monthly 12": Policy(monthly=12),
    "--keep-yearly 10": Policy(yearly=10),
    "--keep-daily 3 --keep-weekly 3 --keep-monthly 3 --keep-yearly 2": Policy(
        daily=3, weekly=3, monthly=3, yearly=2
    ),
    "--keep-within 1m": Policy(within=Span(months=1)),
    "--keep-within 1y2m3d4h": Policy(within=Span(years=1, months=2, days=3, hours=4)),
    "--keep-within-hourly 3d": Policy(within_hourly=Span(days=3)),
    "--keep-within-daily 1m --keep-within-weekly 3m": Policy(
        within_daily=Span(months=1), within_weekly=Span(months=3)
    ),
    "--keep-within-monthly 1y --keep-within-yearly 10y": Policy(
        within_monthly=Span(years=1), within_yearly=Span(years=10)
    ),
    "--keep-tag a,b": Policy(tags=(("a", "b"),)),
    "--keep-tag b --keep-tag a --keep-last 1": Policy(last=1, tags=(("b",), ("a",))),
}


def write_snapshots(repository: Repository, chance: random.Random) -> list[BackupFacts]:
    """Snapshot objects of many times and zones, all with one tree."""
    first = back_up(repository, {"f": b"x"})
    tree = repository.snapshot(first.snapshot_id)
    repository.store.delete(f"snapshots/{first.snapshot_id}")
    newest = datetime(2026, 3, 31, 10, 30, tzinfo=UTC)
    moments = [newest - timedelta(minutes=17 * number) for number in range(25)]
    moments += [newest - timedelta(hours=chance.randint(1, 24 * 400)) for _ in range(40)]
    moments += [newest - timedelta(days=chance.randint(1, 4000)) for _ in range(15)]
    moments += [datetime(2199, 1, 1, tzinfo=UTC)]
    facts = []
    for number, moment in enumerate(sorted(set(moments))):
        time = moment.astimezone(timezone(timedelta(minutes=chance.choice([0, 0, 330, -480]))))
        canister = "cd"[number % 5 == 0]
        tags = chance.choice([[], ["a"], ["b", "a"]])
        text = encode_snapshot(tree).decode()
        text = text.replace('"time":"2026-05-28T20:26:40Z"', f'"time":"{time.isoformat()}"')
        assert time.isoformat() in text
        text = text.replace('"/aaaaa-aa"', f'"/{canister}"')
        if tags:
            listed = ",".join(f'"{tag}"' for tag in tags)
            text = f'{text[:-1]},"tags":[{listed}]}}'
        snapshot_id, _ = repository.save_sealed(ObjectKind.SNAPSHOT, text.encode())
        facts.append(
            BackupFacts(
                id=snapshot_id, time=time, network="local", canister=canister, tags=frozenset(tags)
            )
        )
    return facts


@pytest.mark.judge
@pytest.mark.timeout(300)
def test_every_policy_decides_as_restic_does(tmp_path: Path) -> None:
    judge = Restic(tmp_path / "repository", tmp_path / "home")
    keeps_oldest = tuple(map(int, judge.run("version").split()[1].split(".")[:2])) >= (0, 16)
    facts = write_snapshots(new_repository(LocalStore(tmp_path / "repository")), random.Random(3))
    now = datetime.now(UTC)
    for words, policy in POLICIES.items():
        told = judge.json("forget", "--dry-run", *words.split())
        theirs = {each["id"] for group in told for each in group["keep"] or ()}
        ours = apply_policy(facts, policy, now=now, allow_empty_group=True)
        ids = {
            each.id
            for each in ours.keep
            # Since 0.16 restic keeps the oldest while a count is left, and so do we.
            if keeps_oldest or any(not why.startswith("oldest") for why in ours.reasons[each.id])
        }
        assert ids == theirs, words
        assert ids
