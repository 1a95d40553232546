"""`dfx canister snapshot download|upload`: a snapshot to a folder and back."""

import json
import tempfile
import time
from pathlib import Path
from typing import Any

from icp_candid.candid import Types

from tests.fakes.dfx.arguments import Parsed
from tests.fakes.dfx.canister import Canister
from tests.fakes.dfx.shell import ArgumentsError, DfxError
from tests.fakes.dfx.subnet import BLOB, NOTHING

SLICE = 2_000_000
_RANGE = Types.Record({"offset": Types.Nat64, "size": Types.Nat64})
_OFFSET = Types.Record({"offset": Types.Nat64})
_GLOBAL = Types.Variant(
    {
        "i32": Types.Int32,
        "i64": Types.Int64,
        "f32": Types.Float32,
        "f64": Types.Float64,
        "v128": Types.Nat,
    }
)
_TIMER = Types.Variant({"inactive": NOTHING, "active": Types.Nat64})
_HOOK = Types.Variant({"condition_not_satisfied": NOTHING, "ready": NOTHING, "executed": NOTHING})
_READ_KIND = Types.Variant(
    {
        "wasm_module": _RANGE,
        "wasm_memory": _RANGE,
        "stable_memory": _RANGE,
        "wasm_chunk": Types.Record({"hash": BLOB}),
    }
)
_WRITE_KIND = Types.Variant(
    {
        "wasm_module": _OFFSET,
        "wasm_memory": _OFFSET,
        "stable_memory": _OFFSET,
        "wasm_chunk": NOTHING,
    }
)
_METADATA = Types.Record(
    {
        "source": Types.Opt(
            Types.Variant(
                {"taken_from_canister": Types.Reserved, "metadata_upload": Types.Reserved}
            )
        ),
        "taken_at_timestamp": Types.Nat64,
        "wasm_module_size": Types.Nat64,
        "globals": Types.Vec(Types.Opt(_GLOBAL)),
        "wasm_memory_size": Types.Nat64,
        "stable_memory_size": Types.Nat64,
        "wasm_chunk_store": Types.Vec(Types.Record({"hash": BLOB})),
        "canister_version": Types.Nat64,
        "certified_data": BLOB,
        "global_timer": Types.Opt(_TIMER),
        "on_low_wasm_memory_hook_status": Types.Opt(_HOOK),
    }
)
_BLOBS = ("wasm_module", "wasm_memory", "stable_memory")


def download(canister: Canister, parsed: Parsed) -> None:
    """Write the folder layout; refuses a folder with anything in it unless it resumes."""
    snapshot, folder = parsed.positionals[1], _folder(parsed)
    resume = "--resume" in parsed.options or "-r" in parsed.options
    if not resume and any(folder.iterdir()):
        raise DfxError(
            f"Directory '{folder}' is not empty (to resume an aborted download, use `--resume`)"
        )
    canister.shell.moment("before")
    metadata = _metadata(canister, snapshot, folder)
    for name in _BLOBS:
        size = metadata[f"{name}_size"]
        if size == 0 and name == "stable_memory":
            continue
        _download_blob(canister, snapshot, name, size, folder / f"{name}.bin")
    chunks = folder / "wasm_chunk_store"
    for each in metadata["wasm_chunk_store"]:
        chunks.mkdir(exist_ok=True)
        digest = bytes(each["hash"])
        path = chunks / f"{digest.hex()}.bin"
        if not path.exists():
            path.write_bytes(_read(canister, snapshot, {"wasm_chunk": {"hash": digest}}))
    canister.shell.info(f"Snapshot {snapshot} in canister {canister.argument} saved to '{folder}'")


def upload(canister: Canister, parsed: Parsed) -> None:
    """Send a folder; leaves `<id>.json` in it, as dfx does."""
    folder = _folder(parsed)
    metadata = json.loads((folder / "metadata.json").read_text())
    resumed = parsed.option("--resume") or parsed.option("-r")
    if resumed and not (folder / f"{resumed}.json").is_file():
        raise DfxError(
            f"Cannot resume uploading to snapshot {resumed} because the progress file was not "
            f"found in directory '{folder}'"
        )
    canister.shell.moment("before")
    snapshot = resumed or _upload_metadata(canister, metadata, parsed.option("--replace"))
    progress = folder / f"{snapshot}.json"
    done: dict[str, Any] = {"snapshot_id": snapshot, "metadata_uploaded": True}
    done |= {f"{name}_progress": 0 for name in _BLOBS} | {"wasm_chunks_uploaded": {}}
    if resumed:
        done = json.loads(progress.read_text())
    progress.write_text(json.dumps(done, indent=2))
    for name in _BLOBS:
        path = folder / f"{name}.bin"
        if name == "stable_memory" and not path.exists():
            continue
        if not path.exists():
            raise DfxError(f"Failed to upload {name} to snapshot {snapshot}", f"{path} is missing")
        data = path.read_bytes()
        for offset in range(done[f"{name}_progress"], len(data), SLICE):
            _write(canister, snapshot, {name: {"offset": offset}}, data[offset : offset + SLICE])
        done[f"{name}_progress"] = len(data)
        progress.write_text(json.dumps(done, indent=2))
    for path in sorted((folder / "wasm_chunk_store").glob("*.bin")):
        _write(canister, snapshot, {"wasm_chunk": None}, path.read_bytes())
    canister.shell.info(
        f"Uploaded a snapshot of canister {canister.argument}. Snapshot ID: {snapshot}"
    )


def _folder(parsed: Parsed) -> Path:
    given = parsed.option("--dir")
    if given is None:
        raise ArgumentsError(
            "error: the following required arguments were not provided:\n  --dir <DIR>"
        )
    folder = Path(given)
    if not folder.is_dir():
        raise ArgumentsError(
            f"error: invalid value '{given}' for '--dir <DIR>': Path '{given}' does not exist or "
            "is not a directory."
        )
    if parsed.option("--concurrency") == "0":
        time.sleep(3600)  # never schedules any work
    return folder


def _metadata(canister: Canister, snapshot: str, folder: Path) -> dict[str, Any]:
    """Read it, or believe the file that is there: dfx does not check whose it is."""
    path = folder / "metadata.json"
    if path.exists():
        return dict(json.loads(path.read_text()))
    _require_writable(folder)
    try:
        told = canister.call(
            "read_canister_snapshot_metadata",
            {"snapshot_id": (BLOB, bytes.fromhex(snapshot))},
            _METADATA,
        )
    except DfxError as err:
        raise err.under(
            f"Failed to read metadata from snapshot {snapshot} in canister {canister.argument}"
        ) from err
    metadata = {
        "source": _plain(told["source"]),
        "taken_at_timestamp": told["taken_at_timestamp"],
        "wasm_module_size": told["wasm_module_size"],
        "globals": [_global(each[0]) if each else None for each in told["globals"]],
        "wasm_memory_size": told["wasm_memory_size"],
        "stable_memory_size": told["stable_memory_size"],
        "wasm_chunk_store": [{"hash": list(each["hash"])} for each in told["wasm_chunk_store"]],
        "canister_version": told["canister_version"],
        "certified_data": list(told["certified_data"]),
        "global_timer": _unit(told["global_timer"]),
        "on_low_wasm_memory_hook_status": _unit(told["on_low_wasm_memory_hook_status"]),
    }
    path.write_text(json.dumps(metadata, indent=2))
    return metadata


def _require_writable(folder: Path) -> None:
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as err:
        raise DfxError(f"Directory '{folder}' is not writable: {err}") from err


def _plain(told: list[dict[str, Any]]) -> dict[str, None] | None:
    return {next(iter(told[0])): None} if told else None


def _unit(told: list[dict[str, Any]]) -> Any:
    if not told:
        return None
    name, value = next(iter(told[0].items()))
    return {name: value} if name == "active" else name


def _global(told: dict[str, Any]) -> dict[str, Any]:
    """As serde does it: 128 bits as 32-bit limbs, what is no finite number as null."""
    kind, value = next(iter(told.items()))
    if kind == "v128":
        limbs = []
        while value:
            limbs.append(value & 0xFFFFFFFF)
            value >>= 32
        return {kind: limbs}
    if kind in {"f32", "f64"} and (value != value or value in {float("inf"), float("-inf")}):  # noqa: PLR0124 # NaN
        return {kind: None}
    return {kind: value}


def _download_blob(canister: Canister, snapshot: str, name: str, size: int, path: Path) -> None:
    offset = path.stat().st_size if path.exists() else 0
    with path.open("ab") as file:
        while offset < size:
            kind = {name: {"offset": offset, "size": min(SLICE, size - offset)}}
            data = _read(canister, snapshot, kind)
            file.write(data)
            file.flush()
            offset += len(data)
            canister.shell.moment("after")  # in the middle of a transfer


def _read(canister: Canister, snapshot: str, kind: dict[str, Any]) -> bytes:
    fields = {"snapshot_id": (BLOB, bytes.fromhex(snapshot)), "kind": (_READ_KIND, kind)}
    wanted = Types.Record({"chunk": BLOB})
    return bytes(canister.call("read_canister_snapshot_data", fields, wanted)["chunk"])


def _write(canister: Canister, snapshot: str, kind: dict[str, Any], data: bytes) -> None:
    fields = {
        "snapshot_id": (BLOB, bytes.fromhex(snapshot)),
        "kind": (_WRITE_KIND, kind),
        "chunk": (BLOB, data),
    }
    canister.call("upload_canister_snapshot_data", fields)


def _upload_metadata(canister: Canister, metadata: dict[str, Any], replace: str | None) -> str:
    timer, hook = metadata["global_timer"], metadata["on_low_wasm_memory_hook_status"]
    fields = {
        "replace_snapshot": (Types.Opt(BLOB), [bytes.fromhex(replace)] if replace else []),
        "wasm_module_size": (Types.Nat64, metadata["wasm_module_size"]),
        "globals": (Types.Vec(_GLOBAL), [_parsed_global(each) for each in metadata["globals"]]),
        "wasm_memory_size": (Types.Nat64, metadata["wasm_memory_size"]),
        "stable_memory_size": (Types.Nat64, metadata["stable_memory_size"]),
        "certified_data": (BLOB, bytes(metadata["certified_data"])),
        "global_timer": (
            Types.Opt(_TIMER),
            [] if timer is None else [{timer: None} if isinstance(timer, str) else timer],
        ),
        "on_low_wasm_memory_hook_status": (
            Types.Opt(_HOOK),
            [] if hook is None else [{hook: None}],
        ),
    }
    try:
        told = canister.call(
            "upload_canister_snapshot_metadata", fields, Types.Record({"snapshot_id": BLOB})
        )
    except DfxError as err:
        raise err.under(
            f"Failed to upload snapshot metadata to canister {canister.argument}"
        ) from err
    return bytes(told["snapshot_id"]).hex()


def _parsed_global(told: dict[str, Any] | None) -> dict[str, Any]:
    if told is None:
        raise DfxError("Could not parse global in snapshot metadata")
    kind, value = next(iter(told.items()))
    if value is None:
        raise DfxError("failed to parse contents as json", f"invalid type: null, expected {kind}")
    if kind == "v128" and isinstance(value, list):
        value = sum(limb << (32 * index) for index, limb in enumerate(value))
    return {kind: value}
