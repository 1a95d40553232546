"""Where a repository lies, and what names of backups mean."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dfx_backup.errors import NoRepositoryError, RefusedError, UsageError
from dfx_backup.model import CanisterId, NetworkId, SnapshotId
from dfx_backup.operations.backup_diff import PageRange, _map, _ranges
from dfx_backup.operations.backup_names import backups_of, find_backup, find_backups, find_set
from dfx_backup.operations.backup_notes import Note, NoteKind, read_note
from dfx_backup.operations.backups import Backup, Backups, check_tags
from dfx_backup.operations.repository_access import Location, choose_location
from dfx_backup.repository.contents import ContentTable
from dfx_backup.repository.snapshots import SnapshotObject
from dfx_backup.transfer.backup_json import BackupRecord
from dfx_backup.transfer.terms import BackupIdentity

CHAT, LEDGER = "rrkah-fqaaa-aaaaa-aaaaq-cai", "ryjl3-tyaaa-aaaaa-aaaba-cai"


def backup(backup_id: str, canister: str = CHAT, *, network: str = "ic", **more: object) -> Backup:
    tags = ["dfx-backup:snapshot", f"dfx-backup:id={backup_id}"]
    if "set_id" in more:
        tags.append(f"dfx-backup:set={more.pop('set_id')}")
    snapshot = SnapshotObject(
        snapshot_id=backup_id.ljust(64, "0"),
        time=float(len(backup_id)),
        tree=bytes(32),
        hostname=network,
        paths=(f"/{canister}",),
        tags=tuple(tags),
    )
    return replace(Backup(snapshot=snapshot, record=None), **more)  # type: ignore[arg-type] # fields


ALL = Backups(
    all=(
        backup("aa11"),
        backup("aa22", set_id="5e01"),
        backup("bb33", LEDGER, set_id="5e01"),
        backup("cc44", network="local"),
    )
)


def test_the_beginning_of_an_id() -> None:
    assert find_backup(ALL, "aa1").backup_id == "aa11"
    assert find_backup(ALL, "BB").backup_id == "bb33"


@pytest.mark.parametrize("name", ["aa", "dd", "", "chat@latest", f"{CHAT}@oldest", "set:5e"])
def test_names_that_mean_none_or_several(name: str) -> None:
    with pytest.raises(UsageError):
        find_backup(ALL, name)


def test_latest_is_of_one_canister_on_one_network() -> None:
    assert find_backup(ALL, f"{LEDGER}@latest").backup_id == "bb33"
    with pytest.raises(UsageError, match="several canisters"):
        find_backup(ALL, f"{CHAT}@latest")
    assert find_backup(ALL, f"{CHAT}@latest", network="local").backup_id == "cc44"
    assert find_backup(ALL, "latest", network="local").backup_id == "cc44"
    with pytest.raises(RefusedError):
        find_backup(ALL, "latest")
    with pytest.raises(UsageError, match="no backup in the repository"):
        find_backup(Backups(all=()), "latest")


def test_sets() -> None:
    assert [each.backup_id for each in find_set(ALL, "set:5e")] == ["aa22", "bb33"]
    found = find_backups(ALL, ["bb", "set:5e01", "aa1"])
    assert [each.backup_id for each in found] == ["bb33", "aa22", "aa11"]
    for name in ("set:", "set:6"):
        with pytest.raises(UsageError):
            find_set(ALL, name)


def test_backups_of_a_canister() -> None:
    assert len(backups_of(ALL, CHAT, network="ic")) == 2
    with pytest.raises(UsageError, match="on nowhere"):
        backups_of(ALL, CHAT, network="nowhere")


def test_canisters_of_networks_that_only_have_the_same_name() -> None:
    def of(network_id: str) -> BackupRecord:
        identity = BackupIdentity(
            canister_id=CanisterId(CHAT),
            snapshot_id=SnapshotId("00"),
            network_id=NetworkId(network_id),
            tool="a test",
            created_at=0.0,
        )
        return BackupRecord(identity=identity, files=(), globals=())

    one, other = (
        backup(name, network="local", record=of(network))
        for name, network in (("aa11", "1f"), ("bb22", "2f"))
    )
    with pytest.raises(
        UsageError, match=r"\(newest backup aa11\).*\(newest backup bb22\)"
    ) as caught:
        backups_of(Backups(all=(one, other)), CHAT, network="local")
    assert "reset" in caught.value.hint
    assert "--network" not in caught.value.hint


@pytest.mark.parametrize("tag", ["", " ", "a,b", "dfx-backup:pin", "a\n"])
def test_what_is_no_tag(tag: str) -> None:
    with pytest.raises(UsageError, match="can't be a tag"):
        check_tags([tag])


def test_tags_count_once() -> None:
    assert check_tags(["a", "b", "a"]) == ("a", "b")


def test_notes_raise_the_level_and_pin() -> None:
    def note(kind: NoteKind, level: int) -> Note:
        return Note(kind=kind, backup_id="aa11", level=level, time=0.0, snapshot_id="ff" * 32)

    found = backup("aa11", notes=(note(NoteKind.VERIFICATION, 3), note(NoteKind.PIN, 0)))
    assert (found.level, found.pinned) == (3, True)
    assert (backup("aa11").level, backup("aa11").pinned) == (0, False)


@pytest.mark.parametrize(
    ("tags", "level"),
    [
        (("dfx-backup:verification", "dfx-backup:of=aa", "dfx-backup:level=2"), 2),
        (("dfx-backup:verification", "dfx-backup:of=aa", "dfx-backup:level=x"), 0),
        (("dfx-backup:pin", "dfx-backup:of=aa"), 0),
        (("dfx-backup:pin",), None),
        (("nightly",), None),
    ],
)
def test_what_is_a_note(tags: tuple[str, ...], level: int | None) -> None:
    snapshot = replace(backup("aa").snapshot, tags=tags)
    note = read_note(snapshot)

    assert (None if note is None else note.level) == level


def test_a_location_is_chosen_in_order(tmp_path: Path) -> None:
    def choose(*given: str | None) -> str:
        typed, variable, settings = given
        folder = tmp_path / "project"
        return choose_location(typed, variable, settings, cwd=tmp_path, settings_folder=folder).text

    assert choose("a", "b", "c") == str(tmp_path / "a")
    assert choose(None, "b", "c") == str(tmp_path / "b")
    assert choose(None, None, "c") == str(tmp_path / "project" / "c")
    with pytest.raises(NoRepositoryError):
        choose(None, None, None)


@pytest.mark.parametrize("typed", ["", " ", "a\0b", "a\nb", "rest:http://x", "s3:bucket"])
def test_what_is_no_location(typed: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        Location.parse(typed, base=tmp_path)


def test_a_location_in_s3_is_told_as_restic_takes_it(tmp_path: Path) -> None:
    found = Location.parse("s3:host.example/bucket/a/", base=tmp_path)

    assert (found.text, found.folder) == ("s3:https://host.example/bucket/a", None)


PAGES = st.lists(st.integers(0, 2), max_size=300)


def table(pages: list[int]) -> ContentTable:
    found = ContentTable(len(pages), bytes(32))
    for place, page in enumerate(pages):
        found[place] = bytes([page]) * 32
    return found


@given(PAGES, PAGES)
def test_ranges_and_map_are_what_comparing_page_by_page_gives(
    old: list[int], new: list[int]
) -> None:
    count = max(len(old), len(new))
    padded = [pages + [-1] * (count - len(pages)) for pages in (old, new)]
    differ = [place for place in range(count) if padded[0][place] != padded[1][place]]
    ranges = tuple(_ranges(table(old), table(new)))

    assert [place for each in ranges for place in range(each.first, each.first + each.count)] == (
        differ
    )
    assert all(one.first + one.count < other.first for one, other in pairwise(ranges))
    cells = _map(ranges, count)
    assert len(cells) == min(64, count)
    assert all(0 <= share <= 1 for share in cells)
    assert bool(differ) == any(cells)


def test_long_equal_parts_are_passed_over() -> None:
    old, new = (ContentTable(1 << 22, bytes(32)) for _ in range(2))
    new[3_000_000] = b"\1" * 32

    assert tuple(_ranges(old, new)) == (PageRange(first=3_000_000, count=1),)
