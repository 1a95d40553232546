"""Check: is everything that the backups need there, and is it what was written?

Damage is no error here but a finding. What was read wrong is read once more, since memory and
networks err too; only what is wrong twice is damage.
"""

import hashlib
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import TypeVar

from dfx_backup.errors import DamageError
from dfx_backup.progress import Progress, SilentProgress
from dfx_backup.repository.findings import CheckReport, FindingBook, Sort
from dfx_backup.repository.layout import BlobKind, ObjectKind, list_objects, object_name
from dfx_backup.repository.pack_reader import PackFault, check_pack
from dfx_backup.repository.reading import reading
from dfx_backup.repository.repository import Repository
from dfx_backup.repository.subset import PackSubset
from dfx_backup.repository.trees import Node, Tree
from dfx_backup.repository.usage import ContentScan, Survey, load_tree, survey_packs, walk_tree

T = TypeVar("T")


def check(
    repository: Repository,
    *,
    read_data: PackSubset | None = None,
    progress: Progress | None = None,
    wait_s: float = 0.0,
    locked: bool = False,
) -> CheckReport:
    """Go through a repository under a shared lock; see `reading` for stores that refuse one.

    Args:
        repository: an open one.
        read_data: packs to read whole; None looks at the structure alone, which does not see
            a wrong bit in a page.
        progress: hears of the steps, and of stale locks that are removed.
        wait_s: seconds to wait for others.
        locked: the caller reads under a lock already.

    Raises:
        LockedError: somebody works on the repository alone.
        StoreError: the store failed.
    """
    hear = progress or SilentProgress()
    with nullcontext() if locked else reading(repository, hear, wait_s=wait_s):
        return _Check(repository, hear).run(read_data)


class _Check:
    """One check."""

    def __init__(self, repository: Repository, progress: Progress) -> None:
        self._repository = repository
        self._store = repository.store
        self._progress = progress
        self._book = FindingBook()
        self._survey = Survey()
        self._bad_blobs: dict[tuple[BlobKind, bytes], str] = {}
        self._scan = ContentScan(self._meet)

    def run(self, read_data: PackSubset | None) -> CheckReport:
        """Keys, index, packs, then the backups with all that is known by then."""
        self._keys()
        self._progress.step("reading the index")
        self._survey = survey_packs(self._repository, self._index_damaged)
        self._packs()
        chosen = self._choose(read_data)
        for pack_id in chosen:
            self._read(pack_id)
        self._progress.step("looking at all backups")
        backups = self._backups()
        present = self._survey.present
        return CheckReport(
            findings=self._book.findings(),
            backups=backups,
            packs=len(present),
            packs_read=len(chosen),
            bytes_read=sum(present[each].size for each in chosen),
        )

    def _keys(self) -> None:
        """Key objects are named by their bytes too."""
        for key_id, _ in list_objects(self._store, ObjectKind.KEY):
            name = object_name(ObjectKind.KEY, key_id)
            self._twice(Sort.KEY, name, partial(self._key, name, key_id))

    def _key(self, name: str, key_id: str) -> None:
        """Look at one key object."""
        if hashlib.sha256(self._store.get(name)).hexdigest() != key_id:
            raise DamageError(f"{name} is damaged: its content is not its name")

    def _index_damaged(self, index_id: str, error: DamageError) -> None:
        """An index object could not be read."""
        name = object_name(ObjectKind.INDEX, index_id)
        self._book.note(Sort.INDEX, name, error.message)

    def _packs(self) -> None:
        """Compare the packs of the store with those of the index."""
        survey = self._survey
        for pack_id, told in survey.indexed.items():
            name = object_name(ObjectKind.DATA, pack_id)
            found = survey.present.get(pack_id)
            if found is None:
                self._book.note(Sort.PACK_MISSING, name, f"{name} is missing")
            elif found.size != told.whole:
                message = f"{name} has {found.size} bytes instead of {told.whole}"
                self._book.note(Sort.PACK_SIZE, name, message)
        for pack_id in survey.present.keys() - survey.indexed.keys():
            name = object_name(ObjectKind.DATA, pack_id)
            message = f"{name} is in no index: an interrupted run may have left it"
            self._book.note(Sort.UNINDEXED, name, message)

    def _choose(self, read_data: PackSubset | None) -> tuple[str, ...]:
        """The packs to read whole: of those that are there as the index says, or in no index."""
        if read_data is None:
            return ()
        survey = self._survey
        sizes = {
            pack_id: pack.size
            for pack_id, pack in survey.present.items()
            if pack_id not in survey.indexed or survey.sound(pack_id)
        }
        chosen = read_data.choose(sizes, self._repository.machine.random(16)) if sizes else ()
        self._progress.step(
            f"reading {len(chosen)} of {len(sizes)} packs, "
            f"{sum(sizes[each] for each in chosen) / 1e6:,.0f} MB"
        )
        return chosen

    def _read(self, pack_id: str) -> None:
        """Read a pack whole."""
        name = object_name(ObjectKind.DATA, pack_id)
        if self._look_at_pack(pack_id) is None:
            return
        fault = self._look_at_pack(pack_id)
        if fault is None:
            self._unstable(name)
            return
        self._book.note(Sort.PACK, name, fault.message)
        if fault.bad is not None:
            self._bad_blobs |= dict.fromkeys(fault.bad, name)
            return
        index = self._survey.index
        number = index.pack_number(pack_id)
        for kind, blob_id, place in index.entries():
            if place.pack == number:
                self._bad_blobs[kind, blob_id] = name

    def _look_at_pack(self, pack_id: str) -> PackFault | None:
        """What is wrong with a pack."""
        try:
            data = self._store.get(object_name(ObjectKind.DATA, pack_id))
        except DamageError as error:
            return PackFault(error.message, None)
        told = self._survey.indexed.get(pack_id)
        return check_pack(
            self._repository.sealer, self._survey.index, pack_id, data, told.blobs if told else None
        )

    def _backups(self) -> int:
        """Walk through all backups; how many there are."""
        count = 0
        for snapshot_id in sorted(id_ for id_, _ in list_objects(self._store, ObjectKind.SNAPSHOT)):
            name = object_name(ObjectKind.SNAPSHOT, snapshot_id)
            look = partial(self._repository.snapshot, snapshot_id)
            snapshot = self._twice(Sort.SNAPSHOT, name, look)
            count += 1
            if snapshot is not None:
                self._backup(snapshot_id, snapshot.tree)
            else:
                self._book.hit(Sort.SNAPSHOT, name, snapshot_id, "")
        return count

    def _backup(self, snapshot_id: str, tree_id: bytes) -> None:
        """Walk through one backup."""

        def load(path: str, each: bytes) -> Tree | None:
            return self._tree(snapshot_id, path, each)

        for path, node in walk_tree(tree_id, load):
            if node.content is not None:
                self._file(snapshot_id, path, node)

    def _file(self, snapshot_id: str, path: str, node: Node) -> None:
        """Look at one file."""
        assert node.content is not None
        facts = self._scan.scan(node.content)
        for name, blobs in facts.wrong.items():
            self._book.hit(self._sort(name), name, snapshot_id, path, blobs)
        if not facts.wrong and facts.size != node.size:
            name = f"{snapshot_id[:8]}:{path}"
            message = f"{path} should have {node.size} bytes, and its blobs have {facts.size}"
            self._book.note(Sort.TREE, name, message)
            self._book.hit(Sort.TREE, name, snapshot_id, path)

    def _tree(self, snapshot_id: str, path: str, tree_id: bytes) -> Tree | None:
        """Read a tree, or note what it spoils."""
        met = self._meet(BlobKind.TREE, tree_id)
        if isinstance(met, str):
            self._book.hit(self._sort(met), met, snapshot_id, path)
            return None
        name = f"tree {tree_id.hex()}"
        look = partial(load_tree, self._repository, self._survey.index, tree_id)
        tree = self._twice(Sort.TREE, name, look)
        if tree is None:
            self._book.hit(Sort.TREE, name, snapshot_id, path)
        return tree

    def _meet(self, kind: BlobKind, blob_id: bytes) -> int | str:
        """Bytes of a blob that is sound as far as is known, or the name of what is wrong."""
        wrong = self._bad_blobs.get((kind, blob_id)) if self._bad_blobs else None
        if wrong is not None:
            return wrong
        place = self._survey.index.find(kind, blob_id)
        if place is not None:
            return place.raw_length
        pack_id = self._survey.lost_pack(kind, blob_id)
        if pack_id is not None:
            return object_name(ObjectKind.DATA, pack_id)
        name = f"{kind} blob {blob_id.hex()}"
        self._book.note(Sort.BLOB, name, f"{name} is in no index")
        return name

    def _sort(self, name: str) -> Sort:
        """Under which head something that spoils blobs was noted."""
        for sort in (Sort.PACK, Sort.PACK_MISSING, Sort.PACK_SIZE):
            if self._book.has(sort, name):
                return sort
        return Sort.BLOB

    def _twice(self, sort: Sort, name: str, look: Callable[[], T]) -> T | None:
        """Look at an object, and once more when it is damaged; None when it still is."""
        try:
            return look()
        except DamageError:
            pass
        try:
            result = look()
        except DamageError as error:
            self._book.note(sort, name, error.message)
            return None
        self._unstable(name)
        return result

    def _unstable(self, name: str) -> None:
        """An object was read wrong, and then right."""
        message = f"{name} was read wrong once and then right: mistrust memory, disk or network"
        self._book.note(Sort.UNSTABLE, name, message)
