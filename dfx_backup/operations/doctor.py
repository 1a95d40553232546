"""One finding per thing that a backup depends on."""

import enum
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dfx_backup.operations.target import Runtime, Target


class Verdict(enum.StrEnum):
    """How a check ended."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The outcome of one check.

    Attributes:
        name: what was looked at, such as `driver` or `chat: free slots`.
        state: how it ended.
        detail: what was found, one line.
        advice: what to do, or None.
        exit_code: what a command that needs this would exit with; 0 unless `state` is fail.
    """

    name: str
    state: Verdict
    detail: str
    advice: str | None = None
    exit_code: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Checks:
    """The parts to look at; each callable may raise a `BackupError`, which becomes a finding.

    Attributes:
        driver: describes the tool and its version.
        network: asks the network whether it answers; returns a line on it.
        root_key: returns a line on where the trusted root key comes from.
        identity: reads the identity; returns a line on it.
        targets: the canisters to look at.
        places: directories that must be writable, next to the state directory.
    """

    driver: Callable[[], str]
    network: Callable[[], str]
    root_key: Callable[[], str]
    identity: Callable[[], str]
    targets: Callable[[], tuple[Target, ...]]
    places: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DoctorResult:
    """All findings; the exit code is that of the first failed one, else 0."""

    findings: tuple[Finding, ...]

    @property
    def exit_code(self) -> int:
        """0 when nothing failed."""
        return next((found.exit_code for found in self.findings if found.exit_code), 0)


def doctor(run: Runtime, checks: Checks) -> DoctorResult:
    """Look at everything; a failed part becomes a finding and never stops the others."""
    raise NotImplementedError
