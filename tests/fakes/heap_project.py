"""A project whose canister keeps its state on the heap, and serialises it at every upgrade.

with HeapProject.start(tmp_path) as project:
    project.send("put", "a", 1)
    project.dump()  # a forced upgrade: stable memory is an image of the heap
    code, told = project.run("stable", "export", "note", "--via", "snapshot", "--file", "copy")
"""

import hashlib
from dataclasses import replace
from typing import Any

from dfx_backup.replica.candid import Codec
from dfx_backup.transfer.chunk_table import ChunkTable
from dfx_backup.transfer.stable_sidecar import Sidecar, StablePaths
from tests.contract.replica_bench import identity
from tests.fakes.stable_project import ROOT, StableProject

HEAP = ROOT / "examples" / "kit-heap"
WASM = HEAP / "kit_heap.wasm"


class HeapProject(StableProject):
    """Its canister is `examples/kit-heap`."""

    def __init__(self, *args: Any, **more: Any) -> None:
        super().__init__(*args, **more)
        codec = Codec.from_did((HEAP / "kit_heap.did").read_text(encoding="utf-8"))
        self.use(WASM.read_bytes(), codec)

    def dump(self) -> None:
        """An upgrade to the very same module, whose pre_upgrade writes the image."""
        sender = identity("alice").principal.raw
        self.server.replica.install(
            self.snapshots.raw, WASM.read_bytes(), b"DIDL\0\0", "upgrade", sender=sender
        )

    def get(self, name: str) -> int | None:
        """A number, or None."""
        sender = identity("alice").principal.raw
        arg = self.app.encode_args("get", name)
        answer = self.server.replica.query(sender, self.snapshots.raw, "get", arg)
        [found] = self.app.decode_reply("get", answer)
        return next(iter(found), None) if isinstance(found, (list, tuple)) else found

    @staticmethod
    def broken(image: bytes) -> bytes:
        """An image whose post_upgrade traps: its length is right, and its content is none."""
        return image[:8] + bytes(len(image) - 8)

    def replant(self, name: str, content: bytes) -> None:
        """Make this the content of an export, with the hashes that belong to it."""
        paths = StablePaths(base=self.folder / name)
        paths.data.write_bytes(content)
        sidecar = Sidecar.read(paths.sidecar)
        assert sidecar is not None
        table = ChunkTable(len(content), sidecar.hashes.chunk_size)
        for index in range(table.count):
            at = index * table.chunk_size
            chunk = content[at : at + table.length(index)]
            table.put(index, hashlib.sha256(chunk).digest())
        paths.sidecar.write_bytes(replace(sidecar, hashes=table).to_json())


def padded(module: bytes, size: int) -> bytes:
    """The module with a custom section of zeros, so that it has at least so many bytes."""
    content = b"\x07padding" + bytes(size)
    length, number = bytearray(), len(content)
    while number:
        length.append((number & 0x7F) | (0x80 if number > 0x7F else 0))
        number >>= 7
    return module + b"\x00" + bytes(length) + content
