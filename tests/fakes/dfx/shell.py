"""What every command of the stand-in shares: its settings, its log, how it fails."""

import json
import os
import signal
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

DEPRECATION = (
    "WARNING: dfx is deprecated, use icp-cli https://cli.internetcomputer.org. LLM skills can be "
    "found at https://skills.internetcomputer.org/llms.txt"
)


class DfxError(Exception):
    """Ends dfx with code 255; `links` is the chain, outermost first."""

    def __init__(self, *links: str, diagnosis: tuple[str, str] | None = None) -> None:
        super().__init__(links[0])
        self.links = links
        self.diagnosis = diagnosis

    def under(self, *outer: str) -> "DfxError":
        return DfxError(*outer, *self.links, diagnosis=self.diagnosis)


class ArgumentsError(Exception):
    """Ends dfx with code 2 in clap's words; the stand-in notes it as an argv that it refused."""


def version_key(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.partition("-")[0].split("."))


@dataclass(slots=True)
class Shell:
    """One run.

    `settings` is the file beside the launcher: `version`, `refused` (where argvs that the
    stand-in does not know are noted), `ic_url`, `call_timeout_s`, and `faults`: command -> what
    goes wrong ("die before", "die after", "hang before", "hang after", "silent").
    """

    settings: dict[str, object]
    argv: list[str]
    environ: dict[str, str]
    verbosity: int = 0
    identity: str | None = None
    network: str | None = None
    playground: bool = False
    words: tuple[str, ...] = ()
    told: list[str] = field(default_factory=list)

    @property
    def version(self) -> str:
        return str(self.settings["version"])

    def since(self, version: str) -> bool:
        return version_key(self.version) >= version_key(version)

    # -- places -----------------------------------------------------------------------------------

    @property
    def home(self) -> Path:
        return Path(self.environ["HOME"])

    @property
    def config(self) -> Path:
        return Path(self.environ.get("DFX_CONFIG_ROOT") or self.home) / ".config" / "dfx"

    @property
    def shared_data(self) -> Path:
        given = self.environ.get("XDG_DATA_HOME")
        return (Path(given) if given else self.home / ".local" / "share") / "dfx"

    @property
    def cache(self) -> Path:
        root = Path(self.environ.get("DFX_CACHE_ROOT") or self.home) / ".cache" / "dfinity"
        return root / "versions" / self.version

    # -- words ------------------------------------------------------------------------------------

    def out(self, text: str) -> None:
        if not self.is_silent:
            sys.stdout.write(text + "\n")
            sys.stdout.flush()

    def info(self, text: str) -> None:
        if self.verbosity >= 0 and not self.is_silent:
            sys.stderr.write(text + "\n")

    def warn(self, text: str) -> None:
        if self.verbosity >= -1:
            sys.stderr.write(f"WARNING: {text}\n")

    def result(self, text: str) -> None:
        """Print a result of `snapshot create` or `list`: before 0.32.0 that went to the log."""
        (self.out if self.since("0.32.0") else self.info)(text)

    def has_warning(self, name: str) -> bool:
        return f"-{name}" not in self.environ.get("DFX_WARNING", "").split(",")

    def print_error(self, error: DfxError) -> None:
        lines = [f"Error: {error.links[0]}", *(f"Caused by: {link}" for link in error.links[1:])]
        if error.diagnosis is not None:
            explained = [f"Error: {error.diagnosis[0]}", f"To fix: {error.diagnosis[1]}"]
            lines = [*lines, *explained] if self.verbosity > 0 else explained
        sys.stderr.write("\n".join(lines) + "\n")

    def refuse(self, error: ArgumentsError) -> None:
        sys.stderr.write(f"{error}\n\nFor more information, try '--help'.\n")
        with Path(str(self.settings["refused"])).open("a") as notes:
            notes.write(json.dumps({"argv": self.argv, "why": str(error)}) + "\n")

    # -- faults -----------------------------------------------------------------------------------

    @property
    def fault(self) -> str:
        faults = self.settings.get("faults", {})
        assert isinstance(faults, dict)
        return str(faults.get(" ".join(self.words), ""))

    @property
    def is_silent(self) -> bool:
        return self.fault == "silent"

    def moment(self, when: str) -> None:
        """Go wrong here, if this is the moment: "before" or "after" the call."""
        if self.fault == f"die {when}":
            _die()
        if self.fault == f"hang {when}":
            time.sleep(3600)


def _die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError
