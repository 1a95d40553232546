"""Calls that we sign ourselves: what operations need of `ic.management.ManagementCanister`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from dfx_backup.ic.canister_settings import CanisterSettings, FullStatus
from dfx_backup.ic.certificate import Evidence
from dfx_backup.ic.principal import Principal
from dfx_backup.ic.snapshot_metadata import SnapshotMetadata
from dfx_backup.ic.stable_endpoints import Methods
from dfx_backup.model import CanisterId, CanisterSnapshot, CanisterStatus, SentCall, SnapshotId
from dfx_backup.transfer.terms import SliceWriter


class DirectCalls(Protocol):
    """Calls that are certified and, when they fail in a way that passes, made again."""

    def status(self, canister: CanisterId, /) -> CanisterStatus:
        """The canister's certified status."""

    def full_status(self, canister: CanisterId, /, *, within_s: float | None = None) -> FullStatus:
        """Status and settings, from one certified answer; `within_s` as `SnapshotReader.status`."""

    def list_snapshots(self, canister: CanisterId, /) -> tuple[CanisterSnapshot, ...]:
        """The canister's snapshots; a viewer may ask as well."""

    def read_snapshot_metadata(
        self, canister: CanisterId, snapshot: SnapshotId, /
    ) -> SnapshotMetadata:
        """The snapshot's certified metadata."""

    def update_settings(self, canister: CanisterId, settings: CanisterSettings, /) -> None:
        """Change the settings that are not None."""

    def install_code(
        self,
        canister: CanisterId,
        module: bytes,
        /,
        *,
        arg: bytes = ...,
        mode: Literal["install", "reinstall", "upgrade"] = ...,
        skip_pre_upgrade: bool | None = ...,
        before_send: Callable[[SentCall], None] | None = ...,
    ) -> None:
        """Install a module, into an empty canister unless `mode` says otherwise."""

    def clear_chunk_store(self, canister: CanisterId, /) -> None:
        """Drop the chunks of modules."""


class ModuleSections(Protocol):
    """Reads custom sections of the module that a canister has."""

    def metadata(self, canister: CanisterId, section: str, /) -> bytes | None:
        """A section, certified; None when there is none, or it is not for us."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Direct:
    """The way to the network without another program.

    Attributes:
        calls: single calls.
        slices: the same without retries: a transfer has its own, and must hear of each refusal.
        methods: calls of canisters' own methods, without retries.
        sections: custom sections of modules.
        evidence: tells what has vouched for the answers about a canister.
    """

    calls: DirectCalls
    slices: SliceWriter
    methods: Methods | None = None
    sections: ModuleSections | None = None
    evidence: Callable[[Principal], Evidence | None] = lambda _: None
