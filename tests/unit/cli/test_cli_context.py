import os
from pathlib import Path

import pytest

from dfx_backup.cli import context
from dfx_backup.errors import RefusedError
from tests.fakes.stage import Stage


def test_places_follow_the_defaults_of_each_tool(tmp_path: Path) -> None:
    home = tmp_path / "home"

    places = context.find_places(Stage(tmp_path).surroundings())

    assert places.cwd == str(tmp_path)
    assert places.home == str(home)
    assert places.dfx_config == str(home / ".config/dfx")
    assert places.dfx_shared_data == str(home / ".local/share/dfx")
    assert places.icp_home == str(home / ".local/share/icp-cli")
    assert places.icp_ports == str(home / ".cache/icp-cli/port-descriptors")
    assert places.state == str(home / ".local/state/dfx-backup")


def test_variables_move_the_places_and_relative_ones_do_not(tmp_path: Path) -> None:
    env = {
        "DFX_CONFIG_ROOT": "/c",
        "XDG_DATA_HOME": "/d",
        "XDG_STATE_HOME": "relative",
        "ICP_HOME": "/i",
    }

    places = context.find_places(Stage(tmp_path).surroundings(env=env))

    assert places.dfx_config == "/c/.config/dfx"
    assert places.dfx_shared_data == "/d/dfx"
    assert places.icp_home == "/i"
    assert places.icp_ports == "/i/port-descriptors"
    assert places.state == str(tmp_path / "home/.local/state/dfx-backup")


def test_places_on_a_mac(tmp_path: Path) -> None:
    places = context.find_places(Stage(tmp_path).surroundings(platform="darwin"))

    support = tmp_path / "home/Library/Application Support"
    assert places.dfx_shared_data == str(support / "org.dfinity.dfx")
    ports = tmp_path / "home/Library/Caches/org.dfinity.icp-cli/port-descriptors"
    assert places.icp_ports == str(ports)
    assert places.dfx_config == str(tmp_path / "home/.config/dfx")


@pytest.mark.parametrize(
    ("given", "swallowed", "variable", "chosen"),
    [
        ("opt", "swal", "env", "opt"),
        (None, "swal", "env", "swal"),
        (None, None, "env", "env"),
        (None, None, "", None),
        (None, None, None, None),
    ],
)
def test_the_identity_is_the_nearest_one(
    tmp_path: Path, given: str, swallowed: str, variable: str, chosen: str
) -> None:
    env = {} if variable is None else {"DFX_IDENTITY": variable}
    around = Stage(tmp_path).surroundings(env=env, swallowed_identity=swallowed)

    assert context.choose_identity(around, given, changes=True) == chosen


def test_a_change_wants_a_certain_identity(tmp_path: Path) -> None:
    around = Stage(tmp_path).surroundings(
        env={"DFX_IDENTITY": "env"}, cache_path=Path("/c"), identity_uncertain=True
    )

    with pytest.raises(RefusedError, match="can't be read"):
        context.choose_identity(around, None, changes=True)
    assert context.choose_identity(around, "opt", changes=True) == "opt"
    assert context.choose_identity(around, None, changes=False) == "env"


def test_without_dfx_above_us_the_shell_tells_where_the_user_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(context, "_PROC", tmp_path / "no-proc")
    monkeypatch.setenv("PWD", str(tmp_path))

    around = context.read_surroundings(["doctor"], "/cache")

    assert around.cwd == tmp_path
    assert around.identity_uncertain
    assert around.cache_path == Path("/cache")
    assert around.program == "dfx backup"


def test_a_stale_pwd_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "_PROC", tmp_path / "no-proc")
    monkeypatch.setenv("PWD", str(tmp_path / "gone"))

    assert context.read_surroundings([], "/cache").cwd == Path.cwd()


def test_started_by_hand_everything_is_certain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PWD", "/somewhere/else")

    around = context.read_surroundings(["doctor"], None)

    assert around.cwd == Path.cwd()
    assert not around.identity_uncertain
    assert around.program == "dfx-backup"


def test_what_dfx_swallowed_comes_from_the_process_above(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed_in = tmp_path / "src"
    typed_in.mkdir()
    here = tmp_path / str(os.getppid())
    here.mkdir()
    (here / "cmdline").write_bytes(b"dfx\0--identity\0alice\0backup\0doctor\0")
    (here / "cwd").symlink_to(typed_in)
    monkeypatch.setattr(context, "_PROC", tmp_path)

    around = context.read_surroundings(["doctor"], "/cache")

    assert around.cwd == typed_in
    assert around.swallowed_identity == "alice"
    assert not around.identity_uncertain


def test_paths_are_relative_to_where_the_command_was_typed(tmp_path: Path) -> None:
    around = Stage(tmp_path).surroundings()

    assert around.path("a/b") == tmp_path / "a/b"
    assert around.path("/a/b") == Path("/a/b")


def test_the_environment_never_shows(tmp_path: Path) -> None:
    around = Stage(tmp_path).surroundings(env={"DFX_HSM_PIN": "1234-5678"})

    assert "1234-5678" not in repr(around)
