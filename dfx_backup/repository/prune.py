"""Prune: remove what no backup needs.

What is needed is written anew before anything goes: new packs, new index, old index, old packs. A
prune that is killed at any instant leaves a sound repository, and the next one finishes the work.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass

from dfx_backup.errors import DamageError, LockedError
from dfx_backup.progress import Progress, SilentProgress
from dfx_backup.repository.index_object import MOST_BLOBS, IndexedPack, encode_index
from dfx_backup.repository.layout import BlobKind, ObjectKind, list_objects, object_name
from dfx_backup.repository.local import LocalStore
from dfx_backup.repository.locks import RepositoryLock
from dfx_backup.repository.pack_reader import read_blobs
from dfx_backup.repository.packs import PackBuilder
from dfx_backup.repository.prune_plan import (
    KEEP_YOUNGER_S,
    MAX_UNUSED,
    PackFacts,
    PrunePlan,
    plan_prune,
)
from dfx_backup.repository.repository import Repository
from dfx_backup.repository.trees import Tree
from dfx_backup.repository.usage import (
    ContentScan,
    Survey,
    load_tree,
    survey_packs,
    walk_tree,
)

_SMALL_INDEX_BLOBS = MOST_BLOBS // 10
"""Index objects with fewer blobs are merged when an index is written anyway."""
_REPAIR_HINT = "`verify` tells which backups are hit; nothing was removed"


@dataclass(frozen=True, slots=True, kw_only=True)
class PruneReport:
    """What a prune did, or would do.

    Attributes:
        plan: what it decided.
        dry_run: whether it stopped there.
        backups: snapshot objects whose needs were honoured.
        packs_written: new packs.
        packs_removed: old packs.
        index_written: new index objects.
        index_removed: old index objects.
        bytes_written: of the new packs.
        bytes_removed: of the old packs.
    """

    plan: PrunePlan
    dry_run: bool
    backups: int
    packs_written: int = 0
    packs_removed: int = 0
    index_written: int = 0
    index_removed: int = 0
    bytes_written: int = 0
    bytes_removed: int = 0


def prune(
    repository: Repository,
    *,
    progress: Progress | None = None,
    max_unused: float = MAX_UNUSED,
    keep_younger_s: float = KEEP_YOUNGER_S,
    dry_run: bool = False,
    wait_s: float = 0.0,
    lock: RepositoryLock | None = None,
) -> PruneReport:
    """Remove what no backup needs.

    Args:
        repository: an open one; what it knows of the index is forgotten afterwards.
        progress: hears of the steps, and of stale locks that are removed.
        max_unused: fraction of what stays that may be unused.
        keep_younger_s: packs younger than this stay, since a writer without a lock may need them.
        dry_run: plan only; then a shared lock is enough.
        wait_s: seconds to wait for others.
        lock: an exclusive lock that the caller holds; None takes one.

    Raises:
        LockedError: somebody else works on the repository, or our lock was lost.
        DamageError: a tree, an index object or a needed pack can't be read: nothing is removed.
        StoreError: the store failed; run it again.
    """
    hear = progress or SilentProgress()
    with ExitStack() as stack:
        if lock is None:
            lock = stack.enter_context(
                repository.lock(exclusive=not dry_run, progress=hear, wait_s=wait_s)
            )
        now = _time_of_lock(repository, lock)
        if not dry_run and isinstance(repository.store, LocalStore):
            repository.store.sweep(now=now)
        hear.step("reading the index")
        try:
            survey = survey_packs(repository)
        except DamageError as error:
            raise DamageError(error.message, hint=_REPAIR_HINT) from error
        hear.step("looking for what backups need")
        backups = _mark(repository, survey)
        plan = plan_prune(
            _facts(survey), now=now, max_unused=max_unused, keep_younger_s=keep_younger_s
        )
        report = PruneReport(plan=plan, dry_run=dry_run, backups=backups)
        if dry_run:
            return report
        return _Pruning(repository, survey, plan, lock, hear).run(report)


def _time_of_lock(repository: Repository, lock: RepositoryLock) -> float:
    """The present by the store's clock: when our lock was written."""
    for _ in range(2):
        for lock_id, info in list_objects(repository.store, ObjectKind.LOCK):
            if lock_id == lock.lock_id:
                return info.modified
    raise LockedError(
        f"our lock on {repository.store.describe()} was lost", hint="run the command again"
    )


def _mark(repository: Repository, survey: Survey) -> int:
    """Mark what all backups need; how many there are.

    Raises:
        DamageError: something that a backup needs is missing or can't be read.
    """
    index = survey.index

    def meet(kind: BlobKind, blob_id: bytes) -> int | str:
        size = index.mark(kind, blob_id)
        if size is not None:
            return size
        pack_id = survey.lost_pack(kind, blob_id)
        if pack_id is None:
            return f"blob {blob_id.hex()[:8]} is missing"
        return f"{object_name(ObjectKind.DATA, pack_id)} is missing or has a wrong size"

    scan = ContentScan(meet)
    seen: set[bytes] = set()

    def load(_path: str, tree_id: bytes) -> Tree | None:
        if tree_id in seen:
            return None
        tree = load_tree(repository, index, tree_id)
        index.mark(BlobKind.TREE, tree_id)
        seen.add(tree_id)
        return tree

    count = 0
    for snapshot_id in sorted(
        each for each, _ in list_objects(repository.store, ObjectKind.SNAPSHOT)
    ):
        count += 1
        try:
            snapshot = repository.snapshot(snapshot_id)
            for path, node in walk_tree(snapshot.tree, load):
                if node.content is not None:
                    _refuse_missing(path, scan.scan(node.content).wrong)
        except DamageError as error:
            raise DamageError(
                f"backup {snapshot_id[:8]} is damaged: {error.message}", hint=_REPAIR_HINT
            ) from error
    return count


def _refuse_missing(path: str, wrong: dict[str, int]) -> None:
    for what in wrong:
        raise DamageError(f"{what}, which {path} needs")


def _facts(survey: Survey) -> Iterator[PackFacts]:
    """All packs of the store, for the plan."""
    for pack_id, pack in survey.present.items():
        told = survey.indexed.get(pack_id)
        number = survey.index.pack_number(pack_id)
        yield PackFacts(
            pack_id=pack_id,
            size=pack.size,
            modified=pack.modified,
            indexed=told is not None,
            payload=told.payload if told else 0,
            used=survey.index.used[number] if number is not None else 0,
        )


class _Pruning:
    """The part of a prune that changes the repository."""

    def __init__(
        self,
        repository: Repository,
        survey: Survey,
        plan: PrunePlan,
        lock: RepositoryLock,
        progress: Progress,
    ) -> None:
        self._repository = repository
        self._store = repository.store
        self._survey = survey
        self._plan = plan
        self._lock = lock
        self._progress = progress
        self._builders = {kind: PackBuilder() for kind in BlobKind}
        self._new_packs: list[IndexedPack] = []
        self._new_bytes = self._moved_bytes = 0

    def run(self, report: PruneReport) -> PruneReport:
        """New packs, new index, old index, old packs; the lock is looked at before each."""
        plan = self._plan
        gone = {*plan.drop, *plan.repack}
        self._lock.ensure()
        if plan.repack:
            self._progress.step(f"writing the needed part of {len(plan.repack)} packs anew")
            self._repack(set(plan.repack))
        old_index = self._index_to_replace(gone)
        new_index = []
        if old_index:
            self._lock.ensure()
            self._progress.step("writing a new index")
            new_index = self._write_index(old_index, gone)
            self._lock.ensure()
            self._expect_listed(new_index)
            for index_id in old_index:
                if index_id not in new_index:
                    self._store.delete(object_name(ObjectKind.INDEX, index_id))
        self._lock.ensure()
        if gone:
            self._progress.step(f"removing {len(gone)} packs")
        for pack_id in sorted(gone):
            self._store.delete(object_name(ObjectKind.DATA, pack_id))
        self._repository.reload_index()
        return PruneReport(
            plan=plan,
            dry_run=False,
            backups=report.backups,
            packs_written=len(self._new_packs),
            packs_removed=len(gone),
            index_written=len(new_index),
            index_removed=len(old_index),
            bytes_written=self._new_bytes,
            bytes_removed=sum(self._survey.present[pack_id].size for pack_id in gone),
        )

    def _repack(self, chosen: set[str]) -> None:
        """Move the needed blobs of packs to new packs.

        Raises:
            DamageError: one of them is damaged.
        """
        done: set[str] = set()
        for index_id, listed in self._survey.index_objects.items():
            if not chosen.isdisjoint(listed.pack_ids):
                for pack in self._repository.load_index(index_id):
                    if pack.pack_id in chosen and pack.pack_id not in done:
                        done.add(pack.pack_id)
                        self._move(pack)
        for kind in BlobKind:
            self._finish(kind)
        # The marks were added up pack by pack when backups were looked at, and not as we go.
        index = self._survey.index
        numbers = [index.pack_number(pack_id) for pack_id in chosen]
        needed = sum(index.used[number] for number in numbers if number is not None)
        if needed != self._moved_bytes:
            raise DamageError(
                f"backups need {needed} bytes of {len(chosen)} packs, and {self._moved_bytes} were"
                " written anew",
                hint="nothing was removed; run it again, and report it: this is a fault of the"
                " program",
            )

    def _move(self, pack: IndexedPack) -> None:
        """Move the needed blobs of one pack."""
        keeps = self._survey.index.keeps
        needed = [
            blob for blob in pack.blobs if keeps(pack.pack_id, blob.kind, blob.blob_id, blob.offset)
        ]
        size = self._survey.present[pack.pack_id].size
        for blob, sealed in read_blobs(
            self._store, self._repository.sealer, pack.pack_id, needed, size
        ):
            builder = self._builders[blob.kind]
            builder.add(
                blob.kind,
                blob.blob_id,
                [sealed],
                raw_length=blob.raw_length,
                compressed=blob.compressed,
            )
            self._moved_bytes += blob.length
            if builder.full:
                self._finish(blob.kind)

    def _finish(self, kind: BlobKind) -> None:
        """Write the pack that is being filled, if there is anything in it."""
        builder = self._builders[kind]
        if not len(builder):
            return
        self._builders[kind] = PackBuilder()
        pack = builder.finish(self._repository.sealer)
        self._store.put(pack.name, pack.pieces)
        self._new_packs.append(IndexedPack(pack.pack_id, tuple(pack.blobs)))
        self._new_bytes += pack.size

    def _index_to_replace(self, gone: set[str]) -> list[str]:
        """Index objects that list what goes or what is not there; and with them the small ones."""
        survey = self._survey
        wrong = {
            index_id
            for index_id, listed in survey.index_objects.items()
            if any(each in gone or each not in survey.present for each in listed.pack_ids)
        }
        if not wrong and not self._new_packs:
            return []
        small = {
            index_id
            for index_id, listed in survey.index_objects.items()
            if listed.blobs < _SMALL_INDEX_BLOBS
        }
        return sorted(wrong | small)

    def _write_index(self, old: list[str], gone: set[str]) -> list[str]:
        """Write index objects for what the old ones list and stays, and for the new packs."""
        elsewhere = {
            pack_id
            for index_id, listed in self._survey.index_objects.items()
            if index_id not in old
            for pack_id in listed.pack_ids
        }
        written: list[str] = []
        batch: list[IndexedPack] = []
        blobs = 0
        for pack in self._staying(old, elsewhere | gone):
            batch.append(pack)
            blobs += len(pack.blobs)
            if blobs >= MOST_BLOBS:
                written.append(self._save_index(batch))
                batch, blobs = [], 0
        if batch:
            written.append(self._save_index(batch))
        return written

    def _save_index(self, packs: list[IndexedPack]) -> str:
        index_id, _ = self._repository.save_sealed(ObjectKind.INDEX, encode_index(packs))
        return index_id

    def _staying(self, old: list[str], skip: set[str]) -> Iterator[IndexedPack]:
        """The packs that the new index lists, each once."""
        done = set(skip)
        for index_id in old:
            for pack in self._repository.load_index(index_id):
                if pack.pack_id not in done and pack.pack_id in self._survey.present:
                    done.add(pack.pack_id)
                    yield pack
        yield from self._new_packs

    def _expect_listed(self, new_index: list[str]) -> None:
        """Refuse to remove anything before the store lists what was written.

        Raises:
            DamageError: it does not.
        """
        packs = {pack_id for pack_id, _ in list_objects(self._store, ObjectKind.DATA)}
        index = {index_id for index_id, _ in list_objects(self._store, ObjectKind.INDEX)}
        lost = {pack.pack_id for pack in self._new_packs} - packs | set(new_index) - index
        if lost:
            raise DamageError(
                f"{self._store.describe()} does not list {len(lost)} objects just written to it",
                hint="nothing was removed; run it again later",
            )
