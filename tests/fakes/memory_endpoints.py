"""A canister with the kit's methods, in memory, at the level of Candid messages.

It is stateful, refuses what it does not know, and counts its version as the network does.
"""

import hashlib
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dfx_backup.errors import NetworkError, RejectError
from dfx_backup.ic.principal import Principal
from dfx_backup.replica.candid import Codec

ROOT = Path(__file__).parents[2]
CODEC = Codec.from_did((ROOT / "dfx_backup" / "kit" / "backup.did").read_text(encoding="utf-8"))
QUERIES = {"backup_info", "backup_read", "backup_hashes"}
CANISTER = "bkyz2-fmaaa-aaaaa-qaaaq-cai"
MIB = 1 << 20


class KitRefusedError(Exception):
    """An error of the interface."""


@dataclass(slots=True)
class Begun:
    """An import session."""

    id: int
    stream: str
    size: int
    chunk: int
    hashes: list[bytes] = field(default_factory=list)
    done: bool = False

    def told(self) -> dict[str, Any]:
        return {
            "session": self.id,
            "stream": self.stream,
            "size": self.size,
            "chunk_size": self.chunk,
            "hashes_known": len(self.hashes),
        }


@dataclass(slots=True)
class Call:
    """What a hook gets to see."""

    method: str
    fields: dict[str, Any]
    certified: bool
    number: int


class MemoryEndpoints:
    """`ic.stable_endpoints.Methods` over bytes in memory.

    Attributes:
        streams: their bytes.
        canister: its id.
        version: the canister's.
        kit: what it calls itself.
        hashes_at_once: most hashes of an answer.
        max_certified, max_query: most bytes of one read.
        finish_steps: how many more calls `finish` wants at first.
        calls: everything that was asked, in order.
        before, after: hooks; `before` may raise what the network would.
        mangle: changes a reply on its way.
    """

    def __init__(self, **streams: bytes) -> None:
        self.streams = {name: bytearray(data) for name, data in streams.items()}
        self.apps: dict[str, Callable[[], bytes]] = {}
        self.version = 7
        self.canister = CANISTER
        self.kit = "rust 0.1.0"
        self.hashes_at_once = 5
        self.max_certified = 2 * MIB - 1024
        self.max_query = 3 * MIB - 1024
        self.finish_steps = 0
        self.session: Begun | None = None
        self.calls: list[Call] = []
        self.before: Callable[[Call], None] = lambda _call: None
        self.after: Callable[[Call], None] = lambda _call: None
        self.mangle: Callable[[Call, bytes], bytes] = lambda _call, reply: reply
        self.is_authorized = True
        self._lock = threading.RLock()

    # -- Methods ----------------------------------------------------------------------------------

    def call(
        self,
        canister: Principal,
        method: str,
        arg: bytes,
        *,
        expiry_s: float = 0.0,
        timeout_s: float | None = None,
    ) -> bytes:
        del expiry_s, timeout_s
        return self._serve(canister, method, arg, certified=True)

    def query(self, canister: Principal, method: str, arg: bytes) -> bytes:
        assert method in QUERIES, f"{method} is no query"
        return self._serve(canister, method, arg, certified=False)

    def watch(self, listener: Callable[[NetworkError], None]) -> AbstractContextManager[None]:
        del listener
        return nullcontext()

    def count(self, method: str, *, certified: bool = True) -> int:
        """How often a method was called."""
        return sum(each.method == method and each.certified == certified for each in self.calls)

    def touch(self, stream: str, offset: int, data: bytes) -> None:
        """The app writes: one message of its own."""
        with self._lock:
            self.streams[stream][offset : offset + len(data)] = data
            self.version += 1

    # -- Serving ----------------------------------------------------------------------------------

    def _serve(self, canister: Principal, method: str, arg: bytes, *, certified: bool) -> bytes:
        assert canister.to_text() == self.canister
        with self._lock:
            known = CODEC.methods.get(method)
            if known is None:
                raise reject(5, "IC0536", f"Canister has no update method '{method}'")
            args = CODEC.decode_args(method, arg)
            fields = args[0] if args else {}
            call = Call(method, fields, certified, len(self.calls))
            self.calls.append(call)
            self.before(call)
            reply = self._reply(method, fields, certified=certified)
            self.after(call)
            return self.mangle(call, reply)

    def _reply(self, method: str, fields: dict[str, Any], *, certified: bool) -> bytes:
        try:
            self._guard()
            answer = ("ok", getattr(self, f"_{method}")(certified=certified, **fields))
        except KitRefusedError as error:
            answer = ("err", error.args)
        reply: bytes = CODEC.encode_reply(method, answer)
        if certified:
            self.version += 1
        return reply

    def _guard(self) -> None:
        if not self.is_authorized:
            raise KitRefusedError("unauthorized", None)

    def _bytes(self, stream: str) -> bytearray:
        if stream not in self.streams:
            raise KitRefusedError("unknown_stream", stream)
        return self.streams[stream]

    def _backup_info(self, *, certified: bool) -> dict[str, Any]:
        del certified
        return {
            "protocol": 1,
            "kit": self.kit,
            "canister_version": self.version,
            "streams": [
                {
                    "name": name,
                    "kind": ("app" if name in self.apps else "stable_memory", None),
                    "size": len(data),
                }
                for name, data in self.streams.items()
            ],
            "max_read": self.max_query,
            "max_write": 2 * MIB - 65_536,
            "import_session": None if self.session is None else self.session.told(),
        }

    def _backup_read(self, *, certified: bool, stream: str, offset: int, length: int) -> bytes:
        data = self._bytes(stream)
        most = self.max_certified if certified else self.max_query
        if length > most:
            raise KitRefusedError("too_large", {"max": most})
        if offset + length > len(data):
            raise KitRefusedError("out_of_range", {"size": len(data)})
        return bytes(data[offset : offset + length])

    def _backup_hashes(
        self, *, certified: bool, stream: str, offset: int, chunk_size: int, count: int
    ) -> dict[str, Any]:
        del certified
        data = self._bytes(stream)
        if offset > len(data):
            raise KitRefusedError("out_of_range", {"size": len(data)})
        found = []
        while offset < len(data) and len(found) < min(count, self.hashes_at_once):
            found.append(hashlib.sha256(data[offset : offset + chunk_size]).digest())
            offset += chunk_size
        return {"canister_version": self.version, "size": len(data), "hashes": found}

    def _backup_stage(self, *, certified: bool, stream: str) -> dict[str, Any]:
        self._bytes(stream)
        if stream in self.apps:
            self.streams[stream] = bytearray(self.apps[stream]())
        return self._backup_info(certified=certified)

    def _backup_import_begin(
        self, *, certified: bool, stream: str, size: int, chunk_size: int
    ) -> dict[str, Any]:
        del certified
        if self.session is not None and not self.session.done:
            raise KitRefusedError("import_in_progress", self.session.told())
        data = self._bytes(stream)
        if len(data) < size:
            data.extend(bytes(size - len(data)))
        self.session = Begun(1000 + self.version, stream, size, chunk_size)
        return self.session.told()

    def _open(self, session: int) -> Begun:
        if self.session is None or self.session.id != session or self.session.done:
            raise KitRefusedError("no_such_session", None)
        return self.session

    def _backup_import_hashes(
        self, *, certified: bool, session: int, first: int, hashes: list[bytes]
    ) -> None:
        del certified
        begun = self._open(session)
        if first > len(begun.hashes):
            raise KitRefusedError("incomplete", {"first_missing_hash": len(begun.hashes)})
        begun.hashes[first : first + len(hashes)] = hashes

    def _backup_import_write(
        self, *, certified: bool, session: int, offset: int, data: bytes
    ) -> None:
        del certified
        begun = self._open(session)
        if offset + len(data) > begun.size:
            raise KitRefusedError("out_of_range", {"size": begun.size})
        self.streams[begun.stream][offset : offset + len(data)] = data

    def _backup_import_finish(self, *, certified: bool, session: int) -> Any:
        del certified
        if self.session is not None and self.session.id == session and self.session.done:
            return ("done", None)
        begun = self._open(session)
        data = self.streams[begun.stream]
        if len(begun.hashes) * begun.chunk < begun.size:
            raise KitRefusedError("incomplete", {"first_missing_hash": len(begun.hashes)})
        for index, hash_ in enumerate(begun.hashes):
            at = index * begun.chunk
            end = min(at + begun.chunk, begun.size)
            if hashlib.sha256(data[at:end]).digest() != hash_:
                raise KitRefusedError("hash_mismatch", {"offset": at})
        if self.finish_steps:
            self.finish_steps -= 1
            return ("more", 1 + self.finish_steps)
        data[begun.size :] = bytes(len(data) - begun.size)
        begun.done = True
        return ("done", None)

    def _backup_import_abort(self, *, certified: bool, session: int) -> None:
        del certified
        self._open(session)
        self.session = None


def reject(code: int, error_code: str, text: str) -> RejectError:
    """A refusal of the replica."""
    return RejectError(text, reject_code=code, error_code=error_code, reject_message=text)
