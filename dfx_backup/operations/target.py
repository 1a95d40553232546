"""What every operation is told: which canister, through what, and the run's surroundings.

Operations read no clock, environment or terminal; whoever calls them passes these values in.
"""

import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from dfx_backup.drivers.base import Driver
from dfx_backup.model import CanisterId, CanisterRef, CanisterStatus, Network, NetworkId, SnapshotId
from dfx_backup.progress import Progress

if TYPE_CHECKING:
    from dfx_backup.operations.direct import Direct


class Clock(Protocol):
    """Time as an operation may see it."""

    def now(self) -> float:
        """Seconds since the epoch; expiries are compared with it."""

    def monotonic(self) -> float:
        """Seconds on a clock that nobody sets; outages are measured with it."""

    def sleep(self, seconds: float) -> None:
        """Wait."""


class MetadataView(Protocol):
    """The part of a snapshot's metadata that the operations here use."""

    @property
    def canister_version(self) -> int:
        """The canister's version when the snapshot was taken (or uploaded)."""

    @property
    def source(self) -> str | None:
        """`taken_from_canister` or `metadata_upload`; None for something newer."""


class SnapshotReader(Protocol):
    """Certified direct reads, next to a driver that goes through another program."""

    def status(self, canister: CanisterId, /, *, within_s: float | None = None) -> CanisterStatus:
        """The canister's certified status, its version included.

        Args:
            canister: which one.
            within_s: ask once, and give up after so many seconds; None is patient.
        """

    def read_snapshot_metadata(self, canister: CanisterId, snapshot: SnapshotId, /) -> MetadataView:
        """The snapshot's certified metadata."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One canister and the ways to reach it.

    Attributes:
        ref: the canister as the user named it.
        network: the network that it lives on.
        network_id: the network's identity; decides which journal entry and lock is meant.
        driver: controls the canister.
        reader: certified direct reads, or None when the identity's key can't be read.
        direct: the way without another program, or None when the identity's key can't be read.
        principal: who we are, in text form, or None when it is not known.
    """

    ref: CanisterRef
    network: Network
    network_id: NetworkId
    driver: Driver
    reader: SnapshotReader | None = None
    direct: "Direct | None" = None
    principal: str | None = None

    @property
    def canister_id(self) -> CanisterId:
        """The canister's principal."""
        return self.ref.canister_id

    @property
    def key(self) -> str:
        """Names this canister on this network; part of file names."""
        return target_key(self.network_id, self.canister_id)

    def __str__(self) -> str:
        return str(self.ref)


def target_key(network_id: NetworkId, canister_id: CanisterId) -> str:
    """The file name, without suffix, of everything kept for one canister on one network."""
    return f"{network_id[:32]}.{canister_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long each step may take, in seconds.

    Attributes:
        stop_s: for the canister to become stopped; after that it is started again.
        settle_s: to find out what became of a take whose answer was lost.
        retry_s: for refusals that pass, such as a heap delta limit, while the canister is stopped.
        start_s: to get the canister running again before giving up with exit 4.
        late_stop_s: to wait, with the canister running, for the expiry of a stop whose answer was
            lost; a longer wait is left to `recover`.
        poll_s: between two looks at something that is awaited.
        look_s: for one look at a canister that is stopped: nobody waits for a version.
    """

    stop_s: float = 60.0
    settle_s: float = 60.0
    retry_s: float = 60.0
    start_s: float = 120.0
    late_stop_s: float = 70.0
    poll_s: float = 1.0
    look_s: float = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """The surroundings of one run.

    Attributes:
        state: our state directory, `Places.state`.
        clock: the only source of time.
        progress: hears of steps and warnings.
        program: how the user calls this program, for the commands named in hints.
        options: options to repeat in such commands, such as `("--identity", "alice")`; the
            network is added by us.
        lock_wait_s: seconds to wait for another run on the same canister; 0 refuses at once.
        limits: how long each step may take.
    """

    state: Path
    clock: Clock
    progress: Progress
    program: str = "dfx-backup"
    options: tuple[str, ...] = ()
    lock_wait_s: float = 0.0
    limits: Limits = field(default_factory=Limits)

    def command(self, verb: str, target: Target, *arguments: str) -> str:
        """A complete command line of ours about `target`, for a hint."""
        words = (target.canister_id, *arguments, "--network", target.network.name, *self.options)
        return f"{self.program} {verb} {shlex.join(words)}"
