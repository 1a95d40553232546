"""The transcript of the demo: both forms of it, and that docs/ has a recent one."""

import io
import itertools
import json
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.demo_transcript import Recorder
from tests.fakes.documents import ROOT, block

PAGE = ROOT / "docs" / "demo-transcript.md"


def recorder() -> Recorder:
    ticks = itertools.count()
    made = Recorder(io.StringIO(), lambda: next(ticks) / 2)
    print("\n$ dfx-backup list", file=made)  # type: ignore[arg-type] # all that `print` asks for
    print("  1 backup in /tmp/x/dfx-backup-demo-ab_12/backups.  ", file=made)  # type: ignore[arg-type]
    return made


def test_it_passes_on_what_is_written() -> None:
    stream = io.StringIO()

    print("told", file=Recorder(stream, lambda: 0.0), flush=True)  # type: ignore[arg-type] # the same

    assert stream.getvalue() == "told\n"


def test_a_page_names_no_folder_of_the_machine() -> None:
    page = recorder().page()

    shown = "$ dfx-backup list\n  1 backup in /home/me/demo/backups."
    assert page.endswith(f"```console\n{shown}\n```\n")


def test_a_recording_is_an_asciicast() -> None:
    head, *events = [json.loads(line) for line in recorder().cast(1_800_000_000).splitlines()]

    assert (head["version"], head["timestamp"]) == (2, 1_800_000_000)
    assert {"width", "height"} <= set(head)
    assert [kind for _, kind, _ in events] == ["o"] * len(events)
    times = [at for at, _, _ in events]
    assert times == sorted(times)
    shown = "".join(text for _, _, text in events)
    assert shown.startswith("\r\n$ dfx-backup list\r\n")
    assert "dfx-backup-demo" not in shown


def commands(page: Path) -> list[str]:
    """What was typed, without the principal that is another one each time."""
    lines = block(page, "console", "dfx-backup create").splitlines()
    typed = [line for line in lines if line.startswith("$ ")]
    return [line.partition(" --controller ")[0] for line in typed]


@pytest.mark.slow
def test_the_page_is_of_this_demo(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    argv = [sys.executable, str(ROOT / "scripts" / "demo.py"), "--transcript", str(page)]
    subprocess.run(argv, check=True, capture_output=True, timeout=110)

    assert commands(page) == commands(PAGE), f"run scripts/demo.py --transcript {PAGE.name}"


def test_the_page_names_what_the_demo_runs() -> None:
    shown = "\n".join(commands(PAGE))

    for words in (
        "init",
        "create chat",
        "restore chat@latest",
        "forget",
        "verify",
        "stable export",
    ):
        assert f"$ dfx-backup {words}" in shown
