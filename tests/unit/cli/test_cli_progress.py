import os
import sys
from collections.abc import Mapping
from typing import TextIO

import pytest

from dfx_backup.cli.progress_view import ProgressView, TerminalView, make_view
from tests.fakes.stage import Terminal


def view(
    stream: TextIO,
    *,
    quiet: bool = False,
    warnings_aloud: bool = True,
    env: Mapping[str, str] | None = None,
) -> ProgressView:
    return make_view(
        stream,
        environment=(env if env is not None else {"TERM": "xterm"}).get,
        quiet=quiet,
        warnings_aloud=warnings_aloud,
        on_terminal=stream.isatty(),
    )


def test_a_step_is_one_plain_line() -> None:
    stream = Terminal()
    shown = view(stream)

    shown.step("stopping chat\x1b[31m")
    shown.step("taking a snapshot")
    shown.pause()

    assert stream.getvalue() == "stopping chat ...\ntaking a snapshot ...\n"


def test_quiet_hides_steps_and_not_warnings() -> None:
    stream = Terminal()
    shown = view(stream, quiet=True)

    shown.step("stopping chat")
    shown.warn("Something is odd.")

    assert stream.getvalue() == "Warning: Something is odd.\n"


def test_a_warning_is_told_once_and_kept() -> None:
    stream = Terminal()
    shown = view(stream)

    shown.warn("Something is odd.")
    shown.warn("Something is odd.")

    assert stream.getvalue() == "Warning: Something is odd.\n"
    assert shown.warnings == ["Something is odd."]


def test_with_json_warnings_stay_silent() -> None:
    stream = Terminal()
    shown = view(stream, warnings_aloud=False)

    shown.warn("Something is odd.")

    assert stream.getvalue() == ""
    assert shown.warnings == ["Something is odd."]


@pytest.mark.parametrize("env", [{}, {"TERM": "dumb"}])
def test_a_poor_terminal_gets_plain_lines(env: Mapping[str, str]) -> None:
    assert type(view(Terminal(real=True), env=env)) is ProgressView


def test_a_terminal_keeps_each_step_as_a_line() -> None:
    stream = Terminal(real=True)
    shown = view(stream, env={"TERM": "xterm", "NO_COLOR": "1"})
    assert isinstance(shown, TerminalView)

    shown.step("stopping [chat]")
    shown.warn("Something is odd.")
    shown.step("starting chat")
    shown.pause()

    plain = stream.getvalue()
    assert "stopping [chat]\n" in plain
    assert "Warning: Something is odd." in plain
    assert plain.endswith("starting chat\n")
    assert "\x1b[3" not in plain


def test_rich_is_loaded_with_the_first_step_only(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "rich"]:
        monkeypatch.delitem(sys.modules, name)

    shown = view(Terminal(real=True))
    shown.warn("Something is odd.")
    assert "rich" not in sys.modules

    shown.step("stopping chat")
    shown.pause()
    assert "rich" in sys.modules


def test_a_terminal_that_went_away_ends_nothing() -> None:
    control, terminal = os.openpty()
    with os.fdopen(terminal, "w") as stream:
        shown = view(stream)
        assert isinstance(shown, TerminalView)
        shown.step("stopping chat")
        os.close(control)

        shown.step("starting chat")
        shown.warn("Something is odd.")
        shown.pause()

    assert shown.warnings == ["Something is odd."]
