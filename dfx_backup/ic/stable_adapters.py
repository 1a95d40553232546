"""Canisters whose methods for their memory are older than ours: no hashes, no versions.

Every read is a call as an update, so each answer is certified, but nothing in it tells the moment.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager

from dfx_backup.errors import EndpointError, NetworkError, RejectError
from dfx_backup.ic.candid import BLOB, NAT64, CandidError, Type, Value, decode, encode
from dfx_backup.ic.principal import Principal
from dfx_backup.ic.stable_endpoints import (
    READ_EXPIRY_S,
    READ_TIMEOUT_S,
    ChunkHashes,
    EndpointsInfo,
    Methods,
    Stream,
    StreamKind,
    check_length,
    malformed,
    missing,
)
from dfx_backup.model import CanisterId

VersionSource = Callable[[], int | None]
"""Tells the canister's certified version by another way, or None when nobody may know it."""

FACTLAND_STREAM = "stable_memory"
BLOB_STREAM = "blob"
DEFAULT_METHOD = "db_download"


class _Adapter:
    """What both have in common."""

    certifies_size = True

    def __init__(self, methods: Methods, canister: CanisterId, version: VersionSource) -> None:
        self._methods = methods
        self._canister = Principal.from_text(canister)
        self._version = version

    def watch(self, listener: Callable[[NetworkError], None]) -> AbstractContextManager[None]:
        """Tell a listener of every request that fails, also when it is made again."""
        return self._methods.watch(listener)

    def hashes(self, stream: str, offset: int, chunk_size: int, count: int) -> ChunkHashes:
        """There are none.

        Raises:
            EndpointError: always.
        """
        del stream, offset, chunk_size, count
        raise EndpointError("these methods tell no hashes", case="not_supported")

    def _call(self, method: str, arg: bytes, result: Type) -> Value:
        try:
            reply = self._methods.call(
                self._canister,
                method,
                arg,
                expiry_s=READ_EXPIRY_S,
                timeout_s=READ_TIMEOUT_S,
            )
        except RejectError as error:
            raise missing(method, error) or error from None
        try:
            return decode(reply, [result])[0]
        except CandidError as error:
            raise malformed(method, f"something else: {error.message}") from None

    def _told(self, kit: str, stream: str, size: int, version: int | None) -> EndpointsInfo:
        return EndpointsInfo(
            protocol=0,
            kit=kit,
            canister_version=version,
            streams=(Stream(name=stream, kind=StreamKind.STABLE_MEMORY, size=size),),
            max_read=0,
            max_write=0,
        )


class FactlandReader(_Adapter):
    """`stable_size : () -> (nat64)`, in bytes, and `stable_read : (nat64, nat64) -> (blob)`.

    Args:
        methods: the session.
        canister: whose methods.
        version: tells the canister's version.
    """

    info_counts = 1
    """`stable_size` is a call, too."""

    def info(self) -> EndpointsInfo:
        """The one stream there is; the version is that before the call.

        Raises:
            EndpointError: the canister has no such method.
        """
        version = self._version()
        size = self._call("stable_size", encode([], []), NAT64)
        return self._told("factland", FACTLAND_STREAM, size, version)

    def read(self, stream: str, offset: int, length: int, *, certified: bool) -> bytes:
        """`stable_read`, always as an update.

        Raises:
            EndpointError: also when there are fewer bytes in the answer, or more.
        """
        del stream, certified
        arg = encode([NAT64, NAT64], [offset, length])
        found: bytes = self._call("stable_read", arg, BLOB)
        return check_length("stable_read", found, length)


class OffsetBlobReader(_Adapter):
    """One method, `(nat64) -> (blob)`: bytes from an offset on, and none at the end.

    Only an empty answer tells the end, and such methods answer so after errors as well: the size
    is certified by nothing. It is looked for by doubling and halving, and so are reads spread.

    Args:
        methods: the session.
        canister: whose methods.
        version: tells the canister's version.
        method: its name.
    """

    certifies_size = False

    def __init__(
        self, methods: Methods, canister: CanisterId, version: VersionSource, method: str
    ) -> None:
        super().__init__(methods, canister, version)
        self._method = method
        self.info_counts = 0  # of the last time; the same for the same size

    def info(self) -> EndpointsInfo:
        """The one stream there is; the version is that before the first call.

        Raises:
            EndpointError: the canister has no such method, or no bytes at all.
        """
        version = self._version()
        self.info_counts = 0
        return self._told("offset-blob", BLOB_STREAM, self._size(), version)

    def read(self, stream: str, offset: int, length: int, *, certified: bool) -> bytes:
        """Bytes from an offset on, always as an update.

        Raises:
            EndpointError: there are none, or (`too_large`) fewer than were asked for.
        """
        del stream, certified
        found = self._at(offset)
        if not found:
            raise malformed(
                self._method, f"nothing at offset {offset:,}, where there was something"
            )
        if len(found) < length:
            raise EndpointError(
                f"{self._method} gives {len(found):,} bytes at a time",
                case="too_large",
                detail=len(found),
            )
        return found[:length]

    def _size(self) -> int:
        """Where the bytes end: some are just before that, and none from there on."""
        known = self._end_from(0)
        if not known:
            raise malformed(self._method, "nothing at offset 0: empty, or an error that it hides")
        beyond = 2 * known
        while found := self._end_from(beyond):
            known, beyond = found, 2 * beyond
        while known < beyond:
            if not self._end_from(known):
                return known
            middle = (known + beyond) // 2
            found = self._end_from(middle)
            known, beyond = (found, beyond) if found else (known, middle)
        return known

    def _end_from(self, offset: int) -> int:
        """The end of the bytes at an offset; 0 when there are none."""
        self.info_counts += 1
        found = self._at(offset)
        return offset + len(found) if found else 0

    def _at(self, offset: int) -> bytes:
        found: bytes = self._call(self._method, encode([NAT64], [offset]), BLOB)
        return found
