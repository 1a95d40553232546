"""Command lines of `stable` that go through other methods, or that can't be carried out."""

from pathlib import Path

import pytest

from tests.fakes.stable_cases import (
    MEMORY,
    endpoints,
    old_endpoints,
    read_from_snapshot,
    without_methods,
)
from tests.fakes.stage import Stage

FACTLAND = ("stable", "export", "chat", "--file", "copy", "--protocol", "factland")
BLOB = ("stable", "export", "chat", "--file", "copy", "--protocol", "offset-blob")


@pytest.mark.parametrize(("argv", "certified"), [(FACTLAND, "reads"), (BLOB, "uncertified")])
def test_older_methods(tmp_path: Path, argv: tuple[str, ...], certified: str) -> None:
    stage = Stage(tmp_path)
    old_endpoints(stage)

    assert stage.run(*argv, "--json") == 0, stage.stdout
    data = stage.envelope["data"]
    assert data["certified"] == certified
    assert data["moment"] == "second_pass"  # the version in the status does not know these calls
    assert bool(data["warnings"]) == (certified == "uncertified")
    assert (tmp_path / "copy.stable.bin").read_bytes() == MEMORY
    assert stage.run("stable", "verify", "--file", "copy") == (0 if certified == "reads" else 3)
    assert stage.run("stable", "verify", "--file", "copy", "--live") == 2
    assert "no hashes" in stage.stderr


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        ((*FACTLAND, "--method", "x"), "--method is for protocol offset-blob"),
        (("stable", "export", "chat", "--file", "copy"), "Name one of the canister's streams"),
        (("stable", "export", "chat", "--via", "snapshot"), "name them with --file"),
        (("stable", "import", "chat"), "Name the files with --file"),
        (("stable", "import", "chat", "--file", "copy", "--abort"), "it takes no copy"),
    ],
)
def test_what_can_not_be_carried_out(tmp_path: Path, argv: tuple[str, ...], told: str) -> None:
    stage = Stage(tmp_path)
    endpoints(stage)

    assert stage.run(*argv) == 2
    assert told in stage.stderr


def test_a_key_that_can_not_be_read(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    stage.add("chat")

    assert stage.run("stable", "info", "chat") == 2
    assert "needs the identity's key" in stage.stderr


def test_another_canister_is_named_explicitly(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    made = endpoints(stage)
    export = ("stable", "export", "chat", "--stream", "memory", "--file", "copy")
    assert stage.run(*export) == 0
    made.canister = stage.add("other")
    argv = ("stable", "import", "other", "--file", "copy", "--yes")

    assert stage.run(*argv) == 60
    assert "--from-other-canister" in stage.stderr
    assert stage.run(*argv, "--from-other-canister") == 0
    assert bytes(made.streams["memory"]) == MEMORY


def test_no_files(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    endpoints(stage)

    assert stage.run("stable", "verify", "--file", "copy") == 30
    assert stage.run("stable", "import", "chat", "--file", "copy", "--yes") == 30


def test_without_methods_nobody_tells_hashes(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    read_from_snapshot(stage)
    chat = stage.names["chat"]
    without_methods(stage)
    assert stage.endpoints is not None
    stage.endpoints.canister = stage.names["chat"] = chat

    assert stage.run("stable", "verify", "--file", "copy", "--live") == 50
    assert "compare the roots" in stage.stderr
    assert stage.run("stable", "verify", "--file", "copy") == 0
