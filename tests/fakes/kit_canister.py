"""A canister built from the kit, on a replica without a network edge."""

import hashlib
from pathlib import Path
from typing import Any

from dfx_backup.replica.candid import Codec
from dfx_backup.replica.replica import Replica

ROOT = Path(__file__).parents[2]
KIT = ROOT / "dfx_backup" / "kit"
EXAMPLES = ROOT / "examples"
CONTROLLER = b"\x01" * 28 + b"\x02"
FRIEND = b"\x0f" * 28 + b"\x02"
STRANGER = b"\x0e" * 28 + b"\x02"
ANONYMOUS = b"\x04"
MIB = 1 << 20
NEVER = 2**64 - 1


class KitError(Exception):
    """What came back in `err`: the case, and what it carries."""

    def __init__(self, case: str, value: Any) -> None:
        super().__init__(case, value)
        self.case = case
        self.value = value


class KitCanister:
    """Calls the methods of `backup.did`, and those of the app by their own description.

    Attributes:
        caller: who calls; the controller unless told otherwise.
    """

    def __init__(self, replica: Replica, wasm: bytes, app: str) -> None:
        self.replica = replica
        self.wasm = wasm
        self.caller = CONTROLLER
        self.kit = Codec.from_did((KIT / "backup.did").read_text(encoding="utf-8"))
        self.app = Codec.from_did(app)
        self.id = replica.create_canister(controllers=[CONTROLLER])
        replica.install(self.id, wasm, b"DIDL\0\0", sender=CONTROLLER)

    # The kit

    def arg(self, method: str, **fields: Any) -> bytes:
        """A method's argument."""
        return self.kit.encode_args(method, *([fields] if self.kit.methods[method].args else []))

    def call(self, method: str, **fields: Any) -> Any:
        """Call as an update; raises KitError for `err`, Reject for what never got an answer."""
        answer = self.replica.ingress(self.caller, self.id, method, self.arg(method, **fields))
        return self._opened(method, answer.get())

    def query(self, method: str, **fields: Any) -> Any:
        """Call as a query."""
        answer = self.replica.query(self.caller, self.id, method, self.arg(method, **fields))
        return self._opened(method, answer)

    def info(self) -> Any:
        """`backup_info`."""
        return self.query("backup_info")

    def size(self, stream: str) -> int:
        """How large a stream is (bytes)."""
        return next(each["size"] for each in self.info()["streams"] if each["name"] == stream)

    def read(self, stream: str, offset: int = 0, length: int | None = None) -> bytes:
        """Bytes of a stream, in as many queries as it takes."""
        end = self.size(stream) if length is None else offset + length
        parts = [
            self.query("backup_read", stream=stream, offset=at, length=min(2 * MIB, end - at))
            for at in range(offset, end, 2 * MIB)
        ]
        return b"".join(parts)

    def hashes(self, stream: str, chunk_size: int = MIB) -> list[bytes]:
        """All hashes of a stream, in as many queries as it takes."""
        found: list[bytes] = []
        size = self.size(stream)
        while len(found) * chunk_size < size:
            answer = self.query(
                "backup_hashes",
                stream=stream,
                offset=len(found) * chunk_size,
                chunk_size=chunk_size,
                count=2**32 - 1,
            )
            assert answer["hashes"]
            found += answer["hashes"]
        return found

    def begin(self, stream: str, data: bytes, chunk_size: int = MIB) -> int:
        """Begin an import of `data` and send its hashes; gives the session."""
        begun = self.call(
            "backup_import_begin", stream=stream, size=len(data), chunk_size=chunk_size
        )
        session: int = begun["session"]
        self.call("backup_import_hashes", session=session, first=0, hashes=sha(data, chunk_size))
        return session

    def write(self, session: int, offset: int, data: bytes) -> None:
        """`backup_import_write`."""
        self.call("backup_import_write", session=session, offset=offset, data=data)

    def finish(self, session: int) -> int:
        """Call `backup_import_finish` until it is done; gives the number of calls."""
        calls, before = 0, NEVER
        while True:
            calls += 1
            state, left = self.call("backup_import_finish", session=session)
            if state == "done":
                return calls
            assert 0 < left < before
            before = left

    def bring(self, stream: str, data: bytes, chunk_size: int = MIB) -> list[int]:
        """A whole import: only chunks that differ are sent. Gives the offsets of those."""
        there = self.hashes(stream, chunk_size)
        session = self.begin(stream, data, chunk_size)
        wanted = sha(data, chunk_size)
        differ = [
            index * chunk_size
            for index, each in enumerate(wanted)
            if index >= len(there) or there[index] != each
        ]
        for offset in differ:
            self.write(session, offset, data[offset : offset + chunk_size])
        self.finish(session)
        return differ

    # The app

    def send(self, method: str, *values: Any) -> Any:
        """An update of the app."""
        arg = self.app.encode_args(method, *values)
        answer = self.replica.ingress(self.caller, self.id, method, arg).get()
        return next(iter(self.app.decode_reply(method, answer)), None)

    def ask(self, method: str, *values: Any) -> Any:
        """A query of the app."""
        arg = self.app.encode_args(method, *values)
        answer = self.replica.query(self.caller, self.id, method, arg)
        return next(iter(self.app.decode_reply(method, answer)), None)

    def upgrade(self, *, skip_pre_upgrade: bool = False, keep: bool = False) -> None:
        """Upgrade to the same module, with `keep` for Motoko; raises Reject when a hook traps."""
        self.replica.install(
            self.id,
            self.wasm,
            b"DIDL\0\0",
            "upgrade",
            sender=CONTROLLER,
            skip_pre_upgrade=skip_pre_upgrade,
            wasm_memory_persistence="keep" if keep else None,
        )

    def _opened(self, method: str, answer: bytes) -> Any:
        case, value = self.kit.decode_reply(method, answer)[0]
        if case == "err":
            raise KitError(*value)
        return value


def sha(data: bytes, chunk_size: int = MIB) -> list[bytes]:
    """SHA-256 of each chunk."""
    return [
        hashlib.sha256(data[at : at + chunk_size]).digest()
        for at in range(0, len(data), chunk_size)
    ]
