"""Takes a Wasm binary apart into its sections (WebAssembly core specification, chapter 5)."""

from dataclasses import dataclass, field

_MAGIC = b"\0asm\x01\0\0\0"
_CUSTOM, _TYPE, _IMPORT, _FUNCTION, _TABLE, _MEMORY, _GLOBAL, _EXPORT, _START = range(9)
_FUNCTION_TYPE = 0x60
_END = 0x0B
_FIXED_OPERANDS = {0x43: 4, 0x44: 8}  # f32.const, f64.const
_LEB_OPERANDS = frozenset({0x41, 0x42, 0x23, 0xD0, 0xD2})  # i32/i64.const, global.get, ref.*
_ARITHMETIC = frozenset({0x6A, 0x6B, 0x6C, 0x7C, 0x7D, 0x7E})  # extended constant expressions


class Reader:
    """Walks over bytes. Raises IndexError or ValueError where they end too early."""

    def __init__(self, data: bytes, position: int = 0, end: int | None = None) -> None:
        self.data = data
        self.position = position
        self.end = len(data) if end is None else end

    def byte(self) -> int:
        """One byte."""
        if self.position >= self.end:
            raise ValueError("unexpected end")
        value = self.data[self.position]
        self.position += 1
        return value

    def uleb(self) -> int:
        """Unsigned LEB128 of at most ten bytes."""
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7
            if shift > 63:
                raise ValueError("integer too long")

    def take(self, size: int) -> bytes:
        """`size` bytes."""
        start = self.position
        if size > self.end - start:
            raise ValueError("unexpected end")
        self.position += size
        return self.data[start : self.position]

    def name(self) -> str:
        """A name: length and UTF-8."""
        return self.take(self.uleb()).decode()


@dataclass(frozen=True, slots=True)
class MemoryType:
    """Limits of a memory in 64 KiB pages."""

    minimum: int
    is_64: bool


@dataclass(slots=True)
class Sections:
    """A module taken apart.

    Attributes:
        bodies: (section id, start, end) of all but custom sections, in order.
        imports: (module, name, kind); kind 0 is a function.
        function_types: type index of each function, imported ones first.
        types: (parameters, results) as type codes.
        globals: (type code, is mutable).
        exports: (name, kind, index).
        customs: (name, content).
    """

    bodies: list[tuple[int, int, int]] = field(default_factory=list)
    types: list[tuple[bytes, bytes]] = field(default_factory=list)
    imports: list[tuple[str, str, int]] = field(default_factory=list)
    function_types: list[int] = field(default_factory=list)
    table_count: int = 0
    memories: list[MemoryType] = field(default_factory=list)
    globals: list[tuple[int, bool]] = field(default_factory=list)
    exports: list[tuple[str, int, int]] = field(default_factory=list)
    start: int | None = None
    customs: list[tuple[str, bytes]] = field(default_factory=list)

    def signature(self, function: int) -> tuple[bytes, bytes]:
        """Parameter and result type codes of a function."""
        return self.types[self.function_types[function]]


def read_sections(binary: bytes) -> Sections:
    """Take a module apart.

    Raises:
        ValueError, IndexError, UnicodeDecodeError: it is malformed.
    """
    if binary[:8] != _MAGIC:
        raise ValueError("no Wasm module")
    sections = Sections()
    reader = Reader(binary, 8)
    while reader.position < reader.end:
        id_ = reader.byte()
        size = reader.uleb()
        start = reader.position
        reader.take(size)
        body = Reader(binary, start, start + size)
        if id_ == _CUSTOM:
            name = body.name()
            sections.customs.append((name, binary[body.position : start + size]))
            continue
        sections.bodies.append((id_, start, start + size))
        if id_ in _PARSERS:
            _PARSERS[id_](body, sections)
    for _, kind, index in sections.exports:
        if kind == 3 and index >= len(sections.globals):
            raise ValueError("an export names a global that does not exist")
        if kind == 0 and index >= len(sections.function_types):
            raise ValueError("an export names a function that does not exist")
    return sections


def _read_types(body: Reader, sections: Sections) -> None:
    for _ in range(body.uleb()):
        form = body.byte()
        if form != _FUNCTION_TYPE:
            raise ValueError(f"type form {form:#x} is not supported")
        parameters = body.take(body.uleb())
        sections.types.append((parameters, body.take(body.uleb())))


def _read_imports(body: Reader, sections: Sections) -> None:
    for _ in range(body.uleb()):
        module, name, kind = body.name(), body.name(), body.byte()
        sections.imports.append((module, name, kind))
        if kind != 0:
            # whatever it is, the module is refused; its shape does not matter any more
            return
        sections.function_types.append(body.uleb())


def _read_functions(body: Reader, sections: Sections) -> None:
    sections.function_types += [body.uleb() for _ in range(body.uleb())]


def _read_tables(body: Reader, sections: Sections) -> None:
    sections.table_count = body.uleb()


def _read_memories(body: Reader, sections: Sections) -> None:
    for _ in range(body.uleb()):
        flags = body.byte()
        minimum = body.uleb()
        if flags & 1:
            body.uleb()
        if flags & ~0x05:
            raise ValueError("shared memories and custom page sizes are not supported")
        sections.memories.append(MemoryType(minimum, bool(flags & 4)))


def _read_globals(body: Reader, sections: Sections) -> None:
    for _ in range(body.uleb()):
        type_code = body.byte()
        sections.globals.append((type_code, body.byte() == 1))
        _skip_constant(body)


def _skip_constant(body: Reader) -> None:
    while (opcode := body.byte()) != _END:
        if opcode in _FIXED_OPERANDS:
            body.take(_FIXED_OPERANDS[opcode])
        elif opcode in _LEB_OPERANDS:
            body.uleb()
        elif opcode == 0xFD:
            if body.uleb() != 12:
                raise ValueError("not a constant expression")
            body.take(16)  # v128.const
        elif opcode not in _ARITHMETIC:
            raise ValueError("not a constant expression")


def _read_exports(body: Reader, sections: Sections) -> None:
    for _ in range(body.uleb()):
        sections.exports.append((body.name(), body.byte(), body.uleb()))


def _read_start(body: Reader, sections: Sections) -> None:
    sections.start = body.uleb()


_PARSERS = {
    _TYPE: _read_types,
    _IMPORT: _read_imports,
    _FUNCTION: _read_functions,
    _TABLE: _read_tables,
    _MEMORY: _read_memories,
    _GLOBAL: _read_globals,
    _EXPORT: _read_exports,
    _START: _read_start,
}
