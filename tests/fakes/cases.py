"""Command lines with a place to run them in: one for each kind of envelope that there is."""

import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dfx_backup.errors import NetworkError
from tests.fakes import failing_cases as failing
from tests.fakes import stable_cases as stable
from tests.fakes.memory_management import How, reject
from tests.fakes.snapshot_folder import TAKEN, write_folder
from tests.fakes.stage import Stage

_RANDOM = re.compile(r'"(restic_id|key_id|removed|lock_id|repository_id)": "[0-9a-f]{64}"')
"""Hashes of what threads encrypted in an order that nobody knows, and of keys."""
FIRST = "000000000000000000000000000000000101"
SECOND = "000000000000000100000000000000000101"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A command line, what happens before it, and its exit code."""

    argv: tuple[str, ...]
    prepare: Callable[[Stage], None]
    code: int = 0


def envelope(case: Case, folder: Path) -> str:
    """The envelope of a case, with the folder's name taken out."""
    stage = Stage(folder)
    case.prepare(stage)
    code = stage.run(*case.argv, "--json")
    assert code == case.code, (code, stage.stdout, stage.stderr)
    told = re.sub(re.escape(str(folder)), "FOLDER", stage.stdout)
    told = _RANDOM.sub(r'"\1": "HEX"', told)
    told = re.sub(r'"script": "#[^"\\]*(?:\\.[^"\\]*)*"', '"script": "SCRIPT"', told)
    return re.sub(r"(data/[0-9a-f]{2}/|pack )[0-9a-f]{64}", "PACK", told)


def chat(stage: Stage) -> None:
    stage.add("chat")


def one_snapshot(stage: Stage) -> None:
    stage.add("chat")
    assert stage.run("snapshot", "create", "chat") == 0


def changed_meanwhile(stage: Stage) -> None:
    """Another controller changes the canister between our stop and our start."""
    canister = stage.subnet[stage.add("chat")]

    def change() -> None:
        canister.version += 2

    stage.subnet.later(1.8, change)  # each call takes half a second; the stop is the third


def interrupted(stage: Stage) -> None:
    stage.add("chat")
    stage.subnet.fail("take_canister_snapshot", How.RAISE)


def unreachable(stage: Stage) -> None:
    stage.add("chat")
    stage.fails = NetworkError(
        "http://127.0.0.1:4943 does not answer: connection refused",
        hint="Is the network running?",
    )


def stopped_by_somebody(stage: Stage) -> None:
    stage.add("chat")
    target = stage.subnet[stage.names["chat"]]
    target.state = type(target.state)("stopped")


def killed_between_stop_and_start(stage: Stage) -> None:
    """A journal entry is left, and the canister is stopped: what kill -9 leaves behind."""
    stage.add("chat")
    stage.subnet.fail("start_canister", How.UNSENT, times=1000)
    assert stage.run("snapshot", "create", "chat") == 4
    stage.subnet._faults.clear()


def frozen(stage: Stage) -> None:
    stage.add("chat")
    stage.subnet[stage.names["chat"]].frozen = True


DOWNLOAD = ("snapshot", "download", "chat", FIRST, "--dir", "copy", "--concurrency", "1")
UPLOAD = ("snapshot", "upload", "chat", "--dir", "copy", "--concurrency", "1")
VERIFY = ("snapshot", "verify", "--dir", "copy")


def a_copy(stage: Stage) -> None:
    one_snapshot(stage)
    assert stage.run(*DOWNLOAD) == 0


def a_damaged_copy(stage: Stage) -> None:
    a_copy(stage)
    (stage.folder / "copy" / "wasm_memory.bin").write_bytes(b"")


def an_unproven_copy(stage: Stage) -> None:
    a_copy(stage)
    (stage.folder / "copy" / "backup.json").unlink()


def a_written_kit(stage: Stage) -> None:
    assert stage.run("kit", "motoko", "--dir", "lib") == 0
    (stage.folder / "lib" / "Backup.mo").unlink()


def a_changed_kit(stage: Stage) -> None:
    a_written_kit(stage)
    (stage.folder / "lib" / "backup.did").write_text("// mine\n")


def too_poor(stage: Stage) -> None:
    a_copy(stage)
    stage.subnet[stage.names["chat"]].cycles = 10**6


def repository(stage: Stage) -> None:
    """A place for a repository, without one."""
    stage.random = random.Random(4).randbytes
    for name in ("password", "other"):
        (stage.folder / name).write_text(f"{name}\n")
    (stage.folder / "dfx-backup.toml").write_text('repository = "repo"\n')


def empty_repository(stage: Stage) -> None:
    repository(stage)
    assert stage.run("init", *OPEN) == 0


def two_backups(stage: Stage) -> None:
    """Of one canister, a day apart, with one page changed; the first is pinned."""
    empty_repository(stage)
    for day in range(2):
        folder = stage.folder / f"copy-{day}"
        write_folder(folder, stable={0: b"0", 3: b"%d" % day}, taken_at=TAKEN + day * 86400)
        assert stage.run("import", str(folder), "--tag", "nightly", *OPEN) == 0
    assert stage.run("pin", "latest", *OPEN) == 0


def stream_and_repository(stage: Stage) -> None:
    empty_repository(stage)
    stable.offered(stage)


def stream_in_repository(stage: Stage) -> None:
    """A backup of a stream, and a page that has changed since."""
    stream_and_repository(stage)
    assert stage.run(*stable.STORE, *OPEN) == 0
    made = stage.endpoints
    assert made is not None
    made.touch("memory", 1_000_000, b"changed")


def folder_of_dfx(stage: Stage) -> None:
    empty_repository(stage)
    stage.add("chat")
    write_folder(stage.folder / "copy", chunks=(b"chunk",), ours=False)


def damaged_backup(stage: Stage) -> None:
    """A bit flips in the only pack of pages."""
    empty_repository(stage)
    write_folder(stage.folder / "copy", stable={0: b"0"})
    assert stage.run("import", "copy", *OPEN) == 0
    packs = sorted(
        (stage.folder / "repo" / "data").rglob("*"), key=lambda each: each.stat().st_size
    )
    for pack in packs:
        if pack.is_file():
            data = bytearray(pack.read_bytes())
            data[20] ^= 1
            pack.write_bytes(bytes(data))


def two_keys(stage: Stage) -> None:
    empty_repository(stage)
    assert stage.run("key", "add", "--new-password-file", "other", *OPEN) == 0


def chat_and_repository(stage: Stage) -> None:
    empty_repository(stage)
    stage.add("chat")


def chat_and_mail(stage: Stage) -> None:
    chat_and_repository(stage)
    stage.add("mail", content=b"You have mail.")


def changed_meanwhile_and_repository(stage: Stage) -> None:
    empty_repository(stage)
    changed_meanwhile(stage)


def download_fails(stage: Stage) -> None:
    error = reject(5, "IC0305", "no such snapshot")
    stage.subnet.fail("read_canister_snapshot_data", How.REJECT, error=error)


def chat_that_loses_its_snapshots(stage: Stage) -> None:
    chat_and_repository(stage)
    download_fails(stage)


def unfinished(stage: Stage) -> None:
    chat_that_loses_its_snapshots(stage)
    assert stage.run(*CREATE) == 50


def unfinished_set(stage: Stage) -> None:
    chat_and_mail(stage)
    download_fails(stage)
    assert stage.run(*CREATE, "mail") == 50


def a_backup(stage: Stage) -> None:
    """A backup of a canister."""
    chat_and_repository(stage)
    assert stage.run(*CREATE) == 0


def a_set(stage: Stage) -> None:
    """Backups of two canisters that belong together."""
    chat_and_mail(stage)
    assert stage.run(*CREATE, "mail") == 0


OPEN = ("--password-file", "password")
CREATE = ("create", "chat", "--concurrency", "1", *OPEN)
RESTORE = ("restore", "latest", "--yes", "--concurrency", "1", *OPEN)
SET = "set:d065"
"""How the id of the set of `a_set` begins."""
IDS = ("4946", "459e")
"""How the ids of both backups begin."""
KEY = "c37a"
"""How the id of the second key begins."""

ENVELOPES = {
    "stable-info": Case(argv=("stable", "info", "chat"), prepare=stable.offered),
    "stable-info-without-methods": Case(
        argv=("stable", "info", "chat"), prepare=stable.without_methods
    ),
    "stable-info-missing": Case(
        argv=("stable", "info", "chat", "--via", "endpoints"),
        prepare=stable.without_methods,
        code=50,
    ),
    "stable-export-missing": Case(argv=stable.EXPORT, prepare=stable.without_methods, code=50),
    "stable-export-snapshot": Case(argv=stable.TAKE, prepare=chat),
    "stable-export-snapshot-dry-run": Case(argv=(*stable.TAKE, "--dry-run"), prepare=chat),
    "stable-export-snapshot-existing": Case(
        argv=(*stable.TAKE, "--snapshot", FIRST), prepare=stable.with_snapshot
    ),
    "stable-import-snapshot": Case(argv=(*stable.PUT, "--yes"), prepare=stable.read_from_snapshot),
    "stable-import-snapshot-dry-run": Case(
        argv=(*stable.PUT, "--dry-run"), prepare=stable.read_from_snapshot
    ),
    "stable-import-snapshot-unconfirmed": Case(
        argv=stable.PUT, prepare=stable.read_from_snapshot, code=60
    ),
    "stable-export": Case(argv=stable.EXPORT, prepare=stable.offered),
    "stable-export-dry-run": Case(argv=(*stable.EXPORT, "--dry-run"), prepare=stable.exported),
    "stable-export-delta": Case(argv=stable.EXPORT, prepare=stable.exported),
    "stable-export-moving": Case(argv=stable.EXPORT, prepare=stable.moving, code=60),
    "stable-verify": Case(argv=("stable", "verify", "--file", "copy"), prepare=stable.exported),
    "stable-verify-live": Case(
        argv=("stable", "verify", "--file", "copy", "--live"), prepare=stable.exported, code=3
    ),
    "stable-verify-damaged": Case(
        argv=("stable", "verify", "--file", "copy"), prepare=stable.damaged, code=20
    ),
    "stable-export-repository": Case(argv=(*stable.STORE, *OPEN), prepare=stream_and_repository),
    "stable-export-repository-delta": Case(
        argv=(*stable.STORE, *OPEN), prepare=stream_in_repository
    ),
    "stable-import-backup": Case(
        argv=(*stable.RESTORE, "--yes", *OPEN), prepare=stream_in_repository
    ),
    "show-stream": Case(argv=("show", "chat/memory@latest", *OPEN), prepare=stream_in_repository),
    "restore-stream": Case(
        argv=("restore", "chat/memory@latest", *OPEN), prepare=stream_in_repository, code=2
    ),
    "stable-import": Case(argv=(*stable.IMPORT, "--yes"), prepare=stable.exported),
    "stable-import-dry-run": Case(argv=(*stable.IMPORT, "--dry-run"), prepare=stable.exported),
    "stable-import-unconfirmed": Case(argv=stable.IMPORT, prepare=stable.exported, code=60),
    "stable-import-abort": Case(
        argv=("stable", "import", "chat", "--abort", "--yes"), prepare=stable.importing
    ),
    "init": Case(argv=("init", *OPEN), prepare=repository),
    "create": Case(argv=CREATE, prepare=chat_and_repository),
    "create-dry-run": Case(argv=(*CREATE, "--dry-run"), prepare=chat_and_repository),
    "create-set": Case(argv=(*CREATE, "mail"), prepare=chat_and_mail),
    "create-goes-on": Case(argv=CREATE, prepare=unfinished),
    "create-goes-on-dry-run": Case(argv=(*CREATE, "--dry-run"), prepare=unfinished),
    "create-unfinished": Case(argv=CREATE, prepare=chat_that_loses_its_snapshots, code=50),
    "create-partial": Case(argv=CREATE, prepare=changed_meanwhile_and_repository, code=3),
    "create-refused": Case(argv=("create", "mail", *CREATE[2:]), prepare=unfinished_set, code=60),
    "restore": Case(argv=(*RESTORE, "--settings"), prepare=a_backup),
    "restore-dry-run": Case(argv=(*RESTORE, "--settings", "--dry-run"), prepare=a_backup),
    "restore-unconfirmed": Case(argv=("restore", "latest", *OPEN), prepare=a_backup, code=60),
    "restore-check-failed": Case(
        argv=(*RESTORE, "--check", "/bin/false", "--rollback"), prepare=a_backup, code=40
    ),
    "restore-set": Case(argv=("restore", SET, *RESTORE[2:]), prepare=a_set),
    "restore-set-dry-run": Case(argv=("restore", SET, *RESTORE[2:], "--dry-run"), prepare=a_set),
    "list": Case(argv=("list", *OPEN), prepare=two_backups),
    "list-too-old": Case(argv=("list", "--max-age", "1h", *OPEN), prepare=two_backups, code=3),
    "list-no-repository": Case(argv=("list", *OPEN), prepare=repository, code=10),
    "list-wrong-password": Case(
        argv=("list", "--password-file", "other"), prepare=empty_repository, code=12
    ),
    "show": Case(argv=("show", "latest", *OPEN), prepare=two_backups),
    "diff": Case(argv=("diff", *IDS, *OPEN), prepare=two_backups),
    "import": Case(argv=("import", "copy", "--canister", "chat", *OPEN), prepare=folder_of_dfx),
    "export": Case(argv=("export", "latest", "back", *OPEN), prepare=two_backups),
    "verify": Case(argv=("verify", "--read-data", *OPEN), prepare=two_backups),
    "verify-damaged": Case(argv=("verify", "--read-data", *OPEN), prepare=damaged_backup, code=20),
    "forget": Case(argv=("forget", "--keep-last", "1", "--yes", *OPEN), prepare=two_backups),
    "forget-dry-run": Case(
        argv=("forget", "--keep-last", "1", "--dry-run", *OPEN), prepare=two_backups
    ),
    "prune": Case(argv=("prune", *OPEN), prepare=empty_repository),
    "prune-dry-run": Case(argv=("prune", "--dry-run", *OPEN), prepare=empty_repository),
    "pin": Case(argv=("pin", "latest", *OPEN), prepare=two_backups),
    "unpin": Case(argv=("unpin", "latest", *OPEN), prepare=two_backups),
    "unlock": Case(argv=("unlock", *OPEN), prepare=empty_repository),
    "key-add": Case(
        argv=("key", "add", "--new-password-file", "other", *OPEN), prepare=empty_repository
    ),
    "key-list": Case(argv=("key", "list", *OPEN), prepare=empty_repository),
    "key-remove": Case(argv=("key", "remove", KEY, *OPEN), prepare=two_keys),
    "key-passwd": Case(
        argv=("key", "passwd", "--new-password-file", "other", *OPEN), prepare=empty_repository
    ),
    "snapshot-download": Case(argv=DOWNLOAD, prepare=one_snapshot),
    "snapshot-download-dry-run": Case(argv=(*DOWNLOAD, "--dry-run"), prepare=one_snapshot),
    "snapshot-download-refused": Case(argv=DOWNLOAD, prepare=a_copy, code=60),
    "snapshot-upload": Case(argv=UPLOAD, prepare=a_copy),
    "snapshot-upload-dry-run": Case(argv=(*UPLOAD, "--dry-run"), prepare=a_copy),
    "snapshot-upload-too-poor": Case(argv=UPLOAD, prepare=too_poor, code=60),
    "snapshot-verify": Case(argv=VERIFY, prepare=a_copy),
    "snapshot-verify-damaged": Case(argv=VERIFY, prepare=a_damaged_copy, code=20),
    "snapshot-verify-unproven": Case(argv=VERIFY, prepare=an_unproven_copy, code=3),
    "estimate": Case(argv=("estimate", "chat"), prepare=chat),
    "snapshot-create": Case(argv=("snapshot", "create", "chat"), prepare=chat),
    "snapshot-create-live": Case(argv=("snapshot", "create", "chat", "--live"), prepare=chat),
    "snapshot-create-dry-run": Case(
        argv=("snapshot", "create", "chat", "--dry-run", "--replace", FIRST), prepare=one_snapshot
    ),
    "snapshot-create-down": Case(argv=("snapshot", "create", "chat"), prepare=frozen, code=4),
    "snapshot-create-partial": Case(
        argv=("snapshot", "create", "chat"), prepare=changed_meanwhile, code=3
    ),
    "snapshot-create-interrupted": Case(
        argv=("snapshot", "create", "chat"), prepare=interrupted, code=130
    ),
    "snapshot-create-refused": Case(
        argv=("snapshot", "create", "chat"), prepare=stopped_by_somebody, code=60
    ),
    "snapshot-list": Case(argv=("snapshot", "list", "chat"), prepare=one_snapshot),
    "snapshot-load": Case(argv=("snapshot", "load", "chat", FIRST, "--yes"), prepare=one_snapshot),
    "snapshot-load-dry-run": Case(
        argv=("snapshot", "load", "chat", FIRST, "--dry-run"), prepare=one_snapshot
    ),
    "snapshot-load-unconfirmed": Case(
        argv=("snapshot", "load", "chat", FIRST), prepare=one_snapshot, code=60
    ),
    "snapshot-delete": Case(
        argv=("snapshot", "delete", "chat", FIRST, "--yes"), prepare=one_snapshot
    ),
    "snapshot-delete-dry-run": Case(
        argv=("snapshot", "delete", "chat", FIRST, "--dry-run"), prepare=one_snapshot
    ),
    "recover": Case(argv=("recover", "chat"), prepare=killed_between_stop_and_start),
    "recover-dry-run": Case(
        argv=("recover", "chat", "--dry-run"), prepare=killed_between_stop_and_start
    ),
    "recover-discard": Case(
        argv=("recover", "chat", "--discard", "--yes"), prepare=killed_between_stop_and_start
    ),
    "recover-unjournaled": Case(argv=("recover", "--all", "--yes"), prepare=stopped_by_somebody),
    "kit-rust": Case(argv=("kit", "rust"), prepare=chat),
    "kit-motoko": Case(argv=("kit", "motoko", "--dir", "lib"), prepare=a_written_kit),
    "kit-refused": Case(argv=("kit", "motoko", "--dir", "lib"), prepare=a_changed_kit, code=60),
    "completion-bash": Case(argv=("completion", "bash"), prepare=chat),
    "completion-zsh": Case(argv=("completion", "zsh"), prepare=chat),
    "completion-fish": Case(argv=("completion", "fish"), prepare=chat),
    "doctor": Case(argv=("doctor",), prepare=chat),
    "doctor-failing": Case(argv=("doctor",), prepare=unreachable, code=50),
    "version": Case(argv=("--version",), prepare=chat),
    "usage": Case(argv=("snapshot", "create"), prepare=chat, code=2),
    "usage-no-command": Case(argv=(), prepare=chat, code=2),
    "network": Case(argv=("snapshot", "list", "chat"), prepare=unreachable, code=50),
    "internal": Case(argv=("snapshot", "list", "chat"), prepare=failing.a_bug, code=1),
    "locked": Case(
        argv=("snapshot", "create", "chat"), prepare=failing.held_by_another_run, code=11
    ),
    "project": Case(argv=("snapshot", "list", "mail"), prepare=failing.no_such_canister, code=30),
}
