"""Folders of the real icp binary and ours, compared byte by byte and moved both ways."""

import json
import struct
from pathlib import Path

import pytest
import wasmtime

from dfx_backup.model import CanisterId, SnapshotId
from dfx_backup.replica.server import ReplicaServer
from dfx_backup.transfer.folder import check_folder
from dfx_backup.transfer.snapshot_download import download_snapshot
from dfx_backup.transfer.snapshot_upload import upload_snapshot
from dfx_backup.transfer.terms import (
    FolderKind,
    ReadBack,
    SilentTransfer,
    UploadChoices,
    UploadTarget,
)
from dfx_backup.transfer.upload_plan import plan_upload
from tests.e2e.test_icp_binary import Icp
from tests.fakes.snapshot_stage import SnapshotStage, options, tree

pytestmark = pytest.mark.judge

ANONYMOUS = b"\x04"
DOUBLES = [
    *(sign * 10.0**power for power in (*range(-9, 20), 23, 100, 308) for sign in (1, -1)),
    *(1.25 * 10.0**power for power in range(-8, 19)),
    0.0, -0.0, 0.1, 1 / 3, 123.456, 2.0**-44, 2.0**53, 5e-324, 2.2250738585072014e-308,
    1.7976931348623157e308, 9007199254740993.0, 12345678901234568.0,
    float("inf"), float("-inf"), float("nan"),
]  # fmt: skip
SINGLES = [
    *(10.0**power for power in range(-9, 18)),
    *(1.25 * 10.0**power for power in range(-8, 16)),
    0.0, -0.0, 0.1, 1 / 3, 16777216.0, 1e-45, 3.4028234663852886e38, 8388608.0, 2.0**-20, 2.0**90,
    float("inf"), float("nan"),
]  # fmt: skip


def module() -> bytes:
    """Globals of every type, and code that puts something into the stable memory."""
    doubles = [struct.unpack("<Q", struct.pack("<d", each))[0] for each in DOUBLES]
    singles = [struct.unpack("<I", struct.pack("<f", each))[0] for each in SINGLES]
    globals_ = [
        *(_global("i32", f"(i32.const {each})") for each in (0, -5, 2**31 - 1, -(2**31))),
        *(_global("i64", f"(i64.const {each})") for each in (0, -(2**63), 2**63 - 1)),
        *(_global("f64", f"(f64.reinterpret_i64 (i64.const {each}))", each) for each in doubles),
        *(_global("f32", f"(f32.reinterpret_i32 (i32.const {each}))", each) for each in singles),
        *(
            _global("v128", f"(v128.const i64x2 {low} {high})")
            for low, high in ((0, 0), (1, 0), (1, 1 << 63), (2**64 - 1, 2**64 - 1), (0, 5))
        ),
    ]
    return bytes(
        wasmtime.wat2wasm(f"""(module
          (import "ic0" "stable64_grow" (func $grow (param i64) (result i64)))
          (import "ic0" "stable64_write" (func $write (param i64 i64 i64)))
          (memory 3) (data (i32.const 70000) "some heap")
          {" ".join(globals_)}
          (func (export "canister_init")
            (drop (call $grow (i64.const 40)))
            (call $write (i64.const 0) (i64.const 70000) (i64.const 9))
            (call $write (i64.const 2621430) (i64.const 70000) (i64.const 9))))""")
    )


def _global(kind: str, value: str, bits: int | None = None) -> str:
    if kind == "f64" and bits is not None:
        value = f"(f64.const {_float_text(bits, 52, 11)})"
    if kind == "f32" and bits is not None:
        value = f"(f32.const {_float_text(bits, 23, 8)})"
    return f"(global (mut {kind}) {value})"


def _float_text(bits: int, fraction_bits: int, exponent_bits: int) -> str:
    """A float of the text format, exact: hexadecimal, inf or nan with its payload."""
    sign = "-" if bits >> (fraction_bits + exponent_bits) else ""
    exponent = (bits >> fraction_bits) & ((1 << exponent_bits) - 1)
    fraction = bits & ((1 << fraction_bits) - 1)
    if exponent == (1 << exponent_bits) - 1:
        return f"{sign}nan:0x{fraction:x}" if fraction else f"{sign}inf"
    bias = (1 << (exponent_bits - 1)) - 1
    hidden = 0 if exponent == 0 else 1 << fraction_bits
    power = max(exponent, 1) - bias - fraction_bits
    return f"{sign}0x{hidden | fraction:x}p{power}"


@pytest.fixture
def stage(icp_binary: Path, tmp_path: Path, server: ReplicaServer) -> "Both":
    return Both(icp_binary, tmp_path, server)


class Both:
    """One canister that the anonymous identity and icp's `alice` both control."""

    def __init__(self, binary: Path, folder: Path, server: ReplicaServer) -> None:
        from dfx_backup.ic.principal import Principal  # noqa: PLC0415 # this class alone

        self.stage = SnapshotStage(server)
        self.icp = Icp(binary, folder / "home", server)
        self.icp.canister = self.stage.canister
        alice = Principal.from_text(self.icp.principal).raw
        server.replica.canisters[self.stage.raw].controllers = [ANONYMOUS, alice]
        server.replica.install(self.stage.raw, module())
        self.folder = folder

    def take(self) -> SnapshotId:
        self.icp.at("stop", self.canister)
        made = json.loads(self.icp.at("snapshot", "create", self.canister, "--json"))
        return SnapshotId(made["snapshot_id"])

    @property
    def canister(self) -> CanisterId:
        return self.stage.canister

    def theirs(self, snapshot: SnapshotId) -> Path:
        folder = self.folder / f"theirs-{snapshot}"
        self.icp.at("snapshot", "download", self.canister, snapshot, "-o", str(folder))
        return folder

    def ours(self, snapshot: SnapshotId) -> Path:
        folder = self.folder / f"ours-{snapshot}"
        download_snapshot(
            self.stage.management,
            self.stage.what(snapshot),
            folder,
            options=options(),
            progress=SilentTransfer(),
        )
        return folder

    def upload(self, folder: Path) -> SnapshotId:
        target = UploadTarget(
            canister_id=self.canister,
            network_id=self.stage.session.network_id(),
            state=self.folder / "state" / "upload",
        )
        report = upload_snapshot(
            self.stage.management,
            target,
            plan_upload(folder),
            UploadChoices(read_back=ReadBack.ALL),
            options=options(),
            progress=SilentTransfer(),
        )
        return report.snapshot_id


def test_both_write_the_same_bytes(stage: Both) -> None:
    snapshot = stage.take()
    theirs, ours = tree(stage.theirs(snapshot)), tree(stage.ours(snapshot))
    assert ours.pop("backup.json")
    assert theirs.pop(".lock") == b""
    assert ours["metadata.json"] == theirs["metadata.json"]
    assert ours == theirs


def test_the_values_of_every_global_are_those_of_icp(stage: Both) -> None:
    snapshot = stage.take()
    told = json.loads((stage.theirs(snapshot) / "metadata.json").read_bytes())["globals"]
    assert len(told) == 4 + 3 + len(DOUBLES) + len(SINGLES) + 5
    assert sum(each == {"f64": None} for each in told) == 3
    exact = plan_upload(stage.ours(snapshot)).metadata.globals
    assert None not in exact


def test_ours_uploads_with_icp_and_theirs_with_us(stage: Both) -> None:
    chat = stage.stage.plant(
        heap={5: b"heap"},
        heap_size=3 * 65536,
        stable={0: b"x" * 3_000_000, 9_000_000: b"end"},
        stable_size=160 * 65536,
        globals_=(("i32", -5), ("i64", 7)),
        chunks=(b"one", b"y" * 1000),
    )
    theirs, ours = stage.theirs(chat), stage.ours(chat)
    made = json.loads(
        stage.icp.at("snapshot", "upload", stage.canister, "-i", str(ours), "--json")
    )["snapshot_id"]
    assert check_folder(theirs).kind is FolderKind.ICP
    assert check_folder(theirs).problems == ()
    again = stage.upload(theirs)
    for snapshot in (SnapshotId(made), again):
        assert stage.stage.content(snapshot) == stage.stage.content(chat)
