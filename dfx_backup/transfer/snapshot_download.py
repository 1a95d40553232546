"""A snapshot into a folder: every slice certified, written where it belongs, resumable at any time.

metadata.json comes last: without it no program takes an unfinished folder for a whole one.
"""

import errno
import hashlib
import os
import threading
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from dfx_backup.errors import ProjectError
from dfx_backup.files import replace_file, sync_folder
from dfx_backup.ic.snapshot_metadata import SnapshotMetadata, SnapshotSource
from dfx_backup.ic.snapshot_parts import ReadPart, Section, Slice, WasmChunk
from dfx_backup.transfer import backup_json, metadata_json
from dfx_backup.transfer.backup_json import BACKUP_NAME, BackupRecord
from dfx_backup.transfer.download_folder import DownloadFolder, finished_download
from dfx_backup.transfer.folder import CHUNKS_NAME, SECTION_NAMES, chunk_name, section_sizes
from dfx_backup.transfer.metadata_json import METADATA_NAME
from dfx_backup.transfer.parts import PartsReader, PartsReport, check_module
from dfx_backup.transfer.section_file import SectionFile, TrailingHashes
from dfx_backup.transfer.slices import read_slices
from dfx_backup.transfer.terms import (
    SLICE_BYTES,
    BackupIdentity,
    DownloadReport,
    FileRecord,
    KnownModule,
    SliceReader,
    TransferOptions,
    TransferProgress,
)


def download_snapshot(
    reader: SliceReader,
    what: BackupIdentity,
    folder: Path,
    *,
    options: TransferOptions,
    progress: TransferProgress,
    resume: bool = False,
    known_module: KnownModule | None = None,
) -> DownloadReport:
    """Copy a snapshot into a folder, in the layout of dfx and icp, with a backup.json.

    Args:
        reader: reads the network; certifies what it reads.
        what: which snapshot; goes into backup.json.
        folder: made when it is not there; must be empty unless `resume`.
        options: how.
        progress: hears how far it is.
        resume: go on with what an interrupted run left. What is there is checked and not read
            again; a finished folder of the same snapshot is checked and left as it is.
        known_module: evidence that the module is at hand; used only where it proves something.

    Raises:
        RefusedError: the folder holds something else.
        LockedError: another process works with the folder.
        DamageError: a finished folder is damaged, or the module is not the canister's.
        InterruptedRunError: `options.should_stop` said so.
        NetworkError: the network refuses, or answers with something that is not certified.
        ProjectError: the folder can't be used.
    """
    if resume:
        finished = finished_download(folder, what)
        if finished is not None:
            return finished
    try:
        with DownloadFolder.open(folder, what, resume=resume) as place:
            parts = PartsReader(
                reader, what.canister_id, what.snapshot_id, options=options, progress=progress
            )
            metadata = parts.metadata()
            place.begin(metadata)
            run = _Download(parts, what, place, metadata, options, progress)
            return run.carry_out(known_module)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        hint = "Make room and use --resume." if error.errno == errno.ENOSPC else None
        raise ProjectError(f"{folder} can't be written: {reason}", hint=hint) from error


@dataclass(slots=True, kw_only=True)
class _Tally:
    """What was done so far; sizes are bytes."""

    resumed: int = 0
    known: int = 0
    zeros: int = 0
    since_sync: int = 0


class _Download:
    """One run. Its files stay open when slices had to be left behind in flight."""

    def __init__(  # made in one place, above
        self,
        parts: PartsReader,
        what: BackupIdentity,
        place: DownloadFolder,
        metadata: SnapshotMetadata,
        options: TransferOptions,
        progress: TransferProgress,
    ) -> None:
        self._parts = parts
        self._what = what
        self._place = place
        self._metadata = metadata
        self._options = options
        self._progress = progress
        self._lock = threading.Lock()
        self._tally = _Tally()
        self._chunks_left = dict.fromkeys(metadata.wasm_chunk_store, 0)
        self._sizes = section_sizes(metadata)
        self._files: Mapping[Section, SectionFile] = {}
        self._finished: set[tuple[Section, int]] = set()

    def carry_out(self, known: KnownModule | None) -> DownloadReport:
        """Everything from the first slice to the last name in the folder."""
        folder = self._place.folder
        self._files = {
            section: SectionFile(folder / SECTION_NAMES[section], size)
            for section, size in self._sizes.items()
            if size or section is not Section.STABLE_MEMORY
        }
        self._place.keep(*self._files.values())
        hashes = TrailingHashes(self._files)
        try:
            self._take_what_is_there(hashes)
            self._take_known_module(known, hashes)
            self._tell_begin()
            moved = self._parts.read(
                self._jobs(), lambda part, data: self._keep(part, data, hashes)
            )
        except BaseException:
            self._place.left_behind = bool(self._parts.running)
            hashes.stop()
            raise
        self._progress.step("checking the files")
        files = self._finish(hashes.result(), known)
        return self._report(files, moved)

    # Before the first slice

    def _take_what_is_there(self, hashes: TrailingHashes) -> None:
        """Keep slices and chunks of an earlier run whose bytes are still the same."""
        entries = self._place.entries()
        if entries:
            self._progress.step("checking what is there already")
        for section, offset, size, crc in entries:
            self._place.check_stop(self._options)
            file = self._files.get(section)
            wanted = None if file is None else _slice_size(offset, file.size)
            if file is None or size != wanted or zlib.crc32(file.read(offset, size)) != crc:
                continue
            self._mark(section, offset, hashes)
            self._tally.resumed += size
        for hash_ in tuple(self._chunks_left):
            path = self._place.folder / chunk_name(hash_)
            if path.is_file() and hashlib.sha256(path.read_bytes()).digest() == hash_:
                del self._chunks_left[hash_]
                self._tally.resumed += path.stat().st_size

    def _take_known_module(self, known: KnownModule | None, hashes: TrailingHashes) -> None:
        """Copy the module when certified evidence says that a file holds it."""
        if known is None or not self._is_evidence(known):
            return
        try:
            data = known.path.read_bytes()
        except OSError:
            return  # then it is read from the network
        if hashlib.sha256(data).hexdigest() != known.module_hash.lower():
            return
        if len(data) != self._metadata.wasm_module_size:
            return
        file = self._files[Section.WASM_MODULE]
        for part in read_slices(Section.WASM_MODULE, file.size):
            if (part.section, part.offset) in self._finished:
                continue
            piece = data[part.offset : part.offset + part.size]
            self._tally.zeros += file.put(part.offset, piece)
            self._place.note(part, zlib.crc32(piece))
            self._mark(part.section, part.offset, hashes)
            self._tally.known += part.size

    def _is_evidence(self, known: KnownModule) -> bool:
        taken = self._metadata.source is SnapshotSource.TAKEN_FROM_CANISTER
        return taken and known.canister_version == self._metadata.canister_version

    def _mark(self, section: Section, offset: int, hashes: TrailingHashes) -> None:
        self._finished.add((section, offset))
        hashes.finished(section, offset)

    def _tell_begin(self) -> None:
        self._progress.begin(
            "downloading",
            total_bytes=sum(self._sizes.values()),
            done_bytes=self._tally.resumed + self._tally.known,
        )

    # Slice by slice

    def _jobs(self) -> Iterator[ReadPart]:
        for section, size in self._sizes.items():
            for part in read_slices(section, size):
                if (section, part.offset) not in self._finished:
                    yield part
        for hash_ in self._chunks_left:
            yield WasmChunk(hash=hash_)

    def _keep(self, part: ReadPart, data: bytes, hashes: TrailingHashes) -> None:
        """Put a part into its file; the journal hears of it last."""
        zeros = 0
        if isinstance(part, Slice):
            zeros = self._files[part.section].put(part.offset, data)
            self._place.note(part, zlib.crc32(data))
            hashes.finished(part.section, part.offset)
        else:
            replace_file(self._place.folder / chunk_name(part.hash), data)
        with self._lock:
            tally = self._tally
            tally.zeros += zeros
            tally.since_sync += len(data)
            due = tally.since_sync >= self._options.checkpoint_bytes
            if due:
                tally.since_sync = 0
        if due:
            self._sync()

    def _sync(self) -> None:
        for file in self._files.values():
            file.sync()
        self._place.sync()

    # After the last slice

    def _finish(
        self, hashes: Mapping[Section, str], known: KnownModule | None
    ) -> tuple[FileRecord, ...]:
        if known is not None and self._is_evidence(known):
            check_module(hashes[Section.WASM_MODULE], known.module_hash)
        folder = self._place.folder
        files = [
            FileRecord(name=SECTION_NAMES[section], size=file.size, sha256=hashes[section])
            for section, file in self._files.items()
        ]
        for hash_ in dict.fromkeys(self._metadata.wasm_chunk_store):
            size = (folder / chunk_name(hash_)).stat().st_size
            files.append(FileRecord(name=chunk_name(hash_), size=size, sha256=hash_.hex()))
        text = metadata_json.to_json(self._metadata)
        told = hashlib.sha256(text).hexdigest()
        files.append(FileRecord(name=METADATA_NAME, size=len(text), sha256=told))
        self._sync()
        if self._metadata.wasm_chunk_store:
            sync_folder(folder / CHUNKS_NAME)
        record = BackupRecord(
            identity=self._what, files=tuple(files), globals=self._metadata.globals
        )
        replace_file(folder / BACKUP_NAME, backup_json.to_json(record))
        replace_file(folder / METADATA_NAME, text)
        self._place.done()
        return tuple(files)

    def _report(self, files: tuple[FileRecord, ...], moved: PartsReport) -> DownloadReport:
        tally = self._tally
        return DownloadReport(
            folder=self._place.folder,
            metadata=self._metadata,
            files=files,
            total_bytes=moved.moved_bytes + tally.resumed + tally.known,
            moved_bytes=moved.moved_bytes,
            resumed_bytes=tally.resumed,
            known_bytes=tally.known,
            zero_bytes=tally.zeros,
            slices=moved.calls,
            retries=moved.retries,
            seconds=moved.seconds,
            window=moved.window,
        )


def _slice_size(offset: int, size: int) -> int | None:
    """The size of the slice at this offset of a section; None when none begins there."""
    if offset % SLICE_BYTES or not 0 <= offset < size:
        return None
    return min(SLICE_BYTES, size - offset)
