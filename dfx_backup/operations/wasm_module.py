"""What a Wasm module tells without running it, and the smallest one with a 64-bit memory."""

import zlib
from collections.abc import Iterator

MAX_MODULE_BYTES = 100 * 1024**2
"""No module on the Internet Computer is larger (resource limits)."""

HEARTBEAT = "canister_heartbeat"

STUB_WASM64 = b"\0asm\x01\0\0\0" + b"\x05\x03\x01\x04\x00"
"""A module that does nothing: one memory section, one 64-bit memory of no pages."""

_CUSTOM = 0
_EXPORTS = 7
_CANDID_KINDS = ("icp:public", "icp:private")
_MOTOKO_NAMES = ("motoko", "enhanced-orthogonal-persistence")
_GZIP = b"\x1f\x8b"


def exports(module: bytes) -> frozenset[str] | None:
    """The names that a module exports (WebAssembly core specification, "Export section").

    Args:
        module: as it was installed, compressed with gzip or not.

    Returns:
        None when it is no module that can be read.
    """
    try:
        plain = _plain(module)
        if plain is None or plain[:4] != b"\0asm":
            return None
        for number, start, end in _sections(plain):
            if number == _EXPORTS:
                return frozenset(_names(plain, start, end))
    except (ValueError, IndexError, zlib.error):
        return None
    return frozenset()


def candid_sections(module: bytes) -> tuple[tuple[str, str], ...]:
    """The Candid interface and start arguments that a module carries, by their names.

    They are custom sections, `icp:public candid:service` and the like (interface specification,
    "Canister module format").

    Args:
        module: as it was installed, compressed with gzip or not.

    Returns:
        Pairs such as `("candid:service", "service : {}")`; none when it can't be read.
    """
    found = {}
    try:
        plain = _plain(module)
        if plain is None or plain[:4] != b"\0asm":
            return ()
        for number, start, end in _sections(plain):
            if number != _CUSTOM:
                continue
            length, at = _number(plain, start)
            kind, _, name = plain[at : at + length].decode().partition(" ")
            if kind in _CANDID_KINDS and name.startswith("candid:"):
                found[name] = plain[at + length : end].decode()
    except (ValueError, IndexError, zlib.error):
        return ()
    return tuple(sorted(found.items()))


def is_motoko(module: bytes) -> bool:
    """Whether moc made a module: it leaves custom sections of its own in all that it makes.

    Args:
        module: as it was installed, compressed with gzip or not.
    """
    try:
        plain = _plain(module)
        return plain is not None and any(
            name in _MOTOKO_NAMES or name.startswith("motoko:")
            for name in map(_bare, _custom_names(plain))
        )
    except (ValueError, IndexError, zlib.error):
        return False


def _bare(name: str) -> str:
    return name.removeprefix("icp:public ").removeprefix("icp:private ")


def _custom_names(plain: bytes) -> Iterator[str]:
    for number, start, _ in _sections(plain):
        if number == _CUSTOM:
            length, at = _number(plain, start)
            yield plain[at : at + length].decode()


def _plain(module: bytes) -> bytes | None:
    """The module without gzip; None when it would be larger than any module may be."""
    if module[:2] != _GZIP:
        return module
    stream = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    plain = stream.decompress(module, MAX_MODULE_BYTES + 1)
    return plain if len(plain) <= MAX_MODULE_BYTES else None


def _sections(plain: bytes) -> Iterator[tuple[int, int, int]]:
    at = 8
    while at < len(plain):
        size, start = _number(plain, at + 1)
        yield plain[at], start, start + size
        at = start + size


def _names(plain: bytes, at: int, end: int) -> Iterator[str]:
    count, at = _number(plain, at)
    for _ in range(count):
        length, at = _number(plain, at)
        if at + length > end:
            raise ValueError
        yield plain[at : at + length].decode()
        _, at = _number(plain, at + length + 1)


def _number(plain: bytes, at: int) -> tuple[int, int]:
    """An unsigned LEB128 number of at most 32 bits, and where it ends."""
    value = 0
    for shift in range(0, 35, 7):
        byte = plain[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError
