"""A canister's own methods for its memory: `backup_*`, protocol 1 (dfx_backup/kit/backup.did).

Every method is called as an update, which certifies the answer, except where a caller asks for a
plain query and checks what comes against certified hashes.
"""

import enum
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from dfx_backup.errors import EndpointError, NetworkError, RejectError
from dfx_backup.ic import stable_candid as types
from dfx_backup.ic.candid import CandidError, Type, Value, decode, encode
from dfx_backup.ic.principal import Principal
from dfx_backup.model import CanisterId

PROTOCOL = 1
HASH_BYTES = 32
READ_EXPIRY_S = 120.0
"""Seconds for which a call that only reads can execute."""
READ_TIMEOUT_S = 120.0
"""Seconds after which a call that only reads is given up."""
_NO_METHOD = "IC0536"
_MISSING = (
    "add --via snapshot, which needs none, but stops the canister for some seconds; or give it the"
    " kit's methods (`docs/stable-memory.md`)"
)


class Methods(Protocol):
    """What is needed of a session; `ic.session.Session` is one."""

    def call(
        self,
        canister: Principal,
        method: str,
        arg: bytes,
        *,
        expiry_s: float = ...,
        timeout_s: float | None = None,
    ) -> bytes:
        """Make an update call and return its certified reply."""

    def query(self, canister: Principal, method: str, arg: bytes) -> bytes:
        """Ask a query method; one node answers on its own."""

    def watch(self, listener: Callable[[NetworkError], None]) -> AbstractContextManager[None]:
        """Tell a listener of every request that fails, until the block ends."""


class StreamKind(enum.StrEnum):
    """What the bytes of a stream are."""

    STABLE_MEMORY = "stable_memory"
    VIRTUAL_MEMORY = "virtual_memory"
    APP = "app"
    """What the app makes of its state when it is staged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """A stream of bytes that a canister offers.

    Attributes:
        name: its name.
        kind: what its bytes are.
        size: bytes.
        memory_id: of a virtual memory, or None.
    """

    name: str
    kind: StreamKind
    size: int
    memory_id: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportSession:
    """An import that began; `hashes_known` is how many chunks' hashes the canister has."""

    session: int
    stream: str
    size: int
    chunk_size: int
    hashes_known: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointsInfo:
    """What a canister offers.

    Attributes:
        protocol: of the methods; 0 for other interfaces than ours.
        kit: which kit, and its version.
        canister_version: when it answered, or None when nobody could tell.
        streams: what can be read.
        max_read: most bytes of one read by a query.
        max_write: most bytes of one write.
        import_session: the import that began last, unless it was left behind.
    """

    protocol: int
    kit: str
    canister_version: int | None
    streams: tuple[Stream, ...]
    max_read: int
    max_write: int
    import_session: ImportSession | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkHashes:
    """SHA-256 of consecutive chunks, and the stream's size (bytes) when they were made."""

    canister_version: int
    size: int
    hashes: tuple[bytes, ...]


class StableEndpoints:
    """Calls the methods of one canister. Threads may share it.

    Every method raises `EndpointError` when the canister answers with an error of the interface,
    `RejectError` when it refuses or traps, and other `NetworkError`s as the session does.

    Args:
        methods: the session.
        canister: whose methods.

    Attributes:
        info_counts: how often `info` raises the canister's version.
        certifies_size: the end of a stream is certified as its bytes are.
    """

    info_counts = 1
    certifies_size = True

    def __init__(self, methods: Methods, canister: CanisterId) -> None:
        self._methods = methods
        self._canister = Principal.from_text(canister)

    def watch(self, listener: Callable[[NetworkError], None]) -> AbstractContextManager[None]:
        """Tell a listener of every request that fails, also when it is made again."""
        return self._methods.watch(listener)

    def info(self) -> EndpointsInfo:
        """`backup_info`.

        Raises:
            EndpointError: also when the canister has no such methods, or of another protocol.
        """
        found = self._call("backup_info", encode([], []), types.INFO_ANSWER)
        return _info(found)

    def glance(self) -> EndpointsInfo:
        """`backup_info` as a query: one node's word, which costs nothing.

        Raises:
            RejectError: also when the canister has no such methods.
            EndpointError: its answer is an error, or none.
        """
        reply = self._methods.query(self._canister, "backup_info", encode([], []))
        return _info(_opened("backup_info", reply, types.INFO_ANSWER))

    def stage(self, stream: str) -> EndpointsInfo:
        """`backup_stage`: let the app make the bytes of one of its streams."""
        arg = encode([types.NAME], [{"stream": stream}])
        return _info(self._call("backup_stage", arg, types.INFO_ANSWER))

    def read(self, stream: str, offset: int, length: int, *, certified: bool) -> bytes:
        """`backup_read`: exactly so many bytes.

        Args:
            stream: of which stream.
            offset: where they begin.
            length: how many.
            certified: call it as an update. A query is answered by one node alone.

        Raises:
            EndpointError: also when there are fewer bytes in the answer, or more.
        """
        asked = {"stream": stream, "offset": offset, "length": length}
        arg = encode([types.READ], [asked])
        found: bytes
        if certified:
            found = self._call("backup_read", arg, types.BLOB_ANSWER)
        else:
            reply = self._methods.query(self._canister, "backup_read", arg)
            found = _opened("backup_read", reply, types.BLOB_ANSWER)
        return check_length("backup_read", found, length)

    def hashes(self, stream: str, offset: int, chunk_size: int, count: int) -> ChunkHashes:
        """`backup_hashes`: at least one and at most `count` hashes, certified; none at the end.

        Raises:
            EndpointError: also when what comes are no SHA-256s, or too many or too few of them.
        """
        asked = {"stream": stream, "offset": offset, "chunk_size": chunk_size, "count": count}
        found = self._call("backup_hashes", encode([types.ASK], [asked]), types.HASHES_ANSWER)
        told = ChunkHashes(
            canister_version=found["canister_version"],
            size=found["size"],
            hashes=tuple(found["hashes"]),
        )
        left = -(-max(0, told.size - offset) // chunk_size)
        most = min(count, left)
        if not min(1, most) <= len(told.hashes) <= most:
            raise malformed(
                "backup_hashes", f"{len(told.hashes)} hashes where {most} would be right"
            )
        if any(len(each) != HASH_BYTES for each in told.hashes):
            raise malformed("backup_hashes", "a hash that is none")
        return told

    def import_begin(self, stream: str, size: int, chunk_size: int) -> ImportSession:
        """`backup_import_begin`: from now on the canister is in import mode."""
        arg = encode([types.BEGIN], [{"stream": stream, "size": size, "chunk_size": chunk_size}])
        return _session(self._call("backup_import_begin", arg, types.IMPORT_ANSWER, changes=True))

    def import_hashes(self, session: int, first: int, hashes: Sequence[bytes]) -> None:
        """`backup_import_hashes`: of the chunks from number `first` on."""
        told = {"session": session, "first": first, "hashes": list(hashes)}
        self._call("backup_import_hashes", encode([types.PUT_HASHES], [told]), types.NULL_ANSWER)

    def import_write(self, session: int, offset: int, data: bytes) -> None:
        """`backup_import_write`; writing the same again changes nothing."""
        told = {"session": session, "offset": offset, "data": data}
        arg = encode([types.WRITE], [told])
        del told
        self._call("backup_import_write", arg, types.NULL_ANSWER)

    def import_finish(self, session: int) -> int | None:
        """`backup_import_finish`: bytes that are still to be looked at; None when it is done."""
        arg = encode([types.SESSION], [{"session": session}])
        case, left = self._call("backup_import_finish", arg, types.PROGRESS_ANSWER)
        return left if case == "more" else None

    def import_abort(self, session: int) -> None:
        """`backup_import_abort`: what was written stays."""
        arg = encode([types.SESSION], [{"session": session}])
        self._call("backup_import_abort", arg, types.NULL_ANSWER)

    def _call(self, method: str, arg: bytes, result: Type, *, changes: bool = False) -> Value:
        try:
            reply = self._methods.call(
                self._canister,
                method,
                arg,
                expiry_s=READ_EXPIRY_S,
                timeout_s=None if changes else READ_TIMEOUT_S,
            )
        except RejectError as error:
            raise missing(method, error) or error from None
        return _opened(method, reply, result)


def missing(method: str, error: RejectError) -> EndpointError | None:
    """The error for a method that a canister does not have; None when it was refused otherwise."""
    if error.error_code != _NO_METHOD:
        return None
    return EndpointError(
        f"the canister has no method {method}", case="missing", detail=method, hint=_MISSING
    )


def malformed(method: str, what: str) -> EndpointError:
    """The error for an answer that breaks the interface."""
    return EndpointError(f"{method} answered with {what}", case="malformed")


def check_length(method: str, data: bytes, length: int) -> bytes:
    """The data, when there is exactly as much as was asked for.

    Raises:
        EndpointError: there is less or more; less is never the end of a stream.
    """
    if len(data) != length:
        raise malformed(method, f"{len(data):,} bytes where {length:,} were asked for")
    return data


def _opened(method: str, reply: bytes, result: Type) -> Value:
    try:
        case, value = decode(reply, [result])[0]
    except CandidError as error:
        raise malformed(
            method, f"something else than the interface says: {error.message}"
        ) from None
    if case == "err":
        raise _error(method, *value)
    return value


def _error(method: str, case: str, value: Value) -> EndpointError:
    detail: int | str | None = None
    told = case.replace("_", " ")
    hint = None
    if case == "unauthorized":
        told = "the caller is not allowed to"
        hint = "use an identity that is a controller or that the canister's guard lets in"
    elif case == "import_in_progress":
        detail = value["session"]
        told = f"an import of {value['stream']} is in progress"
        hint = "let it finish, or end it with `stable import --abort`"
    elif isinstance(value, dict):
        [detail] = value.values()
        told = f"{told} ({detail:,})"
    elif isinstance(value, str):
        detail, told = value, f"{told}: {value}"
    return EndpointError(f"{method}: {told}", case=case, detail=detail, hint=hint)


def _info(found: Value) -> EndpointsInfo:
    if found["protocol"] != PROTOCOL:
        raise EndpointError(
            f"the canister speaks protocol {found['protocol']}, and this program {PROTOCOL}",
            case="not_supported",
            hint="use a newer version of this program",
        )
    began = found["import_session"]
    return EndpointsInfo(
        protocol=found["protocol"],
        kit=found["kit"],
        canister_version=found["canister_version"],
        streams=tuple(_stream(each) for each in found["streams"]),
        max_read=found["max_read"],
        max_write=found["max_write"],
        import_session=None if began is None else _session(began),
    )


def _stream(found: Value) -> Stream:
    kind, memory_id = found["kind"]
    return Stream(
        name=found["name"], kind=StreamKind(kind), size=found["size"], memory_id=memory_id
    )


def _session(found: Value) -> ImportSession:
    return ImportSession(
        session=found["session"],
        stream=found["stream"],
        size=found["size"],
        chunk_size=found["chunk_size"],
        hashes_known=found["hashes_known"],
    )
