"""A place to run whole command lines in: streams in memory, a fixed clock, a subnet in memory.

stage = Stage(tmp_path)
chat = stage.add("chat")
assert stage.run("snapshot", "create", "chat", "--json") == 0
assert stage.envelope["data"]["consistency"] == "consistent"
"""

import io
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dfx_backup.cli.app import main
from dfx_backup.cli.context import Surroundings
from dfx_backup.cli.session import Run
from dfx_backup.errors import BackupError, ProjectError
from dfx_backup.model import CanisterId, CanisterRef, Network, NetworkId
from dfx_backup.operations.direct import Direct
from dfx_backup.operations.doctor import Checks
from dfx_backup.operations.doctor_machine import Clocks
from dfx_backup.operations.pending import Pending
from dfx_backup.operations.target import Target
from tests.fakes.healthy import healthy
from tests.fakes.memory_driver import RICH, MemoryDriver
from tests.fakes.memory_management import ALICE, MemoryClock, MemorySubnet
from tests.fakes.memory_transfer import MemoryTransfer

if TYPE_CHECKING:
    from dfx_backup.drivers.base import Capabilities
    from tests.fakes.memory_endpoints import MemoryEndpoints

NETWORK = Network(name="local", url="http://127.0.0.1:4943", root_key=b"root key")
NETWORK_ID = NetworkId("6c" * 32)


class Terminal(io.StringIO):
    """A stream that says to be a terminal, or not to be one."""

    def __init__(self, typed: str = "", *, real: bool = False) -> None:
        super().__init__(typed)
        self._real = real

    def isatty(self) -> bool:
        return self._real


class StageClock:
    """The subnet's clock, as operations see it."""

    def __init__(self, clock: MemoryClock) -> None:
        self._clock = clock

    def now(self) -> float:
        return self._clock.now

    def monotonic(self) -> float:
        return self._clock.now

    def sleep(self, seconds: float) -> None:
        self._clock.sleep(seconds)


class Stage:
    """Runs command lines; is its own connector.

    Attributes:
        subnet: the canisters.
        capabilities: what the driver can do.
        endpoints: the canister's own methods, when it has some.
        fails: raised instead of reaching a canister, when set.
        random: the source of ids and keys.
        asked: each request for a canister, as (name, changes, restores).
        stdout: what the last run printed.
        stderr: what the last run told.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.subnet = MemorySubnet()
        self.capabilities: Capabilities = RICH
        self.endpoints: MemoryEndpoints | None = None
        self.fails: BaseException | None = None
        self.asked: list[tuple[str, bool, bool]] = []
        self.names: dict[str, CanisterId] = {}
        self.random: Callable[[int], bytes] = os.urandom
        self.stdout = self.stderr = ""

    @property
    def state(self) -> Path:
        """Where journals are kept."""
        return self.folder / "home" / ".local" / "state" / "dfx-backup"

    def add(self, name: str, *, content: bytes = b"Hi there!", empty: bool = False) -> CanisterId:
        """Create a canister that the project knows by name."""
        self.names[name] = self.subnet.create(content=content, empty=empty)
        return self.names[name]

    def surroundings(
        self, *, typed: str | None = None, env: Mapping[str, str] | None = None, **more: Any
    ) -> Surroundings:
        """What the next run finds around it; `typed` is what the user answers on a terminal."""
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        values: dict[str, Any] = {
            "environment": {"HOME": str(home), **(env or {})},
            "cwd": self.folder,
            "home": home,
            "platform": "linux",
            "stdin": Terminal(typed or "", real=typed is not None),
            "stdout": Terminal(),
            "stderr": Terminal(real=typed is not None),
            "clock": StageClock(self.subnet.clock),
            "process_id": 4711,
            "hostname": "stage",
            "username": "tester",
            "user_id": 1000,
            "group_id": 1000,
            "random": self.random,
        }
        return Surroundings(**(values | more))

    def run(
        self,
        *argv: str,
        typed: str | None = None,
        env: Mapping[str, str] | None = None,
        **more: Any,
    ) -> int:
        """Run one command line and keep what it printed."""
        around = self.surroundings(typed=typed, env=env, **more)
        code = main(list(argv), surroundings=around, connector=self)
        for stream in (around.stdout, around.stderr):
            assert isinstance(stream, Terminal)
        self.stdout, self.stderr = around.stdout.getvalue(), around.stderr.getvalue()  # type: ignore[attr-defined] # both are terminals
        return code

    @property
    def envelope(self) -> Any:
        """The one JSON document that the last run printed."""
        return json.loads(self.stdout)

    # -- Connector --------------------------------------------------------------------------------

    def canister(self, run: Run, name: str, *, changes: bool, restores: bool = False) -> Target:
        del run
        self.asked.append((name, changes, restores))
        if self.fails is not None:
            raise self.fails
        if name in self.names:
            return self._target(CanisterRef(canister_id=self.names[name], name=name))
        if name in self.subnet.canisters:
            return self._target(CanisterRef(canister_id=CanisterId(name)))
        raise ProjectError(f"canister `{name}` has no id on network `local`")

    def canisters(self, run: Run, names: Sequence[str], *, changes: bool) -> tuple[Target, ...]:
        return tuple(self.canister(run, name, changes=changes) for name in names)

    def project_canisters(self, run: Run) -> tuple[Target, ...]:
        return tuple(self.canister(run, name, changes=True) for name in self.names)

    def journaled(self, run: Run, entry: Pending) -> Target:
        del run
        if self.fails is not None:
            raise self.fails
        assert entry.canister is not None
        return self._target(entry.canister)

    def checks(self, run: Run, canister: str | None) -> Checks:
        def network() -> str:
            if isinstance(self.fails, BackupError):
                raise self.fails
            return f"{NETWORK.url} answers"

        def targets() -> tuple[Target, ...]:
            if canister is None:
                return self.project_canisters(run)
            return (self.canister(run, canister, changes=False),)

        return healthy(
            driver=lambda: "agent (in memory)",
            network=network,
            identity=lambda: f"anonymous, {ALICE}",
            targets=targets,
            journaled=lambda entry: self.journaled(run, entry),
            clocks=Clocks(
                now=run.surroundings.clock.now,
                server=run.surroundings.clock.now,
                certified=lambda _canister, _behind: run.surroundings.clock.now(),
            ),
        )

    def _target(self, ref: CanisterRef) -> Target:
        management = MemoryTransfer(self.subnet)
        return Target(
            ref=ref,
            network=NETWORK,
            network_id=NETWORK_ID,
            driver=MemoryDriver(self.subnet, capabilities=self.capabilities),
            reader=management,
            direct=Direct(calls=management, slices=management, methods=self.endpoints),
            principal=ALICE,
        )
