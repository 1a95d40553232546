"""The Motoko kit's SHA-256 is what its generator writes."""

from scripts import gen_motoko_sha256


def test_the_committed_file_is_the_generated_one() -> None:
    assert gen_motoko_sha256.TARGET.read_text(encoding="utf-8") == gen_motoko_sha256.source()


def test_the_constants_are_those_of_the_standard() -> None:
    first, last = gen_motoko_sha256.primes(64)[0], gen_motoko_sha256.primes(64)[-1]
    assert gen_motoko_sha256.square_root_bits(first) == 0x6A09E667
    assert gen_motoko_sha256.cube_root_bits(first) == 0x428A2F98
    assert gen_motoko_sha256.cube_root_bits(last) == 0xC67178F2
