"""Looks for instructions that change what the replica does not keep between messages.

A canister's state is its memories and globals. Tables and dropped segments are none of it: every
message finds them as instantiation made them (interface specification, "WasmState"). A module that
never changes them may run many messages in one instance.
"""

import re
from collections.abc import Iterator
from typing import Final

from dfx_backup.replica.wasmreader import Reader

# table.set 0, and whatever may be table.init, table.copy, table.grow, table.fill, data.drop
_SUSPECT: Final = re.compile(rb"\x26\x80{0,4}\x00|\xfc[\x09\x0c\x0e\x0f\x11]")
_TABLE_SET, _PREFIX, _VECTOR = 0x26, 0xFC, 0xFD
_CHANGES: Final = frozenset({0x09, 0x0C, 0x0E, 0x0F, 0x11})

# Immediates of an instruction: "l" LEB128, "b" byte, "v" vector of LEB128, 4, 8 and 16 bytes.
_SIZES: Final = {"b": 1, "4": 4, "8": 8, "w": 16}


def _immediates() -> dict[int, str]:
    found = dict.fromkeys((*range(0x02, 0x05), 0x0C, 0x0D, 0x10, 0x12), "l")
    found |= dict.fromkeys((0x00, 0x01, 0x05, 0x0B, 0x0F, 0x1A, 0x1B, 0xD1), "")
    found |= {0x0E: "vl", 0x11: "ll", 0x13: "ll", 0x1C: "v", 0x43: "4", 0x44: "8"}
    found |= dict.fromkeys((*range(0x20, 0x27), 0x3F, 0x40, 0x41, 0x42, 0xD0, 0xD2), "l")
    found |= dict.fromkeys(range(0x28, 0x3F), "ll")
    found |= dict.fromkeys(range(0x45, 0xC5), "")
    return found


def _prefixed() -> dict[tuple[int, int], str]:
    found = {(_PREFIX, each): "" for each in range(8)}
    found |= {(_PREFIX, each): "ll" for each in (8, 10, 12, 14)}
    found |= {(_PREFIX, each): "l" for each in (9, 11, 13, 15, 16, 17)}
    found |= {(_VECTOR, each): "" for each in range(0x200)}
    found |= {(_VECTOR, each): "ll" for each in (*range(12), 92, 93)}
    found |= {(_VECTOR, each): "w" for each in (12, 13)}
    found |= {(_VECTOR, each): "b" for each in range(21, 35)}
    found |= {(_VECTOR, each): "llb" for each in range(84, 92)}
    return found


_PLAIN: Final = _immediates()
_PREFIXED: Final = _prefixed()


def changes_instance(code: bytes, *, tables: int) -> bool:
    """Whether a code section may change a table or drop a data segment.

    Args:
        code: content of the section.
        tables: how many the module has; with more than one nothing is looked at.
    """
    if tables > 1:
        return True
    try:
        return any(_changes(body) for body in _bodies(code) if _SUSPECT.search(code, *_range(body)))
    except (ValueError, IndexError, KeyError):  # an instruction that we don't know
        return True


def _range(body: Reader) -> tuple[int, int]:
    return body.position, body.end


def _bodies(code: bytes) -> Iterator[Reader]:
    reader = Reader(code)
    for _ in range(reader.uleb()):
        size = reader.uleb()
        yield Reader(code, reader.position, reader.position + size)
        reader.take(size)


def _changes(body: Reader) -> bool:
    for _ in range(body.uleb()):  # local variables
        body.uleb()
        body.byte()
    while body.position < body.end:
        code = body.byte()
        if code == _TABLE_SET:
            return True
        if code in (_PREFIX, _VECTOR):
            second = body.uleb()
            if code == _PREFIX and second in _CHANGES:
                return True
            form = _PREFIXED[code, second]
        else:
            form = _PLAIN[code]
        _skip(body, form)
    return False


def _skip(body: Reader, form: str) -> None:
    for each in form:
        if each == "l":
            body.uleb()
        elif each == "v":
            for _ in range(body.uleb()):
                body.uleb()
        else:
            body.take(_SIZES[each])
