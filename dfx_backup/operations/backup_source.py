"""A backup in the repository as what an upload reads: page by page, without a copy on the disk."""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from dfx_backup.errors import DamageError, RefusedError
from dfx_backup.ic.snapshot_metadata import SnapshotMetadata
from dfx_backup.ic.snapshot_parts import Section, WasmChunk
from dfx_backup.operations.backup_export import files_of, hashes_for, same_pages
from dfx_backup.operations.backups import Backup, read_small
from dfx_backup.repository.layout import BlobKind, ObjectKind, list_objects, object_name
from dfx_backup.repository.repository import Repository
from dfx_backup.repository.store import MissingObjectError
from dfx_backup.repository.trees import Node
from dfx_backup.transfer import metadata_json
from dfx_backup.transfer.backup_json import BackupRecord
from dfx_backup.transfer.folder import SECTION_NAMES, chunk_name, section_sizes
from dfx_backup.transfer.metadata_check import metadata_problems
from dfx_backup.transfer.metadata_json import METADATA_NAME
from dfx_backup.transfer.page_hash import FileHash
from dfx_backup.transfer.slices import ZERO_RUN_PAGES
from dfx_backup.transfer.terms import PAGE_BYTES, SLICE_BYTES, BackupIdentity, FileRecord
from dfx_backup.transfer.upload_plan import (
    SectionData,
    UploadPlan,
    content_digest,
    plan_sections,
)

_FEW_PACKS = 16
"""So many objects are asked for one by one; a list brings a thousand at a time."""
_STEP_BYTES = 16 << 20
"""Bytes of a file that are read at once when it is hashed."""


class BackupOrigin:
    """A backup; the caller holds the repository's lock while it is read.

    Args:
        repository: where it is.
        backup: which one.
        nodes: its files by name.
    """

    def __init__(self, repository: Repository, backup: Backup, nodes: Mapping[str, Node]) -> None:
        assert backup.record is not None  # or its problem was raised
        self._reader = repository.reader()
        self._backup = backup
        self._nodes = nodes
        self._identity = backup.record.identity

    def __str__(self) -> str:
        return str(self._backup)

    @property
    def identity(self) -> BackupIdentity:
        """Of what it is a copy."""
        return self._identity

    @property
    def proven(self) -> bool:
        """Every page is compared with its hash."""
        return True

    @property
    def problems(self) -> tuple[str, ...]:
        """None: what is wrong is raised."""
        return ()

    def open(self) -> None:
        """Nothing is to be opened."""

    def read(self, data: SectionData, offset: int, size: int) -> bytes:
        """Bytes of a section.

        Raises:
            DamageError: they are not what was once written.
            StoreError: the repository can't be read.
        """
        return self._reader.read_range(self._nodes[data.file], data.start + offset, size)

    def close(self) -> None:
        """Nothing was opened."""

    def check_unchanged(self) -> None:
        """Nothing in a repository ever changes."""


def plan_backup(repository: Repository, backup: Backup) -> UploadPlan:
    """Check a backup and decide what is sent; to be called, and carried out, inside `reading`.

    Everything small is read and compared with its hash, every page's place is looked up, and every
    pack is seen to be there. The pages themselves are read and checked when they are sent.

    Raises:
        DamageError: it is not whole.
        RefusedError: no replica would take it.
        ProjectError: a newer program made it, or the repository can't be read.
    """
    if backup.problem is not None or backup.record is None:
        raise backup.problem or DamageError(f"{backup} can't be read")
    nodes = dict(files_of(repository, repository.tree(backup.snapshot.tree)))
    metadata = _metadata(repository, backup, backup.record)
    origin = BackupOrigin(repository, backup, nodes)
    records = {each.name: each for each in backup.record.files}
    digest = content_digest(metadata)
    sections: list[SectionData] = []
    doubtful: list[tuple[SectionData, FileRecord]] = []
    packs: dict[str, int] = {}
    for part, name, size in _parts(metadata):
        node, record = _file(backup, nodes, records, name, size)
        packs |= _packs(repository, node)
        runs = tuple(_joined(repository.reader().data_ranges(node)))
        if isinstance(part, WasmChunk):
            runs = ((0, node.size),)
        data = SectionData(part=part, file=name, start=0, size=node.size, runs=runs)
        digest.update(repr((data.part, data.size, record.sha256, record.pages)).encode())
        sections.append(data)
        if part is Section.WASM_MODULE or not (record.sha256 or same_pages(node, record)):
            doubtful.append((data, record))
    _require_packs(repository, packs)
    for data, record in doubtful:
        _compare(origin, data, record)
    blob = repository.config.blob_size
    return plan_sections(
        origin,
        metadata,
        tuple(sections),
        digest.hexdigest(),
        slice_bytes=max(SLICE_BYTES // blob * blob, PAGE_BYTES),
    )


def _metadata(repository: Repository, backup: Backup, record: BackupRecord) -> SnapshotMetadata:
    """The metadata, exact to the bit.

    Raises:
        DamageError: it is not what was written.
        RefusedError: no replica takes it.
    """
    what = str(backup)
    tree = repository.tree(backup.snapshot.tree)
    text = read_small(repository, tree, METADATA_NAME, what)
    hashes = FileHash()
    hashes.update(text)
    told = next((each for each in record.files if each.name == METADATA_NAME), None)
    metadata = metadata_json.from_json(text, Path(f"{METADATA_NAME} of {what}"))
    completed = record.completed(metadata)
    if told is None or told.sha256 != hashes.sha256 or completed is None:
        raise DamageError(f"{METADATA_NAME} of {what} is not the one that its manifest speaks of")
    problems = tuple(metadata_problems(completed))
    if problems:
        raise RefusedError(f"{what} can't be uploaded: {' '.join(problems)}")
    return completed


def _parts(metadata: SnapshotMetadata) -> Iterator[tuple[Section | WasmChunk, str, int | None]]:
    """Everything that is sent: what it is, its file, its size."""
    for section, size in section_sizes(metadata).items():
        if size:
            yield section, SECTION_NAMES[section], size
    for hash_ in metadata.wasm_chunk_store:
        yield WasmChunk(hash=hash_), chunk_name(hash_), None


def _file(
    backup: Backup,
    nodes: Mapping[str, Node],
    records: Mapping[str, FileRecord],
    name: str,
    size: int | None,
) -> tuple[Node, FileRecord]:
    node, record = nodes.get(name), records.get(name)
    if node is None or record is None:
        raise DamageError(f"{backup} lacks {name}")
    if node.size != record.size or size not in (None, node.size):
        raise DamageError(
            f"{name} of {backup} has {node.size} bytes where {size or record.size} belong"
        )
    return node, record


def _packs(repository: Repository, node: Node) -> dict[str, int]:
    """The objects in which a file's pages lie, and how long each is at least.

    Raises:
        DamageError: a page is in no index.
    """
    assert node.content is not None  # it is a file
    numbers = {
        repository.find_blob(BlobKind.DATA, blob_id).pack for _, _, blob_id in node.content.runs()
    }
    index = repository.index
    return {
        object_name(ObjectKind.DATA, index.pack_id(number)): index.pack_end(number)
        for number in numbers
    }


def _require_packs(repository: Repository, packs: Mapping[str, int]) -> None:
    """See that every object is there, and long enough: one by one, or many in a list.

    Raises:
        MissingObjectError: one is not there.
        DamageError: one is too short.
    """
    store = repository.store
    if len(packs) <= _FEW_PACKS:
        sizes = {name: store.size(name) for name in packs}
    else:
        sizes = {info.name: info.size for _, info in list_objects(store, ObjectKind.DATA)}
    for name, end in packs.items():
        if name not in sizes:
            raise MissingObjectError(name, where=store.describe())
        if sizes[name] < end:
            raise DamageError(f"{name} has {sizes[name]} bytes and should have more than {end}")


def _joined(ranges: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Join ranges between which so few zeros lie that sending them costs less than a call more."""
    begin = end = -1
    for first, last in ranges:
        if begin < 0:
            begin, end = first, last
        elif first - end < ZERO_RUN_PAGES * PAGE_BYTES:
            end = last
        else:
            yield begin, end
            begin, end = first, last
    if begin >= 0:
        yield begin, end


def _compare(origin: BackupOrigin, data: SectionData, record: FileRecord) -> None:
    """Read a file whole and compare it with its record.

    Raises:
        DamageError: it is not what was written.
    """
    hashes = hashes_for(record)
    for offset in range(0, data.size, _STEP_BYTES):
        hashes.update(origin.read(data, offset, min(_STEP_BYTES, data.size - offset)))
    if (hashes.sha256, hashes.pages) != (record.sha256, record.pages):
        raise DamageError(f"{data.file} of {origin} does not have the SHA-256 of its record")
