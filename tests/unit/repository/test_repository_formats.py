"""Sealing, compression, packs, index objects, config: what lies in the store."""

import itertools
import json
import random
import sys
import threading

import pytest

from dfx_backup.errors import DamageError, RefusedError
from dfx_backup.repository import config
from dfx_backup.repository.compression import (
    StreamCompressor,
    compress,
    decompress,
    decompress_steps,
)
from dfx_backup.repository.index import BlobIndex
from dfx_backup.repository.index_object import IndexedPack, decode_index, encode_index
from dfx_backup.repository.keys import MasterKey, Password
from dfx_backup.repository.layout import BlobKind, ObjectKind, object_id, object_name
from dfx_backup.repository.machine import rfc3339, seconds_of
from dfx_backup.repository.memory import MemoryStore
from dfx_backup.repository.packs import (
    PACK_BYTES,
    PackBuilder,
    PackedBlob,
    decode_header,
    read_pack_header,
)
from dfx_backup.repository.sealing import SEAL_BYTES, Sealer
from dfx_backup.repository.snapshots import decode_snapshot


def a_sealer(seed: int = 1) -> Sealer:
    rng = random.Random(seed)
    return Sealer(
        encrypt=rng.randbytes(32),
        mac_k=rng.randbytes(16),
        mac_r=rng.randbytes(16),
        random=rng.randbytes,
    )


def blob(number: int, kind: BlobKind = BlobKind.DATA, *, compressed: bool = True) -> PackedBlob:
    rng = random.Random(number)
    raw = 65536 if compressed else 1000 - SEAL_BYTES
    return PackedBlob(rng.randbytes(32), kind, 1000 * number, 1000, raw, compressed)


@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 65536, 100_001])
def test_what_is_sealed_can_be_unsealed(size: int) -> None:
    sealer = a_sealer()
    plain = random.Random(size).randbytes(size)

    sealed = sealer.seal(plain)

    assert len(sealed) == size + SEAL_BYTES
    assert sealer.unseal(sealed, "it") == plain
    assert size < 16 or plain not in sealed


def test_equal_texts_are_sealed_differently() -> None:
    sealer = a_sealer()

    assert sealer.seal(b"equal") != sealer.seal(b"equal")


def test_every_wrong_bit_is_seen() -> None:
    sealer = a_sealer()
    sealed = sealer.seal(b"some text")

    for place, bit in itertools.product(range(len(sealed)), range(8)):
        wrong = bytearray(sealed)
        wrong[place] ^= 1 << bit
        with pytest.raises(DamageError, match="pack 7 is damaged"):
            sealer.unseal(wrong, "pack 7")


def test_what_is_too_short_or_of_another_key() -> None:
    sealed = a_sealer().seal(b"text")

    for end in range(len(sealed)):
        with pytest.raises(DamageError):
            a_sealer().unseal(sealed[:end], "it")
    with pytest.raises(DamageError):
        a_sealer(2).unseal(sealed, "it")


def test_pieces_are_sealed_like_one_text() -> None:
    pieces = [b"", b"a", b"b" * 17, b"c" * 4096, b""]

    sealed = a_sealer().seal_pieces([bytearray(piece) for piece in pieces])

    assert b"".join(sealed) == a_sealer().seal(b"".join(pieces))


def test_sealing_from_many_threads() -> None:
    sealer = a_sealer()
    failures = []

    def work(seed: int) -> None:
        rng = random.Random(seed)
        for _ in range(50):
            plain = rng.randbytes(rng.randrange(20_000))
            if decompress(
                sealer.unseal(sealer.seal(compress(plain)), "it"), "it", limit=len(plain)
            ) != (plain):
                failures.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_secrets_do_not_show() -> None:
    key = MasterKey(encrypt=b"E" * 32, mac_k=b"K" * 16, mac_r=b"R" * 16)

    shown = f"{key!r} {key} {Password('tell nobody')!r} {key.sealer(random.randbytes)!r}"

    assert not any(secret in shown for secret in ("EEE", "KKK", "RRR", "tell"))


@pytest.mark.parametrize("data", [b"", b"x", b"ab" * 40_000])
def test_compression(data: bytes) -> None:
    packed: list[bytearray] = []
    stream = StreamCompressor(packed.append)
    for start in range(0, len(data), 999):
        stream.feed(data[start : start + 999])
    stream.finish()

    assert decompress(compress(data), "it", limit=len(data)) == data
    assert b"".join(decompress_steps(b"".join(packed), "it")) == data


def test_damaged_frames() -> None:
    frame = compress(b"ab" * 40_000)

    for wrong in (b"", b"garbage", frame[:-1], frame[: len(frame) // 2]):
        with pytest.raises(DamageError, match="it is damaged"):
            decompress(wrong, "it", limit=80_000)
        with pytest.raises(DamageError, match="it is damaged"):
            list(decompress_steps(wrong, "it"))
    with pytest.raises(DamageError, match="size"):
        decompress(frame, "it", limit=79_999)


def test_a_pack_tells_what_is_in_it() -> None:
    sealer, store, builder = a_sealer(), MemoryStore(), PackBuilder()
    contents = [b"one", b"two" * 700_000, b"", b"four" * 1000]
    for number, content in enumerate(contents):
        builder.add(
            BlobKind.TREE if number == 2 else BlobKind.DATA,
            bytes([number]) * 32,
            [sealer.seal(content)],
            raw_length=len(content) + (number == 3),
            compressed=number == 3,
        )

    pack = builder.finish(sealer)
    store.put(pack.name, pack.pieces)

    blobs = read_pack_header(store, sealer, pack.pack_id, pack.size)
    assert blobs == tuple(pack.blobs)
    assert store.size(pack.name) == pack.size
    assert [each.blob_id[0] for each in blobs] == [0, 1, 2, 3]
    assert [each.kind is BlobKind.TREE for each in blobs] == [False, False, True, False]
    assert [each.compressed for each in blobs] == [False, False, False, True]
    assert [each.raw_length for each in blobs] == [3, 2_100_000, 0, 4001]
    for each, content in zip(blobs, contents, strict=True):
        sealed = store.get_range(pack.name, each.offset, each.length)
        assert sealer.unseal(sealed, "it") == content


def test_a_pack_is_full_at_16_mib() -> None:
    builder = PackBuilder()
    piece = bytes(60_000)
    while not builder.full:
        builder.add(BlobKind.DATA, bytes(32), [piece], raw_length=1, compressed=True)

    assert PACK_BYTES <= builder.size < PACK_BYTES + len(piece)


def test_damaged_packs_are_named() -> None:
    sealer, store, builder = a_sealer(), MemoryStore(), PackBuilder()
    builder.add(BlobKind.DATA, bytes(32), [bytes(100)], raw_length=9, compressed=True)
    pack = builder.finish(sealer)
    whole = b"".join(pack.pieces)
    damaged = [
        whole[:3],
        whole[:30],
        whole[:-1],
        whole[:-4] + bytes(4),
        whole[:-4] + b"\xff\xff\xff\x7f",
        whole[:120] + b"!" + whole[121:],
        b"!" + whole,
        whole[1:],
    ]

    for each in damaged:
        store.put(pack.name, each)
        with pytest.raises(DamageError, match=pack.pack_id):
            read_pack_header(store, sealer, pack.pack_id, len(each))
    for header in (b"\x04" + bytes(36), bytes(36), b"\x02" + bytes(36), b"\x00\xff"):
        with pytest.raises(DamageError, match="header"):
            list(decode_header(header, "it"))


def test_an_index_object_tells_what_it_was_told() -> None:
    packs = [
        IndexedPack("ab" * 32, (blob(1), blob(2, compressed=False))),
        IndexedPack("cd" * 32, (blob(3, BlobKind.TREE),)),
    ]

    for count in range(3):
        assert decode_index(b"".join(encode_index(packs[:count])), "it") == packs[:count]


def test_what_is_no_index_object() -> None:
    good = json.loads(b"".join(encode_index([IndexedPack("ab" * 32, (blob(1),))])))

    def changed(**fields: object) -> bytes:
        return json.dumps({"packs": [good["packs"][0] | fields]}).encode()

    first = good["packs"][0]["blobs"][0]
    wrong = [b"", b"[]", b"{}", b'{"packs":[3]}', changed(id="ab"), changed(blobs=[{}]), b"\xff"]
    for field, value in [
        ("id", "ab"),
        ("id", 7),
        ("type", "page"),
        ("offset", -1),
        ("offset", 1 << 32),
        ("offset", "1"),
        ("offset", 1.5),
        ("uncompressed_length", 2.0),
        ("length", 31),
        ("length", None),
        ("uncompressed_length", -1),
    ]:
        wrong.append(changed(blobs=[first | {field: value}]))
    for text in wrong:
        with pytest.raises(DamageError, match="index/7 can't be understood"):
            decode_index(text, "index/7")


def test_the_index_finds_what_was_entered() -> None:
    index, rng = BlobIndex(), random.Random(1)
    model = {}
    for pack in range(40):
        pack_id = rng.randbytes(32).hex()
        blobs = []
        for place in range(rng.randrange(400)):
            kind = rng.choice(list(BlobKind))
            entry = PackedBlob(rng.randbytes(32), kind, place * 7, 100, 10 * place, bool(place % 2))
            blobs.append(entry)
            model[kind, entry.blob_id] = (pack, entry)
        assert index.add_pack(pack_id, blobs) == pack
        assert index.pack_id(pack) == pack_id
        assert index.pack_number(pack_id) == pack

    assert len(index) == len(model)
    for (kind, blob_id), (pack, entry) in model.items():
        other = BlobKind.TREE if kind is BlobKind.DATA else BlobKind.DATA
        assert index.find(kind, blob_id) == (pack, *entry[2:])
        assert index.find(other, blob_id) is None
    assert index.find(BlobKind.DATA, bytes(32)) is None
    assert {(kind, blob_id) for kind, blob_id, _ in index.entries()} == set(model)


def test_a_blob_in_several_packs_has_its_first_place() -> None:
    index = BlobIndex()

    index.add_pack("ab" * 32, [blob(1)])
    index.add_pack("cd" * 32, [blob(1), blob(2)])
    index.add_pack("ab" * 32, [blob(1)])

    assert len(index) == 2
    found = [index.find(BlobKind.DATA, blob(number).blob_id) for number in (1, 2)]
    assert [each and each.pack for each in found] == [0, 1]
    assert index.pack_end(1) == 3000


def test_the_index_needs_less_than_100_bytes_a_blob() -> None:
    index, rng = BlobIndex(), random.Random(1)
    count = 30_000
    entries = (blob(1)._replace(blob_id=rng.randbytes(32)) for _ in range(count))

    index.add_pack("ab" * 32, entries)

    used = sys.getsizeof(index._records) + sys.getsizeof(index._table[0])
    assert used < 100 * count


def test_names_of_objects() -> None:
    some = "ab" * 32

    assert object_name(ObjectKind.DATA, some) == f"data/ab/{some}"
    assert object_id(ObjectKind.DATA, f"data/ab/{some}") == some
    for name in (f"data/{some}", f"data/cd/{some}", f"data/ab/{some}0", f"locks/{some}", "data"):
        assert object_id(ObjectKind.DATA, name) is None
    assert object_id(ObjectKind.LOCK, f"locks/{some}") == some


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2015-01-02T18:10:50.895208559+01:00", 1420218650.895208),
        ("2015-01-02T17:10:50Z", 1420218650),
        ("2015-01-02T17:10:50.5Z", 1420218650.5),
        ("2015-01-02T12:10:50.25-05:00", 1420218650.25),
    ],
)
def test_moments_that_restic_writes(text: str, seconds: float) -> None:
    assert seconds_of(text) == pytest.approx(seconds, abs=1e-6)
    assert seconds_of(rfc3339(seconds)) == pytest.approx(seconds, abs=1e-6)


def test_moments_are_written_without_needless_zeros() -> None:
    assert rfc3339(1420218650) == "2015-01-02T17:10:50Z"
    assert rfc3339(1420218650.25) == "2015-01-02T17:10:50.25Z"
    for text in ("", "yesterday", "2015-01-02T17:10:50"):
        with pytest.raises(ValueError, match=r"."):
            seconds_of(text)


def test_polynomials() -> None:
    # The first is the example in restic's description of the format.
    assert config.is_irreducible(0x25B468838DCB75)
    assert config.is_irreducible(0b111)
    assert config.is_irreducible(0b1011)
    assert not config.is_irreducible(0b101)
    assert not config.is_irreducible(0b1111)
    irreducible = [value for value in range(1 << 8, 1 << 9) if config.is_irreducible(value)]
    assert len(irreducible) == 30  # Gauss' formula for degree 8
    drawn = config.random_polynomial(random.Random(5).randbytes)
    assert drawn.bit_length() == 54
    assert config.is_irreducible(drawn)


def test_config() -> None:
    for size in config.BLOB_SIZES:
        made = config.new_config(random.Random(1).randbytes, blob_size=size)
        assert config.decode_config(config.encode_config(made), "here") == made


def test_configs_of_other_versions_are_refused() -> None:
    made = json.loads(config.encode_config(config.new_config(random.randbytes, blob_size=65536)))

    for version, hint in ((1, "migrate"), (3, "newer version"), (99, "newer version")):
        with pytest.raises(RefusedError, match=f"version {version}") as caught:
            config.decode_config(json.dumps(made | {"version": version}).encode(), "here")
        assert hint in (caught.value.hint or "")


def test_garbage_is_no_config() -> None:
    made = json.loads(config.encode_config(config.new_config(random.randbytes, blob_size=65536)))
    wrong = [b"", b"\xff\x00", b"{}", b"[]", b"7", b'{"version":"2"}', b'{"version":2}']
    wrong += [
        json.dumps(made | change).encode()
        for change in (
            {"id": "ab"},
            {"version": 0},
            {"dfx_backup": 3},
            {"dfx_backup": {"blob_size": 5}},
        )
    ]

    for text in wrong:
        with pytest.raises(DamageError, match="config in here can't be understood"):
            config.decode_config(text, "here")


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"{}",
        b'{"time":"2015-01-02T17:10:50Z","tree":"ab"}',
        b'{"time":"soon","tree":"%s"}' % (b"ab" * 32),
        b'{"time":"2015-01-02T17:10:50Z","tree":"%s","tags":"x"}' % (b"ab" * 32),
        b'{"time":"2015-01-02T17:10:50Z","tree":"%s","hostname":7}' % (b"ab" * 32),
    ],
)
def test_garbage_is_no_snapshot_object(text: bytes) -> None:
    with pytest.raises(DamageError, match="snapshots/7 can't be understood"):
        decode_snapshot(text, "7")
