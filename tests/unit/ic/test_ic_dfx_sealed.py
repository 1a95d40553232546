"""dfx's encrypted identity file, against the vector made with the crates that dfx uses."""

import pytest

from dfx_backup.errors import ProjectError, WrongKeyError
from dfx_backup.ic.dfx_sealed import derive_key, open_sealed

PASSWORD = "testpassword"
SALT = bytes(range(32)).hex()
NONCE = bytes(range(12))
SEALED = bytes.fromhex("a893ac36ae9b0b8dc9718391797dd53fee211f23c6")


def test_the_key_is_dfx_key() -> None:
    key = derive_key(PASSWORD, SALT, source="alice")
    assert key.hex() == "9e53bcc68a85c34583ea3204a4caef698ccf3010aa51d788020f8c4b2993e63b"


def test_the_vector_opens() -> None:
    opened = open_sealed(
        SEALED, password=PASSWORD, pw_salt=SALT, file_nonce=NONCE, source="identity 'alice'"
    )
    assert opened == b"hello"


@pytest.mark.parametrize(
    ("data", "password"), [(SEALED, "wrong"), (SEALED[:-1] + b"\0", PASSWORD), (SEALED, "\ud800")]
)
def test_a_wrong_password_or_file_names_the_identity(data: bytes, password: str) -> None:
    with pytest.raises(WrongKeyError, match="identity 'alice'") as caught:
        open_sealed(
            data, password=password, pw_salt=SALT, file_nonce=NONCE, source="identity 'alice'"
        )
    assert caught.value.exit_code == 12
    assert password not in caught.value.message
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    ("data", "salt", "nonce", "reason"),
    [
        (SEALED, "", NONCE, "pw_salt"),
        (SEALED, "short", NONCE, "pw_salt"),
        (SEALED, "ä" * 64, NONCE, "pw_salt"),
        (SEALED, "a" * 65, NONCE, "pw_salt"),
        (SEALED, "a" * 13, NONCE, "pw_salt"),
        (SEALED, SALT, NONCE[:-1], "file_nonce"),
        (SEALED[:15], SALT, NONCE, "cut off"),
    ],
)
def test_impossible_parts_are_named(data: bytes, salt: str, nonce: bytes, reason: str) -> None:
    with pytest.raises(ProjectError, match=reason):
        open_sealed(data, password="x", pw_salt=salt, file_nonce=nonce, source="identity 'alice'")
