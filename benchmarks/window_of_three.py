"""A reader that stands for dfx: slices in order, three in flight, each appended to its file.

`python -m benchmarks.window_of_three URL ROOT_KEY KEY CANISTER SNAPSHOT FOLDER`. It does what dfx
does by default as far as it matters for speed, on this project's wire, so it certifies as dfx does.
It retries nothing and does not spin while it waits, as dfx does.
"""

import json
import sys
import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from dfx_backup.ic.identity import load_pem
from dfx_backup.ic.management import ManagementCanister
from dfx_backup.ic.session import Session
from dfx_backup.ic.snapshot_parts import Section, Slice
from dfx_backup.model import CanisterId, SnapshotId
from dfx_backup.transfer import metadata_json

WINDOW = 3
SLICE = 2_000_000


def read_section(
    management: ManagementCanister,
    names: tuple[CanisterId, SnapshotId],
    section: Section,
    size: int,
    path: Path,
) -> None:
    """Read one section into its file."""
    waiting: deque[Future[bytes]] = deque()
    with ThreadPoolExecutor(WINDOW) as pool, path.open("wb", buffering=0) as file:
        for offset in range(0, size, SLICE):
            part = Slice(section=section, offset=offset, size=min(SLICE, size - offset))
            if len(waiting) == WINDOW:
                file.write(waiting.popleft().result())
            waiting.append(pool.submit(management.read_snapshot_data, *names, part))
        while waiting:
            file.write(waiting.popleft().result())


def main(argv: list[str]) -> int:
    """Read a snapshot; prints bytes and seconds as JSON."""
    url, root_key, key, canister, snapshot, folder = argv
    identity = load_pem(Path(key).read_bytes(), source="benchmark")
    session = Session(url, identity, root_key=bytes.fromhex(root_key))
    management = ManagementCanister(session)
    names = CanisterId(canister), SnapshotId(snapshot)
    metadata = management.read_snapshot_metadata(*names)
    sizes = {
        Section.WASM_MODULE: metadata.wasm_module_size,
        Section.WASM_MEMORY: metadata.wasm_memory_size,
        Section.STABLE_MEMORY: metadata.stable_memory_size,
    }
    Path(folder).mkdir()
    began = time.monotonic()
    for section, size in sizes.items():
        read_section(management, names, section, size, Path(folder) / f"{section.value}.bin")
    seconds = time.monotonic() - began
    (Path(folder) / "metadata.json").write_bytes(metadata_json.to_json(metadata))
    print(json.dumps({"total_bytes": sum(sizes.values()), "seconds": seconds}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
