"""Compiles canister modules with wasmtime and hands out instances of them.

This module and `instance` are the only ones that touch wasmtime's C interface. Host functions are
defined once for all instances, in wasmtime's unchecked form (a third of the cost of its Python
trampolines), and find the running message in `Engine.frame`.
"""

import ctypes
import resource
import threading
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import wasmtime
from wasmtime import _ffi as ffi

from dfx_backup.replica.system_api import functions_for
from dfx_backup.replica.wasmbin import ModuleInfo, invalid

if TYPE_CHECKING:
    from dfx_backup.replica.system_api.frame import Frame

_RESERVATION = 16 << 30
"""Address space a memory may grow into without moving (bytes)."""
_STACK_WANTED = 5 << 20
_COMPILED_KEPT = 64
_MASKS = {"i": 0xFFFF_FFFF, "I": 0xFFFF_FFFF_FFFF_FFFF}

RawArguments = Any  # a ctypes array of wasmtime's raw values


class Engine:
    """One wasmtime engine with its linkers and compiled modules.

    Attributes:
        frame: the message that runs now; set by `Instance` for the time of a call.
    """

    def __init__(self, cache_dir: Path | None = None) -> None:
        self.frame: Frame | None = None
        self._engine = wasmtime.Engine(_config(cache_dir))
        self._keep: list[object] = []
        self._linkers: dict[bool, wasmtime.Linker] = {}
        self._compiled: OrderedDict[bytes, wasmtime.InstancePre] = OrderedDict()

    def compile(self, info: ModuleInfo) -> wasmtime.InstancePre:
        """Compile and link a module; the last ones used are remembered.

        Raises:
            Reject: IC0505, wasmtime refuses it, or it imports what the system API has not.
        """
        key = info.module.sha256
        if key in self._compiled:
            self._compiled.move_to_end(key)
            return self._compiled[key]
        try:
            module = wasmtime.Module(self._engine, info.binary)
            linked = self._linker(is_64=info.is_wasm64).instantiate_pre(module)
        except wasmtime.WasmtimeError as error:
            raise invalid(str(error).strip().replace("\n", " ")) from error
        self._compiled[key] = linked
        if len(self._compiled) > _COMPILED_KEPT:
            self._compiled.popitem(last=False)
        return linked

    def new_store(self) -> wasmtime.Store:
        """A store for one instance."""
        return wasmtime.Store(self._engine)

    def _linker(self, *, is_64: bool) -> wasmtime.Linker:
        if is_64 not in self._linkers:
            linker = wasmtime.Linker(self._engine)
            for name, (parameters, result, function) in functions_for(is_64=is_64).items():
                self._define(linker, name, parameters, result, function)
            self._linkers[is_64] = linker
        return self._linkers[is_64]

    def _define(
        self,
        linker: wasmtime.Linker,
        name: str,
        parameters: str,
        result: str,
        function: Callable[..., int | None],
    ) -> None:
        callback = ffi.wasmtime_func_unchecked_callback_t(
            self._host_function(parameters, result, function)
        )
        self._keep.append(callback)
        types = {"i": wasmtime.ValType.i32(), "I": wasmtime.ValType.i64()}
        signature = wasmtime.FuncType([types[p] for p in parameters], [types[r] for r in result])
        module, encoded = b"ic0", name.encode()
        error = ffi.wasmtime_linker_define_func_unchecked(
            linker.ptr(),
            ctypes.create_string_buffer(module),
            len(module),
            ctypes.create_string_buffer(encoded),
            len(encoded),
            signature.ptr(),
            callback,
            None,
            _NO_FINALIZER,
        )
        check(error)

    def _host_function(
        self, parameters: str, result: str, function: Callable[..., int | None]
    ) -> Callable[[Any, Any, RawArguments, int], int]:
        decoders = [(index, _MASKS[each], each == "I") for index, each in enumerate(parameters)]

        def host(_env: object, _caller: object, raw: RawArguments, _count: int) -> int:
            frame = self.frame
            assert frame is not None
            try:
                values = [
                    (raw[index].i64 if is_64 else raw[index].i32) & mask
                    for index, mask, is_64 in decoders
                ]
                value = function(frame, *values)
                if result:
                    # c_int fields take the low bits of any integer
                    raw[0].i64 = value
            except BaseException as error:  # noqa: BLE001 - C can't carry it; the caller raises it
                frame.error = error
                return _new_trap()
            return 0

        return host


def check(error: Any) -> None:  # noqa: ANN401 - pointer of wasmtime's C interface
    """Raise what a C function returned.

    Raises:
        WasmtimeError: `error` is not null.
    """
    if error:
        raise wasmtime.WasmtimeError._from_ptr(error)  # noqa: SLF001 - no public constructor


_NO_FINALIZER = ctypes.CFUNCTYPE(None, ctypes.c_void_p)()
_TRAP_TEXT = b"host"


def _new_trap() -> int:
    trap = ffi.wasmtime_trap_new(ctypes.create_string_buffer(_TRAP_TEXT), len(_TRAP_TEXT))
    address = ctypes.cast(trap, ctypes.c_void_p).value
    assert address is not None
    return address


def _config(cache_dir: Path | None) -> wasmtime.Config:
    config = wasmtime.Config()
    config.consume_fuel = True
    config.wasm_memory64 = True
    config.wasm_multi_memory = False
    config.wasm_threads = False
    pointer = config.ptr()
    # not used, but wasmtime wants it to be the larger one
    ffi.wasmtime_config_async_stack_size_set(pointer, 2 * _STACK_WANTED)
    config.max_wasm_stack = stack_limit()
    ffi.wasmtime_config_memory_reservation_set(pointer, _RESERVATION)
    # data segments must be plain copies: mapped ones would look clean in pagemap
    ffi.wasmtime_config_memory_init_cow_set(pointer, False)  # noqa: FBT003 - C interface
    if cache_dir is not None:
        config.cache = str(_cache_file(cache_dir))
    return config


def stack_limit() -> int:
    """Bytes of stack a canister may use, such that the thread's stack surely holds it."""
    soft, _ = resource.getrlimit(resource.RLIMIT_STACK)
    # glibc gives threads 2 MiB when the limit is "unlimited", and the limit otherwise
    thread = threading.stack_size() or (2 << 20 if soft == resource.RLIM_INFINITY else soft)
    main = thread if soft == resource.RLIM_INFINITY else min(thread, soft)
    return min(_STACK_WANTED, main * 5 // 8)


def _cache_file(cache_dir: Path) -> Path:
    directory = cache_dir.absolute()
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "wasmtime.toml"
    text = f'[cache]\ndirectory = "{directory / "modules"}"\n'
    if not path.exists() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")
    return path
