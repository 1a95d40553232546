"""What plans and results of several commands have in common, as text and as fields of `data`."""

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Protocol

from dfx_backup.cli import text
from dfx_backup.cli.output import Json, Report
from dfx_backup.errors import IncompleteError
from dfx_backup.model import CanisterRef, CanisterSnapshot, Network, NetworkId

if TYPE_CHECKING:
    from dfx_backup.operations.plans import CyclesCheck
    from dfx_backup.transfer.terms import PageHash


class Placed(Protocol):
    """Something about one canister."""

    @property
    def canister(self) -> CanisterRef:
        """The canister."""

    @property
    def network(self) -> Network:
        """The network it lives on."""

    @property
    def network_id(self) -> NetworkId:
        """That network's identity."""

    @property
    def driver(self) -> str:
        """The tool and its version."""


class Planned(Placed, Protocol):
    """Something that may be done."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """One sentence for each thing to know."""


def planned(
    plan: Planned, told: Mapping[str, Json], lines: Sequence[str], *, lost: tuple[str, ...] = ()
) -> Report:
    """The report of `--dry-run`.

    Args:
        plan: what would be done.
        told: the fields of `plan`.
        lines: the same for people.
        lost: one sentence for each thing that would be gone.
    """
    sentences = tuple(f"Lost: {text.clean(each)}" for each in lost)
    return Report(
        data={**where(plan), "dry_run": True, "plan": told},
        lines=(*lines, *sentences, "Nothing was changed: this is the plan."),
        warnings=plan.warnings,
    )


def done(
    data: Mapping[str, Json],
    lines: tuple[str, ...],
    *,
    incomplete: tuple[str, ...] = (),
    told: tuple[tuple[str, ...], ...],
) -> Report:
    """The report of something that was done.

    Args:
        data: its fields.
        lines: the same for people.
        incomplete: one sentence for each thing that is not as it should be.
        told: warnings.
    """
    return Report(
        data=data,
        lines=lines,
        warnings=tuple(chain.from_iterable(told)),
        errors=tuple(IncompleteError(each) for each in incomplete),
    )


def where(about: Placed) -> dict[str, Json]:
    """Which canister, on which network, through what."""
    return {
        "canister_id": about.canister.canister_id,
        "canister_name": about.canister.name,
        "network": about.network.name,
        "network_id": about.network_id,
        "driver": about.driver,
    }


def place(about: Placed) -> str:
    """A canister and where it lives."""
    return text.place(about.canister.name, about.canister.canister_id, about.network.name)


def snapshot_fields(snapshot: CanisterSnapshot) -> dict[str, Json]:
    """A snapshot as a script reads it."""
    taken_at = snapshot.taken_at_ns
    return {
        "snapshot_id": snapshot.snapshot_id,
        "taken_at": None if taken_at is None else text.rfc3339(taken_at),
        "size_bytes": snapshot.size_bytes,
    }


def taken(snapshot: CanisterSnapshot) -> str:
    """When a snapshot was taken, and how big it is."""
    if snapshot.size_bytes is None:
        return moment(snapshot.taken_at_ns)
    return f"{moment(snapshot.taken_at_ns)}, {text.size(snapshot.size_bytes)}"


def cycles_fields(check: "CyclesCheck") -> dict[str, Json]:
    """Whether the balance is enough, as a script reads it."""
    return {
        "balance": count(check.balance),
        "cost": count(check.cost),
        "required": count(check.required),
        "top_up": str(check.top_up),
        "storage_per_day": count(check.storage_per_day),
        "unknown": check.unknown,
    }


def cycles_facts(check: "CyclesCheck") -> tuple[tuple[str, str], ...]:
    """Whether the balance is enough, as lines."""
    balance = "unknown" if check.balance is None else text.cycles(check.balance)
    if check.unknown:
        return (("Cycles", f"{balance}; {check.unknown}"),)
    facts = [("Cycles", f"{balance}; this spends {about_cycles(check.cost)}")]
    if check.storage_per_day is not None:
        facts.append(("Storage", f"{text.cycles(check.storage_per_day)} a day (estimate)"))
    return tuple(facts)


def spending(check: "CyclesCheck") -> tuple[str, ...]:
    """What an operation takes from the balance, one sentence each."""
    return tuple(f"{label}: {fact}." for label, fact in cycles_facts(check))


def about_cycles(cost: int | None) -> str:
    """An estimate of cycles."""
    return "unknown" if cost is None else f"about {text.cycles(cost)} (estimate)"


def moment(nanoseconds: int | None) -> str:
    """A moment, when it is known."""
    return "unknown" if nanoseconds is None else text.moment(nanoseconds)


def count(amount: int | None) -> str | None:
    """A large number for JSON."""
    return None if amount is None else str(amount)


def pages(known: "PageHash | None") -> Json:
    """The hash of a file's pages, or nothing."""
    return None if known is None else {"bytes": known.page_bytes, "sha256": known.sha256}


def or_unknown(amount: int | None) -> str:
    """A number, when it is known."""
    return "unknown" if amount is None else str(amount)
