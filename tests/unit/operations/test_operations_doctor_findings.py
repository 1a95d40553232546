"""Every check of `doctor`: what makes it well, and what makes it ill."""

import fcntl
import json
import re
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from dfx_backup.drivers.dfx import DfxTool
from dfx_backup.drivers.features import ToolVersion
from dfx_backup.drivers.icp import IcpTool
from dfx_backup.errors import (
    NetworkError,
    NoRepositoryError,
    ProjectError,
    ToolError,
    UsageError,
    WrongKeyError,
)
from dfx_backup.ic import stable_candid
from dfx_backup.ic.candid import BLOB, encode
from dfx_backup.ic.canister_settings import Audience, CanisterSettings, Visibility
from dfx_backup.model import DriverName, RunState, SnapshotId
from dfx_backup.operations import doctor_findings, doctor_machine, doctor_repository
from dfx_backup.operations.backup_notes import BACKUP_TAG, TAG_PREFIX
from dfx_backup.operations.direct import Direct
from dfx_backup.operations.doctor import Finding, Topic, Verdict, doctor
from dfx_backup.operations.doctor_identity import KeyPlace
from dfx_backup.operations.doctor_machine import Clocks, Room
from dfx_backup.operations.doctor_repository import RepositoryPart
from dfx_backup.operations.doctor_tools import Need
from dfx_backup.operations.journal import Journal, RunKind
from dfx_backup.operations.ledger import BACKUP, SAFETY, Ledger, OwnSnapshot
from dfx_backup.operations.locks import canister_lock
from dfx_backup.operations.preflight import new_entry, survey
from dfx_backup.operations.repository_access import Access, Location
from dfx_backup.operations.unfinished import UnfinishedBackups
from dfx_backup.repository.local import LocalStore
from tests.fakes.healthy import HERE, MAINNET, NOW, Anybody, healthy, named
from tests.fakes.memory_management import How, reject
from tests.fakes.memory_transfer import MemoryTransfer
from tests.fakes.operations_world import World
from tests.fakes.repositories import PASSWORD, back_up, new_repository, this_machine
from tests.fakes.unfinished_backup import LEFT

OK, WARN, FAIL = Verdict.OK, Verdict.WARN, Verdict.FAIL
DAY = 86_400.0
EMPTY = b"DIDL\0\0"


class Patient:
    """A set-up in order, which a case makes ill.

    Attributes:
        world: one canister, `chat`.
        folder: for files of the case.
        changes: of the checks.
        anybody: what a stranger sees of the canister.
        management: its `settings` are the canister's.
    """

    def __init__(self, world: World, folder: Path) -> None:
        self.world, self.folder = world, folder
        self.changes: dict[str, Any] = {}
        self.anybody = Anybody()
        self.management = MemoryTransfer(world.subnet)
        direct = Direct(calls=self.management, slices=self.management)
        self.target = replace(named(world.target), direct=direct)

    def look(self) -> tuple[Finding, ...]:
        values = {
            "targets": lambda: (self.target,),
            "view": lambda _behind: self.anybody,
            "journaled": lambda _entry: self.target,
        }
        return doctor(self.world.run, healthy(**(values | self.changes))).findings

    def dfx(self, version: str) -> None:
        tool = DfxTool(binary="/bin/dfx", version=ToolVersion.parse(version), environment={})
        self.changes["find_dfx"] = lambda: tool

    def extension(self, dfx: str, name: str = "backup", **changes: object) -> Path:
        """An extension in the cache of a version of dfx."""
        root = self.folder / "cache"
        folder = root / "versions" / dfx / "extensions" / name
        folder.mkdir(parents=True)
        manifest = {
            "name": name,
            "version": "0.1.0",
            "homepage": "",
            "summary": "x",
            "categories": [],
            **changes,
        }
        (folder / "extension.json").write_text(json.dumps(manifest))
        (folder / name).write_text("#!/bin/sh\n")
        (folder / name).chmod(0o500)
        self.changes["here"] = replace(HERE, cache_root=root)
        return folder

    def repository(self, *, password: str = PASSWORD, made: bool = True) -> LocalStore:
        store = LocalStore(self.folder / "repo")
        if made:
            new_repository(store)

        def give(what: str, *, new: bool) -> str:
            assert what.endswith("repo")
            assert not new
            if not password:
                raise WrongKeyError("no terminal")
            return password

        access = Access(
            location=Location.parse(str(self.folder / "repo"), base=self.folder),
            machine=this_machine(clock=lambda: NOW),
            password=give,
            progress=self.world.notes,
            environment={},
        )
        self.changes["repository"] = RepositoryPart(
            access=lambda: access, source="--password-file pw"
        )
        return store

    def snapshots(self, purpose: str, count: int) -> list[SnapshotId]:
        """Snapshots of ours on the subnet."""
        ids = [SnapshotId(each) for each in self.world.taken(count)[-count:]]
        for each in ids:
            own = OwnSnapshot(snapshot_id=each, purpose=purpose, taken_at=NOW)
            Ledger(self.world.state, self.target.key).add(own)
        return ids

    def settings(self, audience: Audience, *viewers: str) -> None:
        visible = Visibility(audience=audience, viewers=viewers)
        self.management.settings = CanisterSettings(snapshot_visibility=visible)  # type: ignore[misc] # of this one

    def clocks(self, behind: float, *, certified: bool = True) -> None:
        asked: list[float] = []

        def exact(_canister: object, guess: float) -> float:
            asked.append(guess)
            if not certified or abs(behind - guess) > 240:
                raise NetworkError("the certificate is too old")
            return NOW + behind

        self.changes["clocks"] = Clocks(
            now=lambda: NOW, server=lambda: NOW + behind, certified=exact
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is done to a patient, and what is found then.

    Attributes:
        topic: of the finding.
        state: how it ends.
        make: does it.
        words: stand in its detail or advice.
        code: its exit code.
    """

    topic: Topic
    state: Verdict
    make: Callable[[Patient], None]
    words: tuple[str, ...]
    code: int


CASES: list[Case] = []


def case(
    topic: Topic, state: Verdict, *words: str, code: int = 0
) -> Callable[[Callable[[Patient], None]], Callable[[Patient], None]]:
    def note(make: Callable[[Patient], None]) -> Callable[[Patient], None]:
        CASES.append(Case(topic=topic, state=state, make=make, words=words, code=code))
        return make

    return note


def fails(error: Exception) -> Callable[..., Any]:
    def part(*_args: object) -> Any:
        raise error

    return part


# -- programs -------------------------------------------------------------------------------------


@case(Topic.PROGRAM, OK, "dfx-backup 0.1.0", "glibc 2.36")
def program_known(patient: Patient) -> None:
    pass


@case(Topic.PROGRAM, WARN, "Python 4.0.0", "3.11 to 3.13")
def program_new_python(patient: Patient) -> None:
    patient.changes["here"] = replace(HERE, python="4.0.0")


@case(Topic.PROGRAM, WARN, "glibc only")
def program_musl(patient: Patient) -> None:
    patient.changes["here"] = replace(HERE, libc="")


@case(Topic.PROGRAM, WARN, "not tried on this system")
def program_windows(patient: Patient) -> None:
    patient.changes["here"] = replace(HERE, platform="win32")


@case(Topic.EXTRAS, OK, "installed: s3, keyring, replica")
def extras_all(patient: Patient) -> None:
    patient.changes["needs"] = lambda: (Need(extra="s3", why="the repository", vital=True),)


@case(Topic.EXTRAS, FAIL, "the repository in S3 needs", "dfx-backup[s3]", code=40)
def extras_no_s3(patient: Patient) -> None:
    patient.changes["here"] = replace(HERE, extras=frozenset())
    need = Need(extra="s3", why="the repository in S3", vital=True)
    patient.changes["needs"] = lambda: (need,)


@case(Topic.EXTRAS, WARN, "dfx-backup[keyring]")
def extras_no_keyring(patient: Patient) -> None:
    patient.changes["here"] = replace(HERE, extras=frozenset({"s3"}))
    patient.changes["needs"] = lambda: (Need(extra="keyring", why="alice", vital=False),)


@case(Topic.DFX, OK, "not found")
def dfx_none(patient: Patient) -> None:
    pass


@case(Topic.DFX, OK, "dfx 0.30.0", "resume a download or an upload (since 0.30.1)")
def dfx_lacks_little(patient: Patient) -> None:
    patient.dfx("0.30.0")


@case(Topic.DFX, WARN, "download and upload canister snapshots (since 0.29.2", "--driver agent")
def dfx_lacks_transfers(patient: Patient) -> None:
    patient.dfx("0.29.1")


@case(Topic.DFX, WARN, "could not be looked at", "no version")
def dfx_without_version(patient: Patient) -> None:
    patient.changes["find_dfx"] = fails(ToolError("no version can be read"))


@case(Topic.ICP, OK, "icp 1.5.0")
def icp_known(patient: Patient) -> None:
    tool = IcpTool(binary="/bin/icp", version=ToolVersion.parse("1.5.0"), environment={})
    patient.changes["find_icp"] = lambda: tool


@case(Topic.ICP, WARN, "1.2.0 is the oldest")
def icp_old(patient: Patient) -> None:
    tool = IcpTool(binary="/bin/icp", version=ToolVersion.parse("1.0.0"), environment={})
    patient.changes["find_icp"] = lambda: tool


@case(Topic.MANIFESTS, OK, "no extension is installed")
def manifests_none(patient: Patient) -> None:
    pass


@case(Topic.MANIFESTS, FAIL, "extensions/sns", "every command of dfx 0.30.1 fails", code=40)
def manifests_stranger(patient: Patient) -> None:
    patient.extension("0.30.1", "sns", licence="MIT")


@case(Topic.MANIFESTS, FAIL, "extension.json can't be read", "remove the folder", code=40)
def manifests_stray_folder(patient: Patient) -> None:
    (patient.extension("0.32.0") / "extension.json").unlink()


@case(Topic.EXTENSION, OK, "there is no dfx")
def extension_needless(patient: Patient) -> None:
    pass


@case(Topic.EXTENSION, OK, "installed for dfx 0.32.0 (0.1.0)")
def extension_there(patient: Patient) -> None:
    patient.dfx("0.32.0")
    patient.extension("0.32.0")


@case(Topic.EXTENSION, WARN, "not installed for dfx 0.32.0", "it is for dfx 0.30.1", "make install")
def extension_for_another_dfx(patient: Patient) -> None:
    patient.dfx("0.32.0")
    patient.extension("0.30.1")


@case(Topic.EXTENSION, WARN, "has version 0.0.9, and this is 0.1.0")
def extension_old(patient: Patient) -> None:
    patient.dfx("0.32.0")
    patient.extension("0.32.0", version="0.0.9")


@case(Topic.EXTENSION, WARN, "not installed for dfx 0.30.1")
def extension_for_a_dfx_that_is_not_on_path(patient: Patient) -> None:
    patient.extension("0.30.1", "sns")


@case(Topic.EXTENSION, FAIL, "backup/backup is missing, or may not be started", code=40)
def extension_that_can_not_start(patient: Patient) -> None:
    (patient.extension("0.32.0") / "backup").chmod(0o400)


@case(Topic.DRIVER, OK, "dfx 0.32.0")
def driver_there(patient: Patient) -> None:
    pass


@case(Topic.DRIVER, FAIL, "`dfx` was not found", code=40)
def driver_missing(patient: Patient) -> None:
    patient.changes["driver"] = fails(ToolError("`dfx` was not found"))


# -- identity -------------------------------------------------------------------------------------


@case(Topic.IDENTITY, OK, "alice")
def identity_there(patient: Patient) -> None:
    pass


@case(Topic.IDENTITY, FAIL, "no identity", code=30)
def identity_missing(patient: Patient) -> None:
    patient.changes["identity"] = fails(ProjectError("there is no identity bob"))


def plain(patient: Patient, *, dfx: str | None = None, mainnet: bool = True) -> None:
    patient.changes["key"] = lambda: KeyPlace(who="alice", plain=True)
    if mainnet:
        patient.changes["network_id"] = lambda: MAINNET
    if dfx is not None:
        patient.dfx(dfx)
        patient.changes["drives"] = lambda: DriverName.DFX


@case(Topic.PLAINTEXT, OK, "this is not mainnet")
def plain_elsewhere(patient: Patient) -> None:
    plain(patient, mainnet=False)


@case(Topic.PLAINTEXT, WARN, "acts on mainnet")
def plain_by_the_agent(patient: Patient) -> None:
    plain(patient)


@case(Topic.PLAINTEXT, FAIL, "dfx 0.25.0 refuses", "DFX_WARNING=-mainnet_plaintext", code=30)
def plain_by_dfx(patient: Patient) -> None:
    plain(patient, dfx="0.25.0")


@case(Topic.PLAINTEXT, WARN, "acts on mainnet")
def plain_by_an_older_dfx(patient: Patient) -> None:
    plain(patient, dfx="0.24.3")


@case(Topic.PLAINTEXT, WARN, "acts on mainnet")
def plain_and_allowed(patient: Patient) -> None:
    plain(patient, dfx="0.32.0")
    patient.changes["warnings"] = "-deprecation, -mainnet_plaintext_identity"


@case(Topic.PLAINTEXT, WARN, "could not be looked at")
def plain_unknown(patient: Patient) -> None:
    patient.changes["key"] = fails(ProjectError("bad identity.json"))


def secret(patient: Patient, mode: int) -> None:
    file = patient.folder / "pw"
    file.write_text("x")
    file.chmod(mode)
    patient.changes["secrets"] = lambda: (file,)


@case(Topic.SECRETS, OK, "for its owner alone")
def secret_kept(patient: Patient) -> None:
    secret(patient, 0o600)


@case(Topic.SECRETS, WARN, "can be read or changed by others", "chmod 600")
def secret_for_all(patient: Patient) -> None:
    secret(patient, 0o644)


# -- network --------------------------------------------------------------------------------------


@case(Topic.NETWORK, OK, "answers")
def network_there(patient: Patient) -> None:
    pass


@case(Topic.NETWORK, FAIL, "refused", code=50)
def network_down(patient: Patient) -> None:
    patient.changes["network"] = fails(NetworkError("connection refused"))


@case(Topic.ROOT_KEY, OK, "fetched")
def root_key_there(patient: Patient) -> None:
    pass


@case(Topic.ROOT_KEY, FAIL, "does not tell its root key", code=50)
def root_key_missing(patient: Patient) -> None:
    patient.changes["root_key"] = fails(NetworkError("the replica does not tell its root key"))


@case(Topic.CLOCK, OK, "certified")
def clock_right(patient: Patient) -> None:
    patient.clocks(0.4)


@case(Topic.CLOCK, WARN, "20 s behind", "NTP")
def clock_behind(patient: Patient) -> None:
    patient.clocks(20.0)


@case(Topic.CLOCK, FAIL, "3600 s ahead of", "(certified)", code=50)
def clock_far_ahead(patient: Patient) -> None:
    patient.clocks(-3600.0)  # certificates look too new: what HTTP tells is the way in


@case(Topic.CLOCK, FAIL, "90 s behind", "as its HTTP answers say", code=50)
def clock_without_certificates(patient: Patient) -> None:
    patient.clocks(90.0, certified=False)


@case(Topic.CLOCK, WARN, "could not be compared")
def clock_untold(patient: Patient) -> None:
    patient.changes["clocks"] = Clocks(
        now=lambda: NOW, server=lambda: None, certified=fails(NetworkError("HTTP 400"))
    )


@case(Topic.CANISTERS, OK, "chat")
def canisters_there(patient: Patient) -> None:
    pass


@case(Topic.CANISTERS, OK, "none")
def canisters_none(patient: Patient) -> None:
    patient.changes["targets"] = lambda: ()


@case(Topic.CANISTERS, FAIL, "no id", code=30)
def canisters_unknown(patient: Patient) -> None:
    patient.changes["targets"] = fails(ProjectError("canister `x` has no id"))


@case(Topic.CANISTERS, WARN, "the network does not answer")
def canisters_out_of_reach(patient: Patient) -> None:
    network_down(patient)


# -- this machine ---------------------------------------------------------------------------------


@case(Topic.STATE, OK, "can be written")
def state_there(patient: Patient) -> None:
    pass


@case(Topic.STATE, FAIL, "can't be used", code=30)
def state_in_the_way(patient: Patient) -> None:
    patient.world.state.parent.mkdir(exist_ok=True)
    patient.world.state.write_text("in the way")


def room(patient: Patient, *, vital: bool) -> None:
    there = Room(what="repository", folder=patient.folder / "not" / "yet", vital=vital)
    patient.changes["rooms"] = lambda: (there,)


@case(Topic.DISK, OK, "repository", "MiB free")
def disk_empty(patient: Patient) -> None:
    room(patient, vital=True)


@case(Topic.DISK, WARN, "snapshots may take")
def disk_small(patient: Patient) -> None:
    room(patient, vital=True)
    patient.world.chat.content = bytes(80 << 20)
    patient.free = 65 << 20  # type: ignore[attr-defined] # read by the test


@case(Topic.DISK, FAIL, "the least that is needed", "forget --prune", code=60)
def disk_full(patient: Patient) -> None:
    room(patient, vital=True)
    patient.free = 1 << 20  # type: ignore[attr-defined] # read by the test


@case(Topic.DISK, WARN, "the least that is needed")
def disk_of_the_state_full(patient: Patient) -> None:
    room(patient, vital=False)
    patient.free = 1 << 20  # type: ignore[attr-defined] # read by the test


# -- earlier runs ---------------------------------------------------------------------------------


@case(Topic.RECOVERY, OK, "nothing is left")
def recovery_none(patient: Patient) -> None:
    pass


@case(Topic.RECOVERY, WARN, "was interrupted", "recover --all")
def recovery_left(patient: Patient) -> None:
    run, target = patient.world.run, patient.target
    entry = new_entry(run, target, survey(target), RunKind.CREATE)
    Journal(patient.world.state).write(entry)


@case(Topic.RECOVERY, FAIL, "can't be read", code=20)
def recovery_damaged(patient: Patient) -> None:
    folder = patient.world.state / "journal"
    folder.mkdir(parents=True)
    (folder / f"{patient.target.key}.json").write_text("{")


@case(Topic.UNFINISHED, OK, "every snapshot")
def unfinished_none(patient: Patient) -> None:
    pass


@case(Topic.UNFINISHED, WARN, "snapshot 00ff of chat", "create aaaaa-aa 2vxsx-fae --network local")
def unfinished_left(patient: Patient) -> None:
    UnfinishedBackups(patient.world.state).write(LEFT)


@case(Topic.UNFINISHED, FAIL, "can't be understood", code=20)
def unfinished_damaged(patient: Patient) -> None:
    folder = patient.world.state / "unfinished"
    folder.mkdir(parents=True)
    (folder / f"{patient.target.key}.json").write_text("{")


def upload(patient: Patient, *lines: object) -> Path:
    folder = patient.world.state / "uploads"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{patient.target.key}.dir.json"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return file


@case(Topic.UPLOADS, OK, "no upload")
def uploads_none(patient: Patient) -> None:
    pass


@case(Topic.UPLOADS, WARN, "uploaded in part", "snapshot upload --resume", "snapshot delete")
def uploads_left(patient: Patient) -> None:
    header = {"format": "dfx-backup upload", "canister_id": patient.world.canister}
    upload(patient, header, {"snapshot": "0a", "compare": False}, ["heap", 0, 5])


@case(Topic.UPLOADS, WARN, "before its snapshot was known")
def uploads_unknown(patient: Patient) -> None:
    header = {"format": "dfx-backup upload", "canister_id": patient.world.canister}
    upload(patient, header, {"before": []})


@case(Topic.UPLOADS, FAIL, "can't be used", code=30)
def uploads_unreadable(patient: Patient) -> None:
    (patient.world.state / "uploads" / "x.json").mkdir(parents=True)


# -- repository -----------------------------------------------------------------------------------


@case(Topic.REPOSITORY, OK, "format 2, 0 backups")
def repository_new(patient: Patient) -> None:
    patient.repository()


@case(Topic.REPOSITORY, WARN, "none is named")
def repository_not_named(patient: Patient) -> None:
    none = NoRepositoryError("none is named")
    patient.changes["repository"] = RepositoryPart(access=fails(none), source="")


@case(Topic.REPOSITORY, FAIL, "no place", code=2)
def repository_bad_name(patient: Patient) -> None:
    bad = UsageError("`sftp:` is no place")
    patient.changes["repository"] = RepositoryPart(access=fails(bad), source="")


@case(Topic.REPOSITORY, FAIL, "there is no repository in", "init --repo", code=10)
def repository_missing(patient: Patient) -> None:
    patient.repository(made=False)


@case(Topic.REPOSITORY, FAIL, "damaged", code=20)
def repository_damaged(patient: Patient) -> None:
    patient.repository()
    config = patient.folder / "repo" / "config"
    config.chmod(0o600)
    config.write_bytes(bytes(200))


@case(Topic.PASSWORD, OK, "it comes from --password-file pw")
def password_right(patient: Patient) -> None:
    patient.repository()


@case(Topic.PASSWORD, FAIL, code=12)
def password_wrong(patient: Patient) -> None:
    patient.repository(password="battery staple")


@case(Topic.PASSWORD, FAIL, "no terminal", code=12)
def password_missing(patient: Patient) -> None:
    patient.repository(password="")


@case(Topic.LOCKS, OK, "nobody")
def locks_none(patient: Patient) -> None:
    patient.repository()


def leave_lock(patient: Patient, *, pid: int, hostname: str) -> None:
    store = patient.repository()
    machine = this_machine(clock=lambda: NOW, pid=pid, hostname=hostname)
    repository = doctor_repository.Repository.open(
        store, doctor_repository.Password(PASSWORD), machine
    )
    lock = repository.lock(exclusive=False, progress=patient.world.notes)
    lock.__enter__()
    lock._ended.set()  # the process is gone, and the lock stays


@case(Topic.LOCKS, WARN, "held by process 7 of tester@elsewhere", "wait")
def locks_of_others(patient: Patient) -> None:
    leave_lock(patient, pid=7, hostname="elsewhere")


@case(Topic.LOCKS, WARN, "left behind by process", "unlock")
def locks_stale(patient: Patient) -> None:
    leave_lock(patient, pid=2**22 + 1, hostname=this_machine().hostname)


def backed_up(patient: Patient, verified_days_ago: float | None) -> None:
    store = patient.repository()
    password = doctor_repository.Password(PASSWORD)
    repository = doctor_repository.Repository.open(store, password, this_machine())
    back_up(repository, {"x": b"x"}, tags=(BACKUP_TAG,))
    if verified_days_ago is not None:
        when = NOW - verified_days_ago * DAY
        kind = (f"{TAG_PREFIX}verification", f"{TAG_PREFIX}of=aa", f"{TAG_PREFIX}level=2")
        back_up(repository, {"note": b""}, time=when, tags=kind)


@case(Topic.VERIFIED, OK, "no backup yet")
def verified_nothing(patient: Patient) -> None:
    patient.repository()


@case(Topic.VERIFIED, OK, "2027-01")
def verified_lately(patient: Patient) -> None:
    backed_up(patient, 3)


@case(Topic.VERIFIED, WARN, "40 days ago", "verify --read-data")
def verified_long_ago(patient: Patient) -> None:
    backed_up(patient, 40)


@case(Topic.VERIFIED, WARN, "ever read back")
def verified_never(patient: Patient) -> None:
    backed_up(patient, None)


# -- canisters ------------------------------------------------------------------------------------


@case(Topic.CONTROLLER, OK, "only controller")
def controller_alone(patient: Patient) -> None:
    pass


@case(Topic.CONTROLLER, WARN, "who loses its key", "second controller")
def controller_alone_on_mainnet(patient: Patient) -> None:
    patient.target = replace(patient.target, network_id=MAINNET)


@case(Topic.CONTROLLER, WARN, "anybody can do everything", "remove 2vxsx-fae")
def controller_is_anybody(patient: Patient) -> None:
    patient.target = replace(patient.target, driver=patient.world.driver, principal=None)


@case(Topic.CONTROLLER, FAIL, "anybody can do everything", code=60)
def controller_is_anybody_on_mainnet(patient: Patient) -> None:
    controller_is_anybody(patient)
    patient.target = replace(patient.target, network_id=MAINNET)


@case(Topic.CONTROLLER, FAIL, "controller", code=50)
def controller_not_we(patient: Patient) -> None:
    patient.world.chat.controllers = ("aaaaa-aa",)


@case(Topic.STATUS, OK, "running")
def status_running(patient: Patient) -> None:
    pass


@case(Topic.STATUS, WARN, "stopped", "recover")
def status_stopped(patient: Patient) -> None:
    patient.world.chat.state = RunState.STOPPED


@case(Topic.VISIBILITY, OK, "controllers alone")
def visibility_controllers(patient: Patient) -> None:
    patient.settings(Audience.CONTROLLERS)


@case(Topic.VISIBILITY, OK, "2 viewers", "2vxsx-fae", "aaaaa-aa")
def visibility_viewers(patient: Patient) -> None:
    patient.settings(Audience.ALLOWED_VIEWERS, "2vxsx-fae", "aaaaa-aa")


@case(Topic.VISIBILITY, WARN, "anybody can download", "snapshot_visibility")
def visibility_public(patient: Patient) -> None:
    patient.settings(Audience.PUBLIC)


@case(Topic.VISIBILITY, WARN, "not told")
def visibility_of_a_key_that_only_a_tool_has(patient: Patient) -> None:
    patient.target = replace(patient.target, direct=None)


@case(Topic.SLOTS, OK, "9 of 10")
def slots_free(patient: Patient) -> None:
    patient.world.taken(1)


@case(Topic.SLOTS, WARN, "0 of 10", "--replace")
def slots_taken(patient: Patient) -> None:
    patient.world.taken(10)


@case(Topic.ORPHANS, OK, "none among 3")
def orphans_none(patient: Patient) -> None:
    patient.snapshots(BACKUP, 2)
    patient.snapshots(SAFETY, 1)
    patient.changes["keep"] = lambda _ref: 2


@case(Topic.ORPHANS, WARN, "0101 is not needed any more", "snapshot list")
def orphans_ours(patient: Patient) -> None:
    patient.snapshots(BACKUP, 2)


@case(Topic.ORPHANS, WARN, "not needed any more")
def orphans_of_loads(patient: Patient) -> None:
    patient.snapshots(SAFETY, 2)


@case(Topic.ORPHANS, WARN, "not recorded here as ours")
def orphans_unknown(patient: Patient) -> None:
    patient.world.taken(1)


@case(Topic.ORPHANS, OK, "none among 1")
def orphans_not_what_an_upload_fills(patient: Patient) -> None:
    header = {"format": "dfx-backup upload", "canister_id": patient.world.canister}
    upload(patient, header, {"snapshot": patient.world.taken(1)[0], "compare": False})


@case(Topic.ORPHANS, OK, "none among 2")
def orphans_not_what_a_backup_waits_for(patient: Patient) -> None:
    first, _second = patient.snapshots(BACKUP, 2)
    left = replace(LEFT, canister=patient.target.ref, snapshot_id=first)
    UnfinishedBackups(patient.world.state).write(
        replace(left, network_id=patient.target.network_id)
    )


@case(Topic.ORPHANS, FAIL, "can't be understood", code=20)
def orphans_damaged(patient: Patient) -> None:
    folder = patient.world.state / "ours"
    folder.mkdir(parents=True)
    (folder / f"{patient.target.key}.json").write_text("{")


@case(Topic.CYCLES, OK, "enough for one more snapshot")
def cycles_many(patient: Patient) -> None:
    pass


@case(Topic.CYCLES, WARN, "3 days until it freezes", "top-up")
def cycles_for_days(patient: Patient) -> None:
    patient.world.chat.idle_cycles_per_day = 10**12
    patient.world.chat.cycles = 33 * 10**12 + 10**11


@case(Topic.CYCLES, FAIL, "out of cycles", code=50)
def cycles_gone(patient: Patient) -> None:
    world, frozen = patient.world, reject(5, "IC0207", "the canister is out of cycles")
    world.subnet.fail("canister_status", How.RAISE_BEFORE, error=frozen)


@case(Topic.CYCLES, FAIL, "are missing for one more snapshot", "top-up", code=60)
def cycles_few(patient: Patient) -> None:
    patient.world.chat.cycles = 5


# -- what strangers get ---------------------------------------------------------------------------


@case(Topic.KIT, OK, "it has none")
def kit_none(patient: Patient) -> None:
    pass


UNAUTHORIZED = encode([stable_candid.INFO_ANSWER], [("err", ("unauthorized", None))])
BYTES = encode([stable_candid.BLOB_ANSWER], [("ok", b"x")])


@case(Topic.KIT, OK, "they refuse")
def kit_guarded(patient: Patient) -> None:
    patient.anybody.methods = {"backup_info": UNAUTHORIZED, "backup_read": UNAUTHORIZED}


@case(Topic.KIT, OK, "they refuse")
def kit_that_traps(patient: Patient) -> None:
    trap = reject(5, "IC0502", "Canister trapped: not for you")
    patient.anybody.methods = {"backup_info": trap, "backup_read": trap}


@case(Topic.KIT, FAIL, "backup_read answers", "anyone can download", "guard", code=60)
def kit_open(patient: Patient) -> None:
    patient.anybody.methods = {"backup_info": UNAUTHORIZED, "backup_read": BYTES}


@case(Topic.KIT, WARN, "could not be looked at", "stopped")
def kit_stopped(patient: Patient) -> None:
    patient.anybody.methods = {"backup_info": reject(5, "IC0508", "Canister is stopped")}


@case(Topic.DUMPS, OK, "known names alone")
def dumps_none(patient: Patient) -> None:
    pass


@case(Topic.DUMPS, FAIL, "stable_read answers", "anyone can download", code=60)
def dumps_known(patient: Patient) -> None:
    patient.anybody.methods = {"stable_read": encode([BLOB], [b""])}


SERVICE = """
type Offset = nat64; // an alias
type Row = record { id : nat; "export" : text };
service : (opt principal) -> {
  greet : (text) -> (text) query;
  db_download : (Offset) -> (blob) query;
  "export" : (from : nat64, opt nat) -> (vec Row) query;
  export_rows : (record { from : nat64 }) -> (vec Row) query;
  backup : () -> (bool);
  backup_stage : (record { stream : text }) -> (variant { ok; err });
}
"""
REFUSED = encode([stable_candid.BLOB_ANSWER], [("err", ("unauthorized", None))])


@case(Topic.DUMPS, WARN, "export answers anonymous callers", "everybody may have")
def dumps_suspected(patient: Patient) -> None:
    patient.anybody.did = SERVICE
    patient.anybody.methods = {"export": EMPTY, "db_download": REFUSED}


@case(Topic.DUMPS, WARN, "not tried", "export_rows, backup", "looks at its caller")
def dumps_not_tried(patient: Patient) -> None:
    patient.anybody.did = SERVICE
    patient.anybody.methods = {"export": REFUSED}


@case(Topic.DUMPS, OK, "none found")
def dumps_of_a_plain_service(patient: Patient) -> None:
    patient.anybody.did = "service : { greet : (text) -> (text) query }"


# -- the cases ------------------------------------------------------------------------------------


@pytest.mark.parametrize("each", CASES, ids=lambda each: each.make.__name__)
def test_what_is_found(
    each: Case, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient = Patient(world, tmp_path)
    each.make(patient)
    free = getattr(patient, "free", None)
    if free is not None:
        usage = shutil.disk_usage(tmp_path)._replace(free=free)
        monkeypatch.setattr(doctor_machine.shutil, "disk_usage", lambda _folder: usage)

    found = [finding for finding in patient.look() if finding.topic is each.topic]

    assert [finding.state for finding in found] == [each.state], found
    [finding] = found
    assert finding.exit_code == each.code
    told = f"{finding.detail} {finding.advice}"
    assert [word for word in each.words if word not in told] == [], told


def test_every_check_has_a_case_that_is_well_and_one_that_is_ill() -> None:
    well = {each.topic for each in CASES if each.state is OK}
    ill = {each.topic for each in CASES if each.state is not OK}

    assert well == set(Topic)
    # An interrupted run, whose finding is urgent, has tests of its own next door.
    assert ill == set(Topic)


def test_what_fails_has_an_exit_code_and_what_is_wrong_has_advice() -> None:
    assert all((each.code != 0) == (each.state is FAIL) for each in CASES)


def test_the_document_has_a_row_for_each_check() -> None:
    text = (Path(__file__).parents[3] / "docs" / "doctor.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| `([a-z ]+)` \| (.+) \|$", text, re.MULTILINE))

    assert list(rows) == [topic.value for topic in sorted(Topic, key=list(rows).index)]
    for topic in Topic:
        warns, fails_, _advice = re.split(r" ?\| ?", rows[topic.value])
        states = {each.state for each in CASES if each.topic is topic}
        assert bool(warns.strip()) == (WARN in states), topic
        assert bool(fails_.strip()) == (FAIL in states), topic
        codes = {
            int(code)
            for told in re.findall(r"\(([*\d, ]+)\)", fails_)
            for code in re.findall(r"\d+", told)
        }
        assert {each.code for each in CASES if each.topic is topic} - {0} <= codes, topic


# -- nothing is changed, nothing hangs ------------------------------------------------------------


def test_nothing_is_changed(world: World, tmp_path: Path) -> None:
    patient = Patient(world, tmp_path)
    backed_up(patient, 3)
    patient.snapshots(BACKUP, 2)
    patient.anybody.did = SERVICE

    def files() -> dict[str, bytes | None]:
        return {
            str(path): path.read_bytes() if path.is_file() else None
            for path in sorted(tmp_path.rglob("*"))
        }

    before, calls = files(), len(world.subnet.calls)
    patient.look()

    assert files() == before
    made = {method for method, _ in world.subnet.calls[calls:]}
    assert made == {"canister_status", "list_canister_snapshots"}


def test_an_update_is_never_called(world: World, tmp_path: Path) -> None:
    patient = Patient(world, tmp_path)
    patient.anybody.did = SERVICE.replace("(blob) query", "(blob)")
    patient.look()

    assert "export" in patient.anybody.asked
    assert not {"backup", "export_rows", "db_download", "greet"} & set(patient.anybody.asked)


def test_what_hangs_is_left_behind() -> None:
    release = threading.Event()
    began = time.monotonic()
    with pytest.raises(NetworkError, match=r"the network does not answer within 0\.05 s"):
        doctor_findings.within(release.wait, "the network", seconds=0.05)
    assert time.monotonic() - began < 10
    release.set()


def test_a_run_under_way_leaves_nothing_behind(world: World, tmp_path: Path) -> None:
    patient = Patient(world, tmp_path)
    left = replace(LEFT, canister=patient.target.ref, network_id=patient.target.network_id)
    UnfinishedBackups(world.state).write(left)
    with canister_lock(world.run, patient.target, purpose="create"):
        [found] = [each for each in patient.look() if each.topic is Topic.UNFINISHED]
    assert found.state is OK


def test_an_upload_under_way_is_not_left(world: World, tmp_path: Path) -> None:
    patient = Patient(world, tmp_path)
    uploads_left(patient)
    [file] = (world.state / "uploads").iterdir()
    with file.open() as opened:
        fcntl.flock(opened, fcntl.LOCK_EX)
        [found] = [each for each in patient.look() if each.topic is Topic.UPLOADS]
    assert found.state is OK


def test_a_canister_that_hangs_is_asked_once(world: World, tmp_path: Path) -> None:
    patient = Patient(world, tmp_path)
    world.subnet.fail("canister_status", How.RAISE_BEFORE, error=NetworkError("no answer"))
    found = {each.topic: each for each in patient.look()}

    assert found[Topic.CONTROLLER].state is FAIL
    assert Topic.SLOTS not in found
    assert found[Topic.KIT].state is OK
