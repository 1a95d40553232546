"""Creates, installs, stops and removes canisters. Access rights are the caller's business."""

import copy
from dataclasses import dataclass, fields
from typing import Literal

from dfx_backup.replica.calls import StopWaiter
from dfx_backup.replica.execution import Executor, check_memory_limit, keep_logs
from dfx_backup.replica.host import Host, Respond, Responder
from dfx_backup.replica.instance import Instance
from dfx_backup.replica.memory import Blob
from dfx_backup.replica.principal import to_text
from dfx_backup.replica.reject import Reject
from dfx_backup.replica.scheduler import EMPTY_REPLY, Scheduler
from dfx_backup.replica.state import (
    CanisterState,
    GlobalValue,
    HookStatus,
    RunState,
    Settings,
)
from dfx_backup.replica.system_api.frame import Frame, Trap
from dfx_backup.replica.system_api.table import Mode
from dfx_backup.replica.wasmbin import ModuleInfo, read_module

_FIRST_CANISTER = 0x8000_0000_0010_0000
_MISSING_OPTION = (
    "Missing upgrade option: Enhanced orthogonal persistence requires the "
    "`wasm_memory_persistence` upgrade option."
)
_INVALID_KEEP = (
    "Invalid upgrade option: The `wasm_memory_persistence: opt Keep` upgrade option requires that "
    "the new canister module supports enhanced orthogonal persistence."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallOptions:
    """How code is installed (interface specification, "Install code")."""

    mode: Literal["install", "reinstall", "upgrade"] = "install"
    sender: bytes = b"\x04"
    skip_pre_upgrade: bool = False
    wasm_memory_persistence: Literal["keep", "replace"] | None = None


class Lifecycle:
    """What the management canister does to canisters."""

    def __init__(self, host: Host, scheduler: Scheduler) -> None:
        self._host = host
        self._scheduler = scheduler
        self._executor = host.executor

    def create(
        self,
        controllers: list[bytes],
        cycles: int,
        specified_id: bytes | None,
        settings: Settings | None,
    ) -> bytes:
        """Make an empty, running canister.

        Raises:
            Reject: IC0205, the id is taken.
        """
        canister_id = specified_id or self._next_id()
        if canister_id in self._host.canisters:
            raise Reject.from_error_code(205, f"Canister {to_text(canister_id)} exists already")
        self._host.canisters[canister_id] = CanisterState(
            canister_id=canister_id,
            controllers=list(controllers),
            cycles=cycles,
            created_at=self._host.now_ns(),
            heap=self._host.store.new(),
            stable=self._host.store.new(),
            settings=settings or Settings(),
        )
        return canister_id

    def _next_id(self) -> bytes:
        while True:
            number = _FIRST_CANISTER + self._host.canisters_created
            self._host.canisters_created += 1
            canister_id = number.to_bytes(8, "big") + b"\x01\x01"
            if canister_id not in self._host.canisters:
                return canister_id

    def install(
        self, canister: CanisterState, wasm: bytes, arg: bytes, options: InstallOptions
    ) -> None:
        """Install code, all or nothing.

        Raises:
            Reject: see `Replica.install`.
        """
        _check_mode(canister, options)
        info = read_module(wasm)
        if options.mode == "upgrade":
            self._check_persistence(canister, info, options)
        installation = _Installation(self._host, canister, info, arg, options)
        saved = copy.copy(canister)
        try:
            installation.run()
        except (Trap, Reject) as error:
            _restore(canister, saved)
            self._executor.rollback(canister)
            if isinstance(error, Reject):
                raise
            keep_logs(canister, installation.logs, error, self._host.now_ns())
            name = to_text(canister.canister_id)
            raise Reject.from_error_code(
                error.number, f"Error from Canister {name}: {error.text}"
            ) from error
        keep_logs(canister, installation.logs, None, self._host.now_ns())
        self._executor.drop(canister)

    def _check_persistence(
        self, canister: CanisterState, info: ModuleInfo, options: InstallOptions
    ) -> None:
        is_kept = options.wasm_memory_persistence == "keep"
        is_enhanced = self._executor.info(canister).is_enhanced_persistence
        if is_enhanced and options.wasm_memory_persistence is None:
            raise Reject.from_error_code(504, _MISSING_OPTION)
        if is_kept and not info.is_enhanced_persistence:
            raise Reject.from_error_code(504, _INVALID_KEEP)

    def uninstall(self, canister: CanisterState) -> None:
        """Remove code, memories, chunks and logs; reject what is open."""
        self._executor.drop(canister)
        canister.module = None
        canister.heap = self._host.store.new()
        canister.stable = self._host.store.new()
        canister.globals = []
        canister.certified_data = b""
        canister.global_timer = 0
        canister.hook_status = HookStatus.CONDITION_NOT_SATISFIED
        canister.chunks.clear()
        canister.logs.clear()
        canister.version += 1
        for context in canister.contexts.values():
            if not context.responded:
                reject = Reject(Reject.CANISTER_REJECT, "Canister has been uninstalled", "IC0406")
                self._host.answer(context.origin, reject, context.cycles)
        canister.contexts.clear()
        canister.callbacks.clear()
        self._scheduler.finish_stop(canister)

    def start(self, canister: CanisterState) -> None:
        """Make the canister running; stop requests that wait are rejected."""
        canister.status = RunState.RUNNING
        canister.version += 1
        waiters, canister.stop_waiters = canister.stop_waiters, []
        for waiter in waiters:
            name = to_text(canister.canister_id)
            reject = Reject.from_error_code(511, f"Canister {name}'s stop request was cancelled")
            self._host.answer(waiter.origin, reject, 0)

    def stop(self, canister: CanisterState, respond: Respond) -> None:
        """Begin to stop; see `Replica.stop`."""
        if canister.status is RunState.STOPPED:
            respond(EMPTY_REPLY, 0)
            return
        if canister.status is RunState.RUNNING:
            canister.status = RunState.STOPPING
            canister.version += 1
        if isinstance(respond, Responder):
            origin = respond.origin
        else:
            origin = self._host.local_origin(respond)
        deadline = self._host.now_ns() + self._host.limits.stop_timeout_ns
        canister.stop_waiters.append(StopWaiter(origin=origin, deadline=deadline))
        self._scheduler.finish_stop(canister)

    def delete(self, canister: CanisterState) -> None:
        """Remove a stopped canister.

        Raises:
            Reject: IC0510.
        """
        if canister.status is not RunState.STOPPED:
            raise Reject.from_error_code(
                510,
                f"Canister {to_text(canister.canister_id)} must be stopped before it is deleted",
            )
        self._host.forget(canister)

    def replace(  # noqa: PLR0913 - the parts of a snapshot
        self,
        canister: CanisterState,
        *,
        module: bytes,
        heap: Blob,
        stable: Blob,
        globals_: list[GlobalValue],
        certified_data: bytes,
        chunks: dict[bytes, bytes],
        global_timer: int | None,
        hook_status: HookStatus | None,
    ) -> None:
        """Put a snapshot's content in place; see `Replica.replace_state`."""
        info = self._executor.learn(read_module(module))
        self._executor.engine.compile(info)
        if [each.type for each in info.globals] != [each.type for each in globals_]:
            raise Reject.from_error_code(
                408,
                "Wasm exported globals of canister module and snapshot metadata do not match.",
            )
        self._executor.drop(canister)
        canister.module = info.module
        canister.heap = heap
        canister.stable = stable
        canister.globals = list(globals_)
        canister.certified_data = certified_data
        canister.chunks = dict(chunks)
        canister.global_timer = canister.global_timer if global_timer is None else global_timer
        canister.hook_status = hook_status or canister.hook_status
        canister.version += 1
        canister.last_install_at = self._host.now_ns()


class _Installation:
    """One run of install_code; changes the canister in place, the caller undoes it."""

    def __init__(
        self,
        host: Host,
        canister: CanisterState,
        info: ModuleInfo,
        arg: bytes,
        options: InstallOptions,
    ) -> None:
        self._host = host
        self._executor: Executor = host.executor
        self._canister = canister
        self._info = info
        self._arg = arg
        self._options = options
        self._left = host.limits.install
        self.logs: list[bytes] = []

    def run(self) -> None:
        canister, options = self._canister, self._options
        is_upgrade = options.mode == "upgrade"
        keeps_memory = is_upgrade and options.wasm_memory_persistence == "keep"
        if is_upgrade and not options.skip_pre_upgrade:
            self._pre_upgrade()
        canister.heap = self._carry_over() if keeps_memory else self._host.store.new()
        canister.global_timer = 0
        if not is_upgrade:
            canister.stable = self._host.store.new()
            canister.certified_data = b""
        canister.module = self._executor.learn(self._info).module
        canister.version += 1
        instance = Instance(
            self._executor.engine, self._info, canister.heap, None, keeps_memory=keeps_memory
        )
        try:
            self._run_new_code(instance, "canister_post_upgrade" if is_upgrade else "canister_init")
        finally:
            instance.close()
        canister.last_install_at = self._host.now_ns()

    def _run_new_code(self, instance: Instance, hook: str) -> None:
        if self._info.has_start:
            frame = self._frame(Mode.START)
            instance.call_start(frame, self._left)
            self._absorb(frame)
        if hook in self._info.hooks:
            frame = self._frame(Mode.INIT)
            instance.call(hook, frame, self._left)
            self._absorb(frame)
        check_memory_limit(self._canister, Mode.INIT, instance)
        self._take_over(instance)

    def _pre_upgrade(self) -> None:
        if "canister_pre_upgrade" not in self._executor.info(self._canister).hooks:
            return
        frame = self._frame(Mode.PRE_UPGRADE)
        instance = self._executor.instance(self._canister)
        instance.call("canister_pre_upgrade", frame, self._left)
        self._absorb(frame)

    def _carry_over(self) -> Blob:
        """A new blob with the heap as pre_upgrade left it."""
        instance = self._executor.instance(self._canister)
        blob = self._canister.heap.clone()
        if instance.heap is not None:
            blob.resize(instance.size())
            for start, end in instance.heap.changes():
                blob.write(start, instance.heap.view(start, end))
        return blob

    def _take_over(self, instance: Instance) -> None:
        """The new blob is nobody's yet, so that the changes can be written straight into it."""
        canister = self._canister
        if instance.heap is not None:
            runs = instance.heap.changes()
            canister.heap.resize(instance.size())
            for start, end in runs:
                canister.heap.write(start, instance.heap.view(start, end))
        canister.globals = instance.global_values()
        self._executor.watch_memory(canister, instance.size())

    def _frame(self, mode: Mode) -> Frame:
        return Frame(
            mode=mode,
            canister=self._canister,
            world=self._host.world(self._canister.canister_id),
            caller=self._options.sender,
            arg=self._arg if mode is Mode.INIT else b"",
            balance=self._canister.cycles,
        )

    def _absorb(self, frame: Frame) -> None:
        canister = self._canister
        self._left -= frame.executed
        self.logs += frame.logs
        canister.cycles = frame.balance
        if frame.certified_data is not None:
            canister.certified_data = frame.certified_data
        if frame.global_timer is not None:
            canister.global_timer = frame.global_timer


def _check_mode(canister: CanisterState, options: InstallOptions) -> None:
    name = to_text(canister.canister_id)
    if options.mode == "install" and canister.module is not None:
        raise Reject.from_error_code(
            514,
            f"Canister {name} cannot be installed because the canister is not empty. "
            "Try installing with mode='reinstall' instead.",
        )
    if options.mode == "upgrade" and canister.module is None:
        raise Reject.from_error_code(537, f"Canister {name} has no module to upgrade")


def _restore(canister: CanisterState, saved: CanisterState) -> None:
    for each in fields(CanisterState):
        setattr(canister, each.name, getattr(saved, each.name))
