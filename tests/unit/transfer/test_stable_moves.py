"""Random edits at random moments of an export: a finished copy was the memory at one moment."""

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dfx_backup.errors import MovingError
from dfx_backup.ic.stable_endpoints import StableEndpoints
from dfx_backup.ic.surroundings import Surroundings
from dfx_backup.model import CanisterId, NetworkId
from dfx_backup.transfer import window
from dfx_backup.transfer.stable_sidecar import Sidecar, StablePaths, StreamIdentity
from dfx_backup.transfer.stable_terms import ExportChoices, Reads
from dfx_backup.transfer.terms import SilentTransfer, TransferOptions
from tests.fakes.memory_endpoints import CANISTER, MemoryEndpoints
from tests.fakes.moving_stream import GROWS, Edit, move, require_hashes, turns
from tests.fakes.stream_files import export_stream

CHUNK = 4096
OPTIONS = TransferOptions(
    window=1, patience_s=5.0, surroundings=Surroundings(sleep=lambda _seconds: None)
)


@pytest.fixture(autouse=True)
def hasty_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window, "_LOOK_S", 0.003)


@settings(
    max_examples=50,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    first=st.sampled_from(Reads),
    by_hashes=st.booleans(),
    edits=turns(CHUNK),
    grows=GROWS,
)
def test_a_copy_is_of_one_moment(
    first: Reads, *, by_hashes: bool, edits: list[list[Edit]], grows: list[int]
) -> None:
    fake = MemoryEndpoints(memory=bytes(9 * CHUNK))
    with tempfile.TemporaryDirectory() as folder:
        paths = StablePaths.of(Path(folder) / "copy")
        for turn, some in enumerate(edits):
            moments = move(fake, some, grows)
            try:
                export_stream(
                    StableEndpoints(fake, CanisterId(CANISTER)),
                    StreamIdentity(
                        network_id=NetworkId("6c" * 32),
                        canister_id=CanisterId(CANISTER),
                        stream="memory",
                        protocol="backup",
                    ),
                    paths,
                    ExportChoices(
                        reads=first if turn == 0 else Reads.HASHES,
                        rounds_by_hashes=by_hashes,
                        tool="dfx-backup",
                        created_at=0.0,
                    ),
                    options=OPTIONS,
                    progress=SilentTransfer(),
                    chunk_bytes=CHUNK,
                )
            except MovingError:
                continue
            copy = paths.data.read_bytes()
            assert copy in moments
            sidecar = Sidecar.read(paths.sidecar)
            assert sidecar is not None
            require_hashes(copy, sidecar.hashes)
