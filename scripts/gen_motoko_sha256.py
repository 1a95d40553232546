"""Write `BackupSha256.mo`: SHA-256 with all its rounds written out.

A loop over arrays costs Motoko three times as many instructions. The words are kept in Nat64, which
the compiler leaves unboxed; a word that is rotated is doubled first, so that a shift rotates it.
"""

import math
from pathlib import Path

TARGET = Path(__file__).parent.parent / "dfx_backup" / "kit" / "motoko" / "BackupSha256.mo"
MASK = "0xffffffff"
HEAD = """\
// SHA-256 (FIPS 180-4) of bytes in a Region. All rounds are written out: loops over arrays
// would cost three times as many instructions. Written by dfx-backup's
// scripts/gen_motoko_sha256.py.
import Prim "mo:⛔";

module {
  type State = [var Nat64];

  // SHA-256 of `size` bytes at `offset`.
  public func ofRegion(region : Region, offset : Nat64, size : Nat64) : Blob {
    let state : State = [var
@START@
    ];
    let end = offset + size;
    var at = offset;
    while (end - at >= 64) {
      block(state, Prim.regionLoadBlob(region, at, 64));
      at += 64;
    };
    let rest = Prim.nat64ToNat(end - at); // no bytes can't be loaded from the end of a Region
    last(state, if (rest == 0) "" else Prim.regionLoadBlob(region, at, rest), size);
    digest(state);
  };

  // The last block or two: the rest, a one, zeros, and the length in bits.
  func last(state : State, rest : Blob, size : Nat64) {
    let length = if (rest.size() < 56) 64 else 128;
    let bits = size << 3;
    func padded(i : Nat) : Nat8 {
      if (i < rest.size()) return rest[i];
      if (i == rest.size()) return 0x80;
      if (i + 8 < length) return 0;
      byte(bits >> (Prim.natToNat64(length - 1 - i) << 3));
    };
    var at = 0;
    while (at < length) {
      let start = at;
      let bytes = Prim.Array_tabulate<Nat8>(64, func(i) = padded(start + i));
      block(state, Prim.arrayToBlob(bytes));
      at += 64;
    };
  };

  func digest(state : State) : Blob {
    func of(i : Nat) : Nat8 {
      byte(state[i / 4] >> (Prim.natToNat64(3 - i % 4) << 3));
    };
    Prim.arrayToBlob(Prim.Array_tabulate<Nat8>(32, of));
  };

  func byte(word : Nat64) : Nat8 {
    Prim.natToNat8(Prim.nat64ToNat(word & 0xff));
  };

"""


def primes(count: int) -> list[int]:
    """The first primes."""
    found: list[int] = []
    candidate = 2
    while len(found) < count:
        if all(candidate % prime for prime in found):
            found.append(candidate)
        candidate += 1
    return found


def square_root_bits(number: int) -> int:
    """The first 32 bits of the fraction of its square root."""
    return math.isqrt(number << 64) & 0xFFFF_FFFF


def cube_root_bits(number: int) -> int:
    """The first 32 bits of the fraction of its cube root."""
    wanted, root = number << 96, 0
    for bit in reversed(range(40)):
        if (root | 1 << bit) ** 3 <= wanted:
            root |= 1 << bit
    return root & 0xFFFF_FFFF


def schedule() -> list[str]:
    """The message schedule: each word, and twice that word side by side."""
    lines = []
    for i in range(64):
        if i < 16:
            high, low = (
                f"Prim.nat16ToNat32(Prim.nat8ToNat16(b[{k}]) << 8 | Prim.nat8ToNat16(b[{k + 1}]))"
                for k in (4 * i, 4 * i + 2)
            )
            lines.append(f"let w{i} = Prim.nat32ToNat64({high} << 16 | {low});")
        else:
            early = f"((d{i - 15} >> 7) ^ (d{i - 15} >> 18) ^ (w{i - 15} >> 3))"
            late = f"((d{i - 2} >> 17) ^ (d{i - 2} >> 19) ^ (w{i - 2} >> 10))"
            lines.append(f"let w{i} = (w{i - 16} +% {early} +% w{i - 7} +% {late}) & {MASK};")
        if 1 <= i < 62:
            lines.append(f"let d{i} = w{i} | w{i} << 32;")
    return lines


def rounds() -> list[str]:
    """The rounds, and what they add to the state."""
    start = [f"s{i}" for i in range(8)]
    lines = [f"let {name} = state[{i}];" for i, name in enumerate(start)]
    a, b, c, d, e, f, g, h = start
    for i, prime in enumerate(primes(64)):
        constant = f"0x{cube_root_bits(prime):08x}"
        choice = f"({g} ^ ({e} & ({f} ^ {g})))"
        majority = f"(({a} & {b}) | ({c} & ({a} | {b})))"
        sum_e = f"((p{i} >> 6) ^ (p{i} >> 11) ^ (p{i} >> 25))"
        sum_a = f"((q{i} >> 2) ^ (q{i} >> 13) ^ (q{i} >> 22))"
        lines += [
            f"let p{i} = {e} | {e} << 32;",
            f"let q{i} = {a} | {a} << 32;",
            f"let t{i} = {h} +% {sum_e} +% {choice} +% {constant} +% w{i};",
            f"let e{i} = ({d} +% t{i}) & {MASK};",
            f"let a{i} = (t{i} +% {sum_a} +% {majority}) & {MASK};",
        ]
        a, b, c, d, e, f, g, h = f"a{i}", a, b, c, f"e{i}", e, f, g
    ends = zip(start, (a, b, c, d, e, f, g, h), strict=True)
    return lines + [f"state[{i}] := ({s} +% {x}) & {MASK};" for i, (s, x) in enumerate(ends)]


def source() -> str:
    """The file's content."""
    start = ",\n".join(f"      0x{square_root_bits(prime):08x}" for prime in primes(8))
    body = "\n".join(f"    {line}" for line in (*schedule(), *rounds()))
    return (
        HEAD.replace("@START@", start)
        + "  // One block of 64 bytes.\n  func block(state : State, b : Blob) {\n"
        + body
        + "\n  };\n};\n"
    )


if __name__ == "__main__":
    TARGET.write_text(source(), encoding="utf-8")
