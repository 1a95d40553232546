"""Identities: signatures, principals, and every PEM form that users have."""

import base64
import subprocess
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.utils import (
    Prehashed,
    encode_dss_signature,
)
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from ic.identity import Identity as PublishedIdentity

from dfx_backup.errors import BackupError, ProjectError, WrongKeyError
from dfx_backup.ic.identity import (
    AnonymousIdentity,
    EcdsaIdentity,
    Ed25519Identity,
    from_private_key,
    load_pem,
)
from dfx_backup.ic.keyfile import PrivateKey
from dfx_backup.ic.principal import Principal

CURVES = {"secp256k1": ec.SECP256K1, "p256": ec.SECP256R1}
OIDS = {"secp256k1": "2b8104000a", "p256": "2a8648ce3d030107"}
SCALAR = int.from_bytes(sha256(b"a key for tests").digest(), "big")
SEED = sha256(b"a seed for tests").digest()
PASSWORD = "correct horse"
needs_openssl = pytest.mark.usefixtures("openssl")


def make_key(kind: str) -> PrivateKey:
    if kind == "ed25519":
        return ed25519.Ed25519PrivateKey.from_private_bytes(SEED)
    return ec.derive_private_key(SCALAR, CURVES[kind]())


def to_pem(
    key: Any, form: ser.PrivateFormat = ser.PrivateFormat.PKCS8, password: str = ""
) -> bytes:
    lock = ser.BestAvailableEncryption(password.encode()) if password else ser.NoEncryption()
    return key.private_bytes(ser.Encoding.PEM, form, lock)


def armor(label: str, der: bytes, newline: str = "\n") -> bytes:
    text = base64.b64encode(der).decode()
    lines = [text[i : i + 64] for i in range(0, len(text), 64)]
    return newline.join([f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""]).encode()


def tlv(tag: int, *contents: bytes) -> bytes:
    content = b"".join(contents)
    size = len(content)
    head = bytes([size]) if size < 128 else bytes([0x82, size >> 8, size & 255])
    return bytes([tag]) + head + content


def ed25519_info(version: int, *extra: bytes) -> bytes:
    inner = tlv(0x04, tlv(0x04, SEED))
    oid = tlv(0x30, tlv(0x06, bytes.fromhex("2b6570")))
    return tlv(0x30, tlv(0x02, bytes([version])), oid, inner, *extra)


def public_ed25519() -> bytes:
    return make_key("ed25519").public_key().public_bytes_raw()


def sec1(kind: str, *, curve_inside: bool = True, public: bytes | None = None) -> bytes:
    fields = [tlv(0x02, b"\1"), tlv(0x04, SCALAR.to_bytes(32, "big"))]
    if curve_inside:
        fields.append(tlv(0xA0, tlv(0x06, bytes.fromhex(OIDS[kind]))))
    if public is not None:
        fields.append(tlv(0xA1, tlv(0x03, b"\0", public)))
    return tlv(0x30, *fields)


def point(kind: str, form: ser.PublicFormat = ser.PublicFormat.UncompressedPoint) -> bytes:
    return make_key(kind).public_key().public_bytes(ser.Encoding.X962, form)


def principal_of(data: bytes, password: str | None = None) -> Principal:
    return load_pem(data, password=password, source="the key").principal


def expected(kind: str) -> Principal:
    return from_private_key(make_key(kind)).principal


def test_the_anonymous_identity_signs_nothing() -> None:
    identity = AnonymousIdentity()
    assert identity.principal.to_text() == "2vxsx-fae"
    assert identity.public_key_der is None
    assert identity.sign(b"message") is None


def test_ed25519_signs_the_message_itself() -> None:
    identity = load_pem(to_pem(make_key("ed25519")), source="key")
    assert isinstance(identity, Ed25519Identity)
    assert identity.public_key_der.hex() == "302a300506032b6570032100" + public_ed25519().hex()
    signature = identity.sign(b"message")
    make_key("ed25519").public_key().verify(signature, b"message")
    with pytest.raises(InvalidSignature):
        make_key("ed25519").public_key().verify(signature, b"massage")


@pytest.mark.parametrize("kind", CURVES)
def test_ecdsa_signs_the_sha256_with_the_low_s(kind: str) -> None:
    identity = load_pem(to_pem(make_key(kind)), source="key")
    assert isinstance(identity, EcdsaIdentity)
    order = {
        "secp256k1": 2**256 - 0x14551231950B75FC4402DA1732FC9BEBF,
        "p256": int("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551", 16),
    }[kind]
    digest = sha256(b"message").digest()
    for _ in range(24):  # a high s comes up in every second signature
        signature = identity.sign(b"message")
        assert len(signature) == 64
        r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
        assert 0 < s <= order // 2
        make_key(kind).public_key().verify(
            encode_dss_signature(r, s), digest, ec.ECDSA(Prehashed(hashes.SHA256()))
        )


def test_public_keys_have_the_form_of_the_interface_specification() -> None:
    heads = {
        "secp256k1": "3056301006072a8648ce3d020106052b8104000a034200",
        "p256": "3059301306072a8648ce3d020106082a8648ce3d030107034200",
    }
    for kind, head in heads.items():
        der = load_pem(to_pem(make_key(kind)), source="key").public_key_der
        assert der.hex() == head + point(kind).hex()
        assert der[len(head) // 2] == 4


@pytest.mark.parametrize("kind", ["ed25519", "secp256k1", "p256"])
def test_representations_show_the_principal_only(kind: str) -> None:
    identity = from_private_key(make_key(kind))
    secret = SEED if kind == "ed25519" else SCALAR.to_bytes(32, "big")
    for text in (repr(identity), str(identity)):
        assert identity.principal.to_text() in text
        assert secret.hex()[:8] not in text
        assert base64.b64encode(secret).decode()[:8] not in text
        assert str(SCALAR)[:8] not in text


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("kind", CURVES)
@pytest.mark.parametrize("block", ["none", "before", "after"])
def test_sec1_with_the_curve_here_or_there(kind: str, newline: str, block: str) -> None:
    parameters = armor("EC PARAMETERS", tlv(0x06, bytes.fromhex(OIDS[kind])), newline)
    key = armor("EC PRIVATE KEY", sec1(kind, curve_inside=block == "none"), newline)
    data = {"none": key, "before": parameters + key, "after": key + parameters}[block]
    assert principal_of(data) == expected(kind)


def test_sec1_as_dfx_generates_it() -> None:
    data = to_pem(make_key("secp256k1"), ser.PrivateFormat.TraditionalOpenSSL)
    parameters = armor("EC PARAMETERS", tlv(0x06, bytes.fromhex(OIDS["secp256k1"])))
    data = (parameters + data).replace(b"\n", b"\r\n")
    assert principal_of(data) == expected("secp256k1")


@pytest.mark.parametrize("kind", CURVES)
def test_sec1_with_a_compressed_public_key(kind: str) -> None:
    public = point(kind, ser.PublicFormat.CompressedPoint)
    assert principal_of(armor("EC PRIVATE KEY", sec1(kind, public=public))) == expected(kind)


@pytest.mark.parametrize("kind", ["ed25519", "secp256k1", "p256"])
def test_pkcs8(kind: str) -> None:
    assert principal_of(to_pem(make_key(kind))) == expected(kind)


def test_pkcs8_of_a_curve_key_that_carries_no_curve_inside() -> None:
    oid = tlv(
        0x30,
        tlv(0x06, bytes.fromhex("2a8648ce3d0201")),
        tlv(0x06, bytes.fromhex(OIDS["secp256k1"])),
    )
    inner = sec1("secp256k1", curve_inside=False, public=point("secp256k1"))
    info = tlv(0x30, tlv(0x02, b"\0"), oid, tlv(0x04, inner))
    assert principal_of(armor("PRIVATE KEY", info)) == expected("secp256k1")


@pytest.mark.parametrize(
    ("version", "field"),
    [
        (0, None),
        (1, lambda public: tlv(0x81, b"\0", public)),
        (1, lambda public: tlv(0xA1, tlv(0x03, b"\0", public))),
    ],
    ids=["v1", "v2 of RFC 5958", "v2 of old dfx"],
)
def test_ed25519_containers(version: int, field: Callable[[bytes], bytes] | None) -> None:
    extra = [] if field is None else [field(public_ed25519())]
    assert principal_of(armor("PRIVATE KEY", ed25519_info(version, *extra))) == expected("ed25519")


def test_the_old_container_has_the_bytes_by_which_agents_know_it() -> None:
    info = ed25519_info(1, tlv(0xA1, tlv(0x03, b"\0", public_ed25519())))
    assert info[48:52].hex() == "a1230321"
    repaired = bytearray(info[:48])
    repaired[1], repaired[4] = 46, 0
    assert principal_of(armor("PRIVATE KEY", bytes(repaired))) == expected("ed25519")


@pytest.mark.parametrize("make", ["ed25519 v2", "ed25519 old", "sec1"])
def test_a_public_key_that_belongs_to_another_key_is_refused(make: str) -> None:
    other = bytes(32)
    data = {
        "ed25519 v2": armor("PRIVATE KEY", ed25519_info(1, tlv(0x81, b"\0", other))),
        "ed25519 old": armor("PRIVATE KEY", ed25519_info(1, tlv(0xA1, tlv(0x03, b"\0", other)))),
        "sec1": armor("EC PRIVATE KEY", sec1("p256", public=b"\4" + bytes(64))),
    }[make]
    with pytest.raises(ProjectError, match="belongs to another private key"):
        principal_of(data)


@pytest.mark.parametrize("kind", ["ed25519", "secp256k1", "p256"])
def test_encrypted_pkcs8(kind: str) -> None:
    data = to_pem(make_key(kind), password=PASSWORD)
    assert principal_of(data, PASSWORD) == expected(kind)
    with pytest.raises(WrongKeyError, match="the password does not open the key") as caught:
        principal_of(data, "wrong")
    assert caught.value.exit_code == 12
    assert caught.value.__cause__ is None
    with pytest.raises(WrongKeyError, match="no password was given"):
        principal_of(data)


def run_openssl(*args: str, text: bytes | None = None) -> bytes:
    done = subprocess.run(["openssl", *args], input=text, capture_output=True, check=True)
    return done.stdout


@needs_openssl
@pytest.mark.parametrize(
    ("kind", "args"),
    [
        ("secp256k1", ["-scrypt", "-scrypt_N", "16384", "-scrypt_r", "8", "-scrypt_p", "1"]),
        ("p256", ["-v2", "aes-192-cbc"]),
        ("ed25519", ["-v2", "aes-256-cbc", "-v2prf", "hmacWithSHA512"]),
        ("secp256k1", ["-v2", "aes-128-cbc", "-v2prf", "hmacWithSHA1"]),
    ],
)
def test_encrypted_by_openssl(kind: str, args: list[str]) -> None:
    data = run_openssl(
        "pkcs8", "-topk8", *args, "-passout", f"pass:{PASSWORD}", text=to_pem(make_key(kind))
    )
    assert b"ENCRYPTED PRIVATE KEY" in data
    assert principal_of(data, PASSWORD) == expected(kind)
    with pytest.raises(WrongKeyError):
        principal_of(data, "Correct horse")


def seal_as_icp(info: bytes, password: str) -> bytes:
    """Encrypt with scrypt N=2^17 r=8 p=1 and AES-256-CBC, without any code of ours."""
    salt, iv = bytes(range(16)), bytes(range(16, 32))
    key = Scrypt(salt=salt, length=32, n=1 << 17, r=8, p=1).derive(password.encode())
    pad = 16 - len(info) % 16
    encryptor = Cipher(algorithms.AES(key), modes.CBC(iv)).encryptor()
    ciphertext = encryptor.update(info + bytes([pad]) * pad) + encryptor.finalize()
    scrypt = tlv(
        0x30,
        tlv(0x06, bytes.fromhex("2b06010401da47040b")),
        tlv(0x30, tlv(4, salt), tlv(2, b"\2\0\0"), tlv(2, b"\x08"), tlv(2, b"\1")),
    )
    cipher = tlv(0x30, tlv(0x06, bytes.fromhex("60864801650304012a")), tlv(4, iv))
    scheme = tlv(0x30, tlv(0x06, bytes.fromhex("2a864886f70d01050d")), tlv(0x30, scrypt, cipher))
    return armor("ENCRYPTED PRIVATE KEY", tlv(0x30, scheme, tlv(4, ciphertext)))


def test_an_encrypted_ed25519_key_with_its_public_key_as_icp_writes_it() -> None:
    data = seal_as_icp(ed25519_info(1, tlv(0x81, b"\0", public_ed25519())), PASSWORD)
    assert principal_of(data, PASSWORD) == expected("ed25519")
    with pytest.raises(WrongKeyError):
        principal_of(data, PASSWORD + " ")


@needs_openssl
@pytest.mark.parametrize("curve", ["secp256k1", "prime256v1"])
def test_keys_that_openssl_generates_sec1(curve: str) -> None:
    data = run_openssl("ecparam", "-name", curve, "-genkey")
    assert b"EC PARAMETERS" in data
    public = run_openssl("ec", "-pubout", "-outform", "DER", text=data)
    assert load_pem(data, source="key").public_key_der == public


@needs_openssl
@pytest.mark.parametrize(
    "algorithm",
    [
        ["ed25519"],
        ["EC", "-pkeyopt", "ec_paramgen_curve:secp256k1"],
        ["EC", "-pkeyopt", "ec_paramgen_curve:P-256"],
    ],
)
def test_keys_that_openssl_generates_pkcs8(algorithm: list[str]) -> None:
    data = run_openssl("genpkey", "-algorithm", *algorithm)
    public = run_openssl("pkey", "-pubout", "-outform", "DER", text=data)
    assert load_pem(data, source="key").public_key_der == public


@pytest.mark.parametrize(
    ("kind", "form"),
    [
        ("ed25519", ser.PrivateFormat.PKCS8),
        ("secp256k1", ser.PrivateFormat.PKCS8),
        ("secp256k1", ser.PrivateFormat.TraditionalOpenSSL),
    ],
)
def test_ic_py_reads_the_same_principal(kind: str, form: ser.PrivateFormat) -> None:
    data = to_pem(make_key(kind), form)
    published = PublishedIdentity.from_pem(data.decode())
    mine = load_pem(data, source="key")
    assert published.sender().to_str() == mine.principal.to_text()
    assert published.der_pubkey == mine.public_key_der
    assert published.vk.verify(mine.sign(b"message"), b"message")


def test_ic_py_reads_the_same_principal_from_the_v2_container() -> None:
    data = armor("PRIVATE KEY", ed25519_info(1, tlv(0x81, b"\0", public_ed25519())))
    published = PublishedIdentity.from_pem(data.decode())
    assert published.sender().to_str() == principal_of(data).to_text()


def rsa_pem(form: ser.PrivateFormat) -> bytes:
    return to_pem(rsa.generate_private_key(65537, 1024), form)


UNSUPPORTED = {
    "another curve": lambda: to_pem(ec.generate_private_key(ec.SECP384R1())),
    "another curve in SEC1": lambda: to_pem(
        ec.generate_private_key(ec.SECP384R1()), ser.PrivateFormat.TraditionalOpenSSL
    ),
    "RSA": lambda: rsa_pem(ser.PrivateFormat.TraditionalOpenSSL),
    "RSA in PKCS#8": lambda: rsa_pem(ser.PrivateFormat.PKCS8),
    "no curve": lambda: armor("EC PRIVATE KEY", sec1("p256", curve_inside=False)),
    "two curves": lambda: (
        armor("EC PARAMETERS", tlv(6, bytes.fromhex(OIDS["p256"])))
        + armor("EC PRIVATE KEY", sec1("secp256k1"))
    ),
    "two keys": lambda: to_pem(make_key("p256")) * 2,
    "old encryption": lambda: make_key("p256").private_bytes(
        ser.Encoding.PEM, ser.PrivateFormat.TraditionalOpenSSL, ser.BestAvailableEncryption(b"x")
    ),
}


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_what_is_not_supported_is_said(name: str) -> None:
    with pytest.raises(ProjectError, match=r"the key can't be used: it") as caught:
        load_pem(UNSUPPORTED[name](), password="x", source="the key")
    assert caught.value.exit_code == 30
    assert caught.value.hint


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"not a key",
        b"\xff\xfe\x00",
        armor("PUBLIC KEY", b"\x30\x00"),
        armor("PRIVATE KEY", b""),
        armor("PRIVATE KEY", b"\x30\x80\x00\x00"),
        armor("EC PRIVATE KEY", sec1("p256")[:-3]),
        armor("EC PRIVATE KEY", sec1("p256") + b"\0"),
        armor("PRIVATE KEY", ed25519_info(7)),
        armor("ENCRYPTED PRIVATE KEY", b"\x30\x03\x02\x01\x00"),
        b"-----BEGIN PRIVATE KEY-----\n!!!!\n-----END PRIVATE KEY-----\n",
        to_pem(make_key("p256")) + b" " * 70_000,
    ],
)
def test_damaged_files_are_one_clear_error_that_quotes_nothing(data: bytes) -> None:
    with pytest.raises(ProjectError) as caught:
        load_pem(data, password="x", source="/home/me/key.pem")
    assert "/home/me/key.pem" in caught.value.message
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("scalar", [bytes(32), b"\xff" * 32, b"\1" * 40, b""])
def test_scalars_outside_the_curve_are_refused(scalar: bytes) -> None:
    der = tlv(0x30, tlv(2, b"\1"), tlv(4, scalar), tlv(0xA0, tlv(6, bytes.fromhex(OIDS["p256"]))))
    with pytest.raises(ProjectError, match="damaged"):
        principal_of(armor("EC PRIVATE KEY", der))


@pytest.mark.parametrize(
    "parameters",
    [
        (b"\x7f" + bytes(4), b"\x08", b"\x01"),
        (b"\x02\x00\x00", b"\x08", b"\x7f"),
        (b"\x00", b"\x08", b"\x01"),
        (b"\x03", b"\x08", b"\x01"),
        (b"\x7f" + bytes(40), b"\x00", b"\x01"),
        (b"\xff", b"\x08", b"\x01"),
    ],
)
def test_costs_in_a_file_can_not_take_the_machine_down(
    parameters: tuple[bytes, bytes, bytes],
) -> None:
    scrypt = tlv(
        0x30,
        tlv(0x06, bytes.fromhex("2b06010401da47040b")),
        tlv(0x30, tlv(4, b"salt"), *(tlv(2, number) for number in parameters)),
    )
    cipher = tlv(0x30, tlv(0x06, bytes.fromhex("60864801650304012a")), tlv(4, bytes(16)))
    scheme = tlv(0x30, tlv(0x06, bytes.fromhex("2a864886f70d01050d")), tlv(0x30, scrypt, cipher))
    data = armor("ENCRYPTED PRIVATE KEY", tlv(0x30, scheme, tlv(4, bytes(32))))
    with pytest.raises(ProjectError):
        load_pem(data, password="x", source="the key")


def test_every_cut_of_a_key_is_refused_without_a_traceback() -> None:
    whole = sec1("secp256k1", public=point("secp256k1"))
    for size in range(len(whole)):
        with pytest.raises(BackupError):
            principal_of(armor("EC PRIVATE KEY", whole[:size]))


def test_a_signature_of_another_message_does_not_verify() -> None:
    identity = from_private_key(make_key("p256"))
    signature = identity.sign(b"a")
    assert signature
    der = encode_dss_signature(
        int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    )
    make_key("p256").public_key().verify(der, b"a", ec.ECDSA(hashes.SHA256()))
    with pytest.raises(InvalidSignature):
        make_key("p256").public_key().verify(der, b"b", ec.ECDSA(hashes.SHA256()))
