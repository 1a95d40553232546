"""Which blobs the backups of a repository need, and what of them is there."""

import hashlib
from array import array
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from dfx_backup.errors import DamageError
from dfx_backup.repository.compression import decompress_steps
from dfx_backup.repository.contents import ContentTable
from dfx_backup.repository.index import BlobIndex
from dfx_backup.repository.index_object import IndexedPack
from dfx_backup.repository.layout import (
    ID_BYTES,
    BlobKind,
    ObjectKind,
    list_objects,
    object_name,
)
from dfx_backup.repository.packs import header_bytes
from dfx_backup.repository.repository import Repository
from dfx_backup.repository.trees import Node, Tree, TreeDecoder

_KEPT_GROUPS = 1 << 18
"""Groups of ids that are remembered as sound, about 150 bytes each."""

Meet = Callable[[BlobKind, bytes], int | str]
"""Told of a blob that a backup needs; gives the bytes of its content, or what is wrong with it."""


class MarkedIndex(BlobIndex):
    """An index whose blobs are marked as needed; for one thread, and after the last addition.

    Attributes:
        used: for each pack by number, the bytes of its needed blobs.
    """

    def __init__(self) -> None:
        super().__init__()
        self._marks = bytearray()
        self.used = array("Q")

    def start(self) -> None:
        """Take all marks away."""
        self._marks = bytearray(len(self) // 8 + 1)
        self.used = array("Q", bytes(8 * len(self.pack_ids)))

    def mark(self, kind: BlobKind, blob_id: bytes) -> int | None:
        """Mark a blob; bytes of its content, or None when the index does not know it."""
        number = self.number(kind, blob_id)
        if number is None:
            return None
        place = self.place(number)
        byte, bit = divmod(number, 8)
        if not self._marks[byte] & 1 << bit:
            self._marks[byte] |= 1 << bit
            self.used[place.pack] += place.length
        return place.raw_length

    def keeps(self, pack_id: str, kind: BlobKind, blob_id: bytes, offset: int) -> bool:
        """Whether a blob is needed, and this is the one of its places that counts."""
        number = self.number(kind, blob_id)
        if number is None:
            return False
        place = self.place(number)
        byte, bit = divmod(number, 8)
        here = place.offset == offset and self.pack_id(place.pack) == pack_id
        return here and bool(self._marks[byte] & 1 << bit)


class PackInStore(NamedTuple):
    """A pack as the store lists it.

    Attributes:
        size: its bytes.
        modified: when it was written, by the store's clock, in seconds since the epoch.
    """

    size: int
    modified: float


class IndexObject(NamedTuple):
    """An index object.

    Attributes:
        pack_ids: the packs that it lists.
        blobs: how many blobs they have.
    """

    pack_ids: tuple[str, ...]
    blobs: int


class IndexedSize(NamedTuple):
    """A pack as an index object describes it.

    Attributes:
        payload: bytes of all its blobs.
        whole: bytes that the object must have.
        blobs: how many there are.
    """

    payload: int
    whole: int
    blobs: int


@dataclass(slots=True, kw_only=True)
class Survey:
    """All packs of a repository, as the store and as the index sees them.

    Attributes:
        present: the packs of the store, by hexadecimal id.
        indexed: the packs that index objects list, whether they are there or not.
        index: the blobs of those that are there with their right size.
        lost: the blobs of the others.
        index_objects: the index objects that could be read, by hexadecimal id.
    """

    present: dict[str, PackInStore] = field(default_factory=dict)
    indexed: dict[str, IndexedSize] = field(default_factory=dict)
    index: MarkedIndex = field(default_factory=MarkedIndex)
    lost: BlobIndex = field(default_factory=BlobIndex)
    index_objects: dict[str, IndexObject] = field(default_factory=dict)

    def lost_pack(self, kind: BlobKind, blob_id: bytes) -> str | None:
        """The pack that should hold a blob and is missing or has a wrong size, if there is one."""
        place = self.lost.find(kind, blob_id)
        return None if place is None else self.lost.pack_id(place.pack)

    def sound(self, pack_id: str) -> bool:
        """Whether a pack is there and as long as the index says."""
        found, told = self.present.get(pack_id), self.indexed.get(pack_id)
        return found is not None and told is not None and found.size == told.whole


def survey_packs(
    repository: Repository, damaged: Callable[[str, DamageError], None] | None = None
) -> Survey:
    """Read all index objects and list all packs.

    Args:
        repository: an open one.
        damaged: told of each index object that can't be read; None lets the first one end it.

    Raises:
        DamageError: an index object can't be read, and `damaged` is None.
    """
    survey = Survey()
    # The index comes first: a pack is written before the index object that lists it.
    object_ids = sorted(each for each, _ in list_objects(repository.store, ObjectKind.INDEX))
    for pack_id, info in list_objects(repository.store, ObjectKind.DATA):
        survey.present[pack_id] = PackInStore(info.size, info.modified)
    for index_id in object_ids:
        try:
            packs = repository.load_index(index_id)
        except DamageError as error:
            if damaged is None:
                raise
            damaged(index_id, error)
            continue
        survey.index_objects[index_id] = IndexObject(
            tuple(pack.pack_id for pack in packs), sum(len(pack.blobs) for pack in packs)
        )
        for pack in packs:
            _enter(survey, pack)
    survey.index.start()
    return survey


def _enter(survey: Survey, pack: IndexedPack) -> None:
    """Enter a pack of an index object."""
    if pack.pack_id in survey.indexed:
        return
    payload = sum(blob.length for blob in pack.blobs)
    header = header_bytes(len(pack.blobs), sum(blob.compressed for blob in pack.blobs))
    survey.indexed[pack.pack_id] = IndexedSize(payload, payload + header, len(pack.blobs))
    index = survey.index if survey.sound(pack.pack_id) else survey.lost
    index.add_pack(pack.pack_id, pack.blobs)


def load_tree(repository: Repository, index: BlobIndex, tree_id: bytes) -> Tree:
    """A tree by way of an index of one's own; huge ones are read as a stream.

    Raises:
        DamageError: it is in no pack of the index, or damaged.
    """
    place = index.find(BlobKind.TREE, tree_id)
    if place is None:
        raise DamageError(f"tree {tree_id.hex()} is missing")
    name = object_name(ObjectKind.DATA, index.pack_id(place.pack))
    what = f"tree {tree_id.hex()} in {name}"
    sealed = repository.store.get_range(name, place.offset, place.length)
    plain = repository.sealer.unseal(sealed, what)
    decoder, digest = TreeDecoder(what), hashlib.sha256()
    for piece in decompress_steps(plain, what) if place.compressed else [plain]:
        digest.update(piece)
        decoder.feed(piece)
    if digest.digest() != tree_id:
        raise DamageError(f"{what} is damaged: its content is not its id")
    return decoder.finish()


@dataclass(frozen=True, slots=True, kw_only=True)
class FileFacts:
    """What a walk found out about the content of one file.

    Attributes:
        size: bytes of the blobs that are sound.
        wrong: what is wrong with the others, and how many of them have that.
    """

    size: int
    wrong: Counter[str]


class ContentScan:
    """Goes through the blobs of files; pieces of them that were sound once are not looked at again.

    Backups of one canister share nearly all of their pages, at the same places.

    Args:
        meet: told of each blob, at least once.
    """

    def __init__(self, meet: Meet) -> None:
        self._meet = meet
        self._sound: dict[bytes, int] = {}

    def scan(self, content: ContentTable) -> FileFacts:
        """Meet all blobs of a file."""
        size = 0
        wrong: Counter[str] = Counter()
        for group in content.groups():
            digest = hashlib.sha256(group).digest()
            known = self._sound.get(digest)
            if known is None:
                known, bad = self._group(group)
                if bad:
                    wrong += bad
                else:
                    self._remember(digest, known)
            size += known
        return FileFacts(size=size, wrong=wrong)

    def _group(self, group: bytes | bytearray) -> tuple[int, Counter[str]]:
        """Meet the blobs of one piece; bytes of the sound ones, and what is wrong."""
        counts = Counter(bytes(group[at : at + ID_BYTES]) for at in range(0, len(group), ID_BYTES))
        size = 0
        wrong: Counter[str] = Counter()
        for blob_id, count in counts.items():
            met = self._meet(BlobKind.DATA, blob_id)
            if isinstance(met, int):
                size += met * count
            else:
                wrong[met] += count
        return size, wrong

    def _remember(self, digest: bytes, size: int) -> None:
        if len(self._sound) >= _KEPT_GROUPS:
            self._sound.clear()
        self._sound[digest] = size


def walk_tree(
    tree_id: bytes, load: Callable[[str, bytes], Tree | None]
) -> Iterator[tuple[str, Node]]:
    """Every name below a tree with its path, which has no slash before it.

    Args:
        tree_id: blob id of the tree.
        load: gives the tree at a path, or None to leave it out.
    """
    open_trees = [("", tree_id)]
    while open_trees:
        path, current = open_trees.pop()
        tree = load(path, current)
        if tree is None:
            continue
        for node in tree.nodes:
            below = f"{path}/{node.name}" if path else node.name
            yield below, node
            if node.subtree is not None:
                open_trees.append((below, node.subtree))
