"""The real icp runs the suite of all drivers, and moves snapshots to folders and back."""

import json
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from dfx_backup.drivers.icp import IcpDriver, IcpPlace
from dfx_backup.drivers.process import Patience
from dfx_backup.errors import (
    CertificateError,
    NetworkError,
    ProjectError,
    RejectError,
    ToolError,
    UnknownOutcomeError,
    UnreadableIdentityError,
    WrongKeyError,
)
from dfx_backup.model import RunState
from dfx_backup.replica.faults import RejectFault
from dfx_backup.replica.server import ReplicaServer
from tests.contract.driver_suite import DriverSuite
from tests.contract.icp_home import PASSWORD, IcpHome
from tests.contract.replica_bench import ReplicaBench, identity

pytestmark = pytest.mark.judge
TIMEOUT_S = 60.0


def dead_url() -> str:
    """Where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> IcpHome:
    return IcpHome(tmp_path_factory.mktemp("icp"))


Drive = Callable[..., IcpDriver]


@pytest.fixture
def drive(server: ReplicaServer, home: IcpHome) -> Drive:
    """Makes drivers; keyword arguments replace parts of the usual one."""

    def make(
        name: str | None = "alice",
        *,
        url: str = server.url,
        root_key: bytes = server.root_key,
        password: Callable[[], str] | None = None,
        password_file: Path | None = None,
        env: dict[str, str] | None = None,
    ) -> IcpDriver:
        tool = home.tool()
        if env:
            tool = type(tool)(
                binary=tool.binary, version=tool.version, environment=tool.environment | env
            )
        return IcpDriver(
            tool=tool,
            place=IcpPlace(url=url, root_key=root_key, identity=name, password_file=password_file),
            clock=time.time,
            password=password,
            patience=Patience(grace_s=0.5, interrupt_s=5),
        )

    return make


@pytest.fixture
def bench(server: ReplicaServer, drive: Drive) -> Iterator[ReplicaBench]:
    made = ReplicaBench(
        server, driver=drive(), stranger=drive("mallory"), down=drive(url=dead_url())
    )
    yield made
    made.close()


class TestIcpDriver(DriverSuite):
    """On a subnet that is the whole network."""

    @pytest.fixture
    def server(self) -> Iterator[ReplicaServer]:
        with ReplicaServer.start() as started:
            yield started


class TestIcpDriverDelegated(DriverSuite):
    """On a subnet that the root subnet vouches for, as all of mainnet's are."""

    @pytest.fixture
    def server(self) -> Iterator[ReplicaServer]:
        with ReplicaServer.start(delegation=True) as started:
            yield started


@pytest.fixture
def server() -> Iterator[ReplicaServer]:
    with ReplicaServer.start() as started:
        yield started


def test_its_sizes_and_numbers_are_exact(bench: ReplicaBench) -> None:
    bench.driver.stop(bench.canister, timeout_s=30)
    made = bench.driver.take_snapshot(bench.canister)
    assert bench.driver.list_snapshots(bench.canister) == (made,)
    assert (made,) == bench.management.list_snapshots(bench.canister)
    told = bench.driver.status(bench.canister)
    true = bench.management.status(bench.canister)
    assert (told.cycles, told.memory_bytes) == (true.cycles, true.memory_bytes)
    assert told.controllers == true.controllers
    assert told.module_hash == true.module_hash
    assert told.idle_cycles_per_day == true.idle_cycles_per_day
    assert told.reserved_cycles == true.reserved_cycles


def test_it_names_itself_and_the_identity(bench: ReplicaBench) -> None:
    assert bench.driver.describe() == "icp 1.5.0"
    assert isinstance(bench.driver, IcpDriver)
    assert bench.driver.principal() == identity("alice").principal.to_text()


# -- answers that can't be used -------------------------------------------------------------------


def test_another_root_key_proves_nothing(bench: ReplicaBench, drive: Drive) -> None:
    with ReplicaServer.start() as other:
        wrong = drive(root_key=other.root_key)
    with pytest.raises(CertificateError):
        wrong.status(bench.canister)
    with pytest.raises(CertificateError):
        wrong.list_snapshots(bench.canister)
    with pytest.raises(UnknownOutcomeError, match="Certificate verification failed"):
        wrong.stop(bench.canister, timeout_s=30)
    assert bench.state() is RunState.STOPPED  # it was sent, and that is why


def test_a_stale_answer_is_refused(bench: ReplicaBench) -> None:
    bench.server.faults.set(stale_time_s=600.0)
    with pytest.raises(CertificateError, match="stale"):
        bench.driver.list_snapshots(bench.canister)


@pytest.mark.parametrize(
    "fault",
    [
        {"http_error_next": 1, "http_error_status": 503},
        {"http_error_next": 1, "http_error_status": 400},
        {"drop_before_next": 3},
        {"truncate_next": 1},
    ],
    ids=["503", "400", "dropped", "cut off"],
)
def test_what_is_no_answer_leaves_the_outcome_open(
    bench: ReplicaBench, fault: dict[str, int]
) -> None:
    bench.server.faults.set(**fault)
    with pytest.raises(UnknownOutcomeError) as caught:
        bench.driver.stop(bench.canister, timeout_s=30)
    assert bench.now() < caught.value.expires_at <= bench.now() + 300


def test_a_question_without_an_answer_is_a_plain_error(bench: ReplicaBench) -> None:
    bench.server.faults.set(truncate_next=1)
    with pytest.raises(NetworkError) as caught:
        bench.driver.list_snapshots(bench.canister)
    assert type(caught.value) is NetworkError


def test_a_refusal_before_anything_executed_tells_its_code_too(bench: ReplicaBench) -> None:
    fault = RejectFault(
        reject_code=2, error_code="IC0210", message="two\nlines, all", certified=False
    )
    bench.server.faults.set(reject={"stop_canister": fault})
    with pytest.raises(RejectError) as caught:
        bench.driver.stop(bench.canister, timeout_s=30)
    assert caught.value.error_code == "IC0210"
    assert caught.value.reject_message == "two\nlines, all"
    assert "minutes" in (caught.value.hint or "")


# -- surroundings ---------------------------------------------------------------------------------


def test_the_users_environment_does_not_confuse_it(
    bench: ReplicaBench, drive: Drive, tmp_path: Path
) -> None:
    """Each of these alone makes icp fail, or reach for another network."""
    hostile = {
        "ICP_ENVIRONMENT": "production",
        "ICP_NETWORK": "ic",
        "ICP_PROJECT_ROOT": str(tmp_path / "nowhere"),
        "HTTP_PROXY": dead_url(),
        "http_proxy": dead_url(),
        "NO_PROXY": "example.org",
        "RUST_BACKTRACE": "1",
    }
    driver = drive(env=hostile)
    assert driver.status(bench.canister).state is RunState.RUNNING
    with pytest.raises(RejectError) as caught:
        drive("mallory", env=hostile).start(bench.canister)
    assert "stack backtrace" not in caught.value.message


def test_a_home_that_can_not_be_written_is_one_clear_error(
    bench: ReplicaBench, drive: Drive, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    driver = drive(env={"ICP_HOME": str(tmp_path / "file")})
    with pytest.raises(ToolError, match="Filesystem operation failed"):
        driver.stop(bench.canister, timeout_s=30)


# -- identities -----------------------------------------------------------------------------------


def test_an_unknown_identity(bench: ReplicaBench, drive: Drive) -> None:
    with pytest.raises(ProjectError, match="no identity nobody") as caught:
        drive("nobody").stop(bench.canister, timeout_s=30)
    assert "icp identity list" in (caught.value.hint or "")


@pytest.fixture(scope="module")
def password_file(home: IcpHome) -> Path:
    return home.add_locked("locked", key="alice")


class TestPassword:
    """A locked identity opens with a file, or at a terminal of its own."""

    def test_from_a_file(self, bench: ReplicaBench, drive: Drive, password_file: Path) -> None:
        driver = drive("locked", password_file=password_file)
        assert driver.status(bench.canister).state is RunState.RUNNING

    @pytest.mark.usefixtures("password_file")
    def test_asked_once_for_many_calls(self, bench: ReplicaBench, drive: Drive) -> None:
        asked = []

        def password() -> str:
            asked.append(1)
            return PASSWORD

        driver = drive("locked", password=password)
        assert driver.status(bench.canister).state is RunState.RUNNING
        driver.stop(bench.canister, timeout_s=30)
        assert driver.status(bench.canister).state is RunState.STOPPED
        assert asked == [1]

    @pytest.mark.usefixtures("password_file")
    def test_a_wrong_one_never_shows(
        self, bench: ReplicaBench, drive: Drive, tmp_path: Path
    ) -> None:
        with pytest.raises(WrongKeyError) as caught:
            drive("locked", password=lambda: "battery staple").stop(bench.canister, timeout_s=30)
        assert "battery" not in str(caught.value)
        (tmp_path / "pw").write_text("battery staple")
        with pytest.raises(WrongKeyError):
            drive("locked", password_file=tmp_path / "pw").stop(bench.canister, timeout_s=30)
        assert bench.state() is RunState.RUNNING

    @pytest.mark.usefixtures("password_file")
    def test_without_one_it_says_what_to_do(self, bench: ReplicaBench, drive: Drive) -> None:
        with pytest.raises(ProjectError) as caught:
            drive("locked").status(bench.canister)
        assert "--identity-password-file" in (caught.value.hint or "")


def test_a_keyring_that_is_not_there(
    bench: ReplicaBench, drive: Drive, home: IcpHome, tmp_path: Path
) -> None:
    home.run(
        *("identity", "new", "ring", "--storage", "keyring"),
        extra={"ICP_CLI_KEYRING_MOCK_DIR": str(tmp_path)},
    )
    with pytest.raises(UnreadableIdentityError, match="keyring"):
        drive("ring").stop(bench.canister, timeout_s=30)
    mocked = drive("ring", env={"ICP_CLI_KEYRING_MOCK_DIR": str(tmp_path)})
    with pytest.raises(RejectError):  # it signs, and is no controller
        mocked.stop(bench.canister, timeout_s=30)


# -- folders --------------------------------------------------------------------------------------


def test_a_snapshot_goes_to_a_folder_and_back(
    bench: ReplicaBench, drive: Drive, tmp_path: Path
) -> None:
    driver = drive()
    bench.driver.stop(bench.canister, timeout_s=30)
    first = driver.take_snapshot(bench.canister).snapshot_id
    folder = tmp_path / "folder"
    folder.mkdir()
    driver.download_folder(bench.canister, first, folder, timeout_s=TIMEOUT_S)
    metadata = json.loads((folder / "metadata.json").read_text())
    assert (folder / "wasm_memory.bin").stat().st_size == metadata["wasm_memory_size"]

    bench.write(b"second")
    scratch = tmp_path / "scratch"
    shutil.copytree(folder, scratch)
    sent = []
    uploaded = driver.upload_folder(
        bench.canister, scratch, timeout_s=TIMEOUT_S, before_send=sent.append
    )
    assert len(sent) == 1
    assert bench.snapshots() == [first, uploaded]
    driver.load_snapshot(bench.canister, uploaded)
    assert bench.read() == b"first"


def test_transfers_that_fail(bench: ReplicaBench, drive: Drive, tmp_path: Path) -> None:
    driver = drive()
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(ToolError, match="Missing required file"):
        driver.upload_folder(bench.canister, empty, timeout_s=TIMEOUT_S)
    with pytest.raises(RejectError) as caught:
        driver.download_folder(
            bench.canister, "00000000000000ff000000000000a0010101", empty, timeout_s=TIMEOUT_S
        )
    assert caught.value.error_code == "IC0305"
    assert bench.snapshots() == []
