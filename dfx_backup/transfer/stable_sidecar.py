"""NAME.stable.json: what NAME.stable.bin is a copy of, its hashes, and what proves them."""

import enum
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from dfx_backup.errors import DamageError, ProjectError
from dfx_backup.files import Fields
from dfx_backup.model import CanisterId, NetworkId, SnapshotId
from dfx_backup.transfer.chunk_table import HASH_BYTES, ChunkTable

FORMAT = 1
SUFFIXES = (".stable.bin", ".stable.json")
SNAPSHOT_PROTOCOL = "snapshot"
"""What stands for the methods' names where memory was read from a snapshot."""
STABLE_STREAM = "stable_memory"
"""Name of the stream that is the whole stable memory."""
_HINT = "export the stream again"
_MAX_BYTES = 256 << 20
_PAIR = 2
_LARGEST_CHUNK = 64 << 20
"""A chunk is held in memory; ours have a MiB at most."""


class Certified(enum.StrEnum):
    """What certifies the bytes, chunk by chunk."""

    READS = "reads"
    """Each answer with data was certified by the network."""
    HASHES = "hashes"
    """The data matches hashes that the network certified."""
    UNCERTIFIED = "uncertified"


class Moment(enum.StrEnum):
    """What proves that all chunks are of one moment."""

    VERSIONS = "versions"
    """The canister's version rose by our own calls and nothing else."""
    SECOND_PASS = "second_pass"  # noqa: S105 - no password
    """Every chunk was found the same a second time."""
    SNAPSHOT = "snapshot"
    """All of it was read from one snapshot."""
    UNPROVEN = "unproven"


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamIdentity:
    """What a file is a copy of.

    Attributes:
        network_id: the network's identity.
        canister_id: whose memory.
        stream: name of the stream.
        protocol: the methods' names; `backup` are our own, and `snapshot` stands for none.
    """

    network_id: NetworkId
    canister_id: CanisterId
    stream: str
    protocol: str

    def is_same_memory(self, other: "StreamIdentity") -> bool:
        """Whether both are copies of the same bytes; how they were read does not matter.

        Methods that are not our own may give other bytes under the same name.
        """
        ours = ("backup", SNAPSHOT_PROTOCOL)
        return (self.network_id, self.canister_id, self.stream) == (
            other.network_id,
            other.canister_id,
            other.stream,
        ) and (self.protocol == other.protocol or {self.protocol, other.protocol} <= {*ours})


@dataclass(frozen=True, slots=True, kw_only=True)
class Sidecar:
    """What is known of a file.

    Attributes:
        identity: what it is a copy of.
        kind: of the stream, in the interface's words.
        kit: what served it.
        hashes: of all its chunks.
        certified: what certifies them.
        moment: what proves that they are of one moment.
        versions: the canister's version before the first call that counts and at the last one, or
            None when nobody told it.
        tool: name and version of the program.
        created_at: seconds since the epoch.
        snapshot: id of the snapshot that all of it was read from, or None.
    """

    identity: StreamIdentity
    kind: str
    kit: str
    hashes: ChunkTable
    certified: Certified
    moment: Moment
    versions: tuple[int, int] | None
    tool: str
    created_at: float
    snapshot: SnapshotId | None = None

    def to_json(self) -> bytes:
        """The file's content."""
        identity, hashes = self.identity, self.hashes
        told: dict[str, object] = {
            "format": FORMAT,
            "network_id": identity.network_id,
            "canister_id": identity.canister_id,
            "stream": identity.stream,
            "kind": self.kind,
            "protocol": identity.protocol,
            "kit": self.kit,
            "size": hashes.size,
            "chunk_size": hashes.chunk_size,
            "root": hashes.root(),
            "certified": self.certified.value,
            "moment": self.moment.value,
            "canister_versions": None if self.versions is None else list(self.versions),
            **({} if self.snapshot is None else {"snapshot": self.snapshot}),
            "tool": self.tool,
            "created_at": self.created_at,
            "hashes": [(each or b"").hex() for each in hashes],
        }
        return (json.dumps(told, indent=1) + "\n").encode()

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """What a file tells; None when it is not there.

        Raises:
            DamageError: it can't be understood, or contradicts itself.
            ProjectError: it can't be read.
        """
        try:
            with path.open("rb") as file:
                raw = file.read(_MAX_BYTES)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ProjectError(f"{path} can't be read: {error.strerror or error}") from error
        return cls.from_json(raw, path)

    @classmethod
    def from_json(cls, raw: bytes, path: Path) -> Self:
        """As `read`, from a file's content; `path` names it for messages."""
        try:
            content = json.loads(raw)
        except (ValueError, RecursionError):
            raise DamageError(f"{path} is no JSON", hint=_HINT) from None
        return cls.parse(Fields(path, content, hint=_HINT))

    @classmethod
    def parse(cls, fields: Fields) -> Self:
        """As `read`, from what was parsed."""
        if fields.whole("format") != FORMAT:
            raise fields.damaged(f"'format' is not {FORMAT}: it is of a newer version")
        hashes = _hashes(fields)
        return cls(
            identity=StreamIdentity(
                network_id=NetworkId(fields.text("network_id")),
                canister_id=CanisterId(fields.text("canister_id")),
                stream=fields.text("stream"),
                protocol=fields.text("protocol"),
            ),
            kind=fields.text("kind"),
            kit=fields.text("kit"),
            hashes=hashes,
            certified=fields.choice("certified", Certified),
            moment=fields.choice("moment", Moment),
            versions=canister_versions(fields),
            tool=fields.text("tool"),
            created_at=fields.number("created_at"),
            snapshot=_snapshot(fields),
        )


def _hashes(fields: Fields) -> ChunkTable:
    size, chunk_size = fields.whole("size"), fields.whole("chunk_size")
    if size < 0 or not 1 <= chunk_size <= _LARGEST_CHUNK:
        raise fields.damaged("'size' or 'chunk_size' is out of range")
    told = fields.texts("hashes")
    if len(told) != -(-size // chunk_size):
        raise fields.damaged("there are not as many hashes as chunks")
    table = ChunkTable(size, chunk_size)
    for index, text in enumerate(told):
        try:
            hash_ = bytes.fromhex(text)
        except ValueError:
            hash_ = b""
        if len(hash_) != HASH_BYTES:
            raise fields.damaged(f"hash {index} is none")
        table.put(index, hash_)
    if fields.text("root") != table.root():
        raise fields.damaged("'root' is not that of the hashes")
    return table


def _snapshot(fields: Fields) -> SnapshotId | None:
    found = fields.optional_text("snapshot")
    return None if found is None else SnapshotId(found)


def canister_versions(fields: Fields) -> tuple[int, int] | None:
    """The field `canister_versions`.

    Raises:
        DamageError: it is neither null nor two numbers.
    """
    found = fields.content.get("canister_versions")
    if found is None:
        return None
    if (
        not isinstance(found, list)
        or len(found) != _PAIR
        or not all(isinstance(each, int) for each in found)
    ):
        raise fields.damaged("'canister_versions' are not two numbers")
    return found[0], found[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class StablePaths:
    """The files of one export.

    Attributes:
        base: NAME with its folder, without the suffixes.
    """

    base: Path

    @classmethod
    def of(cls, named: Path) -> Self:
        """The files that are meant, whether NAME or one of them was named."""
        for suffix in SUFFIXES:
            if named.name.endswith(suffix) and named.name != suffix:
                return cls(base=named.with_name(named.name.removesuffix(suffix)))
        return cls(base=named)

    @property
    def data(self) -> Path:
        """The bytes."""
        return self._with(SUFFIXES[0])

    @property
    def sidecar(self) -> Path:
        """What is known of them."""
        return self._with(SUFFIXES[1])

    @property
    def part(self) -> Path:
        """The bytes while they arrive."""
        return self._with(".stable.part")

    @property
    def new_sidecar(self) -> Path:
        """The next sidecar, until the bytes have their name."""
        return self._with(".stable.new")

    @property
    def journal(self) -> Path:
        """What survives a kill meanwhile."""
        return self._with(".stable.journal")

    def _with(self, suffix: str) -> Path:
        return self.base.with_name(self.base.name + suffix)
