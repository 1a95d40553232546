"""Which packs a prune drops and which it writes anew: a pure function."""

from collections.abc import Iterable
from dataclasses import dataclass

from dfx_backup.errors import UsageError

KEEP_YOUNGER_S = 24 * 3600.0
"""Packs younger than this are left alone: somebody without a lock may be about to use them."""
MAX_UNUSED = 0.1
"""So much of what is left may be bytes that no backup needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PackFacts:
    """What the plan needs to know of a pack that lies in the store.

    Attributes:
        pack_id: hexadecimal id.
        size: bytes of the object.
        modified: when it was written, by the store's clock, in seconds since the epoch.
        indexed: whether an index object lists it.
        payload: bytes of all its blobs, as the index tells.
        used: bytes of those that some backup needs and that lie nowhere else.
    """

    pack_id: str
    size: int
    modified: float
    indexed: bool
    payload: int
    used: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PrunePlan:
    """What a prune does.

    Attributes:
        drop: packs that nobody needs, hexadecimal ids.
        repack: packs whose needed blobs move to new packs, hexadecimal ids.
        keep: how many packs stay as they are.
        young: how many of them stay although they hold unused bytes, because of their age.
        dropped_bytes: size of the dropped packs.
        repacked_bytes: blobs that move.
        unused_bytes: blobs that no backup needs, before.
        freed_bytes: what the store will be smaller by, headers of packs aside.
    """

    drop: tuple[str, ...]
    repack: tuple[str, ...]
    keep: int
    young: int
    dropped_bytes: int
    repacked_bytes: int
    unused_bytes: int
    freed_bytes: int


def plan_prune(
    packs: Iterable[PackFacts],
    *,
    now: float,
    keep_younger_s: float = KEEP_YOUNGER_S,
    max_unused: float = MAX_UNUSED,
) -> PrunePlan:
    """Decide about every pack.

    Args:
        packs: all packs of the store.
        now: the present by the store's clock, in seconds since the epoch.
        keep_younger_s: leave packs alone that are younger than this.
        max_unused: fraction of what stays that may be unused; the packs with the least use are
            written anew until it is reached.

    Raises:
        UsageError: `max_unused` is no fraction below 1.
    """
    if not 0 <= max_unused < 1:
        raise UsageError(f"the unused part of a repository can't be {max_unused:.0%}")
    every = sorted(packs, key=lambda pack: pack.pack_id)
    young = {pack.pack_id for pack in every if now - pack.modified < keep_younger_s}
    old = [pack for pack in every if pack.pack_id not in young]
    drop = [pack for pack in old if not pack.used]
    repack = _worth_repacking(
        [pack for pack in old if pack.used],
        allowed=sum(pack.used for pack in every) * max_unused / (1 - max_unused),
    )
    gone = {pack.pack_id for pack in drop} | {pack.pack_id for pack in repack}
    stay = [pack for pack in every if pack.pack_id not in gone]
    return PrunePlan(
        drop=tuple(pack.pack_id for pack in drop),
        repack=tuple(pack.pack_id for pack in repack),
        keep=len(stay),
        young=sum(1 for pack in stay if pack.pack_id in young and _unused(pack)),
        dropped_bytes=sum(pack.size for pack in drop),
        repacked_bytes=sum(pack.used for pack in repack),
        unused_bytes=sum(_unused(pack) for pack in every),
        freed_bytes=sum(pack.size for pack in drop) + sum(_unused(pack) for pack in repack),
    )


def _unused(pack: PackFacts) -> int:
    """Bytes that no backup needs."""
    return pack.payload - pack.used if pack.indexed else pack.size


def _worth_repacking(packs: "list[PackFacts]", *, allowed: float) -> "list[PackFacts]":
    """The packs with the smallest used part, until the unused bytes of the rest are allowed."""
    wasteful = sorted(
        (pack for pack in packs if _unused(pack)),
        key=lambda pack: (pack.used / pack.payload, pack.pack_id),
    )
    left = sum(_unused(pack) for pack in wasteful)
    chosen = []
    for pack in wasteful:
        if left <= allowed:
            break
        chosen.append(pack)
        left -= _unused(pack)
    return chosen
