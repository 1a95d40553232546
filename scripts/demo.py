"""The main job, end to end, on a machine without dfx: lose a canister's data and get it back.

Starts the embedded replica, deploys the chat example, and runs the program's own command line in
a dfx project made for the occasion. Every answer is checked; the exit code tells the outcome.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from ic.candid import Types, decode, encode

from dfx_backup.ic.agent import BackupAgent
from dfx_backup.ic.identity import Identity, load_pem
from dfx_backup.ic.principal import Principal

CHAT = Path(__file__).parent.parent / "examples" / "chat" / "chat.wasm"
MESSAGES = ("Hi there!", "Is anybody backing this up?", "spam?", "Not since Tuesday.")


class Chat:
    """The chat canister, called as its users call it."""

    def __init__(self, agent: BackupAgent, canister_id: str) -> None:
        self._agent = agent
        self._canister = Principal.from_text(canister_id)

    def append(self, message: str) -> int:
        """Add a message and return how many there are."""
        say(f"chat append {message!r}")
        arg = encode([{"type": Types.Text, "value": message}])
        reply = self._agent.call(self._canister, "append", arg)
        return int(decode(reply, Types.Nat)[0]["value"])

    def dump(self) -> tuple[str, ...]:
        """All messages, the oldest first."""
        say("chat dump")
        reply = self._agent.query_verified(self._canister, "dump", encode([]))
        messages = tuple(decode(reply, Types.Vec(Types.Text))[0]["value"])
        for message in messages:
            print(f"  {message}")
        print(f"  ({len(messages)} messages)")
        return messages

    def remove_spam(self) -> None:
        """Call the method that has the bug."""
        say("chat remove_spam")
        self._agent.call(self._canister, "remove_spam", encode([]))


def say(text: str) -> None:
    """Print a command as a user would have typed it."""
    print(f"\n$ {text}", flush=True)


def main() -> int:
    """Run the demo in a folder of its own and clean up behind it."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="dfx-backup-demo-") as name:
        folder = Path(name)
        replica, ready = start_replica(folder / "replica")
        try:
            run_scenario(folder, ready["url"])
        finally:
            replica.send_signal(signal.SIGTERM)
            replica.wait(timeout=20)
    print(f"\nThe data is back, byte for byte. ({time.monotonic() - began:.1f} s)")
    return 0


def run_scenario(folder: Path, url: str) -> None:
    """Populate, take, lose, load, compare."""
    env, identity = make_identity(folder)
    canister_id = deploy(folder / "replica", identity.principal.to_text())
    project = make_project(folder, url, canister_id)
    chat = Chat(BackupAgent(url, identity, root_key=None), canister_id)

    for count, message in enumerate(MESSAGES, start=1):
        expect(chat.append(message) == count, "every message arrives")
    before = chat.dump()
    expect(before == MESSAGES, "the chat holds what was written")

    created = backup(project, env, "snapshot", "create", "chat", "--json")
    snapshot_id = created["data"]["snapshot_id"]
    expect(created["data"]["consistency"] == "consistent", "the snapshot is consistent")
    print(f"\nOutage: {created['data']['outage_seconds']:.2f} seconds")
    backup(project, env, "snapshot", "list", "chat")

    chat.remove_spam()
    expect(chat.dump() == (), "the bug has lost every message")

    backup(project, env, "snapshot", "load", "chat", snapshot_id, "--yes")
    after = chat.dump()
    expect(after == before, "the messages are back, byte for byte")
    expect(chat.append("Thank you.") == len(before) + 1, "the canister runs again")


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


def deploy(state: Path, controller: str) -> str:
    """Install the chat example and return its canister id."""
    say(f"python -m dfx_backup.replica deploy {CHAT.name} --controller {controller}")
    argv = [sys.executable, "-m", "dfx_backup.replica", "deploy", str(CHAT)]
    argv += ["--state-dir", str(state), "--controller", controller]
    done = subprocess.run(argv, stdout=subprocess.PIPE, text=True, check=True, timeout=60)
    print(f"  {done.stdout.strip()}")
    return str(json.loads(done.stdout)["canister_id"])


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


def make_project(folder: Path, url: str, canister_id: str) -> Path:
    """Write the dfx project that the commands run in."""
    project = folder / "project"
    ids = project / ".dfx" / "local" / "canister_ids.json"
    ids.parent.mkdir(parents=True)
    ids.write_text(json.dumps({"chat": {"local": canister_id}}))
    local = {"bind": url.removeprefix("http://"), "type": "ephemeral"}
    chat = {"type": "motoko", "main": "chat.mo"}
    dfx_json = {"canisters": {"chat": chat}, "networks": {"local": local}}
    (project / "dfx.json").write_text(json.dumps(dfx_json, indent=2))
    return project


def backup(project: Path, env: dict[str, str], *words: str) -> dict[str, dict[str, object]]:
    """Run the program as a user would; the JSON envelope, or nothing when text was asked for."""
    say("dfx-backup " + " ".join(words))
    argv = [sys.executable, "-m", "dfx_backup", *words, "--driver", "agent"]
    done = subprocess.run(
        argv, cwd=project, env=env, stdout=subprocess.PIPE, text=True, check=False, timeout=60
    )
    print("\n".join(f"  {line}" for line in done.stdout.splitlines()))
    expect(done.returncode == 0, f"{words[1]} ends with exit code 0")
    return json.loads(done.stdout) if "--json" in words else {}


def expect(holds: bool, what: str) -> None:  # noqa: FBT001 - reads as a sentence where it is called
    """Stop the demo when something is not as it should be."""
    if not holds:
        raise SystemExit(f"The demo failed: not true that {what}.")


if __name__ == "__main__":
    raise SystemExit(main())
