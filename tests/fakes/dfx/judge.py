"""The judge of extensions: dfx-core's own code behind clap's, built by `make judge-dfx`.

It is a program called dfx that knows extensions and nothing else. With a stand-in's home it takes
that stand-in's place in front of an extension, and the extension's own calls of dfx reach the
stand-in.
"""

import json
import os
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.fakes.dfx.rows import REPOSITORY

CRATES = REPOSITORY / "tests" / "e2e" / "judges"


def judge(crate: str = "dfx-core", name: str = "dfx") -> Path:
    """The program; a skip that everybody sees without it, or a failure where it is required."""
    binary = CRATES / crate / "target" / "debug" / name
    if binary.exists():
        return binary
    message = f"the judge {crate} is not built; `make judge-dfx` builds it with cargo"
    if os.environ.get("DFX_BACKUP_REQUIRE_JUDGES"):
        pytest.fail(message)
    pytest.skip(message)


@dataclass(frozen=True, slots=True)
class DfxCore:
    """The judge with a home of its own.

    Attributes:
        home: its HOME and cache root.
        version: what dfx it takes itself for.
    """

    home: Path
    version: str = "0.32.0"

    @property
    def extensions(self) -> Path:
        return self.home / ".cache" / "dfinity" / "versions" / self.version / "extensions"

    def put_manifest(self, text: str, name: str = "backup") -> Path:
        """Install a manifest, without anything that it describes."""
        path = self.extensions / name / "extension.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def run(
        self, *argv: str, cwd: Path | None = None, stdin: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run it to its end."""
        return subprocess.run(
            [str(judge()), *argv],
            env={
                "HOME": str(self.home),
                "DFX_CACHE_ROOT": str(self.home),
                "DFX_JUDGE_VERSION": self.version,
                "PATH": "/usr/bin:/bin",
            },
            cwd=cwd,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )

    def outcomes(self, lines: list[list[str]]) -> list[str | tuple[str, ...]]:
        """What it would do with each line, in the terms of a `Row`; see `rows.outcome`."""
        done = self.run("--judge-parse", stdin="".join(json.dumps(line) + "\n" for line in lines))
        assert done.returncode == 0, done.stderr
        return [_told(json.loads(line)) for line in done.stdout.splitlines()]


def outcomes_in_oldest(manifest: Path, lines: list[list[str]]) -> list[str | tuple[str, ...]]:
    """The same as `DfxCore.outcomes`, of dfx 0.23.0 and its clap, for one manifest."""
    done = subprocess.run(
        [str(judge("clap-oldest", "clap-oldest")), str(manifest)],
        env={"PATH": "/usr/bin:/bin"},
        input="".join(json.dumps(line) + "\n" for line in lines),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [_told(json.loads(line)) for line in done.stdout.splitlines()]


def _told(found: dict[str, Any]) -> str | tuple[str, ...]:
    if "passed" in found:
        return tuple(found["passed"])
    if "builtin" in found:
        return "builtin"
    text = str(found["text"])
    if text.startswith("error: "):
        return text.splitlines()[0]
    if text.startswith(("panic", "dfx ")):
        return "panic" if text == "panic" else "version"
    usage = next(line for line in text.splitlines() if line.startswith("Usage: "))
    return "error: help" if found["code"] == 2 else usage


def is_same(told: str | tuple[str, ...], expected: str | tuple[str, ...]) -> bool:
    """Whether what was told is what was expected, of which a text may be the beginning only."""
    if isinstance(told, str) and isinstance(expected, str):
        return told.startswith(expected.partition(":")[0] if "panic" in expected else expected)
    return told == expected
