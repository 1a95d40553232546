"""The system state tree, built anew for each request with only what was asked for in it.

Source: interface specification, "The system state tree". What nobody asked for is a hash of its
own: such a tree is smaller than the real one, and just as well formed.
"""

import hashlib
from collections.abc import Iterable, Sequence
from typing import Final

import cbor2

from dfx_backup.replica.certificate import SELF_DESCRIBED, Leaf, Pruned, Tree
from dfx_backup.replica.keys import ReplicaKeys
from dfx_backup.replica.leb128 import leb128
from dfx_backup.replica.replica import Replica
from dfx_backup.replica.state import CanisterState

__all__ = ["Ranges", "canister_ranges", "canister_tree", "ranges_tree", "subnet_tree", "time_leaf"]

Ranges = tuple[tuple[bytes, bytes], ...]
"""Closed intervals of canister ids, in order."""

RANGES_PER_SHARD: Final = 5


def _id(number: int) -> bytes:
    return number.to_bytes(8, "big") + b"\x01\x01"


FIRST_CANISTER: Final = 0x8000_0000_0010_0000
OWN_RANGE: Final = (_id(FIRST_CANISTER), _id(FIRST_CANISTER + 0xF_FFFF))
"""Ids that the replica gives to canisters by itself, like those of a local network of dfx."""

STRANGER_RANGES: Final[Ranges] = ((_id(0x0000_0000_0FF0_0000), _id(0x0000_0000_0FFF_FFFF)),)
"""Ids on the subnet that only faults know."""


def canister_ranges(canister_ids: Iterable[bytes]) -> Ranges:
    """The ranges of the subnet: our own, and one for each canister with an id from elsewhere."""
    low, high = OWN_RANGE
    outside = ((one, one) for one in canister_ids if not low <= one <= high)
    return tuple(sorted([OWN_RANGE, *outside]))


def _encode_ranges(ranges: Sequence[tuple[bytes, bytes]]) -> Leaf:
    return Leaf(SELF_DESCRIBED + cbor2.dumps([list(pair) for pair in ranges]))


def ranges_tree(ranges: Ranges) -> Tree:
    """The part below `/canister_ranges/<subnet id>`: shards of a few ranges."""
    shards = [ranges[i : i + RANGES_PER_SHARD] for i in range(0, len(ranges), RANGES_PER_SHARD)]
    return {shard[0][0]: _encode_ranges(shard) for shard in shards}


def time_leaf(now_ns: int) -> Leaf:
    """The value of `/time`."""
    return Leaf(leb128(now_ns))


def subnet_tree(
    keys: ReplicaKeys, ranges: Ranges, metrics: Leaf, *, show_flat_ranges: bool = True
) -> Tree:
    """The part below `/subnet`.

    Args:
        keys: of the replica.
        ranges: of our subnet.
        metrics: from `metrics_leaf`.
        show_flat_ranges: whether the ranges of a subnet other than the root may be shown; newer
            endpoints show them below `/canister_ranges` only.
    """
    flat = _encode_ranges(ranges)
    is_root = keys.subnet_id == keys.root_subnet_id
    own: Tree = {
        b"public_key": Leaf(keys.subnet.public_der),
        b"type": Leaf(b"application"),
        b"canister_ranges": flat if show_flat_ranges or is_root else Pruned(flat.digest),
        b"metrics": metrics,
        b"node": {keys.node_id: {b"public_key": Leaf(keys.node_public_der)}},
    }
    if is_root:
        return {keys.subnet_id: own}
    root: Tree = {
        b"public_key": Leaf(keys.root.public_der),
        b"type": Leaf(b"system"),
        b"canister_ranges": _encode_ranges(()),
        b"node": Pruned(hashlib.sha256(b"nodes of the root subnet").digest()),
    }
    return {keys.subnet_id: own, keys.root_subnet_id: root}


def metrics_leaf(replica: Replica, transactions: int) -> Leaf:
    """The value of `/subnet/<subnet id>/metrics`.

    Args:
        replica: whose canisters are measured.
        transactions: update calls executed since the start.
    """
    with replica.lock:
        size = sum(canister.memory_usage for canister in replica.canisters.values())
        count = len(replica.canisters)
    return Leaf(
        SELF_DESCRIBED
        + cbor2.dumps(
            {
                "num_canisters": count,
                "canister_state_bytes": size,
                "consumed_cycles_total": {"low": 0, "high": 0},
                "update_transactions_total": transactions,
            }
        )
    )


def canister_tree(replica: Replica, asked: Iterable[bytes]) -> Tree:
    """The part below `/canister`: asked canisters in full, the others as hashes.

    Args:
        replica: whose canisters they are.
        asked: canister ids; those that don't exist are absent from the tree.
    """
    with replica.lock:
        found = {one: replica.canisters[one] for one in asked if one in replica.canisters}
        trees = {one: _one_canister(canister) for one, canister in found.items()}
        others = [one for one in replica.canisters if one not in found]
    hidden = {one: Pruned(hashlib.sha256(b"canister" + one).digest()) for one in others}
    return {**trees, **hidden}


def _one_canister(canister: CanisterState) -> Tree:
    controllers = SELF_DESCRIBED + cbor2.dumps(list(canister.controllers))
    tree: dict[bytes, Tree] = {
        b"controllers": Leaf(controllers),
        b"canister_creation_timestamp": Leaf(leb128(canister.created_at)),
    }
    if canister.module is not None:
        tree[b"module_hash"] = Leaf(canister.module.sha256)
        tree[b"certified_data"] = Leaf(canister.certified_data)
        tree[b"last_install_timestamp"] = Leaf(leb128(canister.last_install_at))
        metadata = canister.module.metadata
        if metadata:
            tree[b"metadata"] = {name.encode(): Leaf(item[1]) for name, item in metadata.items()}
    return tree
