"""Numbers of any size in groups of seven bits: Candid, Wasm and the state tree write them so."""


def leb128(number: int) -> bytes:
    """Write a natural number, shortest form."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)
