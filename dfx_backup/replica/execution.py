"""Runs single messages on canisters: instances, traps, roll-back and commit."""

from collections.abc import Iterable

from dfx_backup.replica import codec
from dfx_backup.replica.calls import Closure
from dfx_backup.replica.engine import Engine
from dfx_backup.replica.instance import Instance
from dfx_backup.replica.memory import BlobStore
from dfx_backup.replica.reject import Reject
from dfx_backup.replica.state import CanisterState, HookStatus, LogRecord, Module
from dfx_backup.replica.system_api.frame import Frame, Trap
from dfx_backup.replica.system_api.table import Mode
from dfx_backup.replica.wasmbin import ModuleInfo, read_module

_GROWTH_LIMITED = frozenset({Mode.INIT, Mode.UPDATE, Mode.TASK})
_MAX_LOG_RECORD = 32 << 10


class Executor:
    """Holds one warm instance a canister, and knows how to commit it or take it back."""

    def __init__(self, engine: Engine, store: BlobStore) -> None:
        self.engine = engine
        self.store = store
        self._instances: dict[bytes, Instance] = {}
        self._infos: dict[bytes, ModuleInfo] = {}

    def info(self, canister: CanisterState) -> ModuleInfo:
        """What is known of the canister's module.

        Raises:
            Reject: IC0537, there is none.
        """
        if canister.module is None:
            raise Reject.from_error_code(
                537, "Attempted to execute a message, but the canister contains no Wasm module"
            )
        info = self._infos.get(canister.module.sha256)
        return info or self.learn(read_module(canister.module.raw))

    def learn(self, info: ModuleInfo) -> ModuleInfo:
        """Remember a parsed module."""
        self._infos[info.module.sha256] = info
        return info

    def describe(self, raw: bytes) -> Module:
        """Parse a module and remember it."""
        return self.learn(read_module(raw)).module

    def instance(self, canister: CanisterState) -> Instance:
        """The canister's warm instance, made from committed state when there is none.

        Raises:
            Trap, Reject: it can't be made.
        """
        instance = self._instances.get(canister.canister_id)
        if instance is None:
            instance = self.fresh_instance(canister)
            self._instances[canister.canister_id] = instance
        return instance

    def fresh_instance(self, canister: CanisterState) -> Instance:
        """One more instance over the committed heap; to be thrown away without a commit."""
        return Instance(self.engine, self.info(canister), canister.heap, canister.globals)

    def drop(self, canister: CanisterState) -> None:
        """Forget the warm instance and whatever is not committed in it."""
        instance = self._instances.pop(canister.canister_id, None)
        if instance is not None:
            instance.close()

    def close(self) -> None:
        """Free all instances."""
        while self._instances:
            self._instances.popitem()[1].close()

    def run(
        self,
        canister: CanisterState,
        entry: str | Closure,
        frame: Frame,
        limit: int,
        instance: Instance | None = None,
    ) -> Trap | None:
        """Run one function; after a trap on the warm instance its changes are taken back.

        Args:
            canister: committed state, which is not changed.
            entry: name of an exported function, or a closure.
            frame: collects the effects.
            limit: instructions.
            instance: to be used; the caller undoes what it did. None takes the warm one.

        Returns:
            The trap, or None when the function returned; then its changes wait in the instance
            for `commit` or `rollback`.
        """
        try:
            used = instance or self.instance(canister)
            if isinstance(entry, str):
                used.call(entry, frame, limit)
            else:
                used.call_closure(entry, frame, limit)
            check_memory_limit(canister, frame.mode, used)
        except Trap as trap:
            if instance is None:
                self.rollback(canister)
            return trap
        return None

    def rollback(self, canister: CanisterState) -> None:
        """Take back what is not committed in the canister's memories."""
        self.store.rollback(canister.stable)
        instance = self._instances.get(canister.canister_id)
        if instance is not None and not instance.rollback():
            self.drop(canister)

    def stretch(self, canisters: Iterable[CanisterState]) -> None:
        """Give the heaps the size that they will have after the commit; documents name it."""
        for canister in canisters:
            instance = self._instances.get(canister.canister_id)
            if instance is not None and instance.size() > canister.heap.size:
                canister.heap.resize(instance.size())

    def commit(self, canisters: Iterable[CanisterState], *, documents: codec.Documents) -> None:
        """Make the changes of these canisters' instances, and the documents, durable at once.

        `stretch` the heaps before.
        """
        writes = []
        touched: list[tuple[CanisterState, Instance, list[tuple[int, int]]]] = []
        for canister in canisters:
            instance = self._instances.get(canister.canister_id)
            if instance is None or not instance.is_dirty:
                continue
            runs = instance.heap.changes() if instance.heap is not None else []
            writes += [
                (canister.heap, start, instance.view(start, end - start)) for start, end in runs
            ]
            touched.append((canister, instance, runs))
        self.store.commit(writes, documents)
        for canister, instance, runs in touched:
            if instance.is_for_one_message:
                self.drop(canister)
            else:
                instance.settle(runs)

    def absorb(self, canister: CanisterState, frame: Frame) -> None:
        """Put a successful message's effects on the canister itself into its state."""
        canister.cycles = frame.balance
        if frame.certified_data is not None:
            canister.certified_data = frame.certified_data
        if frame.global_timer is not None:
            canister.global_timer = frame.global_timer
        instance = self._instances.get(canister.canister_id)
        if instance is not None:
            canister.globals = instance.read_globals() or canister.globals
            self.watch_memory(canister, instance.size())

    def watch_memory(self, canister: CanisterState, heap_size: int) -> None:
        """Update the state of the low memory hook (interface specification, "On low memory")."""
        settings = canister.settings
        is_low = bool(
            settings.wasm_memory_limit
            and settings.wasm_memory_limit < heap_size + settings.wasm_memory_threshold
        )
        if not is_low:
            canister.hook_status = HookStatus.CONDITION_NOT_SATISFIED
        elif canister.hook_status is HookStatus.CONDITION_NOT_SATISFIED:
            canister.hook_status = HookStatus.READY


def check_memory_limit(canister: CanisterState, mode: Mode, instance: Instance) -> None:
    """Refuse growth beyond the setting `wasm_memory_limit`.

    Raises:
        Trap: IC0539.
    """
    limit = canister.settings.wasm_memory_limit
    size = instance.size()
    if mode in _GROWTH_LIMITED and limit and size > limit and size > canister.heap.size:
        raise Trap(
            f"Canister exceeded its current Wasm memory limit of {limit} bytes "
            f"with {size} bytes. If the canister needs more, raise wasm_memory_limit.",
            539,
        )


def keep_logs(canister: CanisterState, lines: list[bytes], trap: Trap | None, now: int) -> None:
    """Append to the canister's log, dropping the oldest lines beyond `log_memory_limit`."""
    limit = canister.settings.log_memory_limit
    if trap is not None:
        lines = [*lines, f"[TRAP]: {trap.message}".encode()]
    for line in lines:
        if limit == 0:
            return
        record = LogRecord(
            index=canister.next_log_index,
            timestamp=now,
            content=line[: min(limit, _MAX_LOG_RECORD)],
        )
        canister.next_log_index += 1
        canister.logs.append(record)
    excess = canister.log_size - limit
    while excess > 0:
        excess -= len(canister.logs.popleft().content)


def refusal(canister_text: str, trap: Trap) -> Reject:
    """What the caller of a trapped message gets."""
    return Reject.from_error_code(trap.number, f"Error from Canister {canister_text}: {trap.text}")
