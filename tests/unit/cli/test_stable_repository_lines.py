"""Command lines of `stable` with a repository: older methods, unproven copies, damaged backups."""

from pathlib import Path

import pytest

from tests.fakes.cases import OPEN, empty_repository, stream_in_repository
from tests.fakes.stable_cases import RESTORE, STORE, old_endpoints
from tests.fakes.stage import Stage

FACTLAND = ("stable", "export", "chat", "--protocol", "factland", *OPEN)
BLOB = ("stable", "export", "chat", "--protocol", "offset-blob", *OPEN)


@pytest.mark.parametrize(
    ("argv", "certified", "level"), [(FACTLAND, "reads", 1), (BLOB, "uncertified", 0)]
)
def test_older_methods(tmp_path: Path, argv: tuple[str, ...], certified: str, level: int) -> None:
    stage = Stage(tmp_path)
    empty_repository(stage)
    made = old_endpoints(stage)

    assert stage.run(*argv, "--json") == 0, stage.stdout

    data = stage.envelope["data"]
    assert (data["certified"], data["level"]) == (certified, level)
    assert bool(data["warnings"]) == (certified == "uncertified")
    made.memory[5] ^= 1
    assert stage.run(*argv, "--json") == 0, stage.stdout
    again = stage.envelope["data"]
    assert again["moved_bytes"] >= len(made.memory)  # without hashes there is no delta
    assert again["new_bytes"] < 100_000
    assert stage.run("show", again["backup_id"], *OPEN, "--json") == 0
    assert stage.envelope["data"]["stable"]["certified"] == certified
    assert stage.run("stable", "export", "chat", *OPEN, "--stream", "x") == 50  # the kit's methods


def test_what_never_holds_still_is_not_committed(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    empty_repository(stage)
    made = old_endpoints(stage)
    made.after = lambda number: made.memory.__setitem__(0, number % 256)

    assert stage.run(*FACTLAND) == 60
    assert stage.run("list", *OPEN, "--json") == 0
    assert stage.envelope["data"]["backups"] == []


def test_damage_is_neither_imported_nor_built_upon(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stream_in_repository(stage)
    packs = sorted((tmp_path / "repo" / "data").rglob("*"), key=lambda each: each.stat().st_size)
    blobs = next(each for each in reversed(packs) if each.is_file())
    data = bytearray(blobs.read_bytes())
    for at in range(1000, len(data) - 5000, 1000):  # every blob of the pack of data
        data[at] ^= 1
    blobs.write_bytes(data)

    assert stage.run(*RESTORE, "--yes", *OPEN) == 20
    made = stage.endpoints
    assert made is not None
    assert not [each for each in made.calls if each.method == "backup_import_begin"]
    assert stage.run(*STORE, *OPEN) == 20
