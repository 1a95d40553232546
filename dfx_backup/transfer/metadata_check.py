"""What a replica refuses in a snapshot's metadata, found before it is asked."""

from collections.abc import Iterator

from dfx_backup.ic.snapshot_metadata import SnapshotMetadata
from dfx_backup.transfer.terms import PAGE_BYTES

_GIB = 1 << 30
MAX_MODULE_BYTES = 100 * 1024 * 1024
MAX_HEAP_64_BYTES = 6 * _GIB
MAX_STABLE_BYTES = 500 * _GIB
MAX_GLOBALS = 1000
MAX_CERTIFIED_BYTES = 32


def metadata_problems(metadata: SnapshotMetadata) -> Iterator[str]:
    """Full sentences about what no replica accepts (replica, snapshot validation)."""
    if not 0 < metadata.wasm_module_size <= MAX_MODULE_BYTES:
        yield f"A module of {metadata.wasm_module_size} bytes is not possible."
    for what, size, most in (
        ("Wasm memory", metadata.wasm_memory_size, MAX_HEAP_64_BYTES),
        ("stable memory", metadata.stable_memory_size, MAX_STABLE_BYTES),
    ):
        if size % PAGE_BYTES or size > most:
            yield f"A {what} of {size} bytes is not possible."
    if len(metadata.globals) > MAX_GLOBALS:
        yield f"It has {len(metadata.globals)} globals, and {MAX_GLOBALS} are possible."
    if len(metadata.certified_data) > MAX_CERTIFIED_BYTES:
        yield f"It has {len(metadata.certified_data)} bytes of certified data."
    missing = [str(at) for at, each in enumerate(metadata.globals) if each is None]
    if missing:
        yield (
            f"The exact value of global {', '.join(missing[:5])} is not known: it is written as"
            " null (NaN, infinite, or of a new type)."
        )
