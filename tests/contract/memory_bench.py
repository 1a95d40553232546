"""A bench in memory: proves that the suite itself holds, and that the fakes keep to it."""

from dfx_backup.drivers.base import Capabilities
from dfx_backup.model import CanisterId, RunState, SnapshotId
from tests.contract.driver_suite import Bench
from tests.fakes.memory_driver import MemoryDriver
from tests.fakes.memory_management import (
    ALICE,
    STRANGER,
    How,
    MemoryManagement,
    MemorySubnet,
    reject,
)


class MemoryBench(Bench):
    """Over `MemorySubnet`; a derived class may put another driver in front of it."""

    def __init__(self, capabilities: Capabilities) -> None:
        self.subnet = MemorySubnet()
        self.canister = self.subnet.create(content=b"first")
        self.driver = MemoryDriver(self.subnet, capabilities=capabilities)
        self.stranger = MemoryDriver(self.subnet, caller=STRANGER, capabilities=capabilities)
        dead = MemorySubnet()
        dead.fail("canister_status", How.UNSENT)
        dead.fail("stop_canister", How.UNSENT)
        self.down = MemoryDriver(dead, capabilities=capabilities)

    def now(self) -> float:
        return self.subnet.clock.now

    def write(self, content: bytes) -> None:
        self.subnet[self.canister].content = content

    def read(self) -> bytes:
        return self.subnet[self.canister].content

    def state(self) -> RunState:
        return self.subnet[self.canister].state

    def snapshots(self) -> list[SnapshotId]:
        return [each.snapshot_id for each in self.subnet[self.canister].snapshots]

    def fill(self, count: int) -> None:
        management = MemoryManagement(self.subnet, caller=ALICE)
        for _ in range(count):
            management.take_snapshot(self.canister)

    def empty_canister(self) -> CanisterId:
        made = self.subnet.create(empty=True)
        self.subnet[made].state = RunState.STOPPED
        return made

    def absent_canister(self) -> CanisterId:
        return CanisterId("rdmx6-jaaaa-aaaaa-aaadq-cai")

    def slow_stop(self) -> None:
        self.subnet[self.canister].stuck = True

    def lose_answer(self, method: str) -> None:
        self.subnet.fail(method, How.LOST)

    def refuse(self, method: str, *, reject_code: int, error_code: str) -> None:
        self.subnet.fail(method, How.REJECT, error=reject(reject_code, error_code, "no"))
