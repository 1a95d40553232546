"""Write the golden repositories of the tests: a sound one, and ones that are damaged in one way.

Time and randomness are fixed, so every run writes the same bytes, as long as zstd is the same:
`zstd.txt` tells which one it was.
"""

import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from dfx_backup.repository.compression import zstd  # noqa: E402 - only now can it be found
from dfx_backup.repository.config import encode_config  # noqa: E402 - the same
from dfx_backup.repository.layout import (  # noqa: E402 - the same
    CONFIG_NAME,
    BlobKind,
    ObjectKind,
    list_objects,
    object_name,
)
from dfx_backup.repository.memory import MemoryStore  # noqa: E402 - the same
from dfx_backup.repository.writer import BackupMeta  # noqa: E402 - the same
from tests.fakes.repositories import (  # noqa: E402 - the same
    FixedMachine,
    new_repository,
    pages,
    reopened,
)

FOLDER = ROOT / "tests" / "golden" / "repositories"
VERSION = "zstd.txt"
SEED = 4
FIRST = {
    "metadata.json": b"{}",
    "wasm_memory.bin": pages(1, 2, 0, 3),
    "wasm_module.bin": b"\0asm",
}
SECOND = {
    "metadata.json": b"{} ",
    "wasm_chunk_store/00.bin": b"chunk",
    "wasm_memory.bin": pages(1, 4, 0, 3) + b"end",
    "wasm_module.bin": b"\0asm",
}

Objects = dict[str, bytes]


def build() -> MemoryStore:
    """The sound repository: two backups that share most of their pages."""
    store = MemoryStore(clock=lambda: 0.0)
    repository = new_repository(store, FixedMachine(SEED).machine())
    for number, files in enumerate((FIRST, SECOND)):
        with repository.writer(workers=1) as writer:
            for name, data in files.items():
                writer.add(name, data)
            # One pack at a time, or two threads would take turns with the randomness.
            writer._packs.write_packs()  # noqa: SLF001 - nobody else needs such order
            writer.commit(
                BackupMeta(
                    hostname="local",
                    paths=("/aaaaa-aa",),
                    time=1_780_000_000.0 + 86_400 * number,
                    tags=("golden",),
                    program_version="dfx-backup golden",
                )
            )
    return store


class Places:
    """Where things lie in the sound repository."""

    def __init__(self, store: MemoryStore) -> None:
        self.repository = reopened(store, FixedMachine(SEED + 1).machine())
        self.snapshots = self.repository.snapshots()
        self._store = store

    def names(self, kind: ObjectKind) -> list[str]:
        """Names of all objects of a kind, rising."""
        return sorted(object_name(kind, each) for each, _ in list_objects(self._store, kind))

    def snapshot(self, number: int) -> str:
        """Name of a snapshot object."""
        return object_name(ObjectKind.SNAPSHOT, self.snapshots[number].snapshot_id)

    def page(self, snapshot: int, number: int) -> tuple[str, int]:
        """Pack of a page of a backup's memory, and its first byte there."""
        node = self.repository.tree(self.snapshots[snapshot].tree).find("wasm_memory.bin")
        assert node is not None
        assert node.content is not None
        return self._place(BlobKind.DATA, node.content[number])

    def tree(self, snapshot: int) -> tuple[str, int]:
        """Pack of a backup's tree, and its first byte there."""
        return self._place(BlobKind.TREE, self.snapshots[snapshot].tree)

    def _place(self, kind: BlobKind, blob_id: bytes) -> tuple[str, int]:
        place = self.repository.find_blob(kind, blob_id)
        pack_id = self.repository.index.pack_id(place.pack)
        return object_name(ObjectKind.DATA, pack_id), place.offset


def flipped(data: bytes, at: int) -> bytes:
    """The bytes with one wrong bit."""
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def _newer_version(places: Places) -> bytes:
    text = encode_config(places.repository.config).replace(b'"version":2', b'"version":3')
    return bytes(places.repository.sealer.seal(text))


def damages(sound: Objects, places: Places) -> dict[str, Objects]:
    """Copies of the sound repository, each damaged in one way."""
    page_pack, page_at = places.page(1, 1)
    shared_pack, shared_at = places.page(1, 0)
    tree_pack, tree_at = places.tree(1)
    snapshot, key = places.snapshot(1), places.names(ObjectKind.KEY)[0]
    index = places.names(ObjectKind.INDEX)

    def change(name: str, how: Callable[[bytes], bytes]) -> Objects:
        return sound | {name: how(sound[name])}

    def without(*names: str) -> Objects:
        return {name: data for name, data in sound.items() if name not in names}

    return {
        "sound": sound,
        "flipped-bit-in-page": change(page_pack, lambda data: flipped(data, page_at + 20)),
        "flipped-bit-in-shared-page": change(
            shared_pack, lambda data: flipped(data, shared_at + 20)
        ),
        "flipped-bit-in-tree": change(tree_pack, lambda data: flipped(data, tree_at + 20)),
        "flipped-bit-in-pack-header": change(page_pack, lambda data: flipped(data, len(data) - 9)),
        "exchanged-packs": sound | {page_pack: sound[shared_pack], shared_pack: sound[page_pack]},
        "truncated-pack": change(page_pack, lambda data: data[: len(data) // 2]),
        "empty-pack": change(page_pack, lambda _: b""),
        "missing-pack": without(page_pack),
        "missing-tree": without(tree_pack),
        "missing-index": without(*index),
        "garbage-index": change(index[0], lambda data: bytes(len(data))),
        "damaged-snapshot": change(snapshot, lambda data: flipped(data, 40)),
        "damaged-key": change(key, lambda data: data[:-40]),
        "missing-keys": without(key),
        "garbage-config": change(CONFIG_NAME, lambda data: bytes(len(data))),
        "missing-config": without(CONFIG_NAME),
        "newer-version": change(CONFIG_NAME, lambda _: _newer_version(places)),
    }


def golden_files() -> Objects:
    """All files of the folder, by their paths in it."""
    store = build()
    sound = {name: data for name, (data, _) in store.objects.items()}
    files = {VERSION: f"{zstd.zstd_version}\n".encode()}
    for case, objects in damages(sound, Places(store)).items():
        files |= {f"{case}/{name}": data for name, data in objects.items()}
    return files


def main() -> None:
    """Write the folder anew."""
    files = golden_files()
    for old in FOLDER.rglob("*"):
        if old.is_file() and str(old.relative_to(FOLDER)) not in files:
            old.unlink()
    for name, data in files.items():
        path = FOLDER / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    print(f"{len(files)} files, {sum(map(len, files.values()))} bytes in {FOLDER}")


if __name__ == "__main__":
    main()
