"""A set-up in which `doctor` finds nothing to say, and the pieces to make it ill.

anybody = Anybody(methods={"stable_read": b"DIDL\\0\\0"})
checks = healthy(targets=lambda: (target,), view=lambda _behind: anybody)
"""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dfx_backup.errors import NetworkError
from dfx_backup.ic.root_keys import MAINNET_ROOT_KEY, network_id
from dfx_backup.model import CanisterId, CanisterStatus, DriverName, NetworkId
from dfx_backup.operations.doctor import Checks
from dfx_backup.operations.doctor_identity import KeyPlace
from dfx_backup.operations.doctor_machine import Clocks
from dfx_backup.operations.doctor_tools import Here
from dfx_backup.operations.target import Target
from tests.fakes.memory_management import ALICE, reject

NOW = 1_800_000_000.0
MAINNET = network_id(MAINNET_ROOT_KEY)
LOCAL = NetworkId("ab" * 32)

HERE = Here(
    version="0.1.0",
    python="3.12.4",
    libc="glibc 2.36",
    platform="linux",
    cache_root=Path("/nowhere/.cache/dfinity"),
    extras=frozenset({"s3", "keyring", "replica"}),
)


@dataclass(slots=True)
class Anybody:
    """A canister as somebody without a key sees it.

    Attributes:
        did: its public interface, or None.
        methods: replies of queries by name, or the error that comes instead.
        asked: names that were asked.
    """

    did: str | None = None
    methods: dict[str, bytes | NetworkError] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def metadata(self, canister: CanisterId, section: str) -> bytes | None:
        del canister
        assert section == "candid:service"
        return None if self.did is None else self.did.encode()

    def query(self, canister: CanisterId, method: str, arg: bytes) -> bytes:
        del canister
        assert arg.startswith(b"DIDL")
        self.asked.append(method)
        found = self.methods.get(method)
        if found is None:
            raise reject(5, "IC0536", f"Canister has no query method '{method}'")
        if isinstance(found, NetworkError):
            raise found
        return found


SOMEBODY = "rdmx6-jaaaa-aaaaa-aaadq-cai"


class NamedDriver:
    """A driver whose canisters are controlled by somebody, not by anybody.

    The subnet in memory knows one caller, the anonymous one.
    """

    def __init__(self, driver: Any) -> None:
        self._driver = driver

    def __getattr__(self, name: str) -> Any:
        return getattr(self._driver, name)

    def status(self, canister: CanisterId) -> CanisterStatus:
        told = self._driver.status(canister)
        names = tuple(SOMEBODY if each == ALICE else each for each in told.controllers)
        return replace(told, controllers=names)


def named(target: Target) -> Target:
    """The same canister, controlled by somebody."""
    return replace(target, driver=NamedDriver(target.driver), principal=SOMEBODY)  # type: ignore[arg-type] # as a driver


def healthy(**changed: Any) -> Checks:
    """Checks of a set-up in order, without canisters and repository, but for what is changed."""
    values: dict[str, Any] = {
        "here": HERE,
        "needs": lambda: (),
        "find_dfx": lambda: None,
        "find_icp": lambda: None,
        "drives": lambda: DriverName.AGENT,
        "driver": lambda: "dfx 0.32.0",
        "network": lambda: "http://127.0.0.1:4943 answers",
        "network_id": lambda: LOCAL,
        "root_key": lambda: "fetched: the network is on this machine",
        "identity": lambda: "alice",
        "key": lambda: KeyPlace(who="identity 'alice' of dfx", plain=False),
        "warnings": "",
        "secrets": lambda: (),
        "clocks": Clocks(
            now=lambda: NOW,
            server=lambda: NOW,
            certified=lambda _canister, _behind: NOW,
        ),
        "view": lambda _behind: Anybody(),
        "repository": None,
        "targets": lambda: (),
        "keep": lambda _ref: 1,
        "journaled": lambda _entry: None,
        "rooms": lambda: (),
    }
    return Checks(**(values | changed))
