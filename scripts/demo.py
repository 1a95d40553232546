"""The main job, end to end, on a machine without dfx: lose a canister's data and get it back.

Starts the embedded replica, deploys two examples twice, and runs the program's own command line in
a dfx project made for the occasion. The first act goes through the repository: a backup, the loss,
the restore, a second backup that costs next to nothing, retention, a copy in another canister.
Where restic is installed, it checks the repository too. In the second act a chat with the kit
exports its messages while people write, and takes them back; nothing is stopped. Every answer is
checked; the exit code tells the outcome.
"""

import argparse
import json
import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from demo_stage import (
    PROGRAM,
    Chat,
    Project,
    count_stops,
    deploy,
    expect,
    make_identity,
    make_project,
    say,
    start_replica,
)
from demo_transcript import recording
from ic.candid import Types, decode

from dfx_backup.ic.agent import BackupAgent

MODULES = {
    "chat": "chat/chat.wasm",
    "chat_copy": "chat/chat.wasm",
    "live_chat": "kit-chat/chat.wasm",
    "live_copy": "kit-chat/chat.wasm",
}
MESSAGES = ("Hi there!", "Is anybody backing this up?", "spam?", "Not since Tuesday.")
BETWEEN_S = 0.05
"""Seconds between messages that arrive during the export."""


def main() -> int:
    """Run the demo in a folder of its own and clean up behind it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--program", metavar="LINE", help="run another build, as with a shell")
    parser.add_argument(
        "--below", default=".", metavar="DIR", help="folder of the project to be in"
    )
    parser.add_argument("--transcript", metavar="FILE", help="keep it: a page, or an asciicast")
    given = parser.parse_args()
    with recording(given.transcript):
        return play(given)


def play(given: argparse.Namespace) -> int:
    """Run it as the options say."""
    program = shlex.split(given.program) if given.program else PROGRAM
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="dfx-backup-demo-") as name:
        folder = Path(name)
        replica, ready = start_replica(folder / "replica")
        try:
            run_scenario(folder, ready["url"], program, given.below)
        finally:
            replica.send_signal(signal.SIGTERM)
            replica.wait(timeout=20)
    print(f"\nThe data is back, byte for byte, twice. ({time.monotonic() - began:.1f} s)")
    return 0


def run_scenario(folder: Path, url: str, program: list[str], below: str) -> None:
    """Both acts, in one project."""
    env, identity = make_identity(folder)
    principal = identity.principal.to_text()
    state = folder / "replica"
    ids = {name: deploy(state, module, principal) for name, module in MODULES.items()}
    agent = BackupAgent(url, identity, root_key=None)
    chats = {name: Chat(agent, name, canister) for name, canister in ids.items()}
    password = folder / "password"
    password.write_text("correct horse battery staple\n")
    password.chmod(0o600)
    env["DFX_BACKUP_PASSWORD_FILE"] = str(password)
    inside = make_project(folder, url, ids) / below
    inside.mkdir(exist_ok=True)
    project = Project(inside, env, program)
    backups = folder / "backups"

    title("First act: a canister without anything special, through a repository")
    use_repository(project, os.path.relpath(backups, inside), chats["chat"], chats["chat_copy"])
    check_with_restic(backups, password)
    title("Second act: a canister with the kit, which runs all the time")
    before = count_stops(state)
    use_endpoints(project, chats["live_chat"], chats["live_copy"])
    expect(count_stops(state) == before, "no canister was stopped in the second act")
    print("\nNobody stopped the canister in this act: the replica counts 0 calls for that.")


def title(text: str) -> None:
    """Announce an act."""
    print(f"\n\n{text}\n{'=' * len(text)}", flush=True)


def use_repository(project: Project, repository: str, chat: Chat, copy: Chat) -> None:
    """Populate, back up, lose, restore, compare; then a second generation, and a copy."""
    for count, message in enumerate(MESSAGES, start=1):
        expect(chat.append(message) == count, "every message arrives")
    before = chat.dump()
    expect(before == MESSAGES, "the chat holds what was written")

    project.run("init", "--repo", repository)
    first = create(project)
    project.run("list")

    chat.remove_spam()
    expect(chat.dump() == (), "the bug has lost every message")

    project.run("restore", "chat@latest", "--yes")
    after = chat.dump()
    expect(after == before, "the messages are back, byte for byte")
    expect(chat.append("Thank you.") == len(before) + 1, "the canister runs again")

    second = create(project)
    small = second["stored_bytes"] * 2 < first["stored_bytes"]
    expect(small, "the second backup takes less than half of the first")
    project.run("forget", "--keep-last", "1", "--prune", "--yes")
    project.run("verify", "--read-data")

    project.run("restore", "chat@latest", "--to", "chat_copy", "--clone", "--yes")
    expect(copy.dump() == (*before, "Thank you."), "the copy holds the same messages")


def create(project: Project) -> dict[str, Any]:
    """Make a backup of the chat; what the repository knows of it."""
    project.run("create", "chat")
    made: dict[str, Any] = json.loads(project.output("show", "chat@latest", "--json"))["data"]
    expect(made["consistency"] == "consistent", "the backup is consistent")
    return made


def use_endpoints(project: Project, chat: Chat, copy: Chat) -> None:
    """Export while messages arrive, lose, import, compare; the same file into another canister."""
    for message in MESSAGES:
        chat.append(message)
    written = len(MESSAGES)

    def go_on_writing() -> None:
        nonlocal written
        time.sleep(BETWEEN_S)
        written += 1
        said = chat.append(f"Still here: message {written}.", quietly=True)
        expect(said == written, "every message arrives during the export")

    project.run("stable", "export", "live_chat", "--file", "live", meanwhile=go_on_writing)
    print(f"  ({written - len(MESSAGES)} messages arrived meanwhile)")
    exported = decode((project.folder / "live.stable.bin").read_bytes(), Types.Vec(Types.Text))
    before = tuple(exported[0]["value"])
    holds = before[: len(MESSAGES)] == MESSAGES and len(before) <= written
    expect(holds, "the file holds all messages of one moment")
    project.run("stable", "verify", "--file", "live")

    chat.remove_spam()
    expect(chat.dump() == (), "the bug has lost every message")

    options = "--file", "live", "--skip-safety-snapshot", "--yes"
    project.run("stable", "import", "live_chat", *options)
    print("  (what the app made for the export was still there: only hashes were sent)")
    after = chat.dump()
    expect(after == before, "the messages are back, byte for byte")
    expect(chat.append("Thank you.") == len(before) + 1, "the chat takes messages again")

    project.run("stable", "import", "live_copy", "--from-other-canister", *options)
    expect(copy.dump() == before, "the copy holds the messages of the file, byte for byte")


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


if __name__ == "__main__":
    raise SystemExit(main())
