"""BLS signatures over curve BLS12-381, signature in G1 and key in G2, as subnets make them."""

import functools

import pyblst

SIGNATURE_BYTES = 48
KEY_BYTES = 96
_DOMAIN = b"BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_NUL_"
_INFINITY_FLAG = 0x40
_GENERATOR = bytes.fromhex(
    "93e02b6052719f607dacd3a088274f65596bd0d09920b61ab5da61bbdc7f5049334cf11213945d57e5ac7d055d042b7e"
    "024aa2b2f08f0a91260805272dc51051c6e47ad4fa403b02b4510b647ae3d1770bac0326a805bbefd48056c8c121bdb8"
)


def verify(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether the signature over the message is the key's.

    A point that is no point, lies outside its subgroup, or is the point at infinity makes it False.

    Args:
        public_key: 96 bytes, compressed.
        message: what was signed.
        signature: 48 bytes, compressed.
    """
    if len(public_key) != KEY_BYTES or len(signature) != SIGNATURE_BYTES:
        return False
    if (signature[0] | public_key[0]) & _INFINITY_FLAG:
        return False
    try:
        point = pyblst.BlstP1Element.uncompress(signature)
        key = _key(public_key)
    except ValueError:
        return False
    hashed = pyblst.BlstP1Element.hash_to_group(message, _DOMAIN)
    return pyblst.final_verify(
        pyblst.miller_loop(point, _key(_GENERATOR)), pyblst.miller_loop(hashed, key)
    )


@functools.lru_cache(maxsize=64)
def _key(compressed: bytes) -> pyblst.BlstP2Element:
    return pyblst.BlstP2Element.uncompress(compressed)
