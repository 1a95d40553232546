"""Puts images onto the replica, as snapshots: `python -m benchmarks.filler`.

A program of its own, so that the compiler does not swell the process that starts the measured
programs: what a parent has in memory counts as its children's too (see `measure`).
"""

import argparse
import json
import struct
import sys
from pathlib import Path

import wasmtime

from benchmarks import images
from benchmarks.images import Image
from dfx_backup.ic.identity import load_pem
from dfx_backup.ic.management import ManagementCanister
from dfx_backup.ic.principal import Principal
from dfx_backup.ic.session import Session
from dfx_backup.model import CanisterId

CANISTER = """
(module
  (import "ic0" "msg_reply" (func $reply))
  (import "ic0" "msg_arg_data_size" (func $size (result i32)))
  (import "ic0" "msg_arg_data_copy" (func $copy (param i32 i32 i32)))
  (import "ic0" "stable64_grow" (func $grow (param i64) (result i64)))
  (import "ic0" "stable64_write" (func $write (param i64 i64 i64)))
  (memory 2)
  ;; The block that pages are made of lies at 0; it is the argument.
  (func (export "canister_update block")
    (call $copy (i32.const 0) (i32.const 0) (call $size))
    (call $reply))
  ;; Argument: i64 pages to add.
  (func (export "canister_update grow")
    (call $copy (i32.const 65536) (i32.const 0) (i32.const 8))
    (if (i64.lt_s (call $grow (i64.load (i32.const 65536))) (i64.const 0)) (then (unreachable)))
    (call $reply))
  ;; Argument: pairs of i64, a run's first page and the page after its last.
  (func (export "canister_update fill")
    (local $at i32) (local $stop i32) (local $page i64)
    (call $copy (i32.const 65536) (i32.const 0) (call $size))
    (local.set $at (i32.const 65536))
    (local.set $stop (i32.add (i32.const 65536) (call $size)))
    (loop $runs
      (local.set $page (i64.load (local.get $at)))
      (loop $pages
        (i64.store (i32.const 0) (local.get $page))
        (call $write
          (i64.shl (local.get $page) (i64.const 16)) (i64.const 0) (i64.const 65536))
        (local.set $page (i64.add (local.get $page) (i64.const 1)))
        (br_if $pages (i64.lt_u (local.get $page) (i64.load offset=8 (local.get $at)))))
      (local.set $at (i32.add (local.get $at) (i32.const 16)))
      (br_if $runs (i32.lt_u (local.get $at) (local.get $stop))))
    (call $reply)))
"""
_PAGES_PER_CALL = 4096
_RUNS_PER_CALL = 1024


def take_image(management: ManagementCanister, session: Session, image: Image) -> tuple[str, str]:
    """Make a canister with an image and take a snapshot; the canister itself is emptied.

    Returns:
        Canister id and snapshot id.
    """
    canister = management.create(cycles=10**15)
    management.install_code(canister, bytes(wasmtime.wat2wasm(CANISTER)))
    target = Principal.from_text(canister)
    session.call(target, "block", images.page(0))
    session.call(target, "grow", struct.pack("<q", image.pages))
    pieces = [
        (at, min(at + _PAGES_PER_CALL, first + count))
        for first, count in image.runs
        for at in range(first, first + count, _PAGES_PER_CALL)
    ]
    weight = 1 + _PAGES_PER_CALL // max(end - first for first, end in pieces)
    step = min(_RUNS_PER_CALL, weight)
    for at in range(0, len(pieces), step):
        runs = [number for piece in pieces[at : at + step] for number in piece]
        session.call(target, "fill", struct.pack(f"<{len(runs)}q", *runs))
    snapshot = management.take_snapshot(canister, uninstall_code=True)
    return str(canister), str(snapshot.snapshot_id)


def main() -> int:
    """Fill, or delete; prints one JSON object."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.filler", description=__doc__)
    parser.add_argument("url")
    parser.add_argument("root_key")
    parser.add_argument("key", type=Path)
    commands = parser.add_subparsers(dest="command", required=True)
    fill = commands.add_parser("fill")
    fill.add_argument("pages", type=int)
    fill.add_argument("runs", type=json.loads)
    commands.add_parser("create")
    for name in ("list", "delete"):
        commands.add_parser(name).add_argument("canister")
    given = parser.parse_args()
    identity = load_pem(given.key.read_bytes(), source="benchmark")
    session = Session(given.url, identity, root_key=bytes.fromhex(given.root_key))
    management = ManagementCanister(session)
    if given.command == "create":
        print(json.dumps([management.create(cycles=10**15)]))
    elif given.command in ("list", "delete"):
        canister = CanisterId(given.canister)
        found = [each.snapshot_id for each in management.list_snapshots(canister)]
        if given.command == "delete":
            for each in found:
                management.delete_snapshot(canister, each)
        print(json.dumps(found))
    else:
        runs = tuple((first, count) for first, count in given.runs)
        image = Image(name="asked for", pages=given.pages, runs=runs)
        print(json.dumps(take_image(management, session, image)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
