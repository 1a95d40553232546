"""Two identities share the work: a controller takes, a viewer of the snapshots brings them home.

What docs/threat-model.md and docs/guides/least-privilege.md promise, on the development replica.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from dfx_backup.errors import RejectError
from dfx_backup.ic.canister_settings import Audience, CanisterSettings, Visibility
from dfx_backup.ic.management import ManagementCanister
from dfx_backup.ic.retry import NO_RETRY
from dfx_backup.ic.session import Session
from dfx_backup.model import CanisterId
from tests.contract.replica_bench import identity
from tests.fakes.backup_project import PAGE, BackupProject, scattered

TAKER, VIEWER = "alice", "bob"


DELEGATION = True


@pytest.fixture
def project(project: BackupProject) -> BackupProject:
    project.fill("note", scattered(7, 40), pages=60)
    return project


def calls_of(project: BackupProject, who: str) -> Iterator[ManagementCanister]:
    server = project.server
    session = Session(server.url, identity(who), root_key=server.root_key)
    yield ManagementCanister(session, retry=NO_RETRY)
    session.close()


@pytest.fixture
def controller(project: BackupProject) -> Iterator[ManagementCanister]:
    """Calls as the taker."""
    yield from calls_of(project, TAKER)


@pytest.fixture
def viewer(project: BackupProject) -> Iterator[ManagementCanister]:
    """Calls as the viewer."""
    yield from calls_of(project, VIEWER)


def let_see(controller: ManagementCanister, project: BackupProject, *who: str) -> None:
    """Who may see the snapshots, set by a certified call of a controller."""
    seen = Visibility(
        audience=Audience.ALLOWED_VIEWERS,
        viewers=tuple(identity(each).principal.to_text() for each in who),
    )
    canister = CanisterId(project.id())
    controller.update_settings(canister, CanisterSettings(snapshot_visibility=seen))
    assert controller.full_status(canister).settings.snapshot_visibility == seen


def footprint(project: BackupProject) -> tuple[Any, ...]:
    """What nobody but a controller may change."""
    state = project.state()
    return (
        str(state.status),
        state.version,
        tuple(state.snapshots),
        tuple(state.controllers),
        project.stable(),
    )


def test_the_taker_takes_and_the_viewer_brings_home(
    project: BackupProject, controller: ManagementCanister
) -> None:
    let_see(controller, project, VIEWER)
    taken = project.envelope("snapshot", "create", "note", identity=TAKER)["data"]
    assert taken["consistency"] == "consistent"
    snapshot, before = taken["snapshot_id"], footprint(project)

    listed = project.envelope("snapshot", "list", "note", identity=VIEWER)["data"]
    assert [each["snapshot_id"] for each in listed["snapshots"]] == [snapshot]
    download = ("snapshot", "download", "note", snapshot)
    project.envelope(*download, "--dir", "seen", identity=VIEWER)
    (backup,) = project.create("note", "--snapshot", snapshot, identity=VIEWER)["backups"]

    assert footprint(project) == before
    assert backup["consistency"] == "unverified"  # the viewer can't prove that it was stopped
    assert backup["level"] == 1
    project.envelope(*download, "--dir", "own", identity=TAKER)
    for name in ("wasm_module.bin", "wasm_memory.bin", "stable_memory.bin", "metadata.json"):
        assert (project.folder / "seen" / name).read_bytes() == (
            project.folder / "own" / name
        ).read_bytes()
    assert project.files(backup["restic_id"])["stable_memory.bin"] == project.stable()
    assert project.records()[0]["backup"]["settings"] is None


def test_what_the_viewer_brought_home_can_be_restored(
    project: BackupProject, controller: ManagementCanister
) -> None:
    let_see(controller, project, VIEWER)
    taken = project.envelope("snapshot", "create", "note", identity=TAKER)["data"]
    project.create("note", "--snapshot", taken["snapshot_id"], identity=VIEWER)
    project.envelope("verify", "--read-data", identity=VIEWER)
    before = project.stable()
    project.fill("note", b"lost", pages=60)

    restore = ("restore", "note@latest", "--read-back", "all", "--yes")
    project.envelope(*restore, identity=VIEWER, code=50)
    assert project.stable() != before
    project.envelope(*restore, identity=TAKER)
    assert project.stable() == before


def refused(project: BackupProject, *argv: str) -> str:
    """The viewer is refused with 50, and nothing is changed: what the answer says."""
    before = footprint(project)
    told = project.envelope(*argv, identity=VIEWER, code=50)
    assert footprint(project) == before, argv
    assert project.state_files("journal") == [], argv
    assert str(project.state().status) == "running"
    return " ".join(f"{each['message']} {each['hint'] or ''}" for each in told["errors"])


def test_the_viewer_is_refused_all_that_changes(
    project: BackupProject, controller: ManagementCanister
) -> None:
    let_see(controller, project, VIEWER)
    snapshot = project.envelope("snapshot", "create", "note", identity=TAKER)["data"]["snapshot_id"]
    project.envelope("snapshot", "download", "note", snapshot, "--dir", "copy", identity=VIEWER)

    for argv in (
        ("snapshot", "create", "note"),
        ("snapshot", "create", "note", "--live"),
        ("snapshot", "load", "note", snapshot, "--yes"),
        ("snapshot", "delete", "note", snapshot, "--yes"),
        ("snapshot", "upload", "note", "--dir", "copy"),
        ("create", "note"),
        ("create", "note", "--live"),
    ):
        assert "controller" in refused(project, *argv).lower(), argv


def test_the_network_itself_refuses_the_viewer(
    project: BackupProject, controller: ManagementCanister, viewer: ManagementCanister
) -> None:
    """Not only this program's checks: the bare calls, as a thief of the key would make them."""
    let_see(controller, project, VIEWER)
    canister = CanisterId(project.id())
    snapshot = controller.take_snapshot(canister, replace=None).snapshot_id
    metadata = viewer.read_snapshot_metadata(canister, snapshot)
    before = footprint(project)

    for call in (
        lambda: viewer.take_snapshot(canister, replace=None),
        lambda: viewer.load_snapshot(canister, snapshot),
        lambda: viewer.delete_snapshot(canister, snapshot),
        lambda: viewer.upload_snapshot_metadata(canister, metadata),
        lambda: viewer.stop(canister, timeout_s=5),
        lambda: viewer.start(canister),
        lambda: viewer.install_code(canister, b"\0asm\x01\0\0\0"),
        lambda: viewer.update_settings(canister, CanisterSettings(freezing_threshold=1)),
        lambda: viewer.full_status(canister),
    ):
        with pytest.raises(RejectError):
            call()
    assert footprint(project) == before


@pytest.mark.parametrize("when", ["before", "after"])
def test_without_the_setting_the_viewer_sees_nothing(
    project: BackupProject, controller: ManagementCanister, when: str
) -> None:
    if when == "after":
        let_see(controller, project, VIEWER)
        let_see(controller, project)
    snapshot = project.plant(stable_size=PAGE)

    for argv in (
        ("snapshot", "list", "note"),
        ("snapshot", "download", "note", snapshot, "--dir", "copy"),
        ("create", "note", "--snapshot", snapshot),
    ):
        told = refused(project, *argv)
        assert "snapshot_visibility" in told or "controller" in told.lower(), argv
    assert not (project.folder / "copy").exists()
