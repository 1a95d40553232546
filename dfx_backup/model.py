"""The words that all layers share: frozen values, no input or output.

Names are those of the Internet Computer's interface specification.
"""

import enum
from dataclasses import dataclass, field
from typing import NewType

CanisterId = NewType("CanisterId", str)
"""A canister's principal in its canonical text form."""

SnapshotId = NewType("SnapshotId", str)
"""A canister snapshot's id in lower-case hexadecimal, as dfx and icp print it."""

NetworkId = NewType("NetworkId", str)
"""A network's identity: SHA-256 of its root key in DER, in lower-case hexadecimal."""

MAX_SNAPSHOTS = 10
"""Snapshots that one canister may have (interface specification, resource limits)."""


class RunState(enum.StrEnum):
    """A canister's status as the management canister reports it."""

    RUNNING = "running"
    STOPPING = "stopping"
    STOPPED = "stopped"


class DriverName(enum.StrEnum):
    """The ways to control a canister."""

    DFX = "dfx"
    ICP = "icp"
    AGENT = "agent"


class Consistency(enum.StrEnum):
    """What a snapshot can promise about the moment at which it was taken."""

    CONSISTENT = "consistent"
    """The canister was stopped, and its version did not move from stop to start."""
    LIVE = "live"
    """Taken while running: consistent at a message boundary, without outstanding calls."""
    NOT_CONSISTENT = "not consistent"
    """Somebody had the canister running, or changed it, between our stop and our start."""
    UNVERIFIED = "unverified"
    """The canister was stopped, but its version could not be read to prove it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A network that canisters live on.

    Attributes:
        name: how the user calls it: `ic`, `local`, a name in a project file, or a URL.
        url: where its replica or boundary nodes answer, without a trailing slash.
        root_key: DER of the root key that is trusted, or None when it is fetched (loopback only).
    """

    name: str
    url: str
    root_key: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CanisterRef:
    """A canister as the user named it.

    Attributes:
        canister_id: its principal.
        name: its name in the project, or None when the user gave a principal.
    """

    canister_id: CanisterId
    name: str | None = None

    def __str__(self) -> str:
        return self.name or self.canister_id


@dataclass(frozen=True, slots=True, kw_only=True)
class CanisterSnapshot:
    """A snapshot of a canister that the subnet keeps.

    Attributes:
        snapshot_id: its id.
        taken_at_ns: nanoseconds since the epoch, or None when a tool does not tell.
        size_bytes: bytes that it is charged for, or None when a tool tells a rounded size only.
    """

    snapshot_id: SnapshotId
    taken_at_ns: int | None = None
    size_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CanisterStatus:
    """What `canister_status` tells, as far as a backup needs it.

    Sizes are bytes, cycles are cycles. None means that the tool which was asked does not tell.

    Attributes:
        state: running, stopping or stopped.
        version: `canister_version`, raised by every change.
        module_hash: SHA-256 of the installed module, or None for an empty canister.
        controllers: principals in text form.
        memory_bytes: memory that the canister is charged for, snapshots included.
        snapshots_bytes: the part of it that snapshots take.
        heap_bytes: the part of it that is the Wasm memory.
        stable_bytes: the part of it that is the stable memory.
        module_bytes: the part of it that is the module.
        cycles: the balance.
        reserved_cycles: cycles set aside for storage.
        idle_cycles_per_day: what the canister burns when nothing happens.
        freezing_threshold_s: seconds for which the balance must last.
    """

    state: RunState
    version: int | None = None
    module_hash: str | None = None
    controllers: tuple[str, ...] = field(default=())
    memory_bytes: int | None = None
    snapshots_bytes: int | None = None
    heap_bytes: int | None = None
    stable_bytes: int | None = None
    module_bytes: int | None = None
    cycles: int | None = None
    reserved_cycles: int | None = None
    idle_cycles_per_day: int | None = None
    freezing_threshold_s: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SentCall:
    """What must be known about a call before it leaves, so that a lost answer can be settled.

    Attributes:
        request_id: hexadecimal request id, or None when another program signs the call.
        expires_at: seconds since the epoch after which the call can't execute any more.
    """

    request_id: str | None
    expires_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Directories of the user, read from the environment once.

    Attributes:
        cwd: where the user typed the command.
        home: the user's home directory.
        dfx_config: dfx's configuration, `~/.config/dfx` unless DFX_CONFIG_ROOT moves it.
        dfx_shared_data: data of dfx's shared networks, one folder `network/NAME` each.
        icp_home: the folder that holds icp-cli's `identity/`.
        state: our own state: `${XDG_STATE_HOME:-~/.local/state}/dfx-backup`.
        icp_ports: where icp-cli notes which network has which fixed port, or None when not known.
    """

    cwd: str
    home: str
    dfx_config: str
    dfx_shared_data: str
    icp_home: str
    state: str
    icp_ports: str | None = None
