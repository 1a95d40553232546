from pathlib import Path

import pytest

from dfx_backup.errors import DamageError, LockedError, ProjectError
from dfx_backup.transfer.resume import Journal


def test_what_was_added_is_there_again(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    journal = Journal.open(path)
    assert journal.header is None
    with pytest.raises(DamageError, match="journal"):
        journal.fields()
    journal.begin({"format": "x"})
    journal.add(["stable", 0, 5])
    journal.add({"more": 1}, sync=True)
    journal.close()

    again = Journal.open(path)
    assert again.header == {"format": "x"}
    assert list(again.lines) == [["stable", 0, 5], {"more": 1}]
    assert again.fields().text("format") == "x"
    assert path.stat().st_mode & 0o777 == 0o600
    again.close()


@pytest.mark.parametrize("tail", [b'["a"', b"\0\0\0\0", b"[1]\n\xff\n[2]\n", b"{]\n", b"null\n"])
def test_lines_after_a_torn_one_are_dropped_and_new_ones_follow(
    tmp_path: Path, tail: bytes
) -> None:
    path = tmp_path / "journal"
    journal = Journal.open(path)
    journal.begin({})
    journal.add(["first"])
    journal.close()
    with path.open("ab") as file:
        file.write(tail)

    torn = Journal.open(path)
    kept = list(torn.lines)
    assert kept[0] == ["first"]
    torn.add(["second"])
    torn.close()
    again = Journal.open(path)
    assert list(again.lines) == [*kept, ["second"]]
    again.close()


@pytest.mark.parametrize("content", [b"", b"\0" * 100, b'{"format"', b"[1]\n"])
def test_a_journal_without_a_header_is_new(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "journal"
    path.write_bytes(content)
    journal = Journal.open(path)
    assert journal.header is None
    assert not journal.lines
    journal.begin({"a": 1})
    journal.close()
    again = Journal.open(path)
    assert again.header == {"a": 1}
    again.close()


def test_two_do_not_have_it_at_once(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    first = Journal.open(path)
    with pytest.raises(LockedError, match="another process works with"):
        Journal.open(path)
    first.close()
    Journal.open(path).close()


def test_who_waits_for_a_file_that_is_removed_gets_a_new_one(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    first = Journal.open(path)
    first.begin({"old": 1})
    first.remove()
    second = Journal.open(path)
    assert second.header is None
    second.close()
    first.close()


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match=r"nowhere/journal can't be used"):
        Journal.open(tmp_path / "nowhere" / "journal")


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "journal").symlink_to(tmp_path / "precious")
    with pytest.raises(ProjectError):
        Journal.open(tmp_path / "journal")
    assert not (tmp_path / "precious").exists()
