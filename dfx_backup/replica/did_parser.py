"""Reads Candid interface descriptions (`.did` text) into types.

Covers the grammar of the Candid specification except `import`: type definitions, an optional
service with or without initialisation arguments, quoted names, tuples and variant shorthands.
"""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from dfx_backup.replica.candid_types import (
    BLOB,
    PRIMS,
    CandidError,
    Func,
    Opt,
    Record,
    Ref,
    Service,
    Type,
    Variant,
    Vec,
    fields,
    resolve,
)

if TYPE_CHECKING:
    from collections.abc import Callable

_TOKEN: Final = re.compile(
    r"""\s+|//[^\n]*|/\*(?:.|\n)*?\*/
    |(?P<arrow>->)|(?P<punct>[{}();:=,])
    |(?P<text>"(?:[^"\\]|\\.)*")
    |(?P<number>0x[0-9a-fA-F_]+|[0-9][0-9_]*)
    |(?P<name>[A-Za-z_][A-Za-z0-9_]*)""",
    re.VERBOSE,
)
_MAX_DEPTH: Final = 200
_ESCAPE: Final = re.compile(r"\\(u\{[0-9a-fA-F_]+\}|[0-9a-fA-F]{2}|.)")
_SIMPLE_ESCAPES: Final = {"n": "\n", "r": "\r", "t": "\t"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Interface:
    """A parsed description: its named types, its methods, its initialisation arguments."""

    types: dict[str, Type]
    methods: dict[str, Func]
    init: tuple[Type, ...] = ()


def parse_did(source: str) -> Interface:
    """Parse a whole `.did` text.

    Raises:
        CandidError: a syntax error (the text names the place), or a name without a definition.
    """
    parser = _Parser(source)
    types: dict[str, Type] = {}
    service: Type | None = None
    init: tuple[Type, ...] = ()
    while parser.peek() is not None:
        if parser.accept("type"):
            name = parser.word()
            if name in types or name in PRIMS:
                raise CandidError(f"the type {name} is defined twice")
            parser.expect("=")
            types[name] = parser.datatype()
        elif parser.accept("service"):
            init, service = parser.main_service()
        else:
            raise parser.unexpected("a definition or a service")
        parser.accept(";")
    _check_names(types)
    return Interface(types=types, methods=_methods(service, types), init=init)


def _methods(service: Type | None, types: dict[str, Type]) -> dict[str, Func]:
    if service is None:
        return {}
    found = resolve(service, types)
    if not isinstance(found, Service):
        raise CandidError("the main service is not a service type")
    methods = {}
    for name, of in found.methods:
        func = resolve(of, types)
        if not isinstance(func, Func):
            raise CandidError(f"the method {name} is not a function type")
        methods[name] = func
    return methods


def _check_names(types: dict[str, Type]) -> None:
    waiting: list[Type] = list(types.values())
    while waiting:
        match waiting.pop():
            case Ref() as ref:
                resolve(ref, types)
            case Opt(inner=inner) | Vec(inner=inner):
                waiting.append(inner)
            case Record(fields=of) | Variant(fields=of):
                waiting.extend(field.type for field in of)
            case Func() as func:
                waiting.extend((*func.args, *func.results))
            case Service(methods=methods):
                waiting.extend(of for _, of in methods)


def _unquote(quoted: str) -> str:
    def one(match: re.Match[str]) -> str:
        body = match[1]
        if body.startswith("u{"):
            return chr(int(body[2:-1].replace("_", ""), 16))
        if len(body) == 2:
            return chr(int(body, 16))
        return _SIMPLE_ESCAPES.get(body, body)

    try:
        return _ESCAPE.sub(one, quoted[1:-1])
    except (ValueError, OverflowError) as bad:
        raise CandidError(f"not a name: {quoted}") from bad


class _Parser:
    def __init__(self, source: str) -> None:
        self._tokens: list[str] = []
        self._at = 0
        self._depth = 0
        place = 0
        while place < len(source):
            match = _TOKEN.match(source, place)
            if match is None:
                raise CandidError(f"unexpected character at offset {place}: {source[place]!r}")
            place = match.end()
            if match.lastgroup is not None:
                self._tokens.append(match[0])

    def peek(self, ahead: int = 0) -> str | None:
        at = self._at + ahead
        return self._tokens[at] if at < len(self._tokens) else None

    def accept(self, token: str) -> bool:
        if self.peek() == token:
            self._at += 1
            return True
        return False

    def expect(self, token: str) -> None:
        if not self.accept(token):
            raise self.unexpected(f"{token!r}")

    def unexpected(self, wanted: str) -> CandidError:
        return CandidError(f"expected {wanted}, found {self.peek()!r} (token {self._at})")

    def next(self, wanted: str) -> str:
        token = self.peek()
        if token is None:
            raise self.unexpected(wanted)
        self._at += 1
        return token

    def word(self) -> str:
        token = self.next("a name")
        if not (token[0].isalpha() or token[0] == "_"):
            self._at -= 1
            raise self.unexpected("a name")
        return token

    def label(self) -> str | int | None:
        """Read `name :` or `number :` or a lone name; None when the next token is a bare type."""
        token = self.peek()
        if token is None:
            raise self.unexpected("a field")
        if token[0] == '"':
            self._at += 1
            return _unquote(token)
        if token[0].isdigit():
            self._at += 1
            number = int(token.replace("_", ""), 0 if token.startswith("0x") else 10)
            if number > 0xFFFFFFFF:
                raise CandidError(f"the field number {number} is above 2^32")
            return number
        return None

    def main_service(self) -> tuple[tuple[Type, ...], Type]:
        if self.peek() != ":":
            self.word()
        self.expect(":")
        init: tuple[Type, ...] = ()
        if self.peek() == "(":
            init = self.tuple_type()
            self.expect("->")
        return init, self.service_body() if self.peek() == "{" else self.datatype()

    def datatype(self) -> Type:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise CandidError("types are nested too deeply")
        try:
            return self._datatype()
        finally:
            self._depth -= 1

    def _datatype(self) -> Type:
        name = self.word()
        compound: dict[str, Callable[[], Type]] = {
            "opt": lambda: Opt(self.datatype()),
            "vec": lambda: Vec(self.datatype()),
            "blob": lambda: BLOB,
            "record": lambda: Record(fields(self._fields(variant=False))),
            "variant": lambda: Variant(fields(self._fields(variant=True))),
            "func": self.func_type,
            "service": self.service_body,
        }
        if name in compound:
            return compound[name]()
        return PRIMS.get(name) or Ref(name)

    def _fields(self, *, variant: bool) -> list[tuple[str | int, Type]]:
        self.expect("{")
        found: list[tuple[str | int, Type]] = []
        position = 0
        while not self.accept("}"):
            label = self.label()
            if label is None and (variant or self.peek(1) == ":"):
                label = self.word()
            if label is not None and self.accept(":"):
                of = self.datatype()
            elif label is not None and variant:
                of = PRIMS["null"]
            elif label is None:
                label, of = position, self.datatype()
            else:
                raise self.unexpected("':'")
            position = label + 1 if isinstance(label, int) else position
            found.append((label, of))
            if self.peek() != "}":
                self.expect(";")
        return found

    def tuple_type(self) -> tuple[Type, ...]:
        self.expect("(")
        found: list[Type] = []
        while not self.accept(")"):
            if self.peek(1) == ":":
                self.next("a name")
                self.expect(":")
            found.append(self.datatype())
            if self.peek() != ")":
                self.expect(",")
        return tuple(found)

    def func_type(self) -> Func:
        args = self.tuple_type()
        self.expect("->")
        results = self.tuple_type()
        modes = set()
        while self.peek() in ("query", "oneway", "composite_query"):
            modes.add(self.word())
        return Func(args, results, frozenset(modes))

    def service_body(self) -> Service:
        self.expect("{")
        methods: dict[str, Type] = {}
        while not self.accept("}"):
            label = self.label()
            name = self.word() if label is None else label
            if isinstance(name, int) or name in methods:
                raise CandidError(f"the method name {name!r} can't be used, or not twice")
            self.expect(":")
            methods[name] = self.func_type() if self.peek() == "(" else Ref(self.word())
            if self.peek() != "}":
                self.expect(";")
        return Service(tuple(sorted(methods.items(), key=lambda pair: pair[0].encode())))
