"""A canister, a driver over a subnet in memory, and a run's surroundings, for the operations."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from dfx_backup.drivers.base import BeforeSend, ignore_sent
from dfx_backup.model import CanisterId, CanisterRef, Network, NetworkId, RunState
from dfx_backup.operations.target import Runtime, Target
from tests.fakes.memory_driver import RICH, MemoryDriver
from tests.fakes.memory_management import (
    ALICE,
    MemoryCanister,
    MemoryClock,
    MemoryManagement,
    MemorySubnet,
    T,
)

NETWORK = Network(name="local", url="http://127.0.0.1:4943", root_key=None)
NETWORK_ID = NetworkId("ab" * 32)


class KilledError(BaseException):
    """Stands for kill -9: the process does nothing any more, whatever its handlers try."""


class WorldClock:
    def __init__(self, clock: MemoryClock) -> None:
        self._clock = clock

    def now(self) -> float:
        return self._clock.now

    def monotonic(self) -> float:
        return self._clock.now - 1_700_000_000.0

    def sleep(self, seconds: float) -> None:
        self._clock.sleep(seconds)


class Notes:
    """A progress that remembers."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self.warnings: list[str] = []

    def step(self, text: str) -> None:
        self.steps.append(text)

    def warn(self, text: str) -> None:
        self.warnings.append(text)


class MortalManagement(MemoryManagement):
    """After a `KilledError` nothing that the dead process still calls arrives."""

    dead = False
    on_death: Callable[[], None] = staticmethod(lambda: None)

    def _call(
        self,
        method: str,
        canister: CanisterId,
        execute: Callable[[MemoryCanister], T],
        *,
        before_send: BeforeSend = ignore_sent,
        expiry_s: float | None = None,
    ) -> T:
        if self.dead:
            raise KilledError
        try:
            return super()._call(
                method, canister, execute, before_send=before_send, expiry_s=expiry_s
            )
        except KilledError:
            self.die()
            raise

    def die(self) -> None:
        if not self.dead:
            self.dead = True
            self.on_death()


class World:
    """One canister named chat, running, with what an operation needs to work on it."""

    def __init__(self, folder: Path, *, poor: Any = None, reader: bool = True) -> None:
        self.subnet = MemorySubnet()
        self.canister = self.subnet.create(content=b"Hi there!")
        self.state = folder / "state"
        self._frozen_state = folder / "state at death"
        self.notes = Notes()
        self.capabilities = poor or RICH
        self.reader = reader
        self.reborn()

    def reborn(self) -> None:
        """A new process, after the death of the former one."""
        if self._frozen_state.exists():
            shutil.rmtree(self.state, ignore_errors=True)
            self._frozen_state.rename(self.state)
        self.driver = MemoryDriver(self.subnet, capabilities=self.capabilities)
        signed = self.capabilities.exact_sizes
        self.management = MortalManagement(self.subnet, caller=ALICE, signed=signed)
        self.management.on_death = self._freeze
        self.driver.management = self.management
        self.run = Runtime(
            state=self.state,
            clock=WorldClock(self.subnet.clock),
            progress=self.notes,
            options=("--identity", "alice"),
        )
        self.target = Target(
            ref=CanisterRef(canister_id=self.canister, name="chat"),
            network=NETWORK,
            network_id=NETWORK_ID,
            driver=self.driver,
            reader=self.management if self.reader else None,
            principal=ALICE,
        )

    def _freeze(self) -> None:
        if self.state.exists():
            shutil.copytree(self.state, self._frozen_state)
        else:
            self._frozen_state.mkdir(parents=True)

    @property
    def chat(self) -> MemoryCanister:
        return self.subnet[self.canister]

    @property
    def is_running(self) -> bool:
        return self.chat.state is RunState.RUNNING

    @property
    def ids(self) -> list[str]:
        return [snapshot.snapshot_id for snapshot in self.chat.snapshots]

    @property
    def journal_files(self) -> list[Path]:
        return sorted((self.state / "journal").glob("[!.]*.json"))

    def called(self, method: str) -> int:
        return sum(name == method for name, _ in self.subnet.calls)

    def taken(self, count: int) -> list[str]:
        """Snapshots that were there before we came."""
        for _ in range(count):
            self.management._take(self.chat, None)
        return self.ids

    def later(self, seconds: float = 600.0) -> None:
        """Time passes, and what was on its way arrives."""
        self.subnet.clock.now += seconds
        self.subnet.deliver_late()
