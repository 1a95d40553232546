from pathlib import Path

import pytest

from dfx_backup.cli.confirm import confirm
from dfx_backup.errors import RefusedError
from tests.fakes.stage import Stage, Terminal

LOSSES = ("Snapshot 01 will be gone.\x07",)


@pytest.mark.parametrize("typed", ["y\n", "yes\n", "YES\n", " y \n"])
def test_yes_lets_it_go_on_after_naming_the_loss(tmp_path: Path, typed: str) -> None:
    around = Stage(tmp_path).surroundings(typed=typed)

    confirm(around, losses=LOSSES, question="Delete it")

    assert isinstance(around.stderr, Terminal)
    assert around.stderr.getvalue() == "Snapshot 01 will be gone.\nDelete it? [y/N] "


@pytest.mark.parametrize("typed", ["", "\n", "n\n", "yeah\n"])
def test_anything_else_does_nothing(tmp_path: Path, typed: str) -> None:
    around = Stage(tmp_path).surroundings(typed=typed)

    with pytest.raises(RefusedError, match="not yes"):
        confirm(around, losses=LOSSES, question="Delete it")


def test_without_a_terminal_nothing_is_asked(tmp_path: Path) -> None:
    around = Stage(tmp_path).surroundings()

    with pytest.raises(RefusedError) as caught:
        confirm(around, losses=LOSSES, question="Delete it")

    assert "Snapshot 01 will be gone." in caught.value.message
    assert caught.value.hint is not None
    assert "--yes" in caught.value.hint


def test_half_a_terminal_is_none(tmp_path: Path) -> None:
    around = Stage(tmp_path).surroundings(typed="y\n", stderr=Terminal())

    with pytest.raises(RefusedError):
        confirm(around, losses=LOSSES, question="Delete it")
