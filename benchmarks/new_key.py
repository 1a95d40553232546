"""Makes the key that every program signs with: `python -m benchmarks.new_key FILE`."""

import os
import sys

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat


def main(path: str) -> int:
    """Write a new secp256k1 key in SEC1, as dfx does."""
    key = ec.generate_private_key(ec.SECP256K1())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(pem)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
