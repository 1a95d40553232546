"""A canister snapshot into the repository: slice by slice, nothing on the disk in between."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from dfx_backup.ic.snapshot_metadata import SnapshotMetadata
from dfx_backup.ic.snapshot_parts import ReadPart, Section, Slice
from dfx_backup.operations.backup_files import BY_PAGES, file_record
from dfx_backup.repository.writer import Writer
from dfx_backup.transfer import metadata_json
from dfx_backup.transfer.folder import SECTION_NAMES, chunk_name, section_sizes
from dfx_backup.transfer.metadata_json import METADATA_NAME
from dfx_backup.transfer.parts import PartsReader, PartsReport, all_parts
from dfx_backup.transfer.terms import SLICE_BYTES, FileRecord, TransferProgress

KEPT_MODULE_BYTES = 16 << 20
"""A module up to this size is looked into for its Candid interface."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Streamed:
    """What was brought into the repository.

    Attributes:
        metadata: the snapshot's.
        files: every file of the backup but backup.json.
        text: what metadata.json is to hold; it is still to be written.
        module: the module, unless it is large.
        report: what the transfer did; None when the driver did it and told nothing.
    """

    metadata: SnapshotMetadata
    files: tuple[FileRecord, ...]
    text: bytes
    module: bytes | None
    report: PartsReport | None

    @property
    def module_sha256(self) -> str | None:
        """Hash of the module, hexadecimal."""
        name = SECTION_NAMES[Section.WASM_MODULE]
        return next((each.sha256 for each in self.files if each.name == name), None)


def stream(
    writer: Writer, parts: PartsReader, metadata: SnapshotMetadata, progress: TransferProgress
) -> Streamed:
    """Read a snapshot's parts into files of the repository.

    Slices end where pages do, so that no page comes in two of them.

    Args:
        writer: of the repository.
        parts: reads the snapshot.
        metadata: what it consists of.
        progress: hears how far it is.

    Raises:
        InterruptedRunError: a signal has come.
        NetworkError: the network refuses, or is gone for too long.
        StoreError: the repository can't be written.
    """
    sizes = section_sizes(metadata)
    sink = _Sink(writer, sizes)
    step = SLICE_BYTES // writer.blob_size * writer.blob_size
    progress.begin("downloading", total_bytes=sum(sizes.values()), done_bytes=0)
    report = parts.read(all_parts(metadata, step=step), sink.keep)
    progress.step("finishing the files")
    text = metadata_json.to_json(metadata)
    told = hashlib.sha256(text).hexdigest()
    files = [*sink.finish(), FileRecord(name=METADATA_NAME, size=len(text), sha256=told)]
    return Streamed(
        metadata=metadata, files=tuple(files), text=text, module=sink.module, report=report
    )


class _Sink:
    """The files that are being written; threads may bring parts at the same time."""

    def __init__(self, writer: Writer, sizes: Mapping[Section, int]) -> None:
        self._writer = writer
        self._files = {
            section: writer.file(
                SECTION_NAMES[section], size, whole_hash=SECTION_NAMES[section] not in BY_PAGES
            )
            for section, size in sizes.items()
            if size or section is not Section.STABLE_MEMORY
        }
        self._small: dict[str, FileRecord] = {}
        module = sizes[Section.WASM_MODULE]
        self._module = bytearray(module) if module <= KEPT_MODULE_BYTES else None

    @property
    def module(self) -> bytes | None:
        """The module, unless it is large."""
        return None if self._module is None else bytes(self._module)

    def keep(self, part: ReadPart, data: bytes) -> None:
        """Put a part where it belongs."""
        if isinstance(part, Slice):
            if part.section is Section.WASM_MODULE and self._module is not None:
                self._module[part.offset : part.offset + len(data)] = data
            self._files[part.section].write(part.offset, data)
            return
        name = chunk_name(part.hash)
        self._small[name] = file_record(self._writer.add(name, data), self._writer.blob_size)

    def finish(self) -> Iterator[FileRecord]:
        """The files, when all parts are kept.

        Raises:
            StoreError: an upload failed.
        """
        for file in self._files.values():
            yield file_record(file.finish(), self._writer.blob_size)
        yield from (self._small[name] for name in sorted(self._small))
