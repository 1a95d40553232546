"""Identities of dfx and icp-cli: which one is meant, how its key is kept, and opening it."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from dfx_backup.errors import (
    BackupError,
    ProjectError,
    UnreadableIdentityError,
    WrongKeyError,
)
from dfx_backup.ic.identity import AnonymousIdentity, from_private_key
from dfx_backup.model import Places
from dfx_backup.project.identities import (
    IdentityRef,
    IdentityTool,
    Storage,
    find_identity,
    list_identities,
)
from dfx_backup.project.keys import load_identity

Write = Callable[[Path, object], Path]

ALICE = ec.derive_private_key(7_654_321, ec.SECP256K1())
BOB = ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PASSWORD = "testpassword"
SALT = bytes(range(32)).hex()
KEY = bytes.fromhex("9e53bcc68a85c34583ea3204a4caef698ccf3010aa51d788020f8c4b2993e63b")
NONCE = list(range(12))


def pem(key: Any, form: ser.PrivateFormat = ser.PrivateFormat.PKCS8, password: str = "") -> bytes:
    lock = ser.BestAvailableEncryption(password.encode()) if password else ser.NoEncryption()
    return key.private_bytes(ser.Encoding.PEM, form, lock)


def dfx_pem(key: Any) -> bytes:
    return pem(key, ser.PrivateFormat.TraditionalOpenSSL).replace(b"\n", b"\r\n")


def principal(key: Any) -> str:
    return from_private_key(key).principal.to_text()


def never() -> str:
    raise AssertionError("no password is needed here")


class Dfx:
    """The identities of dfx."""

    def __init__(self, places: Places, write: Write) -> None:
        self.places, self.write = places, write
        self.config = Path(places.dfx_config)

    def add(self, name: str, file: str, content: object) -> Path:
        return self.write(self.config / "identity" / name / file, content)

    def sealed(self, name: str, **changes: object) -> None:
        data = AESGCM(KEY).encrypt(bytes(NONCE), dfx_pem(ALICE), None)
        self.add(name, "identity.pem.encrypted", data)
        encryption = {"pw_salt": SALT, "file_nonce": NONCE, **changes}
        self.add(name, "identity.json", {"hsm": None, "encryption": encryption})

    def default(self, name: object) -> None:
        self.write(self.config / "identity.json", {"default": name})

    def find(self, name: str | None = None) -> IdentityRef:
        return find_identity(name, places=self.places)


class Icp:
    """The identities of icp-cli."""

    def __init__(self, places: Places, write: Write) -> None:
        self.places, self.write = places, write
        self.folder = Path(places.icp_home) / "identity"

    def list(self, **identities: object) -> None:
        self.write(self.folder / "identity_list.json", {"v": 1, "identities": identities})

    def pem(self, name: str, content: bytes) -> None:
        self.write(self.folder / "keys" / f"{name}.pem", content)

    def find(self, name: str | None = None) -> IdentityRef:
        return find_identity(name, places=self.places, kind=IdentityTool.ICP)


@pytest.fixture
def dfx(places: Places, write: Write) -> Dfx:
    return Dfx(places, write)


@pytest.fixture
def icp(places: Places, write: Write) -> Icp:
    return Icp(places, write)


def test_a_plaintext_identity_of_dfx(dfx: Dfx) -> None:
    file = dfx.add("alice", "identity.pem", dfx_pem(ALICE))
    ref = dfx.find("alice")
    assert (ref.storage, ref.file, ref.needs_password) == (Storage.PLAINTEXT, file, False)
    assert load_identity(ref, password=never).principal.to_text() == principal(ALICE)


def test_an_identity_json_that_says_nothing_means_plaintext(dfx: Dfx) -> None:
    dfx.add("alice", "identity.pem", dfx_pem(ALICE))
    dfx.add(
        "alice",
        "identity.json",
        {"hsm": None, "encryption": None, "keyring_identity_suffix": None},
    )
    assert dfx.find("alice").storage is Storage.PLAINTEXT


def test_precedence(dfx: Dfx) -> None:
    dfx.add("alice", "identity.pem", dfx_pem(ALICE))
    dfx.add("default", "identity.pem", dfx_pem(ALICE))
    assert dfx.find().name == "default"
    dfx.default("alice")
    assert dfx.find().name == "alice"
    assert dfx.find("default").name == "default"
    assert dfx.find("anonymous").storage is Storage.ANONYMOUS


def test_nothing_is_ever_made(dfx: Dfx, places: Places) -> None:
    with pytest.raises(ProjectError, match="dfx has no identity 'default'"):
        dfx.find()
    assert not Path(places.home).exists()


def test_a_missing_identity_is_answered_with_those_that_exist(dfx: Dfx) -> None:
    dfx.add("bob", "identity.pem", pem(BOB))
    dfx.add("alice", "identity.json", {})
    dfx.add("___temp___x", "identity.pem", b"")
    dfx.add("empty", "wallets.json", {})
    with pytest.raises(ProjectError) as caught:
        dfx.find("carol")
    assert str(dfx.config / "identity/carol") in caught.value.message
    assert caught.value.hint is not None
    assert "Identities that exist: alice, anonymous, bob." in caught.value.hint
    assert list_identities(places=dfx.places) == ("alice", "anonymous", "bob")


@pytest.mark.parametrize("name", ["", "..", ".", "a/b", "a b", "___temp___", "ä", "\ud800", "a\n"])
def test_names_that_are_none(dfx: Dfx, name: str) -> None:
    with pytest.raises(ProjectError, match="can't be the name of an identity"):
        dfx.find(name)
    dfx.default(name)
    with pytest.raises(ProjectError):
        dfx.find()


def test_the_anonymous_identity(dfx: Dfx, icp: Icp) -> None:
    assert isinstance(load_identity(dfx.find("anonymous")), AnonymousIdentity)
    assert isinstance(load_identity(icp.find("anonymous")), AnonymousIdentity)
    assert isinstance(load_identity(icp.find()), AnonymousIdentity)


def test_an_encrypted_identity_of_dfx(dfx: Dfx) -> None:
    dfx.sealed("alice")
    ref = dfx.find("alice")
    assert (ref.storage, ref.needs_password) == (Storage.SEALED, True)
    asked = []

    def password() -> str:
        asked.append(1)
        return PASSWORD

    assert load_identity(ref, password=password).principal.to_text() == principal(ALICE)
    assert asked == [1]


@pytest.mark.parametrize("password", [None, lambda: "wrong", lambda: ""])
def test_a_wrong_password_names_the_identity(dfx: Dfx, password: Callable[[], str] | None) -> None:
    dfx.sealed("alice")
    with pytest.raises(WrongKeyError, match="identity 'alice' of dfx") as caught:
        load_identity(dfx.find("alice"), password=password)
    assert caught.value.exit_code == 12
    assert caught.value.hint is not None
    assert "--identity-password-file" in caught.value.hint


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"pw_salt": None}, "encryption.pw_salt is missing"),
        ({"pw_salt": 7}, "encryption.pw_salt must be text"),
        ({"pw_salt": "?"}, "pw_salt is not a salt"),
        ({"file_nonce": None}, "encryption.file_nonce must be 12 bytes"),
        ({"file_nonce": "abc"}, "encryption.file_nonce must be a list"),
        ({"file_nonce": [*range(11), 256]}, "encryption.file_nonce must be 12 bytes"),
        ({"file_nonce": [*range(11), True]}, "encryption.file_nonce.11 must be a whole number"),
        ({"file_nonce": [*range(13)]}, "encryption.file_nonce must be 12 bytes"),
    ],
)
def test_a_bad_encryption_section(dfx: Dfx, changes: dict[str, object], reason: str) -> None:
    dfx.sealed("alice", **changes)
    with pytest.raises(ProjectError, match=reason):
        load_identity(dfx.find("alice"), password=lambda: PASSWORD)


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        ("identity.json", {}, r"identity.pem is missing"),
        ("identity.pem.encrypted", b"x", r"identity.pem is missing"),
        ("identity.json", "{", "not valid JSON"),
        ("identity.json", {"encryption": {}}, r"identity.pem.encrypted is missing"),
        ("identity.json", {"encryption": 1}, r"identity"),
        ("identity.json", {"keyring_identity_suffix": 1}, "must be text"),
        ("identity.pem", b"", "is damaged, or is no private key"),
    ],
)
def test_identities_without_a_usable_key(dfx: Dfx, file: str, content: object, reason: str) -> None:
    dfx.add("alice", file, content)
    with pytest.raises(ProjectError, match=reason) as caught:
        load_identity(dfx.find("alice"), password=never)
    assert "alice" in caught.value.message


def test_a_file_that_vanishes_in_between(dfx: Dfx) -> None:
    file = dfx.add("alice", "identity.pem", dfx_pem(ALICE))
    ref = dfx.find("alice")
    file.unlink()
    with pytest.raises(ProjectError, match="has no key"):
        load_identity(ref)


def test_a_hardware_key_says_what_still_works(dfx: Dfx) -> None:
    dfx.add("alice", "identity.json", {"hsm": {"pkcs11_lib_path": "/x.so", "key_id": "1"}})
    ref = dfx.find("alice")
    assert ref.storage is Storage.HSM
    with pytest.raises(UnreadableIdentityError, match="it is a hardware key") as caught:
        load_identity(ref)
    assert caught.value.exit_code == 30
    assert caught.value.hint is not None
    assert "--driver dfx works with it" in caught.value.hint


class TestKeyring:
    """Keys in the system's keyring."""

    @pytest.fixture
    def ref(self, dfx: Dfx) -> IdentityRef:
        dfx.add("alice", "identity.json", {"keyring_identity_suffix": "alice"})
        return dfx.find("alice")

    def test_from_dfx_mock_file(self, ref: IdentityRef, root: Path, write: Write) -> None:
        entry = {"internet_computer_identity_alice": dfx_pem(ALICE).hex()}
        file = write(root / "keyring.json", {"kv_store": entry})
        identity = load_identity(ref, mock_keyring=str(file), password=never)
        assert identity.principal.to_text() == principal(ALICE)

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            (None, "no entry 'internet_computer_identity_alice'"),
            ({}, "no entry"),
            ({"kv_store": {"internet_computer_identity_bob": ""}}, "no entry"),
            ({"kv_store": {"internet_computer_identity_alice": "zz"}}, "not hexadecimal"),
            ({"kv_store": {"internet_computer_identity_alice": "00"}}, "is damaged"),
            ("{", "not valid JSON"),
        ],
    )
    def test_a_mock_file_without_the_key(
        self, ref: IdentityRef, root: Path, write: Write, content: object, reason: str
    ) -> None:
        file = root / "keyring.json"
        if content is not None:
            write(file, content)
        with pytest.raises(ProjectError, match=reason):
            load_identity(ref, mock_keyring=str(file))

    def test_an_empty_location_means_that_there_is_none(self, ref: IdentityRef) -> None:
        with pytest.raises(UnreadableIdentityError, match="there is no keyring here") as caught:
            load_identity(ref, mock_keyring="")
        assert caught.value.hint is not None
        assert "--driver dfx" in caught.value.hint

    def test_without_the_package(self, ref: IdentityRef, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "keyring", None)
        with pytest.raises(UnreadableIdentityError, match="is not installed") as caught:
            load_identity(ref)
        assert caught.value.hint is not None
        assert "dfx-backup[keyring]" in caught.value.hint
        assert "--driver dfx" in caught.value.hint

    def test_through_the_package(self, ref: IdentityRef, monkeypatch: pytest.MonkeyPatch) -> None:
        keyring = pytest.importorskip("keyring")
        asked = []

        def get_password(service: str, user: str) -> str:
            asked.append((service, user))
            return dfx_pem(ALICE).hex()

        monkeypatch.setattr(keyring, "get_password", get_password)
        assert load_identity(ref).principal.to_text() == principal(ALICE)
        assert asked == [("internet_computer_identities", "internet_computer_identity_alice")]

    @pytest.mark.parametrize("error", ["KeyringLocked", "NoKeyringError", "InitError"])
    def test_a_locked_keyring(
        self, ref: IdentityRef, monkeypatch: pytest.MonkeyPatch, error: str
    ) -> None:
        keyring = pytest.importorskip("keyring")
        kind = getattr(pytest.importorskip("keyring.errors"), error)

        def get_password(_service: str, _user: str) -> str:
            raise kind("the secret is 42")

        monkeypatch.setattr(keyring, "get_password", get_password)
        with pytest.raises(UnreadableIdentityError, match=error) as caught:
            load_identity(ref)
        assert "42" not in caught.value.message


class TestIcp:
    """Identities of icp-cli."""

    def spec(self, form: str, key: Any, **more: object) -> dict[str, object]:
        return {
            "kind": "pem",
            "format": form,
            "algorithm": "secp256k1",
            "principal": principal(key),
            **more,
        }

    def test_plaintext_and_encrypted(self, icp: Icp) -> None:
        icp.list(
            alice=self.spec("plaintext", ALICE),
            bob=self.spec("pbes2", BOB),
            nobody={"kind": "anonymous"},
        )
        icp.pem("alice", pem(ALICE))
        icp.pem("bob", pem(BOB, password=PASSWORD))
        alice, bob = icp.find("alice"), icp.find("bob")
        assert (alice.storage, bob.storage) == (Storage.PLAINTEXT, Storage.PBES2)
        assert load_identity(alice, password=never).principal.to_text() == principal(ALICE)
        opened = load_identity(bob, password=lambda: PASSWORD)
        assert opened.principal.to_text() == principal(BOB)
        assert isinstance(load_identity(icp.find("nobody")), AnonymousIdentity)
        for password in (None, lambda: "wrong"):
            with pytest.raises(WrongKeyError, match="identity 'bob' of icp"):
                load_identity(bob, password=password)

    def test_the_default(self, icp: Icp, write: Write) -> None:
        icp.list(alice=self.spec("plaintext", ALICE))
        icp.pem("alice", pem(ALICE))
        assert icp.find().name == "anonymous"
        write(icp.folder / "identity_defaults.json", {"v": 1, "default": "alice"})
        assert icp.find().name == "alice"
        assert list_identities(places=icp.places, kind=IdentityTool.ICP) == ("alice", "anonymous")

    def test_a_missing_identity(self, icp: Icp) -> None:
        with pytest.raises(ProjectError, match="icp has no identity 'alice'"):
            icp.find("alice")
        icp.list(bob={"kind": "anonymous"})
        with pytest.raises(ProjectError, match=r"identity_list.json") as caught:
            icp.find("alice")
        assert caught.value.hint is not None
        assert "anonymous, bob" in caught.value.hint

    def test_a_key_that_is_not_the_one_noted_down(self, icp: Icp) -> None:
        icp.list(alice=self.spec("plaintext", BOB))
        icp.pem("alice", pem(ALICE))
        with pytest.raises(ProjectError, match="is not what icp noted down"):
            load_identity(icp.find("alice"))

    @pytest.mark.parametrize(
        "kind", ["hsm", "web-auth", "delegation", "pending-delegation", "of the future"]
    )
    def test_kinds_without_a_key_to_read(self, icp: Icp, kind: str) -> None:
        icp.list(alice={"kind": kind})
        with pytest.raises(UnreadableIdentityError, match="identity 'alice' of icp") as caught:
            load_identity(icp.find("alice"))
        assert caught.value.hint is not None
        assert "--driver icp" in caught.value.hint

    def test_a_key_in_the_keyring(self, icp: Icp, root: Path, write: Write) -> None:
        icp.list(alice={"kind": "keyring", "principal": principal(ALICE)})
        ref = icp.find("alice")
        with pytest.raises(UnreadableIdentityError, match="no entry 'alice' of 'icp-cli'"):
            load_identity(ref, mock_keyring=str(root))
        write(root / "default_icp-cli_alice.mockcred", pem(ALICE))
        assert load_identity(ref, mock_keyring=str(root)).principal.to_text() == principal(ALICE)

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            ("{", "not valid JSON"),
            ({"v": 2}, "v must be 1"),
            ({"identities": {}}, "v must be 1"),
            ({"v": 1, "identities": []}, "identities must be an object"),
            ({"v": 1, "identities": {"alice": 1}}, "identities.alice must be an object"),
            ({"v": 1, "identities": {"alice": {}}}, "identities.alice.kind is missing"),
            ({"v": 1, "identities": {"alice": {"kind": "pem"}}}, "alice.format is missing"),
            (
                {"v": 1, "identities": {"alice": {"kind": "pem", "format": "x"}}},
                "alice.format must be plaintext or pbes2",
            ),
            (
                {"v": 1, "identities": {"alice": {"kind": "pem", "format": "pbes2"}}},
                r"alice.pem is missing",
            ),
            (
                {"v": 1, "identities": {"alice": {"kind": "keyring", "principal": "x"}}},
                "alice.principal must be a principal",
            ),
        ],
    )
    def test_a_bad_list(self, icp: Icp, write: Write, content: object, reason: str) -> None:
        write(icp.folder / "identity_list.json", content)
        with pytest.raises(ProjectError, match=reason):
            icp.find("alice")

    @pytest.mark.parametrize("name", ["../x", "..", "", "a\0b"])
    def test_names_that_lead_elsewhere(self, icp: Icp, name: str) -> None:
        with pytest.raises(ProjectError, match="can't be the name of an identity"):
            icp.find(name)


def test_secrets_do_not_show(dfx: Dfx) -> None:
    dfx.sealed("alice")
    ref = dfx.find("alice")
    with pytest.raises(BackupError) as caught:
        load_identity(ref, password=lambda: "hunter2-hunter2")
    error = caught.value
    for text in (str(ref), repr(ref), error.message, str(error.hint), repr(error)):
        assert "hunter2" not in text
    assert error.__cause__ is None
    assert error.__suppress_context__
