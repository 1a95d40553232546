"""One instance of a canister's module, laid over the canister's committed state."""

import ctypes
import re
from dataclasses import dataclass
from typing import Any

import wasmtime
from wasmtime import _ffi as ffi

from dfx_backup.replica.engine import Engine, check
from dfx_backup.replica.heap import Heap, attach, seed
from dfx_backup.replica.memory import Blob
from dfx_backup.replica.state import PAGE, GlobalValue
from dfx_backup.replica.system_api.frame import Frame, Trap
from dfx_backup.replica.wasmbin import (
    MEMORY_EXPORT,
    START_EXPORT,
    TABLE_EXPORT,
    GlobalInfo,
    ModuleInfo,
)

MAX_HEAP_32 = 4 << 30
MAX_HEAP_64 = 6 << 30
_WIDTHS = {"i32": 32, "i64": 64, "f32": 32, "f64": 64}
_KINDS = {
    "i32": ffi.WASMTIME_I32,
    "i64": ffi.WASMTIME_I64,
    "f32": ffi.WASMTIME_F32,
    "f64": ffi.WASMTIME_F64,
    "v128": ffi.WASMTIME_V128,
}
_OUT_OF_FUEL = wasmtime.TrapCode.OUT_OF_FUEL


@dataclass(frozen=True, slots=True)
class _Global:
    handle: Any  # ctypes struct of wasmtime
    pointer: Any  # to the handle
    type: str
    mask: int  # 0 for v128
    mutable: bool


@dataclass(frozen=True, slots=True)
class SavePoint:
    """Uncommitted state of an instance.

    Attributes:
        size: of the memory, bytes.
        pages: memory that differs from what is committed: (offset, content).
        globals: bits of the kept globals.
    """

    size: int
    pages: list[tuple[int, bytes]]
    globals: list[int]


def _make_global(handle: Any, info: GlobalInfo) -> _Global:  # noqa: ANN401 - ctypes struct
    mask = 0 if info.type == "v128" else (1 << _WIDTHS[info.type]) - 1
    return _Global(handle, ctypes.byref(handle), info.type, mask, info.mutable)


class Instance:
    """Runs a module's functions over a blob that holds the heap.

    Changes stay in the instance until the owner commits them (`changes`, then `settle`) or drops
    them (`rollback`).

    Attributes:
        globals: bits of the kept globals as of the last settle or rollback.
        is_dirty: whether anything ran since then.
        is_for_one_message: whether a message may leave traces that no commit or rollback reaches.
    """

    def __init__(
        self,
        engine: Engine,
        info: ModuleInfo,
        blob: Blob,
        globals_: list[GlobalValue] | None,
        *,
        keeps_memory: bool = False,
    ) -> None:
        """Instantiate over `blob`.

        With `globals_` None the code is newly installed: globals are the module's own, and so is
        the memory, which fills the blob, unless `keeps_memory`.

        Raises:
            Reject: IC0505, the module can't be compiled.
            Trap: instantiation fails, for example a data segment out of bounds.
        """
        self.is_dirty = False
        self.is_for_one_message = info.changes_instance
        self._engine = engine
        self._store = engine.new_store()
        # pages are counted against it at instantiation too
        self._store.set_limits(memory_size=MAX_HEAP_64 if info.is_wasm64 else MAX_HEAP_32)
        self._context = self._store._context()  # noqa: SLF001 - for direct calls of the C interface
        linked = engine.compile(info)
        self._set_fuel(1 << 62)
        try:
            instance = linked.instantiate(self._store)
        except (wasmtime.WasmtimeError, wasmtime.Trap) as error:
            raise Trap(f"instantiation failed: {_first_line(str(error))}") from error
        self._raw = instance._instance  # noqa: SLF001 - for direct calls of the C interface
        self._functions: dict[str, Any] = {}
        self._is_64 = info.is_wasm64
        self._table: Any = self._export(TABLE_EXPORT).of.table if info.has_table else None
        self._memory: Any = None
        if info.memory_pages is not None:
            self._memory = self._export(MEMORY_EXPORT).of.memory
        self._globals = [
            _make_global(self._export(each.export).of.global_, each) for each in info.globals
        ]
        self.heap: Heap | None = None
        if self._memory is not None:
            self.heap = self._lay_over(blob, is_new=globals_ is None and not keeps_memory)
        if globals_ is not None:
            for one, value in zip(self._globals, globals_, strict=True):
                if one.mutable:
                    self._set_global(one, value.bits)
        self._value = ffi.wasmtime_val_t()
        self.globals = self._latest = self._read_globals()

    # Memory

    def address(self) -> int:
        """Address of the memory's first byte."""
        pointer = ffi.wasmtime_memory_data(self._context, ctypes.byref(self._memory))
        return ctypes.cast(pointer, ctypes.c_void_p).value or 0

    def size(self) -> int:
        """Bytes of memory; 0 without one."""
        if self._memory is None:
            return 0
        return int(ffi.wasmtime_memory_data_size(self._context, ctypes.byref(self._memory)))

    def read(self, start: int, size: int) -> bytes:
        """A copy of memory.

        Raises:
            Trap: out of bounds.
        """
        self._check(start, size)
        return ctypes.string_at(self.address() + start, size) if size else b""

    def write(self, start: int, data: bytes) -> None:
        """Put bytes into memory.

        Raises:
            Trap: out of bounds.
        """
        self._check(start, len(data))
        if data:
            ctypes.memmove(self.address() + start, data, len(data))

    def view(self, start: int, size: int) -> memoryview:
        """The memory itself; don't keep it.

        Raises:
            Trap: out of bounds.
        """
        self._check(start, size)
        raw = (ctypes.c_char * size).from_address(self.address() + start if size else 0)
        return memoryview(raw).cast("B") if size else memoryview(b"")

    def _check(self, start: int, size: int) -> None:
        if start + size > self.size():
            raise Trap(f"heap out of bounds: {size} bytes at {start}")

    def _lay_over(self, blob: Blob, *, is_new: bool) -> Heap:
        if is_new:
            seed(self, blob)
        elif self.size() > blob.size:
            blob.resize(self.size())
        else:
            self._grow(blob.size)
        return attach(self, blob)

    def _grow(self, size: int) -> None:
        if self.size() < size:
            previous = ctypes.c_uint64()
            error = ffi.wasmtime_memory_grow(
                self._context,
                ctypes.byref(self._memory),
                (size - self.size()) // PAGE,
                ctypes.byref(previous),
            )
            check(error)

    # Globals

    def read_globals(self) -> list[GlobalValue] | None:
        """The globals now, or None when they are still those of the last commit."""
        if not self.is_dirty:
            return None
        self._latest = self._read_globals()
        return None if self._latest == self.globals else self._with_types(self._latest)

    def global_values(self) -> list[GlobalValue]:
        """The globals now."""
        return self._with_types(self._read_globals())

    def _with_types(self, bits: list[int]) -> list[GlobalValue]:
        return [
            GlobalValue(one.type, value)  # type: ignore[arg-type] # the table has just those types
            for one, value in zip(self._globals, bits, strict=True)
        ]

    def _read_globals(self) -> list[int]:
        value = self._value
        pointer = ctypes.byref(value)
        bits: list[int] = []
        for one in self._globals:
            ffi.wasmtime_global_get(self._context, one.pointer, pointer)
            if one.mask:
                bits.append(value.of.i64 & one.mask)
            else:
                bits.append(int.from_bytes(bytes(value.of.v128), "little"))
        return bits

    def _set_global(self, one: _Global, bits: int) -> None:
        value = ffi.wasmtime_val_t(kind=_KINDS[one.type])
        ctypes.memmove(ctypes.byref(value.of), bits.to_bytes(16, "little"), 16)
        error = ffi.wasmtime_global_set(
            self._context, ctypes.byref(one.handle), ctypes.byref(value)
        )
        check(error)

    # Running

    def call(self, export: str, frame: Frame, limit: int) -> None:
        """Run an exported `() -> ()` function with at most `limit` instructions.

        Raises:
            Trap: it trapped.
        """
        function = self._functions.get(export)
        if function is None:
            function = self._functions[export] = self._export(export).of.func
        self._run(function, None, frame, limit)

    def call_start(self, frame: Frame, limit: int) -> None:
        """Run the start function.

        Raises:
            Trap: it trapped.
        """
        self.call(START_EXPORT, frame, limit)

    def call_closure(self, closure: tuple[int, int], frame: Frame, limit: int) -> None:
        """Run the table's function `closure[0]` with the environment `closure[1]`.

        Raises:
            Trap: it trapped, or there is no such function.
        """
        index, environment = closure
        value = ffi.wasmtime_val_t()
        if self._table is None or not ffi.wasmtime_table_get(
            self._context, ctypes.byref(self._table), index, ctypes.byref(value)
        ):
            raise Trap(f"callback: no function at index {index} of the table")
        if value.of.funcref.store_id == 0:
            raise Trap(f"callback: the table is empty at index {index}")
        argument = ffi.wasmtime_val_t(kind=_KINDS["i64" if self._is_64 else "i32"])
        argument.of.i64 = environment
        self._run(value.of.funcref, argument, frame, limit)

    def instructions_left(self) -> int:
        """What remains of the limit."""
        left = ctypes.c_uint64()
        ffi.wasmtime_context_get_fuel(self._context, ctypes.byref(left))
        return left.value

    def _run(self, function: Any, argument: Any, frame: Frame, limit: int) -> None:  # noqa: ANN401 - ctypes structs of wasmtime
        self.is_dirty = True
        self._set_fuel(limit)
        frame.enter(self, limit)
        self._engine.frame = frame
        trap: Any = ctypes.POINTER(ffi.wasm_trap_t)()
        try:
            error = ffi.wasmtime_func_call(
                self._context,
                ctypes.byref(function),
                ctypes.byref(argument) if argument is not None else None,
                1 if argument is not None else 0,
                None,
                0,
                ctypes.byref(trap),
            )
        finally:
            self._engine.frame = None
            frame.leave()
        reason = wasmtime.Trap._from_ptr(trap) if trap else None  # noqa: SLF001 - no public constructor
        try:
            check(error)
        except wasmtime.WasmtimeError as failure:
            if frame.error is None:
                raise Trap(_first_line(str(failure))) from failure
        if frame.error is not None:
            raise frame.error
        if reason is not None:
            raise _explain(reason, limit)

    def _set_fuel(self, amount: int) -> None:
        ffi.wasmtime_context_set_fuel(self._context, amount)

    def _export(self, name: str) -> Any:  # noqa: ANN401 - ctypes struct of wasmtime
        encoded = name.encode()
        item = ffi.wasmtime_extern_t()
        is_found = ffi.wasmtime_instance_export_get(
            self._context,
            ctypes.byref(self._raw),
            ctypes.create_string_buffer(encoded, len(encoded) or 1),
            len(encoded),
            ctypes.byref(item),
        )
        if not is_found:
            raise Trap(f"the module exports no {name!r}")
        return item

    # Ends

    def close(self) -> None:
        """Free the memory now: the instance and its heap refer to each other."""
        self.heap = None
        self._store.close()

    def rollback(self) -> bool:
        """Drop all changes; False when that needs a new instance."""
        if not self.is_dirty:
            return True
        if self.is_for_one_message or (self.heap is not None and not self.heap.rollback()):
            return False
        for one, old, now in zip(self._globals, self.globals, self._read_globals(), strict=True):
            if old != now:
                self._set_global(one, old)
        self.is_dirty = False
        return True

    def save(self) -> SavePoint:
        """Remember the state as it is now, to come back to it within the same message."""
        pages: list[tuple[int, bytes]] = []
        if self.heap is not None:
            pages = [(start, self.read(start, end - start)) for start, end in self.heap.changes()]
        return SavePoint(self.size(), pages, self._read_globals())

    def restore(self, saved: SavePoint) -> bool:
        """Come back to an earlier state; False when that needs a new instance."""
        if not self.rollback() or self.size() > saved.size:
            return False
        self.is_dirty = True
        self._grow(saved.size)
        for start, content in saved.pages:
            self.write(start, content)
        for one, bits in zip(self._globals, saved.globals, strict=True):
            if one.mutable:
                self._set_global(one, bits)
        return True

    def settle(self, runs: list[tuple[int, int]]) -> None:
        """The changes are committed: the blob holds them, and `read_globals` was asked."""
        if self.heap is not None:
            self.heap.settle(runs)
        self.globals = self._latest
        self.is_dirty = False


def _explain(trap: wasmtime.Trap, limit: int) -> Trap:
    if trap.trap_code is _OUT_OF_FUEL:
        return Trap(f"exceeded the limit of {limit} instructions for single message execution", 522)
    text = re.sub(r"^.*?wasm trap: ", "", trap.message, flags=re.DOTALL)
    return Trap(_first_line(text))


def _first_line(text: str) -> str:
    match = re.search(r"wasm trap: (.*)", text)
    return match[1] if match else text.strip().split("\n", 1)[0]
