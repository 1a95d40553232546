"""Every driver runs the one suite of `driver_suite`."""

import shutil
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from dfx_backup.drivers.agent import AgentDriver
from dfx_backup.drivers.dfx import DfxDriver, DfxTool, probe_dfx
from dfx_backup.drivers.process import Patience
from dfx_backup.ic.management import ManagementCanister
from dfx_backup.ic.session import Session
from dfx_backup.ic.surroundings import Surroundings
from dfx_backup.model import CanisterId
from dfx_backup.replica.server import ReplicaServer
from tests.contract.driver_suite import Bench, DriverSuite
from tests.contract.memory_bench import MemoryBench
from tests.contract.replica_bench import ReplicaBench, identity, pem
from tests.fakes.dfx.install import FakeDfx
from tests.fakes.memory_driver import POOR, RICH
from tests.fakes.memory_management import (
    ALICE,
    STRANGER,
    How,
    MemoryClock,
    MemoryManagement,
    MemorySubnet,
)


@pytest.fixture
def server() -> Iterator[ReplicaServer]:
    with ReplicaServer.start() as started:
        yield started


def dead_url() -> str:
    """Where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}"


class TestRichMemoryDriver(DriverSuite):
    """The fake that operations are tested with keeps the contract too."""

    @pytest.fixture
    def bench(self) -> Bench:
        return MemoryBench(RICH)


class TestPoorMemoryDriver(DriverSuite):
    @pytest.fixture
    def bench(self) -> Bench:
        return MemoryBench(POOR)


class TestAgentDriverInMemory(DriverSuite):
    @pytest.fixture
    def bench(self) -> Bench:
        made = MemoryBench(RICH)
        dead = MemorySubnet()
        dead.fail("canister_status", How.UNSENT)
        dead.fail("stop_canister", How.UNSENT)
        made.driver = AgentDriver(MemoryManagement(made.subnet, caller=ALICE))
        made.stranger = AgentDriver(MemoryManagement(made.subnet, caller=STRANGER))
        made.down = AgentDriver(MemoryManagement(dead))
        return made


class TestAgentDriver(DriverSuite):
    @pytest.fixture
    def bench(self, server: ReplicaServer) -> Iterator[Bench]:
        clock = MemoryClock()  # so that nobody waits for the network that is down
        sessions = [
            Session(server.url, identity("alice"), root_key=server.root_key),
            Session(server.url, identity("mallory"), root_key=server.root_key),
            Session(
                dead_url(),
                identity("alice"),
                root_key=server.root_key,
                surroundings=Surroundings(monotonic=clock.time, sleep=clock.sleep),
            ),
        ]
        alice, mallory, down = (AgentDriver(ManagementCanister(each)) for each in sessions)
        made = ReplicaBench(server, driver=alice, stranger=mallory, down=down)
        yield made
        made.close()
        for each in sessions:
            each.close()


# -- dfx ------------------------------------------------------------------------------------------


def dfx_bench(server: ReplicaServer, tool: DfxTool) -> ReplicaBench:
    def driver(name: str, network: str) -> DfxDriver:
        return DfxDriver(
            tool=tool,
            network=network,
            identity=name,
            clock=time.time,
            patience=Patience(grace_s=0.5, interrupt_s=5),
        )

    return ReplicaBench(
        server,
        driver=driver("alice", server.url),
        stranger=driver("mallory", server.url),
        down=driver("alice", dead_url()),
    )


def stand_in(folder: Path, version: str) -> FakeDfx:
    fake = FakeDfx.install(folder, version=version)
    fake.add_identity("alice", pem("alice"))
    fake.add_identity("mallory", pem("mallory"), select=False)
    return fake


def found(fake: FakeDfx) -> DfxTool:
    tool = probe_dfx(cache_path=str(fake.cache), environment=fake.environment)
    assert tool is not None
    return tool


@pytest.fixture
def fake(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[FakeDfx]:
    installed = stand_in(tmp_path, getattr(request, "param", "0.32.0"))
    yield installed
    installed.check()


class TestDfxDriver(DriverSuite):
    """dfx 0.32.0; what differs from version to version is below."""

    @pytest.fixture
    def bench(self, server: ReplicaServer, fake: FakeDfx) -> Iterator[Bench]:
        made = dfx_bench(server, found(fake))
        yield made
        made.close()


@pytest.mark.slow
class TestDfxDriver0301(DriverSuite):
    @pytest.fixture
    def bench(self, server: ReplicaServer, tmp_path: Path) -> Iterator[Bench]:
        yield from _checked(server, stand_in(tmp_path, "0.30.1"))


@pytest.mark.slow
class TestDfxDriver0250(DriverSuite):
    @pytest.fixture
    def bench(self, server: ReplicaServer, tmp_path: Path) -> Iterator[Bench]:
        yield from _checked(server, stand_in(tmp_path, "0.25.0"))


def _checked(server: ReplicaServer, fake: FakeDfx) -> Iterator[Bench]:
    made = dfx_bench(server, found(fake))
    yield made
    made.close()
    fake.check()


@pytest.mark.parametrize("fake", ["0.25.0", "0.30.1"], indirect=True)
def test_older_versions_print_results_elsewhere(server: ReplicaServer, fake: FakeDfx) -> None:
    bench = dfx_bench(server, found(fake))
    assert bench.driver.describe() == f"dfx {fake.version}"
    bench.driver.stop(bench.canister, timeout_s=30)
    made = bench.driver.take_snapshot(bench.canister)
    assert bench.snapshots() == [made.snapshot_id]
    assert [each.snapshot_id for each in bench.driver.list_snapshots(bench.canister)] == [
        made.snapshot_id
    ]
    bench.close()


@pytest.mark.real_dfx
class TestRealDfx(DriverSuite):
    """The same with a dfx that nobody here wrote, when there is one."""

    @pytest.fixture
    def bench(self, server: ReplicaServer, tmp_path: Path) -> Iterator[Bench]:
        binary = shutil.which("dfx")
        if binary is None:
            pytest.skip("no dfx on PATH")
        home = stand_in(tmp_path, "0.32.0")  # for its identities only
        environment = home.environment | {"PATH": str(Path(binary).parent) + ":/usr/bin:/bin"}
        tool = probe_dfx(cache_path=None, environment=environment)
        assert tool is not None
        made = dfx_bench(server, tool)
        yield made
        made.close()


def test_the_suite_meets_a_canister_by_its_principal_only(
    server: ReplicaServer, fake: FakeDfx
) -> None:
    """A name would mean nothing on an ad-hoc network: dfx itself would refuse it."""
    bench = dfx_bench(server, found(fake))
    told = fake.run("canister", "status", "chat", "--network", server.url)
    assert told.returncode == 255
    assert "Cannot find canister id" in told.stderr
    assert bench.driver.status(CanisterId(bench.canister)).controllers
    bench.close()
