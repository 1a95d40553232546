import contextlib
import gc
import socket
import ssl
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric import ec

from dfx_backup.errors import NetworkError, ProjectError
from dfx_backup.ic import root_keys
from dfx_backup.ic.principal import Principal
from dfx_backup.ic.session import Session
from dfx_backup.ic.surroundings import Surroundings
from dfx_backup.ic.transport import Endpoint, HttpStatusError, Transport, TransportError
from tests.fakes import fake_network as fake
from tests.fakes.fake_network import FakeNetwork
from tests.fakes.signers import Nobody


@pytest.fixture
def network() -> Iterator[FakeNetwork]:
    with FakeNetwork() as made:
        made.methods["echo"] = lambda arg: arg
        yield made


@pytest.fixture
def transport(network: FakeNetwork) -> Iterator[Transport]:
    made = Transport(Endpoint.parse(network.url), timeout_s=2)
    yield made
    made.close()


def test_one_connection_serves_many_requests(network: FakeNetwork, transport: Transport) -> None:
    ports = set()

    def seen(handler: fake.Handler, _request: fake.Request) -> bool:
        ports.add(handler.client_address)
        assert handler.headers["accept-encoding"] == "identity"
        return False

    network.faults["status"] += [seen] * 5
    for _ in range(5):
        transport.get("/api/v2/status", within_s=5)
    assert len(ports) == 1


def test_an_answer_above_the_cap_is_not_read(network: FakeNetwork, transport: Transport) -> None:
    network.faults["status"] += [fake.raw(bytes(4 * 1024 * 1024)), fake.raw(bytes(4194305))]
    assert len(transport.get("/x", within_s=5).body) == 4 * 1024 * 1024
    with pytest.raises(TransportError, match="more than") as caught:
        transport.get("/x", within_s=5)
    assert caught.value.final


def test_an_endless_answer_is_not_read(network: FakeNetwork, transport: Transport) -> None:
    def endless(handler: fake.Handler, _request: fake.Request) -> bool:
        handler.send_response(200)
        handler.send_header("transfer-encoding", "chunked")
        handler.end_headers()
        handler.close_connection = True
        while not network.release.is_set():
            handler.wfile.write(b"10000\r\n" + bytes(65536) + b"\r\n")
        return True

    network.faults["status"].append(endless)
    with pytest.raises(TransportError, match="more than"):
        transport.get("/x", within_s=20)


def test_redirects_are_not_followed(network: FakeNetwork, transport: Transport) -> None:
    network.faults["status"].append(fake.status(302, b"", {"location": "http://example.org/"}))
    with pytest.raises(HttpStatusError) as caught:
        transport.get("/x", within_s=5)
    assert caught.value.final


def test_a_broken_body_is_no_short_answer(network: FakeNetwork, transport: Transport) -> None:
    def short(handler: fake.Handler, _request: fake.Request) -> bool:
        handler.send_response(200)
        handler.send_header("content-length", "1000")
        handler.end_headers()
        handler.wfile.write(b"only this")
        handler.wfile.flush()
        handler.hang_up()
        return True

    network.faults["status"].append(short)
    with pytest.raises(TransportError) as caught:
        transport.get("/x", within_s=5)
    assert caught.value.sent


def test_what_is_no_http_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def talk() -> None:
            connection, _ = server.accept()
            connection.recv(1000)
            connection.sendall(b"220 smtp.example.org ready\r\n")
            connection.close()

        thread = threading.Thread(target=talk)
        thread.start()
        made = Transport(Endpoint.parse(f"http://127.0.0.1:{server.getsockname()[1]}"))
        with pytest.raises(TransportError):
            made.get("/x", within_s=5)
        thread.join()
        made.close()
    gc.collect()


def test_control_characters_of_a_server_do_not_reach_a_terminal(
    network: FakeNetwork, transport: Transport
) -> None:
    network.faults["status"].append(fake.status(400, b"\x1b[31mred\x07" + b"x" * 5000))
    with pytest.raises(HttpStatusError) as caught:
        transport.get("/x", within_s=5)
    assert "\x1b" not in caught.value.message
    assert len(caught.value.message) < 500


@pytest.mark.parametrize(
    ("url", "base", "host"),
    [
        ("https://icp-api.io", "https://icp-api.io", "icp-api.io"),
        ("http://127.0.0.1:4943/", "http://127.0.0.1:4943", "127.0.0.1"),
        ("http://[::1]:80/a/", "http://[::1]:80/a", "::1"),
        ("HTTP://LocalHost", "http://localhost", "localhost"),
    ],
)
def test_addresses(url: str, base: str, host: str) -> None:
    found = Endpoint.parse(url)
    assert (found.base, found.host) == (base, host)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "ic",
        "ftp://example.org",
        "http://",
        "http://user@127.0.0.1",
        "http://localhost:x",
        "http://evil.example\\@localhost",
        "http://127.0.0.1/?x",
        "http://127.0.0.1/#x",
        "http://127.0.0.1 .example.org",
        "http://127.0.0.1\n",
        "http://[::1",
        "file:///etc/passwd",
    ],
)
def test_what_is_no_address(url: str) -> None:
    with pytest.raises(ProjectError, match="no address"):
        Endpoint.parse(url)


# Root keys


def test_the_mainnet_root_key_is_that_of_other_implementations() -> None:
    from ic.constants import IC_ROOT_KEY  # noqa: PLC0415 # ic-py is compared with, not used
    from icp_certificate import certificate as core  # noqa: PLC0415 # as above

    assert root_keys.MAINNET_ROOT_KEY == IC_ROOT_KEY
    assert root_keys.MAINNET_ROOT_KEY == core.IC_ROOT_KEY
    assert len(root_keys.bls_key(root_keys.MAINNET_ROOT_KEY)) == 96


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST", "127.0.0.1", "127.9.8.7", "::1"])
def test_loopback(host: str) -> None:
    assert root_keys.is_loopback(host)


@pytest.mark.parametrize(
    "host",
    [
        *("0.0.0.0", "10.0.0.1", "::", "::ffff:127.0.0.1", "icp-api.io", "localhost.example.org"),
        *("127.0.0.1.example.org", "127.1", "2130706433", ""),
    ],
)
def test_not_loopback(host: str) -> None:
    assert not root_keys.is_loopback(host)


def test_elsewhere_than_on_loopback_nobody_is_asked_for_the_root_key() -> None:
    made = Session("https://icp-api.io", Nobody())
    assert made.root_key() == root_keys.MAINNET_ROOT_KEY
    assert made.network_id() == root_keys.network_id(root_keys.MAINNET_ROOT_KEY)
    pinned = fake.BlsKey(5).der
    assert Session("https://icp-api.io", Nobody(), root_key=pinned).root_key() == pinned


def test_on_loopback_the_root_key_is_fetched_once(network: FakeNetwork) -> None:
    made = Session(network.url, Nobody())
    network.faults["status"] += [fake.passing, fake.status(500)]
    assert made.root_key() == network.root.der
    assert made.root_key() == network.root.der
    assert len(made.network_id()) == 64
    made.close()


def test_a_pinned_root_key_counts_on_loopback_too(network: FakeNetwork) -> None:
    made = Session(network.url, Nobody(), root_key=fake.BlsKey(5).der)
    with pytest.raises(NetworkError, match="not signed by this network"):
        made.call(Principal(b"\x01"), "echo", b"")
    made.close()


@pytest.mark.parametrize("key", [b"", b"x" * 133, root_keys.MAINNET_ROOT_KEY + b"x"])
def test_a_wrong_root_key_is_refused(network: FakeNetwork, key: bytes) -> None:
    with pytest.raises(ProjectError, match="no BLS key"):
        Session(network.url, Nobody(), root_key=key)
    told = fake.cbor2.dumps({"root_key": key})
    network.faults["status"] += [fake.raw(told)]
    made = Session(network.url, Nobody(), surroundings=Surroundings(sleep=lambda _: None))
    with pytest.raises(NetworkError, match="root key"):
        made.root_key()
    made.close()


def self_signed(folder: Path) -> ssl.SSLContext:
    """A server's side, with a certificate that nobody knows."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(tz=UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(ser.Encoding.PEM, ser.PrivateFormat.PKCS8, ser.NoEncryption())
    (folder / "all.pem").write_bytes(secret + made.public_bytes(ser.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "all.pem")
    return context


def test_a_certificate_that_nobody_knows_is_told_with_what_to_do(tmp_path: Path) -> None:
    context = self_signed(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection, contextlib.suppress(OSError):
                context.wrap_socket(connection, server_side=True).close()

        thread = threading.Thread(target=answer)
        thread.start()
        endpoint = Endpoint.parse(f"https://127.0.0.1:{server.getsockname()[1]}")
        transport = Transport(endpoint, timeout_s=5)
        with pytest.raises(TransportError, match="not trusted") as caught:
            transport.get("/x", within_s=5)
        thread.join()
        transport.close()
    assert caught.value.final
    assert "SSL_CERT_FILE" in (caught.value.hint or "")


def test_tls_to_a_server_that_speaks_none_names_http(network: FakeNetwork) -> None:
    transport = Transport(Endpoint.parse(network.url.replace("http:", "https:")), timeout_s=5)
    with pytest.raises(TransportError, match="TLS") as caught:
        transport.get("/x", within_s=5)
    transport.close()
    assert "http://" in (caught.value.hint or "")
