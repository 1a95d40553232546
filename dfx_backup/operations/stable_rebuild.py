"""What follows a load of imported memory while the canister is held: the heap is rebuilt.

An upgrade with `skip_pre_upgrade` keeps the old heap from overwriting what was imported, and its
post_upgrade makes a new one of that: right only for modules that keep all they need there.
"""

from dataclasses import replace

from dfx_backup.errors import BackupError, InterruptedRunError, RefusedError, UsageError
from dfx_backup.model import CanisterSnapshot
from dfx_backup.operations.hold import Held
from dfx_backup.operations.journal import RunKind, Side
from dfx_backup.operations.stable_held import InUse, SnapshotRecord
from dfx_backup.operations.stable_snapshot_plans import Module
from dfx_backup.operations.target import Runtime, Target
from dfx_backup.operations.wasm_module import candid_sections, exports, is_motoko

_MOTOKO_SECTIONS = ("motoko:compiler", "motoko:stable-types", "enhanced-orthogonal-persistence")
_NO_ARGUMENT = ("", "()")


def check_module(target: Target, module: Module) -> tuple[str, ...]:
    """Refuse what can't rebuild a heap, as far as that is known before anything is done.

    Returns:
        One sentence for each thing to know.

    Raises:
        UsageError: the file is no module.
        RefusedError: the canister is a Motoko one, or the file is a Motoko module.
        NetworkError: as the network tells it.
    """
    sections = None if target.direct is None else target.direct.sections
    if sections is not None and any(
        sections.metadata(target.canister_id, name) is not None for name in _MOTOKO_SECTIONS
    ):
        raise _motoko(str(target))
    if module.content is None:
        return ()
    if exports(module.content) is None:
        raise UsageError(f"{module.path} is no Wasm module", hint="--module names a .wasm file")
    return require_rebuilding(str(module.path), module.content)


def require_rebuilding(what: str, module: bytes) -> tuple[str, ...]:
    """Refuse a Motoko module.

    Args:
        what: names it.
        module: the bytes.

    Returns:
        One sentence for each thing to know.

    Raises:
        RefusedError: it is one.
    """
    if is_motoko(module):
        raise _motoko(f"{what}: its module")
    wanted = dict(candid_sections(module)).get("candid:args", "")
    if "".join(wanted.split()) in _NO_ARGUMENT:
        return ()
    return (f"The upgrade is sent without an argument, and {what} may want one: {wanted}.",)


def _motoko(what: str) -> RefusedError:
    return RefusedError(
        f"{what} is Motoko: its state is in the heap, and an upgrade that skips pre_upgrade would"
        " lose it",
        hint="leave --heap-from-stable out; for Motoko, streams of kind `app` are imported through"
        " the kit's methods",
    )


class Loading:
    """Goes with a load, as `snapshot_load.LoadSteps`.

    Args:
        run: the surroundings.
        target: the canister.
        record: where it is remembered that a load begins.
        used: what is remembered.
        module: installed after the load; None leaves the heap as it is.
        base_hash: SHA-256 of the module in what is loaded; None: the canister's, for certain.
    """

    def __init__(
        self,
        run: Runtime,
        target: Target,
        record: SnapshotRecord,
        used: InUse,
        module: bytes | None,
        *,
        base_hash: str | None = None,
    ) -> None:
        self._run = run
        self._target = target
        self._record = record
        self._used = used
        self._module = module
        self._base_hash = base_hash
        self._held: Held | None = None

    @property
    def kind(self) -> RunKind:
        """What the journal tells of the run."""
        return RunKind.LOAD if self._module is None else RunKind.REBUILD

    def begins(self, held: Held) -> None:
        """Remember it: who is killed from now on must not load the same again over later writes.

        Raises:
            RefusedError: the canister has another module than what would be loaded.
        """
        full = held.after_stop.full
        found = None if full is None else full.status.module_hash
        if None not in (found, self._base_hash) and found != self._base_hash:
            raise RefusedError(
                f"{self._target} was given another module while the memory was uploaded, and the"
                " load would take that back; nothing was loaded",
                hint="run the same again: it takes another base snapshot",
            )
        self._record.write(replace(self._used, loading=True))
        self._held = held

    def loaded(self, held: Held, safety: CanisterSnapshot | None) -> None:
        """Rebuild the heap; when that fails, the state from before comes back.

        Raises:
            BackupError: the heap was not rebuilt.
        """
        if self._module is None:
            return
        try:
            held.upgrade(self._module)
        except BackupError as error:
            told = f"the heap of {self._target} was not rebuilt from the imported memory"
            error.message = f"{told}: {error.message}"
            self._go_back(held, safety, error)
            raise

    def settle(self) -> None:
        """After a failure: when nothing was loaded, the same upload can be gone on with."""
        if self._held is not None and self._held.book.entry.side is Side.OLD:
            self._record.write(replace(self._used, loading=False))

    def _go_back(self, held: Held, safety: CanisterSnapshot | None, error: BackupError) -> None:
        if safety is None:
            error.advise(f"{self._target} has the imported memory beside its old heap")
            return
        command = self._run.command("snapshot load", self._target, safety.snapshot_id)
        back = f"`{command}` brings the former state back"
        if isinstance(error, InterruptedRunError):
            error.advise(f"whether the heap was rebuilt is not known; {back}")
            return
        self._run.progress.step(f"{self._target}: going back to {safety.snapshot_id}")
        try:
            held.load(safety.snapshot_id)
        except BackupError as second:
            error.advise(f"going back failed, too ({second.message}); {back}")
            return
        error.advise(
            f"{self._target} has its former state again, that of snapshot {safety.snapshot_id};"
            " only a global timer does not come back with it"
        )
