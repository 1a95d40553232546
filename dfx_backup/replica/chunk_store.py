"""The Wasm chunk store of a canister, and installing code from it (interface specification)."""

import hashlib
from typing import Final

from dfx_backup.replica.management_access import (
    CONTRACT_VIOLATION,
    Access,
    check_access,
    refuse,
)
from dfx_backup.replica.management_call import Call, check_growth, find_canister
from dfx_backup.replica.reject import Reject
from dfx_backup.replica.state import CHUNK_SIZE

MAX_CHUNKS: Final = 100
MAX_MODULE: Final = 100 << 20


def store_error(text: str) -> Reject:
    """Make a refusal of the chunk store (IC0504)."""
    return refuse(CONTRACT_VIOLATION, f"Error from Wasm chunk store: {text}")


def put_chunk(chunks: dict[bytes, bytes], chunk: bytes) -> bytes:
    """Add a chunk to a store and give its hash; a chunk that is there already costs nothing.

    Raises:
        Reject: IC0504, the chunk is above 1 MiB or the store is full.
    """
    if len(chunk) > CHUNK_SIZE:
        raise store_error(
            f"Wasm chunk size {len(chunk)} exceeds the maximum chunk size of {CHUNK_SIZE}."
        )
    key = hashlib.sha256(chunk).digest()
    if key not in chunks:
        if len(chunks) >= MAX_CHUNKS:
            raise store_error(f"Wasm chunk store has reached maximum capacity of {MAX_CHUNKS}.")
        chunks[key] = chunk
    return key


def find_chunk(chunks: dict[bytes, bytes], key: bytes) -> bytes:
    """Give a chunk by hash.

    Raises:
        Reject: IC0504, it is not there.
    """
    if key not in chunks:
        raise store_error(f"WasmChunk not found: hash {key.hex()}")
    return chunks[key]


def upload_chunk(call: Call) -> tuple[object, ...]:
    """Store a chunk and reply with its hash."""
    canister = call.canister()
    chunk: bytes = call.args["chunk"]
    if hashlib.sha256(chunk).digest() not in canister.chunks:
        check_growth(call.replica, canister, CHUNK_SIZE)
    return ({"hash": put_chunk(canister.chunks, chunk)},)


def stored_chunks(call: Call) -> tuple[object, ...]:
    """Reply with the hashes of all stored chunks."""
    return ([{"hash": key} for key in sorted(call.canister().chunks)],)


def clear_chunk_store(call: Call) -> tuple[object, ...]:
    """Forget all stored chunks."""
    call.canister().chunks.clear()
    return ()


def assemble(call: Call) -> bytes:
    """Put the module of an `install_chunked_code` call together.

    The caller must control the store's canister, or be it.

    Raises:
        Reject: IC0301 no such store, IC0512 not the caller's, IC0504 a chunk is missing, the
            module is too large or has another hash.
    """
    store_id = call.args["store_canister"] or call.args["target_canister"]
    store = find_canister(call.replica, store_id)
    check_access(Access.CONTROLLERS_OR_SELF, call.caller, store)
    keys = [each["hash"] for each in call.args["chunk_hashes_list"]]
    parts = [find_chunk(store.chunks, key) for key in keys]
    if sum(map(len, parts)) > MAX_MODULE:
        raise store_error(f"the module is above the limit of {MAX_MODULE} bytes")
    module = b"".join(parts)
    expected = call.args["wasm_module_hash"]
    if hashlib.sha256(module).digest() != expected:
        raise store_error(
            f"Wasm module hash {hashlib.sha256(module).hexdigest()} does not match given hash "
            f"{expected.hex()}"
        )
    return module
