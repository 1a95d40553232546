"""Methods in the text of a Candid service: names, simple argument types, and what kind they are.

No compiler's reading: what it does not understand it leaves out or calls not simple. That is enough
for `doctor`, which decides nothing by it but which harmless queries it asks.
"""

import re
from collections.abc import Sequence
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

_TOKEN = re.compile(
    r"\s+|//[^\n]*|/\*|\"|->|[A-Za-z_][A-Za-z0-9_]*|[0-9][0-9A-Za-z_]*|.", re.DOTALL
)
_STRING = re.compile(r'"((?:[^"\\]|\\.)*+)"', re.DOTALL)
_MOST_ARGUMENTS = 10
_MODES = frozenset({"query", "composite_query", "oneway"})
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
    """The methods that a description tells, in its order; takes time in proportion to its length.

    Whoever wrote it may be hostile: nothing in it is looked at more than a few times.
    """
    tokens = _tokens(did[:MAX_TEXT])
    partners = _partners(tokens)
    aliases = _aliases(tokens)
    at = tokens.index("service") + 1 if "service" in tokens else 0
    found = []
    while at < len(tokens) - 2:
        begin = at + 2 if tokens[at + 1] == ":" else len(tokens)
        begin += begin < len(tokens) and tokens[begin] == "func"
        close = partners.get(begin)
        results = None if close is None else _results(tokens, close)
        end = None if results is None else partners.get(results)
        if close is None or end is None:
            at += 1
            continue
        modes, after = _modes(tokens, end + 1)
        found.append(
            Method(
                name=tokens[at].removeprefix('"'),
                query="query" in modes,
                harmless=_harmless(tokens[begin + 1 : close], aliases),
            )
        )
        at = after
    return tuple(found)


def _tokens(text: str) -> list[str]:
    """Words and signs; a quoted name begins with a quote. What follows an open end is left out."""
    found, at = [], 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        assert match is not None  # the last alternative takes anything
        word, at = match.group(), match.end()
        if word == "/*":
            end = text.find("*/", at)
            if end < 0:
                break
            at = end + 2
        elif word == '"':
            quoted = _STRING.match(text, at - 1)
            if quoted is None:
                break
            found.append(f'"{quoted.group(1)}')
            at = quoted.end()
        elif not word.isspace() and not word.startswith("//"):
            found.append(word)
    return found


def _partners(tokens: Sequence[str]) -> dict[int, int]:
    """Where each opening parenthesis is closed."""
    opened: list[int] = []
    partners = {}
    for at, word in enumerate(tokens):
        if word == "(":
            opened.append(at)
        elif word == ")" and opened:
            partners[opened.pop()] = at
    return partners


def _aliases(tokens: Sequence[str]) -> dict[str, str]:
    """Names of types that are another name for a type: `type Offset = nat64;`."""
    groups = zip(tokens, tokens[1:], tokens[2:], tokens[3:], tokens[4:], strict=False)
    return {
        name: type_
        for word, name, equals, type_, end in groups
        if (word, equals, end) == ("type", "=", ";")
    }


def _results(tokens: Sequence[str], close: int) -> int | None:
    """Where the results of a method begin, when its arguments end at `close`."""
    follows = tuple(tokens[close + 1 : close + 3]) == ("->", "(")
    return close + 2 if follows else None


def _modes(tokens: Sequence[str], at: int) -> tuple[set[str], int]:
    modes = set()
    while at < len(tokens) and tokens[at] in _MODES:
        modes.add(tokens[at])
        at += 1
    return modes, at


def _harmless(
    tokens: Sequence[str], aliases: dict[str, str]
) -> tuple[tuple[Type, Value], ...] | None:
    """What to send for arguments that are all simple; None for others."""
    arguments: list[list[str]] = [[]]
    for word in tokens:
        if word in "(){};":
            return None
        if word == ",":
            arguments.append([])
        else:
            arguments[-1].append(word)
    if len(arguments) > _MOST_ARGUMENTS:
        return None
    words = [" ".join(each[2:] if each[1:2] == [":"] else each) for each in arguments if each]
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
