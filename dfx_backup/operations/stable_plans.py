"""Options, plans and results of `stable info`, `export`, `verify` and `import`: frozen values."""

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dfx_backup.ic.stable_endpoints import EndpointsInfo, Stream
from dfx_backup.model import CanisterRef, CanisterSnapshot, Network, NetworkId, SnapshotId
from dfx_backup.operations.durations import Span
from dfx_backup.operations.stable_copies import StableCopy
from dfx_backup.operations.stable_places import ExportPlace
from dfx_backup.transfer.stable_sidecar import Sidecar, StablePaths
from dfx_backup.transfer.stable_terms import ExportReport, ImportReport, Reads
from dfx_backup.transfer.terms import DEFAULT_WINDOW

if TYPE_CHECKING:
    from dfx_backup.operations.stable_repository import StoredStream


class StableProtocol(enum.StrEnum):
    """Whose methods a canister has."""

    BACKUP = "backup"
    """Those of our kit."""
    FACTLAND = "factland"
    """`stable_size`, `stable_read` and `stable_write`."""
    OFFSET_BLOB = "offset-blob"
    """One method from an offset to bytes, until there are none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Methods:
    """Which methods are called.

    Attributes:
        protocol: whose.
        method: name of the method, for protocols that do not fix it.
    """

    protocol: StableProtocol = StableProtocol.BACKUP
    method: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotWay:
    """What can be read through a snapshot.

    Attributes:
        size: of the stable memory now, in bytes, or None when we may not see it.
        outage: seconds for which a new snapshot stops the canister, or None: we may take none.
        snapshots: those that exist, and can be read without an outage.
        cycles: what reading costs the canister (estimate), or None.
    """

    size: int | None
    outage: Span | None
    snapshots: tuple[CanisterSnapshot, ...]
    cycles: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class StableInfoResult:
    """What `stable info` found.

    Attributes:
        canister: the canister.
        network: the network it lives on.
        network_id: that network's identity.
        driver: the tool and its version.
        protocol: whose methods were asked.
        info: what the canister's methods offer; None when it has none, or they were not asked.
        snapshot: what a snapshot offers; None when we may have none, or it was not asked for.
        warnings: one sentence for each thing to know.
    """

    canister: CanisterRef
    network: Network
    network_id: NetworkId
    driver: str
    protocol: StableProtocol
    info: EndpointsInfo | None
    snapshot: SnapshotWay | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StableExportOptions:
    """What `stable export` was asked for.

    Attributes:
        place: where it goes: files, or a repository.
        stream: name of the stream; None takes the only one.
        methods: which methods.
        reads: how it is read; None chooses.
        window: most certified reads in flight.
        tool: name and version of the program.
    """

    place: ExportPlace
    stream: str | None = None
    methods: Methods = Methods()
    reads: Reads | None = None
    window: int = DEFAULT_WINDOW
    tool: str = "dfx-backup"


@dataclass(frozen=True, slots=True, kw_only=True)
class StableExportPlan:
    """What `stable export` will do.

    Attributes:
        canister: the canister.
        network: the network it lives on.
        network_id: that network's identity.
        driver: the tool and its version.
        protocol: whose methods.
        info: what the canister offers.
        stream: what is read; its size is that of the last stage for what the app has to make.
        place: where it goes.
        stages: the app makes the bytes first.
        reads: how it is read.
        reason: why so.
        rounds_by_hashes: changes meanwhile are found by hashes.
        delta: there is an earlier export, and only what changed travels.
        resumes: an interrupted export is gone on with.
        calls: certified calls, when nothing changes meanwhile.
        window: most reads in flight.
        seconds: how long it takes on mainnet.
        cycles: what the canister pays (estimate).
        warnings: one sentence for each thing to know.
    """

    canister: CanisterRef
    network: Network
    network_id: NetworkId
    driver: str
    protocol: StableProtocol
    info: EndpointsInfo
    stream: Stream
    place: ExportPlace
    stages: bool
    reads: Reads
    reason: str
    rounds_by_hashes: bool
    delta: bool
    resumes: bool
    calls: int
    window: int
    seconds: Span
    cycles: int
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StableExportResult:
    """What `stable export` did.

    Attributes:
        plan: what was planned.
        report: what moved, and what is known of the copy.
        stored: the backup that it is; None for files.
        incomplete: a sentence for each thing that is not proven; not empty: exit 3.
        warnings: one sentence for each thing to know.
    """

    plan: StableExportPlan
    report: ExportReport
    stored: "StoredStream | None" = None
    incomplete: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveComparison:
    """A file against the canister as it is now.

    Attributes:
        canister: the canister.
        network: the network it lives on.
        same: size and all hashes are the same.
        size: of the stream now, in bytes.
        differing: chunks that differ.
    """

    canister: CanisterRef
    network: Network
    same: bool
    size: int
    differing: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StableVerifyResult:
    """What `stable verify` found.

    Attributes:
        paths: the files.
        sidecar: what is known of them.
        problems: full sentences; empty when the bytes are what they should be.
        live: against the canister, when that was asked for.
        incomplete: one sentence for each thing that is not proven or not the same.
    """

    paths: StablePaths
    sidecar: Sidecar
    problems: tuple[str, ...]
    live: LiveComparison | None = None
    incomplete: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StableImportOptions:
    """What `stable import` was asked for.

    Attributes:
        copy: what is imported: files, or a backup.
        stream: name of the stream; None takes that of the copy.
        skip_safety_snapshot: keep nothing of the present state.
        replace: snapshot that the safety snapshot replaces, or None.
        other_canister: the file may be another canister's.
        window: most writes in flight.
    """

    copy: StableCopy
    stream: str | None = None
    skip_safety_snapshot: bool = False
    replace: SnapshotId | None = None
    other_canister: bool = False
    window: int = DEFAULT_WINDOW


@dataclass(frozen=True, slots=True, kw_only=True)
class StableImportPlan:
    """What `stable import` will do.

    Attributes:
        canister: the canister.
        network: the network it lives on.
        network_id: that network's identity.
        driver: the tool and its version.
        info: what the canister offers.
        stream: what is overwritten.
        copy: by what.
        resumes: the canister's session of an interrupted import, or None.
        safety_snapshot: the present state is kept in a snapshot first, with the canister stopped.
        replaces: the snapshot that it replaces, or None.
        window: most writes in flight.
        seconds: how long it takes on mainnet at most, when all of it differs.
        cycles: what the canister pays at most (estimate).
        will_be_lost: one sentence for each thing that will be gone.
        warnings: one sentence for each thing to know.
    """

    canister: CanisterRef
    network: Network
    network_id: NetworkId
    driver: str
    info: EndpointsInfo
    stream: Stream
    copy: StableCopy
    resumes: int | None
    safety_snapshot: bool
    replaces: CanisterSnapshot | None
    window: int
    seconds: Span
    cycles: int
    will_be_lost: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StableImportResult:
    """What `stable import` did.

    Attributes:
        plan: what was planned.
        report: what moved.
        safety: the snapshot of the state before, or None when it was skipped.
        outage_s: seconds for which the canister was stopped for it.
        import_mode: the canister is in import mode still.
        next_step: what ends it, or None.
        incomplete: one sentence for each thing that is not as it should be; not empty: exit 3.
        warnings: one sentence for each thing to know.
    """

    plan: StableImportPlan
    report: ImportReport
    safety: CanisterSnapshot | None
    outage_s: float
    import_mode: bool
    next_step: str | None
    incomplete: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StableAbortPlan:
    """What `stable import --abort` will do; `session` is the canister's."""

    canister: CanisterRef
    network: Network
    network_id: NetworkId
    driver: str
    session: int
    stream: str
    will_be_lost: tuple[str, ...]
    warnings: tuple[str, ...] = ()
