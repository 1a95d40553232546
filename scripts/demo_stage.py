"""What the acts of the demo stand on: replica, identity, dfx project, and the chats in it."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from ic.candid import Types, decode, encode

from dfx_backup.ic.agent import BackupAgent
from dfx_backup.ic.identity import Identity, load_pem
from dfx_backup.ic.principal import Principal
from dfx_backup.replica.control_client import ControlClient, ControlFile

PROGRAM = [sys.executable, "-m", "dfx_backup"]
"""How the program is started, unless another is given."""
EXAMPLES = Path(__file__).parent.parent / "examples"
_CONTROLS = {"create", "restore", "stable"}
"""Commands that would drive a dfx where there is one; the demo is the same everywhere."""


class Chat:
    """The chat canister, called as its users call it."""

    def __init__(self, agent: BackupAgent, name: str, canister_id: str) -> None:
        self._agent = agent
        self._name = name
        self._canister = Principal.from_text(canister_id)

    def append(self, message: str, *, quietly: bool = False) -> int:
        """Add a message and return how many there are."""
        if not quietly:
            say(f"{self._name} append {message!r}")
        arg = encode([{"type": Types.Text, "value": message}])
        reply = self._agent.call(self._canister, "append", arg)
        return int(decode(reply, Types.Nat)[0]["value"])

    def dump(self) -> tuple[str, ...]:
        """All messages, the oldest first."""
        say(f"{self._name} dump")
        reply = self._agent.query_verified(self._canister, "dump", encode([]))
        messages = tuple(decode(reply, Types.Vec(Types.Text))[0]["value"])
        for message in messages:
            print(f"  {message}")
        print(f"  ({len(messages)} messages)")
        return messages

    def remove_spam(self) -> None:
        """Call the method that has the bug."""
        say(f"{self._name} remove_spam")
        self._agent.call(self._canister, "remove_spam", encode([]))


def start_replica(state: Path) -> tuple["subprocess.Popen[str]", dict[str, str]]:
    """Start the embedded replica and wait until it answers."""
    say(f"python -m dfx_backup.replica start --port 0 --state-dir {state.name} --control")
    state.mkdir()
    argv = [sys.executable, "-m", "dfx_backup.replica", "start", "--port", "0"]
    argv += ["--state-dir", str(state), "--control"]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    line = process.stdout.readline()
    expect(bool(line), "the replica starts")
    print(f"  {line.strip()[:90]}")
    ready: dict[str, str] = json.loads(line)
    return process, ready


def deploy(state: Path, module: str, controller: str) -> str:
    """Install an example and return its canister id."""
    say(f"python -m dfx_backup.replica deploy {module} --controller {controller}")
    argv = [sys.executable, "-m", "dfx_backup.replica", "deploy", str(EXAMPLES / module)]
    argv += ["--state-dir", str(state), "--controller", controller]
    done = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True, timeout=60)
    print(f"  {done.stdout.strip()}")
    return str(json.loads(done.stdout)["canister_id"])


def count_stops(state: Path) -> int:
    """How often the replica was asked to stop a canister."""
    calls: dict[str, Any] = ControlClient(ControlFile.read(state)).send("counters")["calls"]
    return int(calls.get("stop_canister", 0))


def make_identity(folder: Path) -> tuple[dict[str, str], Identity]:
    """Write a dfx identity into a private configuration; its environment, and the identity."""
    key = ec.generate_private_key(ec.SECP256K1())
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.TraditionalOpenSSL,
        serialization.NoEncryption(),
    )
    home = folder / "home"
    identity = home / ".config" / "dfx" / "identity" / "demo"
    identity.mkdir(parents=True)
    (identity / "identity.pem").write_bytes(pem)
    (identity.parent.parent / "identity.json").write_text('{"default": "demo"}')
    hidden = ("DFX_", "ICP_", "XDG_")
    env = {name: value for name, value in os.environ.items() if not name.startswith(hidden)}
    env["HOME"] = str(home)
    return env, load_pem(pem, source="demo")


def make_project(folder: Path, url: str, ids: dict[str, str]) -> Path:
    """Write the dfx project that the commands run in."""
    project = folder / "project"
    known = project / ".dfx" / "local" / "canister_ids.json"
    known.parent.mkdir(parents=True)
    known.write_text(json.dumps({name: {"local": canister} for name, canister in ids.items()}))
    local = {"bind": url.removeprefix("http://"), "type": "ephemeral"}
    canisters = {name: {"type": "motoko", "main": "chat.mo"} for name in ids}
    dfx_json = {"canisters": canisters, "networks": {"local": local}}
    (project / "dfx.json").write_text(json.dumps(dfx_json, indent=2))
    return project


class Project:
    """The project, and the program run in it as its user would."""

    def __init__(self, folder: Path, env: dict[str, str], program: Sequence[str] = PROGRAM) -> None:
        self.folder = folder
        self._env = env
        self._program = program

    def run(self, *words: str, meanwhile: Callable[[], None] | None = None) -> None:
        """Run a command that must end well, and show what it prints.

        Args:
            words: after the program's name.
            meanwhile: done again and again for as long as the command runs.
        """
        say("dfx-backup " + " ".join(words))
        print(
            "\n".join(f"  {line}" for line in self.output(*words, meanwhile=meanwhile).splitlines())
        )

    def output(self, *words: str, meanwhile: Callable[[], None] | None = None) -> str:
        """What a command prints that must end well."""
        driver = ["--driver", "agent"] if words[0] in _CONTROLS else []
        with subprocess.Popen(
            [*self._program, *words, *driver],
            cwd=self.folder,
            env=self._env,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            while meanwhile is not None and process.poll() is None:
                meanwhile()
            try:
                printed, _ = process.communicate(timeout=60)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        expect(process.returncode == 0, f"{words[0]} ends with exit code 0")
        return printed


def say(text: str) -> None:
    """Print a command as a user would have typed it."""
    print(f"\n$ {text}", flush=True)


def expect(holds: bool, what: str) -> None:  # noqa: FBT001 - reads as a sentence where it is called
    """Stop the demo when something is not as it should be."""
    if not holds:
        raise SystemExit(f"The demo failed: not true that {what}.")
