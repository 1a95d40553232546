"""What a backup of a stream tells of it: the section `backup.stable` of backup.json."""

from dataclasses import dataclass
from typing import Any, Self

from dfx_backup.files import Fields
from dfx_backup.transfer.stable_sidecar import Certified, Moment, Sidecar, canister_versions

MEMORY_NAME = "memory.stable.bin"
"""The file with a stream's bytes in a backup."""
SIDECAR_NAME = "memory.stable.json"
"""The file beside it, as exports write it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StableDetails:
    """A stream that was backed up; the sidecar in the backup has the hashes of its chunks, too.

    Attributes:
        stream: its name.
        kind: in the interface's words.
        protocol: the methods' names.
        kit: what served it.
        size: bytes.
        chunk_size: bytes of each chunk but the last.
        root: SHA-256 of the hashes of all chunks, one after the other, hexadecimal.
        certified: what certifies the chunks.
        moment: what proves that they are of one moment.
        versions: the canister's versions that say so, or None.
    """

    stream: str
    kind: str
    protocol: str
    kit: str
    size: int
    chunk_size: int
    root: str
    certified: Certified
    moment: Moment
    versions: tuple[int, int] | None

    @classmethod
    def of(cls, sidecar: Sidecar) -> Self:
        """What a sidecar tells, without the hashes."""
        identity, hashes = sidecar.identity, sidecar.hashes
        return cls(
            stream=identity.stream,
            kind=sidecar.kind,
            protocol=identity.protocol,
            kit=sidecar.kit,
            size=hashes.size,
            chunk_size=hashes.chunk_size,
            root=hashes.root(),
            certified=sidecar.certified,
            moment=sidecar.moment,
            versions=sidecar.versions,
        )

    def to_json(self) -> dict[str, Any]:
        """The section's content."""
        return {
            "stream": self.stream,
            "kind": self.kind,
            "protocol": self.protocol,
            "kit": self.kit,
            "size": self.size,
            "chunk_size": self.chunk_size,
            "root": self.root,
            "certified": self.certified.value,
            "moment": self.moment.value,
            "canister_versions": None if self.versions is None else list(self.versions),
        }

    @classmethod
    def parse(cls, fields: Fields) -> Self:
        """The opposite of `to_json`.

        Raises:
            DamageError: it is not what was written.
        """
        return cls(
            stream=fields.text("stream"),
            kind=fields.text("kind"),
            protocol=fields.text("protocol"),
            kit=fields.text("kit"),
            size=fields.whole("size"),
            chunk_size=fields.whole("chunk_size"),
            root=fields.text("root"),
            certified=fields.choice("certified", Certified),
            moment=fields.choice("moment", Moment),
            versions=canister_versions(fields),
        )
