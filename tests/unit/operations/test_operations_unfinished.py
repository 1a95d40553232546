import json
from pathlib import Path

import pytest

from dfx_backup.errors import DamageError, ProjectError
from dfx_backup.operations.unfinished import UnfinishedBackups
from tests.fakes.unfinished_backup import CANISTER, LEFT, OTHER


def test_what_is_written_is_read(tmp_path: Path) -> None:
    files = UnfinishedBackups(tmp_path)
    assert files.read(LEFT.key) is None

    files.write(LEFT)

    assert files.read(LEFT.key) == LEFT
    assert LEFT.members == (CANISTER, OTHER)
    (path,) = (tmp_path / "unfinished").iterdir()
    assert path.stat().st_mode & 0o777 == 0o600
    files.drop(LEFT.key)
    assert files.read(LEFT.key) is None


def spoil(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"format": "something else"},
        {"snapshot_id": 5},
        {"after_stop": {"version": 1, "state": "asleep"}},
        {"backup": {"backup_id": "short"}},
        {"tags": "nightly"},
        {"canister": {"canister_id": "2vxsx-fae", "name": None}},
    ],
)
def test_a_file_that_is_not_what_was_written_is_named(
    tmp_path: Path, changes: dict[str, object]
) -> None:
    files = UnfinishedBackups(tmp_path)
    files.write(LEFT)
    path = tmp_path / "unfinished" / f"{LEFT.key}.json"
    spoil(path, **changes)

    with pytest.raises(DamageError, match=str(path)):
        files.read(LEFT.key)


def test_a_newer_one_is_left_to_the_newer_program(tmp_path: Path) -> None:
    files = UnfinishedBackups(tmp_path)
    files.write(LEFT)
    spoil(tmp_path / "unfinished" / f"{LEFT.key}.json", version=2)

    with pytest.raises(ProjectError, match="newer version"):
        files.read(LEFT.key)


def test_unknown_fields_do_not_matter(tmp_path: Path) -> None:
    files = UnfinishedBackups(tmp_path)
    files.write(LEFT)
    spoil(tmp_path / "unfinished" / f"{LEFT.key}.json", more=1)

    assert files.read(LEFT.key) == LEFT
