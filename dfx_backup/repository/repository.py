"""A repository: opened with a password, it reads and writes objects, blobs, trees and snapshots."""

import hashlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from dfx_backup.errors import DamageError, NoRepositoryError, RefusedError
from dfx_backup.progress import Progress, SilentProgress
from dfx_backup.repository.compression import StreamCompressor, decompress, decompress_steps
from dfx_backup.repository.config import (
    BLOB_BYTES,
    BLOB_SIZES,
    Config,
    decode_config,
    encode_config,
    new_config,
)
from dfx_backup.repository.index import BlobIndex, BlobPlace
from dfx_backup.repository.index_object import IndexedPack, decode_index
from dfx_backup.repository.keys import (
    KeyRing,
    MasterKey,
    Password,
    new_master,
    open_any_key,
    write_key,
)
from dfx_backup.repository.layout import (
    CONFIG_NAME,
    BlobKind,
    ObjectKind,
    list_objects,
    object_name,
)
from dfx_backup.repository.locks import RepositoryLock
from dfx_backup.repository.machine import Machine
from dfx_backup.repository.snapshots import (
    SnapshotFields,
    SnapshotObject,
    decode_snapshot,
    encode_snapshot,
)
from dfx_backup.repository.store import Buffer, MissingObjectError, ObjectStore
from dfx_backup.repository.trees import Tree, TreeDecoder

if TYPE_CHECKING:
    from dfx_backup.repository.reader import Reader
    from dfx_backup.repository.sealing import Sealer
    from dfx_backup.repository.writer import Writer

_COMPRESSED_JSON = 2
"""First byte of an object whose JSON text is compressed; otherwise it is '{' or '['."""
_LARGEST_JSON = 1 << 30


class Repository:
    """An open repository; safe to read from several threads. Made by `init` and `open`.

    Attributes:
        store: where it lies.
        machine: who works on it.
        config: what it is.
        sealer: its keys at work.
        keys: its passwords.
        left_locks: see `locks.SealedObjects`.
    """

    def __init__(
        self,
        store: ObjectStore,
        machine: Machine,
        config: Config,
        *,
        key_id: str,
        master: MasterKey,
    ) -> None:
        self.store = store
        self.machine = machine
        self.config = config
        self.sealer: Sealer = master.sealer(machine.random)
        self.keys = KeyRing(store, machine, current=key_id, master=master)
        self.left_locks: set[str] = set()
        self._index: BlobIndex | None = None
        self._indexed: set[str] = set()

    @classmethod
    def init(
        cls,
        store: ObjectStore,
        password: Password,
        machine: Machine,
        *,
        blob_size: int = BLOB_BYTES,
    ) -> "Repository":
        """Make a repository.

        Args:
            store: where; must hold none yet.
            password: opens it from then on.
            machine: who makes it.
            blob_size: one of `BLOB_SIZES`.

        Raises:
            RefusedError: there is a repository, or what is left of one.
            StoreError: the store can't be used.
        """
        if blob_size not in BLOB_SIZES:
            raise ValueError(f"blobs of {blob_size} bytes")
        _refuse_remains(store)
        master = new_master(machine.random)
        key_id = write_key(store, password, master, machine)
        config = new_config(machine.random, blob_size=blob_size)
        sealed = bytes(master.sealer(machine.random).seal(encode_config(config)))
        store.put(CONFIG_NAME, sealed)
        # Two that init at the same time: the store kept one config, and only one of them sees its.
        key_name = object_name(ObjectKind.KEY, key_id)
        if store.get(CONFIG_NAME) != sealed or not store.exists(key_name):
            store.delete(key_name)
            raise RefusedError(f"somebody else has just made a repository in {store.describe()}")
        return cls(store, machine, config, key_id=key_id, master=master)

    @classmethod
    def open(cls, store: ObjectStore, password: Password, machine: Machine) -> "Repository":
        """Open a repository.

        Raises:
            NoRepositoryError: there is none.
            WrongKeyError: the password opens none of its keys.
            RefusedError: it has a version of the format that is not known here.
            DamageError: its config or its keys are damaged.
            StoreError: the store can't be used.
        """
        try:
            sealed = store.get(CONFIG_NAME)
        except MissingObjectError:
            raise NoRepositoryError(
                f"there is no repository in {store.describe()}",
                hint="`init` makes one",
            ) from None
        plain: list[bytes] = []

        def fits(master: MasterKey) -> bool:
            try:
                plain.append(master.sealer(machine.random).unseal(sealed, CONFIG_NAME))
            except DamageError:
                return False
            return True

        key_id, master = open_any_key(store, password, fits)
        config = decode_config(plain[-1], store.describe())
        return cls(store, machine, config, key_id=key_id, master=master)

    @property
    def id(self) -> str:
        """32 bytes, hexadecimal."""
        return self.config.id

    def load_sealed(self, kind: ObjectKind, object_id: str) -> bytes:
        """The JSON text of an index, snapshot or lock object.

        Raises:
            MissingObjectError: there is none.
            DamageError: it is not what was written.
        """
        name = object_name(kind, object_id)
        data = self.store.get(name)
        if hashlib.sha256(data).hexdigest() != object_id:
            raise DamageError(f"{name} is damaged: its content is not its name")
        plain = self.sealer.unseal(data, name)
        if plain[:1] in (b"{", b"["):
            return plain
        if plain[:1] != bytes([_COMPRESSED_JSON]):
            raise DamageError(f"{name} can't be understood: it has an unknown encoding")
        return decompress(memoryview(plain)[1:], name, limit=_LARGEST_JSON)

    def seal_object(self, text: bytes | Iterable[bytes]) -> tuple[str, list[Buffer]]:
        """Id and content of an index, snapshot or lock object that is still to be written.

        Args:
            text: its JSON text, whole or in pieces.
        """
        pieces = [bytearray([_COMPRESSED_JSON])]
        compressor = StreamCompressor(pieces.append)
        for piece in [text] if isinstance(text, bytes) else text:
            compressor.feed(piece)
        compressor.finish()
        content = self.sealer.seal_pieces(pieces)
        digest = hashlib.sha256()
        for each in content:
            digest.update(each)
        return digest.hexdigest(), content

    def save_sealed(self, kind: ObjectKind, text: bytes | Iterable[bytes]) -> tuple[str, int]:
        """Write an index, snapshot or lock object; its hexadecimal id and its bytes."""
        object_id, content = self.seal_object(text)
        self.store.put(object_name(kind, object_id), content)
        return object_id, sum(len(piece) for piece in content)

    @property
    def index(self) -> BlobIndex:
        """Where every blob lies; read when it is first needed."""
        if self._index is None:
            self.reload_index()
        assert self._index is not None
        return self._index

    def reload_index(self) -> None:
        """Learn of what others wrote; when index objects have gone, everything is read again.

        Raises:
            DamageError: an index object is damaged.
        """
        found = {index_id for index_id, _ in list_objects(self.store, ObjectKind.INDEX)}
        index = self._index
        if index is None or not self._indexed <= found:
            index, self._indexed = BlobIndex(), set()
        for index_id in sorted(found - self._indexed):
            index.add_packs(self.load_index(index_id))
            self._indexed.add(index_id)
        self._index = index

    def note_index(self, index_id: str) -> None:
        """An index object was written for blobs that `index` has already.

        Without this, packs that somebody prunes later would stay in `index`.
        """
        self._indexed.add(index_id)

    def drop_index(self) -> None:
        """Forget what is known: `index` has blobs that no index object lists."""
        self._index, self._indexed = None, set()

    def load_index(self, index_id: str) -> list[IndexedPack]:
        """What one index object lists.

        Raises:
            MissingObjectError: there is none.
            DamageError: it is damaged.
        """
        return decode_index(self.load_sealed(ObjectKind.INDEX, index_id), f"index/{index_id}")

    def index_objects(self) -> Iterator[tuple[str, list[IndexedPack]]]:
        """Id and content of every index object, with blobs that are in several packs.

        Raises:
            DamageError: one is damaged.
        """
        for index_id in sorted(each for each, _ in list_objects(self.store, ObjectKind.INDEX)):
            yield index_id, self.load_index(index_id)

    def snapshots(self) -> tuple[SnapshotObject, ...]:
        """Every snapshot object, oldest first.

        Raises:
            DamageError: one is damaged.
        """
        found = [self.snapshot(each) for each, _ in list_objects(self.store, ObjectKind.SNAPSHOT)]
        return tuple(sorted(found, key=lambda each: (each.time, each.snapshot_id)))

    def snapshot(self, snapshot_id: str) -> SnapshotObject:
        """One snapshot object.

        Raises:
            MissingObjectError: there is none.
            DamageError: it is damaged.
        """
        return decode_snapshot(self.load_sealed(ObjectKind.SNAPSHOT, snapshot_id), snapshot_id)

    def save_snapshot(self, fields: SnapshotFields) -> tuple[str, int]:
        """Write a snapshot object; its hexadecimal id and its bytes.

        Its tree must be in the store and in an index already: see `Writer.commit`.
        """
        return self.save_sealed(ObjectKind.SNAPSHOT, encode_snapshot(fields))

    def find_blob(self, kind: BlobKind, blob_id: bytes) -> BlobPlace:
        """Where a blob lies.

        Raises:
            DamageError: no index object lists it.
        """
        place = self.index.find(kind, blob_id)
        if place is None:
            # Somebody may have written it since the index was read.
            self.reload_index()
            place = self.index.find(kind, blob_id)
        if place is None:
            raise DamageError(f"{kind} blob {blob_id.hex()} is in no index")
        return place

    def open_blob(self, place: BlobPlace, blob_id: bytes, sealed: Buffer) -> bytes:
        """The content of a blob from its sealed bytes, checked against its id.

        Raises:
            DamageError: it is not what was written.
        """
        pack_id = self.index.pack_id(place.pack)
        what = f"blob {blob_id.hex()} in pack {pack_id}"
        plain = self.sealer.unseal(sealed, what)
        if place.compressed:
            plain = decompress(plain, what, limit=place.raw_length)
        if hashlib.sha256(plain).digest() != blob_id:
            raise DamageError(f"{what} is damaged: its content is not its id")
        return plain

    def load_blob(self, kind: BlobKind, blob_id: bytes) -> bytes:
        """The content of a blob.

        Raises:
            MissingObjectError: its pack is gone.
            DamageError: it is in no index, or not what was written.
        """
        place = self.find_blob(kind, blob_id)
        return self.open_blob(place, blob_id, self._sealed_blob(place))

    def tree(self, tree_id: bytes) -> Tree:
        """A directory, by the blob id of its tree; huge ones are read as a stream.

        Raises:
            MissingObjectError: its pack is gone.
            DamageError: it is in no index, or not what was written.
        """
        place = self.find_blob(BlobKind.TREE, tree_id)
        what = f"tree {tree_id.hex()} in pack {self.index.pack_id(place.pack)}"
        plain = self.sealer.unseal(self._sealed_blob(place), what)
        decoder, digest = TreeDecoder(what), hashlib.sha256()
        for piece in decompress_steps(plain, what) if place.compressed else [plain]:
            digest.update(piece)
            decoder.feed(piece)
        if digest.digest() != tree_id:
            raise DamageError(f"{what} is damaged: its content is not its id")
        return decoder.finish()

    def lock(
        self, *, exclusive: bool, progress: Progress | None = None, wait_s: float = 0.0
    ) -> RepositoryLock:
        """A lock, for a `with` block.

        Args:
            exclusive: whether nobody else may work on the repository.
            progress: hears of stale locks that are removed, and of waiting.
            wait_s: seconds to wait for others.
        """
        return RepositoryLock(
            self, exclusive=exclusive, progress=progress or SilentProgress(), wait_s=wait_s
        )

    def writer(
        self, *, progress: Progress | None = None, wait_s: float = 0.0, workers: int = 2
    ) -> "Writer":
        """What writes one backup, for a `with` block.

        Args:
            progress: hears of stale locks that are removed, and of waiting.
            wait_s: seconds to wait for others.
            workers: threads that hash, compress and seal.
        """
        from dfx_backup.repository.writer import Writer  # noqa: PLC0415 - only writers need it

        return Writer(self, progress=progress or SilentProgress(), wait_s=wait_s, workers=workers)

    def reader(self) -> "Reader":
        """What reads files."""
        from dfx_backup.repository.reader import Reader  # noqa: PLC0415 - only readers need it

        return Reader(self)

    def _sealed_blob(self, place: BlobPlace) -> bytes:
        name = object_name(ObjectKind.DATA, self.index.pack_id(place.pack))
        return self.store.get_range(name, place.offset, place.length)


def is_repository(store: ObjectStore) -> bool:
    """Whether there is a repository."""
    return store.exists(CONFIG_NAME)


def _refuse_remains(store: ObjectStore) -> None:
    """Refuse to init over a repository; a key that a killed init left is removed.

    Raises:
        RefusedError: there is one, or what is left of one.
    """
    if store.exists(CONFIG_NAME):
        raise RefusedError(f"there is a repository in {store.describe()} already")
    for kind in (ObjectKind.SNAPSHOT, ObjectKind.INDEX, ObjectKind.DATA):
        if next(list_objects(store, kind), None) is not None:
            raise RefusedError(
                f"{store.describe()} holds {kind} of a repository that has lost its config",
                hint="bring its config back, or choose another place",
            )
    for key_id, _ in list(list_objects(store, ObjectKind.KEY)):
        store.delete(object_name(ObjectKind.KEY, key_id))
