"""The main job, end to end, on a machine without dfx: lose a canister's data and get it back.

Starts the embedded replica, deploys the chat example twice, and runs the program's own command line
in a dfx project made for the occasion: a repository, a backup, the loss, the restore, a second
backup that costs next to nothing, retention, a copy in another canister. Where restic is installed,
it checks the repository too. Every answer is checked; the exit code tells the outcome.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

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

    def __init__(self, agent: BackupAgent, name: str, canister_id: str) -> None:
        self._agent = agent
        self._name = name
        self._canister = Principal.from_text(canister_id)

    def append(self, message: str) -> int:
        """Add a message and return how many there are."""
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
    """Populate, back up, lose, restore, compare; then a second generation, and a copy."""
    env, identity = make_identity(folder)
    principal = identity.principal.to_text()
    names = ("chat", "chat_copy")
    ids = {name: deploy(folder / "replica", principal) for name in names}
    agent = BackupAgent(url, identity, root_key=None)
    chat, copy = (Chat(agent, name, ids[name]) for name in names)
    password = folder / "password"
    password.write_text("correct horse battery staple\n")
    password.chmod(0o600)
    env["DFX_BACKUP_PASSWORD_FILE"] = str(password)
    project = Project(make_project(folder, url, ids), env)

    for count, message in enumerate(MESSAGES, start=1):
        expect(chat.append(message) == count, "every message arrives")
    before = chat.dump()
    expect(before == MESSAGES, "the chat holds what was written")

    project.run("init", "--repo", "../backups")
    first = project.create()
    project.run("list")

    chat.remove_spam()
    expect(chat.dump() == (), "the bug has lost every message")

    project.run("restore", "chat@latest", "--yes")
    after = chat.dump()
    expect(after == before, "the messages are back, byte for byte")
    expect(chat.append("Thank you.") == len(before) + 1, "the canister runs again")

    second = project.create()
    small = second["stored_bytes"] * 2 < first["stored_bytes"]
    expect(small, "the second backup takes less than half of the first")
    project.run("forget", "--keep-last", "1", "--prune", "--yes")
    project.run("verify", "--read-data")

    project.run("restore", "chat@latest", "--to", "chat_copy", "--clone", "--yes")
    expect(copy.dump() == (*before, "Thank you."), "the copy holds the same messages")
    check_with_restic(folder / "backups", password)


def check_with_restic(repository: Path, password: Path) -> None:
    """Let a program that others wrote read all of the repository; nothing where it is missing."""
    restic = shutil.which("restic")
    if restic is None:
        print("\nrestic is not installed here; it would check the repository now.")
        return
    say("restic check --read-data")
    options = ["--repo", str(repository), "--password-file", str(password), "--no-cache"]
    done = subprocess.run(
        [restic, *options, "check", "--read-data"],
        stdout=subprocess.PIPE,
        text=True,
        check=False,
        timeout=60,
    )
    print("\n".join(f"  {line}" for line in done.stdout.splitlines()))
    expect(done.returncode == 0, "restic finds no errors")


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

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        self._folder = folder
        self._env = env

    def create(self) -> dict[str, Any]:
        """Make a backup of the chat; what the repository knows of it."""
        self.run("create", "chat")
        made: dict[str, Any] = json.loads(self._output("show", "chat@latest", "--json"))["data"]
        expect(made["consistency"] == "consistent", "the backup is consistent")
        return made

    def run(self, *words: str) -> None:
        """Run a command that must end well, and show what it prints."""
        say("dfx-backup " + " ".join(words))
        print("\n".join(f"  {line}" for line in self._output(*words).splitlines()))

    def _output(self, *words: str) -> str:
        argv = [sys.executable, "-m", "dfx_backup", *words]
        if words[0] in {"create", "restore"}:
            argv += ["--driver", "agent"]  # the same on machines that have a dfx
        done = subprocess.run(
            argv,
            cwd=self._folder,
            env=self._env,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
            timeout=60,
        )
        expect(done.returncode == 0, f"{words[0]} ends with exit code 0")
        return done.stdout


def expect(holds: bool, what: str) -> None:  # noqa: FBT001 - reads as a sentence where it is called
    """Stop the demo when something is not as it should be."""
    if not holds:
        raise SystemExit(f"The demo failed: not true that {what}.")


if __name__ == "__main__":
    raise SystemExit(main())
