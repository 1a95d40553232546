"""Methods in the text of a Candid service: names, simple argument types, and what kind they are.

A doctor's reading, not a compiler's: what it does not understand it leaves out or calls not
simple, and nothing is decided by it but which harmless queries are asked.
"""

import re
from dataclasses import dataclass

from dfx_backup.ic.candid import (
    BOOL,
    INT,
    INT8,
    INT16,
    INT32,
    INT64,
    NAT,
    NAT8,
    NAT16,
    NAT32,
    NAT64,
    NULL,
    RESERVED,
    Opt,
    Type,
    Value,
)

MAX_TEXT = 1 << 20
"""Longer descriptions are cut: no canister needs as much, and time is bounded."""

_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)
_HEAD = re.compile(r'(?:"((?:[^"\\]|\\.)*)"|([A-Za-z_]\w*))\s*:\s*(?:func\s*)?\(')
_ARROW = re.compile(r"\s*->\s*\(")
_MODE = re.compile(r"\s*((?:query|composite_query|oneway)\b\s*)*")
_ALIAS = re.compile(r"\btype\s+([A-Za-z_]\w*)\s*=\s*(\w+)\s*;")
_LABEL = re.compile(r'^\s*(?:"[^"]*"|[A-Za-z_]\w*)\s*:\s*')
_NUMBERS = {
    "nat": NAT,
    "nat8": NAT8,
    "nat16": NAT16,
    "nat32": NAT32,
    "nat64": NAT64,
    "int": INT,
    "int8": INT8,
    "int16": INT16,
    "int32": INT32,
    "int64": INT64,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """A method of a service.

    Attributes:
        name: its name.
        query: it is a query, which changes nothing.
        harmless: types and values of an argument that asks for the least, or None when its
            arguments are not simple enough for that.
    """

    name: str
    query: bool
    harmless: tuple[tuple[Type, Value], ...] | None


def methods(did: str) -> tuple[Method, ...]:
    """The methods that a description tells, in its order."""
    text = _COMMENT.sub(" ", did[:MAX_TEXT])
    aliases = dict(_ALIAS.findall(text))
    begin = re.search(r"\bservice\b", text)
    at = begin.end() if begin else 0
    found = []
    while (head := _HEAD.search(text, at)) is not None:
        arguments, after = _enclosed(text, head.end())
        arrow = _ARROW.match(text, after)
        if arrow is None:
            at = head.end()
            continue
        _, after = _enclosed(text, arrow.end())
        mode = _MODE.match(text, after)
        words = mode.group(0).split() if mode else []
        found.append(
            Method(
                name=head.group(1) or head.group(2),
                query="query" in words,
                harmless=_harmless(arguments, aliases),
            )
        )
        at = after
    return tuple(found)


def _enclosed(text: str, start: int) -> tuple[str, int]:
    """What stands between a parenthesis before `start` and its partner, and where that ends."""
    depth = 1
    for at in range(start, len(text)):
        depth += {"(": 1, ")": -1}.get(text[at], 0)
        if depth == 0:
            return text[start:at], at + 1
    return text[start:], len(text)


def _harmless(arguments: str, aliases: dict[str, str]) -> tuple[tuple[Type, Value], ...] | None:
    if any(each in arguments for each in "{}();"):
        return None
    words = [_LABEL.sub("", each).strip() for each in arguments.split(",") if each.strip()]
    found = [_simplest(each, aliases) for each in words]
    known = tuple(each for each in found if each is not None)
    return known if len(known) == len(found) else None


def _simplest(word: str, aliases: dict[str, str]) -> tuple[Type, Value] | None:
    """The type of an argument, and its least value: zero, false, or nothing."""
    plain = aliases.get(word, word)
    if plain in _NUMBERS:
        return _NUMBERS[plain], 0
    if plain == "bool":
        return BOOL, False
    if plain == "null" or plain.startswith("opt "):
        return Opt(RESERVED), None
    if plain == "reserved":
        return NULL, None
    return None
