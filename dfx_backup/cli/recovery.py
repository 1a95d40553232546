"""What `recover` does with its words: which interrupted runs are meant, and what may be done."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from dfx_backup.cli import recover_view as view
from dfx_backup.cli.output import Report
from dfx_backup.cli.session import Run, recover_hint
from dfx_backup.errors import BackupError, RefusedError, UsageError
from dfx_backup.model import Network
from dfx_backup.operations.pending import Pending, discard, pending
from dfx_backup.operations.recover import RecoverPlan, plan_recover, recover
from dfx_backup.operations.target import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What the user asked for.

    Attributes:
        canister: one canister, as it was typed, or None.
        every: all interrupted runs, and all canisters of the project.
        forget: drop the record instead of finishing the run.
        dry_run: change nothing.
        yes: do not ask.
    """

    canister: str | None
    every: bool
    forget: bool
    dry_run: bool
    yes: bool


def carry_out(run: Run, wish: Wish) -> Report:
    """Finish, plan or drop what is meant."""
    entries = pending(Path(run.places.state))
    if (wish.canister is None) != wish.every or (wish.every and wish.forget):
        raise UsageError("`recover` needs a canister, or `--all`", hint=_known(run, entries))
    if wish.canister is not None and wish.forget:
        return _discard(run, _only(entries, wish.canister, run), wish)
    targets, unreachable = _targets(run, entries, wish)
    plan = plan_recover(run.runtime, targets)
    if wish.dry_run:
        return view.planned(plan, unreachable)
    return _recover(run, plan, targets, unreachable, yes=wish.yes)


def _recover(
    run: Run,
    plan: RecoverPlan,
    targets: tuple[Target, ...],
    failures: tuple[BackupError, ...],
    *,
    yes: bool,
) -> Report:
    """Ask where only the user can know, and do what needs no question even when refused."""
    consents = False
    if plan.needs_consent:
        try:
            run.confirm(yes=yes, losses=view.consent(plan), question="Start what is stopped")
            consents = True
        except RefusedError as refused:
            journaled = {
                action.canister.canister_id for action in plan.actions if action.from_journal
            }
            if not journaled and not failures:
                raise
            failures = (*failures, refused)
            targets = tuple(each for each in targets if each.canister_id in journaled)
    return view.done(recover(run.runtime, targets, start_stopped=consents), failures)


def _targets(
    run: Run, entries: tuple[Pending, ...], wish: Wish
) -> tuple[tuple[Target, ...], tuple[BackupError, ...]]:
    """What to look at; with `--all`, what can't be reached does not stop the rest."""
    if wish.canister is not None:
        if _matching(entries, wish.canister, run):
            meant = _only(entries, wish.canister, run)
            return (*_journaled(run, meant), *_others(run, entries, meant.path.stem)), ()
        target = run.connector.canister(run, wish.canister, changes=not wish.dry_run)
        return (target, *_others(run, entries, target.key)), ()
    targets: dict[str, Target] = {}
    failures: list[BackupError] = []

    def gather(find: Callable[[], tuple[Target, ...]]) -> None:
        try:
            targets.update({target.key: target for target in reversed(find())})
        except BackupError as error:
            failures.append(error)

    gather(lambda: run.connector.project_canisters(run))
    for entry in entries:
        gather(partial(_journaled, run, entry))
    return tuple(targets.values()), tuple(failures)


def _others(run: Run, entries: tuple[Pending, ...], key: str) -> tuple[Target, ...]:
    """The canisters that were being restored together with that of a key: they go with it."""
    keys = next((each.set_keys for each in entries if each.path.stem == key), ())
    others = [each for each in entries if each.path.stem in keys and each.path.stem != key]
    return tuple(target for each in others for target in _journaled(run, each))


def _journaled(run: Run, entry: Pending) -> tuple[Target, ...]:
    """The canister of an interrupted run, if its network is still the one that it was.

    Raises:
        RefusedError: it is another one, and its canisters only have the same ids.
    """
    target = run.connector.journaled(run, entry)
    if target.network_id != entry.network_id:
        raise RefusedError(
            f"Network {target.network.name} is not the one on which {target} was left: its root"
            f" key is another ({target.network_id[:16]}, not {(entry.network_id or '')[:16]})",
            hint="A local network that was reset has lost its canisters; then drop the record:"
            f" `{run.surroundings.program} recover {entry.path.name} --discard`.",
        )
    return (target,)


def _discard(run: Run, entry: Pending, wish: Wish) -> Report:
    if not wish.dry_run:
        loss = f"Nothing will remember that a canister has to be started: {entry.summary}"
        run.confirm(yes=wish.yes, losses=(loss,), question="Drop the record")
        discard(Path(run.places.state), entry)
    return view.discarded(entry, dry_run=wish.dry_run)


def _matching(entries: tuple[Pending, ...], typed: str, run: Run) -> tuple[Pending, ...]:
    """Interrupted runs on that canister: by name, principal, or the file of the record."""
    network = run.shared.network
    return tuple(
        entry
        for entry in entries
        if typed == entry.path.name
        or (
            entry.canister is not None
            and typed in (entry.canister.name, entry.canister.canister_id)
            and (network is None or _is(entry.network, network))
        )
    )


def _is(known: Network | None, typed: str) -> bool:
    return known is not None and typed.rstrip("/") in (known.name, known.url)


def _only(entries: tuple[Pending, ...], typed: str, run: Run) -> Pending:
    found = _matching(entries, typed, run)
    if len(found) == 1:
        return found[0]
    problem = "is not known to be" if not found else "is more than once"
    raise UsageError(
        f"`{typed}` {problem} left by an interrupted run", hint=_known(run, found or entries)
    )


def _known(run: Run, entries: tuple[Pending, ...]) -> str:
    if not entries:
        return "No run was interrupted."
    return " ".join(recover_hint(run.surroundings.program, entry) for entry in entries)
