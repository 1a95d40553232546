"""Whatever stands in a user's files: an answer or one clear error, never a traceback."""

import base64
import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dfx_backup.errors import BackupError
from dfx_backup.ic.identity import load_pem
from dfx_backup.model import Places
from dfx_backup.project.canister_ids import list_canisters, resolve_canister
from dfx_backup.project.dfx_json import in_dependency_order
from dfx_backup.project.discover import find_project
from dfx_backup.project.identities import IdentityTool, find_identity, list_identities
from dfx_backup.project.keys import load_identity
from dfx_backup.project.networks import resolve_network

CHAT = "rrkah-fqaaa-aaaaa-aaaaq-cai"

WORDS = st.sampled_from(
    [
        *("canisters", "networks", "chat", "local", "ic", "providers", "bind", "type", "remote"),
        *("id", "pull", "dependencies", "__default", "persistent", "ephemeral", "defaults", "dfx"),
        *("playground", "default", "hsm", "encryption", "pw_salt", "file_nonce", "identities"),
        *("kind", "pem", "format", "plaintext", "pbes2", "principal", "v", "anonymous", "keyring"),
        *("keyring_identity_suffix", "url", "root_key", "network", "canister", "set"),
        *(CHAT, "http://127.0.0.1:4943", "127.0.0.1:0", "..", "", "\0", "\ud800", "\x1b[0m"),
    ]
)
TEXT = WORDS | st.text(max_size=12)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=5),
    max_leaves=20,
)


def rarely(value: object, garbage: st.SearchStrategy[object] = JSON) -> st.SearchStrategy[object]:
    """The value, and garbage in one case of eight."""
    return st.integers(0, 7).flatmap(lambda dice: st.just(value) if dice else garbage)


def near(**parts: object) -> st.SearchStrategy[object]:
    """Objects that are nearly right: each part is as given, garbage, or missing."""
    return st.fixed_dictionaries({}, optional={key: rarely(value) for key, value in parts.items()})


DFX_JSON = near(
    dfx="0.30.1",
    canisters={"chat": {"dependencies": ["other"]}, "other": {"type": "pull", "id": CHAT}},
    networks={"local": {"bind": "127.0.0.1:8000"}},
) | st.fixed_dictionaries(
    {
        "canisters": st.dictionaries(
            TEXT, near(type="pull", id=CHAT, dependencies=["chat"], remote={"id": {"ic": CHAT}})
        ),
        "networks": st.dictionaries(
            TEXT | st.just("local"),
            near(bind="127.0.0.1:1", providers=["https://icp0.io"], type="ephemeral"),
        ),
    }
)

IDS_JSON = st.dictionaries(TEXT, st.dictionaries(TEXT, TEXT)) | near(
    chat={"local": CHAT, "ic": "x"}
)


def as_file(values: st.SearchStrategy[object]) -> st.SearchStrategy[bytes]:
    """A value as JSON; in one case of eight cut off, in another one bytes of any kind."""
    encoded = values.map(lambda value: json.dumps(value).encode())
    cut = st.tuples(encoded, st.integers(1, 60)).map(lambda pair: pair[0][: -pair[1]])
    other = {0: cut, 1: st.binary(max_size=60)}
    return st.integers(0, 7).flatmap(lambda dice: other.get(dice, encoded))


@contextmanager
def user(files: dict[str, bytes]) -> Iterator[tuple[Path, Places]]:
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder).resolve()
        for name, data in files.items():
            file = home / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
        (home / "shop").mkdir(exist_ok=True)
        yield (
            home / "shop",
            Places(
                cwd=str(home / "shop"),
                home=folder,
                dfx_config=str(home / "config"),
                dfx_shared_data=str(home / "data"),
                icp_home=str(home / "icp"),
                state=str(home / "state"),
            ),
        )


def attempt(action: Callable[[], object]) -> None:
    """An answer, or a clear error that can be printed; everything else fails the test."""
    refusal = None
    try:
        action()
    except BackupError as error:
        refusal = error
    if refusal is not None:
        assert refusal.exit_code in (2, 12, 30)
        assert refusal.message.isprintable()
        assert (refusal.hint or "").isprintable()


many = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None
)


@many
@given(
    dfx_json=as_file(DFX_JSON),
    networks_json=as_file(st.dictionaries(TEXT, near(bind="127.0.0.1:1", type="ephemeral"))),
    ids=as_file(
        st.dictionaries(TEXT, st.dictionaries(TEXT, TEXT)) | near(chat={"local": CHAT, "ic": "x"})
    ),
    toml=rarely(b"[network.a]\nurl='http://x'", st.binary(max_size=60)),
    port=rarely(b"8000", st.binary(max_size=6)),
    name=TEXT,
    network=rarely(None, TEXT) | st.sampled_from(["ic", "http://127.0.0.1:1"]),
)
def test_projects(
    *,
    dfx_json: bytes,
    networks_json: bytes,
    ids: bytes,
    toml: bytes,
    port: bytes,
    name: str,
    network: str | None,
) -> None:
    files = {
        "shop/dfx.json": dfx_json,
        "shop/dfx-backup.toml": toml,
        "shop/canister_ids.json": ids,
        "shop/.dfx/local/canister_ids.json": ids,
        "config/networks.json": networks_json,
        "data/network/local/webserver-port": port,
    }
    with user(files) as (root, places):

        def everything() -> None:
            project = find_project(root)
            assert project is not None
            assert project.dfx is not None
            config = project.dfx
            attempt(lambda: in_dependency_order(config))
            found = resolve_network(project, network, places=places)
            attempt(lambda: list_canisters(project, found, places=places))
            attempt(lambda: resolve_canister(project, found, name, places=places))
            for key in config.canisters:
                attempt(lambda key=key: resolve_canister(project, found, key, places=places))

        attempt(everything)


@many
@given(
    default=as_file(near(default="alice")),
    own=as_file(
        near(
            hsm=None,
            keyring_identity_suffix="alice",
            encryption={"pw_salt": "00" * 32, "file_nonce": [0] * 12},
        )
    ),
    key=st.binary(max_size=40),
    mock=as_file(near(kv_store={"internet_computer_identity_alice": "00"})),
    name=TEXT | st.none() | st.just("alice"),
)
def test_identities_of_dfx(
    *, default: bytes, own: bytes, key: bytes, mock: bytes, name: str | None
) -> None:
    files = {
        "config/identity.json": default,
        "config/identity/alice/identity.json": own,
        "config/identity/alice/identity.pem": key,
        "config/identity/alice/identity.pem.encrypted": key[:15],  # too short for the slow hash
        "mock.json": mock,
    }
    with user(files) as (root, places):
        mocked = str(root.parent / "mock.json")
        attempt(lambda: list_identities(places=places))
        attempt(
            lambda: load_identity(
                find_identity(name, places=places), password=lambda: "x", mock_keyring=mocked
            )
        )


@many
@given(
    default=as_file(near(v=1, default="alice")),
    listed=as_file(
        near(v=1, identities={"alice": {"kind": "pem", "format": "plaintext"}})
        | st.fixed_dictionaries(
            {
                "v": st.just(1),
                "identities": st.dictionaries(
                    TEXT | st.just("alice"), near(kind="pem", format="pbes2", principal=CHAT)
                ),
            }
        )
    ),
    key=st.binary(max_size=40),
    name=TEXT | st.none() | st.just("alice"),
)
def test_identities_of_icp(*, default: bytes, listed: bytes, key: bytes, name: str | None) -> None:
    files = {
        "icp/identity/identity_defaults.json": default,
        "icp/identity/identity_list.json": listed,
        "icp/identity/keys/alice.pem": key,
    }
    with user(files) as (root, places):
        attempt(lambda: list_identities(places=places, kind=IdentityTool.ICP))
        attempt(
            lambda: load_identity(
                find_identity(name, places=places, kind=IdentityTool.ICP),
                password=lambda: "x",
                mock_keyring=str(root),
            )
        )


def pem(key: ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey, form: str) -> bytes:
    kind = ser.PrivateFormat.PKCS8 if form == "pkcs8" else ser.PrivateFormat.TraditionalOpenSSL
    return key.private_bytes(ser.Encoding.DER, kind, ser.NoEncryption())


KEYS = {
    ("PRIVATE KEY", "ed25519"): pem(
        ed25519.Ed25519PrivateKey.from_private_bytes(bytes(range(32))), "pkcs8"
    ),
    ("PRIVATE KEY", "p256"): pem(ec.derive_private_key(5, ec.SECP256R1()), "pkcs8"),
    ("EC PRIVATE KEY", "secp256k1"): pem(ec.derive_private_key(5, ec.SECP256K1()), "sec1"),
}


def armored(label: str, der: bytes) -> bytes:
    body = base64.b64encode(der).decode()
    return f"-----BEGIN {label}-----\n{body}\n-----END {label}-----\n".encode()


@many
@given(data=st.data())
@pytest.mark.parametrize("kind", KEYS)
def test_keys_with_a_wrong_byte(kind: tuple[str, str], data: st.DataObject) -> None:
    der = bytearray(KEYS[kind])
    der[data.draw(st.integers(0, len(der) - 1))] = data.draw(st.integers(0, 255))
    right = load_pem(armored(kind[0], KEYS[kind]), source="the key").principal

    def load() -> None:
        found = load_pem(armored(kind[0], bytes(der)), source="the key").principal
        # The public key beside it gives a changed curve key away; this Ed25519 form has none.
        assert found == right or kind[1] == "ed25519"

    attempt(load)


@many
@given(
    label=st.sampled_from(["PRIVATE KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY"]),
    der=st.binary(max_size=200),
)
def test_keys_that_are_none(label: str, der: bytes) -> None:
    attempt(lambda: load_pem(armored(label, der), password="x", source="the key"))
