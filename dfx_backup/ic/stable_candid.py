"""The Candid types of dfx_backup/kit/backup.did."""

from dfx_backup.ic.candid import (
    BLOB,
    NAT8,
    NAT16,
    NAT32,
    NAT64,
    NULL,
    TEXT,
    Opt,
    Type,
    Vec,
    record,
    variant,
)

KIND = variant({"stable_memory": NULL, "virtual_memory": NAT8, "app": NULL})
STREAM = record({"name": TEXT, "kind": KIND, "size": NAT64})
IMPORT = record(
    {
        "session": NAT64,
        "stream": TEXT,
        "size": NAT64,
        "chunk_size": NAT32,
        "hashes_known": NAT64,
    }
)
INFO = record(
    {
        "protocol": NAT16,
        "kit": TEXT,
        "canister_version": NAT64,
        "streams": Vec(STREAM),
        "max_read": NAT32,
        "max_write": NAT32,
        "import_session": Opt(IMPORT),
    }
)
HASHES = record({"canister_version": NAT64, "size": NAT64, "hashes": Vec(BLOB)})
ERROR = variant(
    {
        "unauthorized": NULL,
        "unknown_stream": TEXT,
        "out_of_range": record({"size": NAT64}),
        "too_large": record({"max": NAT64}),
        "import_in_progress": IMPORT,
        "no_such_session": NULL,
        "hash_mismatch": record({"offset": NAT64}),
        "incomplete": record({"first_missing_hash": NAT64}),
        "cannot_grow": record({"wanted_pages": NAT64}),
        "not_supported": TEXT,
    }
)
PROGRESS = variant({"done": NULL, "more": NAT64})
NAME = record({"stream": TEXT})
READ = record({"stream": TEXT, "offset": NAT64, "length": NAT32})
ASK = record({"stream": TEXT, "offset": NAT64, "chunk_size": NAT32, "count": NAT32})
BEGIN = record({"stream": TEXT, "size": NAT64, "chunk_size": NAT32})
PUT_HASHES = record({"session": NAT64, "first": NAT64, "hashes": Vec(BLOB)})
WRITE = record({"session": NAT64, "offset": NAT64, "data": BLOB})
SESSION = record({"session": NAT64})


def answer(ok: Type) -> Type:
    """What a method answers: `ok`, or an error of the interface."""
    return variant({"ok": ok, "err": ERROR})


INFO_ANSWER = answer(INFO)
BLOB_ANSWER = answer(BLOB)
HASHES_ANSWER = answer(HASHES)
IMPORT_ANSWER = answer(IMPORT)
NULL_ANSWER = answer(NULL)
PROGRESS_ANSWER = answer(PROGRESS)
