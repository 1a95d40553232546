"""The program in a real terminal: a pty, or a tmux whose screen can be read.

A replica with one canister stands behind it; its calls can be slowed down.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pexpect

from dfx_backup.ic.principal import Principal
from dfx_backup.replica.server import ReplicaServer
from tests.contract.replica_bench import identity, note_wasm, pem

PATIENCE_S = 60
ESCAPE = "\x1b"
COLOUR = re.compile(r"\x1b\[(?:\d+;)*(?:3[0-7]|9[0-7]|38|4[0-7])(?:;\d+)*m")
HIDE, SHOW = "\x1b[?25l", "\x1b[?25h"


class TerminalStage:
    """A folder with an identity, and a canister on a replica.

    Args:
        server: the replica.
        folder: home and working directory at once.
    """

    def __init__(self, server: ReplicaServer, folder: Path) -> None:
        self.server = server
        self.folder = folder
        place = folder / ".config" / "dfx" / "identity" / "default"
        place.mkdir(parents=True)
        (place / "identity.pem").write_bytes(pem("alice"))
        controllers = [identity("alice").principal.raw]
        self.raw = server.replica.create_canister(controllers=controllers, cycles=10**13)
        server.replica.install(self.raw, note_wasm())
        self.canister = Principal(self.raw).to_text()

    def slow(self, seconds: float, *methods: str) -> None:
        """Let calls of these methods last."""
        self.server.faults.set(latency_by_method_s=dict.fromkeys(methods, seconds))

    def environment(self, **more: str) -> dict[str, str]:
        return {
            "HOME": str(self.folder),
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "TERM": "xterm-256color",
            "DFX_NETWORK": self.server.url,
            **more,
        }

    def argv(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "dfx_backup", *words, "--driver", "agent"]

    def spawn(
        self, *words: str, columns: int = 120, env: Mapping[str, str] | None = None
    ) -> "pexpect.spawn[str]":
        """The program with a pty as its three streams."""
        program, *rest = self.argv(*words)
        return pexpect.spawn(
            program,
            rest,
            env=self.environment(**(env or {})),
            cwd=str(self.folder),
            dimensions=(24, columns),
            encoding="utf-8",
            timeout=PATIENCE_S,
        )

    def is_running(self) -> bool:
        return str(self.server.replica.canisters[self.raw].status) == "running"


def rest(child: "pexpect.spawn[str]") -> tuple[int, str]:
    """Read a program to its end: its exit code, and what it showed since the last match."""
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus is not None, child.signalstatus
    return child.exitstatus, child.before or ""


class Screen:
    """A tmux of its own, in which a shell runs; what a person would see."""

    def __init__(self, stage: TerminalStage, *, columns: int = 80) -> None:
        program = shutil.which("tmux")
        assert program is not None
        self._tmux = [program, "-S", str(stage.folder / "tmux.socket"), "-f", "/dev/null"]
        self._stage = stage
        env = stage.environment()
        del env["TERM"]  # tmux says which it is
        shell = "exec bash --norc --noprofile -i"
        size = ["-x", str(columns), "-y", "40"]
        self._do("new-session", "-d", "-s", "main", *size, shell, env={**env, "TERM": "xterm"})
        self.wait_for(r"[#$] *$")
        self.keys("PS1='> '; clear", "Enter")
        self.wait_for(r"^> *$")

    def _do(self, *words: str, env: Mapping[str, str] | None = None) -> str:
        done = subprocess.run(
            [*self._tmux, *words],
            env=env or os.environ,
            cwd=self._stage.folder,
            capture_output=True,
            text=True,
            check=True,
            timeout=PATIENCE_S,
        )
        return done.stdout

    def type(self, *words: str) -> None:
        """Type a command of the program, and Enter."""
        self.keys(shlex.join(self._stage.argv(*words)), "Enter")

    def keys(self, *keys: str) -> None:
        self._do("send-keys", "-t", "main", *keys)

    def shown(self) -> str:
        """The screen, without the lines of the shell that were too long for it."""
        return self._do("capture-pane", "-p", "-J", "-t", "main").rstrip("\n")

    def wait_for(self, pattern: str) -> str:
        """The screen as soon as the pattern is on it."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            found = self.shown()
            if re.search(pattern, found, re.MULTILINE):
                return found
            time.sleep(0.05)
        raise AssertionError(self.shown())

    def close(self) -> None:
        self._do("kill-server")
