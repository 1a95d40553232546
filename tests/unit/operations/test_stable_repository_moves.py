"""Random edits while a stream goes into a repository: each backup is the memory at one moment."""

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dfx_backup.errors import MovingError, NetworkError
from dfx_backup.ic.stable_adapters import FactlandReader
from dfx_backup.ic.stable_endpoints import StableEndpoints
from dfx_backup.ic.surroundings import Surroundings
from dfx_backup.model import CanisterId, CanisterRef, Consistency, Network, NetworkId
from dfx_backup.operations import stable_repository
from dfx_backup.operations.backups import Backups
from dfx_backup.operations.stable_places import Origin
from dfx_backup.operations.stable_repository import BackupCopy, RepositoryPlace
from dfx_backup.repository.memory import MemoryStore
from dfx_backup.repository.repository import Repository
from dfx_backup.transfer import window
from dfx_backup.transfer.stable_export import export_into
from dfx_backup.transfer.stable_sidecar import Moment, StreamIdentity
from dfx_backup.transfer.stable_terms import ExportChoices, ExportReport, Reads
from dfx_backup.transfer.terms import SilentTransfer, TransferOptions
from tests.fakes.memory_endpoints import CANISTER, Call, MemoryEndpoints, reject
from tests.fakes.moving_stream import GROWS, Edit, move, require_hashes, turns
from tests.fakes.old_canister import OldCanister
from tests.fakes.repositories import new_repository, this_machine

CHUNK = 65536
WHAT = StreamIdentity(
    network_id=NetworkId("6c" * 32),
    canister_id=CanisterId(CANISTER),
    stream="memory",
    protocol="backup",
)
ORIGIN = Origin(
    canister=CanisterRef(canister_id=CanisterId(CANISTER), name="chat"),
    network=Network(name="local", url="http://127.0.0.1:1", root_key=b""),
    what=WHAT,
    driver="agent",
    cycles=7,
    tool="dfx-backup",
)
OPTIONS = TransferOptions(
    window=1, patience_s=5.0, surroundings=Surroundings(sleep=lambda _seconds: None)
)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stable_repository, "CHUNK_BYTES", CHUNK)
    monkeypatch.setattr(window, "_LOOK_S", 0.003)


def fresh() -> Repository:
    return new_repository(MemoryStore(), this_machine(clock=lambda: 1_780_000_000.0))


def export(
    fake: MemoryEndpoints, repository: Repository, reads: Reads, *, rounds_by_hashes: bool = True
) -> ExportReport:
    place = RepositoryPlace(repository, "repo", (), SilentTransfer())
    with place.begin(ORIGIN, SilentTransfer()) as work:
        return export_into(
            work,
            StableEndpoints(fake, CanisterId(CANISTER)),
            WHAT,
            ExportChoices(
                reads=reads,
                rounds_by_hashes=rounds_by_hashes,
                tool="dfx-backup",
                created_at=float(len(repository.snapshots())),
            ),
            options=OPTIONS,
            progress=SilentTransfer(),
        )


def newest(repository: Repository) -> BackupCopy:
    return BackupCopy.read(repository, Backups.read(repository).all[-1])


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    first=st.sampled_from(Reads),
    by_hashes=st.booleans(),
    edits=turns(CHUNK),
    grows=GROWS,
)
def test_a_backup_is_of_one_moment(
    first: Reads, *, by_hashes: bool, edits: list[list[Edit]], grows: list[int]
) -> None:
    fake, repository = MemoryEndpoints(memory=bytes(9 * CHUNK)), fresh()
    for turn, some in enumerate(edits):
        before = repository.snapshots()
        moments = move(fake, some, grows)
        try:
            export(
                fake,
                repository,
                first if turn == 0 else Reads.HASHES,
                rounds_by_hashes=by_hashes,
            )
        except MovingError:
            assert repository.snapshots() == before
            continue
        copy = newest(repository)
        data, hashes = copy.open(), copy.sidecar.hashes
        memory = data.read(0, data.size)
        assert memory in moments
        require_hashes(memory, hashes)


def test_what_fails_in_the_middle_leaves_nothing_to_see() -> None:
    memory = bytes(index % 251 for index in range(CHUNK)) * 9
    fake, repository = MemoryEndpoints(memory=memory), fresh()

    def after(call: Call) -> None:
        if call.method == "backup_read" and call.number > 4:
            raise reject(5, "IC0503", "Canister trapped explicitly: no")

    fake.after = after
    with pytest.raises(NetworkError):
        export(fake, repository, Reads.CERTIFIED)
    assert Backups.read(repository).all == ()
    fake.after = lambda _call: None

    export(fake, repository, Reads.CERTIFIED)

    data = newest(repository).open()
    assert data.read(0, data.size) == memory


def test_only_what_changed_is_read() -> None:
    memory = b"".join(bytes([index]) * CHUNK for index in range(1, 41))
    fake, repository = MemoryEndpoints(memory=memory), fresh()
    export(fake, repository, Reads.CERTIFIED)
    fake.touch("memory", 7 * CHUNK + 5, b"changed")

    tally = export(fake, repository, Reads.HASHES).tally

    assert tally.moved_bytes == CHUNK
    assert tally.copied_bytes == 39 * CHUNK


@pytest.mark.parametrize("field", ["stream", "canister_id", "network_id"])
def test_backups_of_something_else_are_not_built_upon(field: str) -> None:
    fake, repository = MemoryEndpoints(memory=b"1" * CHUNK, other=b"1" * CHUNK), fresh()
    export(fake, repository, Reads.CERTIFIED)
    place = RepositoryPlace(repository, "repo", (), SilentTransfer())
    values = {name: getattr(WHAT, name) for name in ("stream", "canister_id", "network_id")}

    assert place.look(WHAT).delta
    other = StreamIdentity(**{**values, field: "other"}, protocol="backup")
    assert not place.look(other).delta


def test_what_nothing_proves_is_told_so() -> None:
    repository = fresh()
    reader = FactlandReader(OldCanister(b"old" * CHUNK), CanisterId(CANISTER), lambda: None)
    what = replace(WHAT, stream="stable_memory", protocol="factland")
    place = RepositoryPlace(repository, "repo", (), SilentTransfer())
    choices = ExportChoices(
        reads=Reads.CERTIFIED,
        rounds_by_hashes=False,
        accept_unproven=True,
        tool="dfx-backup",
        created_at=0.0,
    )

    with place.begin(replace(ORIGIN, what=what), SilentTransfer()) as work:
        export_into(work, reader, what, choices, options=OPTIONS, progress=SilentTransfer())

    [backup] = Backups.read(repository).all
    assert backup.details is not None
    assert backup.details.consistency is Consistency.UNVERIFIED
    assert backup.details.stable is not None
    assert backup.details.stable.moment is Moment.UNPROVEN
