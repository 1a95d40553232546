"""S3: locations, credentials, and what is said when a request fails."""

import builtins
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from dfx_backup.errors import DamageError, ToolError, UsageError
from dfx_backup.repository.s3 import S3ObjectStore, open_s3
from dfx_backup.repository.s3_access import S3Access, S3Location
from dfx_backup.repository.store import MissingObjectError, StoreError
from tests.fakes.sloppy_s3 import SloppyS3

NAME = "data/ab/" + "ab" * 32
ENVIRON = {"AWS_ACCESS_KEY_ID": "mykey", "AWS_SECRET_ACCESS_KEY": "mysecret"}


@pytest.fixture
def server() -> Iterator[SloppyS3]:
    with SloppyS3("bucket") as running:
        yield running


def store_at(server: SloppyS3, bucket: str = "bucket", **options: object) -> S3ObjectStore:
    quick: dict = {"retries": 2, "first_pause": timedelta(milliseconds=1)} | options
    return S3ObjectStore(
        S3Location.parse(f"s3:{server.url}/{bucket}/some/prefix"),
        S3Access.from_environment(ENVIRON),
        **quick,
    )


@pytest.mark.parametrize(
    ("text", "endpoint", "bucket", "prefix"),
    [
        ("s3:https://host/bucket", "https://host", "bucket", ""),
        ("s3:https://host/bucket/", "https://host", "bucket", ""),
        ("s3:https://host:9000/bucket/a/b/", "https://host:9000", "bucket", "a/b"),
        ("s3:http://127.0.0.1:1/b.c-d/p", "http://127.0.0.1:1", "b.c-d", "p"),
        ("s3:s3.amazonaws.com/bucket/p", "https://s3.amazonaws.com", "bucket", "p"),
        ("s3:https://[::1]:9000/bucket", "https://[::1]:9000", "bucket", ""),
    ],
)
def test_locations(text: str, endpoint: str, bucket: str, prefix: str) -> None:
    location = S3Location.parse(text)
    assert (location.endpoint, location.bucket, location.prefix) == (endpoint, bucket, prefix)
    assert S3Location.parse(str(location)) == location


@pytest.mark.parametrize(
    "text",
    [
        "s3:",
        "s3:https://",
        "s3:https://host",
        "s3:https://host/",
        "https://host/bucket",
        "s3:ftp://host/bucket",
        "s3:https://host:x/bucket",
        "s3:https://host/b+u",
        "s3:host/b?x=1",
    ],
)
def test_what_is_no_location(text: str) -> None:
    with pytest.raises(UsageError, match="no location"):
        S3Location.parse(text)


def test_credentials_in_a_location_are_refused_and_not_repeated() -> None:
    with pytest.raises(UsageError) as caught:
        S3Location.parse("s3:https://key:hunter2@host/bucket")
    assert "hunter2" not in str(caught.value)


def test_the_region_is_read_from_a_host_of_amazons() -> None:
    for host, region in (
        ("s3.eu-west-1.amazonaws.com", "eu-west-1"),
        ("s3.dualstack.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
        ("s3.cn-north-1.amazonaws.com.cn", "cn-north-1"),
        ("s3.amazonaws.com", None),
        ("s3.eu-west-1.example.com", None),
    ):
        assert S3Location.parse(f"s3:https://{host}/bucket").region == region


def test_the_bucket_stands_in_the_path_or_in_the_host() -> None:
    location = S3Location.parse("s3:https://host:1/bucket/p")
    assert location.endpoint_of_requests(path_style=True) == "https://host:1"
    assert location.endpoint_of_requests(path_style=False) == "https://bucket.host:1"


def test_credentials_come_from_variables() -> None:
    access = S3Access.from_environment(
        ENVIRON | {"AWS_SESSION_TOKEN": "tok", "AWS_DEFAULT_REGION": "a", "AWS_REGION": "b"}
    )
    assert access.credentials() == {
        "access_key_id": "mykey",
        "secret_access_key": "mysecret",
        "session_token": "tok",
    }
    assert access.region == "b"
    assert "mysecret" not in repr(access)
    assert "tok" not in repr(access)


def test_credentials_come_from_the_profiles_files(tmp_path: Path) -> None:
    folder = tmp_path / ".aws"
    folder.mkdir()
    (folder / "credentials").write_text(
        "[default]\naws_access_key_id = d\naws_secret_access_key = %ds\n"
        "[work]\naws_access_key_id = w\naws_secret_access_key = ws\n"
    )
    (folder / "config").write_text("[profile work]\nregion = eu-west-1\n")
    home = {"HOME": str(tmp_path)}
    default = S3Access.from_environment(home)
    assert (default.access_key, default.secret_key, default.region) == ("d", "%ds", None)
    work = S3Access.from_environment(home | {"AWS_PROFILE": "work"})
    assert (work.access_key, work.region) == ("w", "eu-west-1")
    assert S3Access.from_environment(home | ENVIRON | {"AWS_PROFILE": "work"}).access_key == "mykey"
    with pytest.raises(StoreError, match="`play`"):
        S3Access.from_environment(home | {"AWS_PROFILE": "play"})
    with pytest.raises(StoreError, match="can't be read"):
        S3Access.from_environment(home | {"AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "no")})


def test_a_broken_file_of_credentials_is_named_without_its_contents(tmp_path: Path) -> None:
    path = tmp_path / "creds"
    path.write_text("hunter2\n")
    with pytest.raises(StoreError, match="creds") as caught:
        S3Access.from_environment({"AWS_SHARED_CREDENTIALS_FILE": str(path)})
    assert "hunter2" not in str(caught.value)


def test_without_the_extra_the_hint_tells_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = builtins.__import__

    def nothing_there(name: str, *args: object, **options: object) -> object:
        if name.startswith("obstore"):
            raise ImportError(name)
        return real(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", nothing_there)
    with pytest.raises(ToolError) as caught:
        open_s3("s3:https://host/bucket", environ=ENVIRON)
    assert "pip install 'dfx-backup[s3]'" in (caught.value.hint or "")


def test_objects_lie_below_the_prefix_and_foreign_names_are_left_out(server: SloppyS3) -> None:
    store = store_at(server)
    store.put(NAME, b"data")
    server.buckets["bucket"]["some/prefix/data/README.txt"] = (b"x", 0.0)
    server.buckets["bucket"]["some/prefix-2/data/ab"] = (b"x", 0.0)
    assert f"some/prefix/{NAME}" in server.buckets["bucket"]
    assert [info.name for info in store.list("")] == [NAME]
    assert store.describe() == f"s3:{server.url}/bucket/some/prefix"


def test_passing_troubles_are_waited_out(server: SloppyS3) -> None:
    store = store_at(server)
    for use in (
        lambda: store.put(NAME, b"data"),
        lambda: store.get(NAME),
        lambda: store.get_range(NAME, 0, 4),
        lambda: store.size(NAME),
        lambda: list(store.list("data/")),
        lambda: store.delete(NAME),
    ):
        server.moods.busy = 2
        use()
        assert server.moods.busy == 0


def test_trouble_that_does_not_pass_is_told(server: SloppyS3) -> None:
    server.moods.busy = 1000
    with pytest.raises(StoreError, match=r"keeps failing \(503"):
        store_at(server).put(NAME, b"data")
    assert len(server.requests) == 3


def test_an_answer_that_never_comes_is_given_up(server: SloppyS3) -> None:
    server.moods.late_s = 0.5
    with pytest.raises(StoreError, match="no use of"):
        store_at(server, timeout=timedelta(milliseconds=100)).get(NAME)
    assert len(server.requests) == 3


def test_late_answers_are_waited_for(server: SloppyS3) -> None:
    server.moods.late_s = 0.1
    store = store_at(server)
    store.put(NAME, b"data")
    assert store.get(NAME) == b"data"


def test_a_bucket_that_is_missing_is_no_missing_object(server: SloppyS3) -> None:
    for use in (
        lambda store: store.put(NAME, b""),
        lambda store: store.get(NAME),
        lambda store: store.exists("config"),
        lambda store: list(store.list("data/")),
        lambda store: store.delete(NAME),
    ):
        with pytest.raises(StoreError, match="no bucket `other`") as caught:
            use(store_at(server, "other"))
        assert caught.value.exit_code == 30


@pytest.mark.parametrize(
    ("refusal", "words"),
    [
        ((403, "AccessDenied", ""), "denies access to the access key mykey"),
        ((403, "InvalidAccessKeyId", ""), "access key is not known"),
        ((403, "SignatureDoesNotMatch", ""), "secret does not belong"),
        ((400, "ExpiredToken", ""), "session has ended"),
        ((400, "AuthorizationHeaderMalformed", "<Region>eu-west-1</Region>"), "not in the region"),
        ((301, "PermanentRedirect", ""), "not in the region us-east-1"),
        ((403, "RequestTimeTooSkewed", ""), "clock of this machine"),
        ((400, "SomethingNew", ""), "answered 400 SomethingNew: as told"),
    ],
)
def test_refusals_are_told_in_words(
    server: SloppyS3, refusal: tuple[int, str, str], words: str
) -> None:
    server.moods.refusal = refusal
    store = store_at(server)
    for use in (
        lambda: store.put(NAME, b""),
        lambda: store.get(NAME),
        lambda: list(store.list("data/")),
    ):
        with pytest.raises(StoreError, match=words) as caught:
            use()
        assert "Debug source" not in caught.value.message
        assert "mysecret" not in f"{caught.value.message}{caught.value.hint}"


def test_the_right_region_is_told_when_the_server_tells_it(server: SloppyS3) -> None:
    server.moods.refusal = (400, "AuthorizationHeaderMalformed", "<Region>eu-west-1</Region>")
    with pytest.raises(StoreError) as caught:
        store_at(server).get(NAME)
    assert caught.value.hint == "Set AWS_REGION=eu-west-1."


def test_a_server_that_sends_whole_objects_for_parts_is_refused(server: SloppyS3) -> None:
    store = store_at(server)
    store.put(NAME, bytes(100))
    server.moods.no_ranges = True
    with pytest.raises(StoreError, match="parts of objects"):
        store.get_range(NAME, 10, 10)


def test_no_server_at_all() -> None:
    store = S3ObjectStore(
        S3Location.parse("s3:http://127.0.0.1:9/bucket"),
        S3Access.from_environment(ENVIRON),
        retries=1,
        first_pause=timedelta(milliseconds=1),
    )
    with pytest.raises(StoreError, match=r"no use of http://127.0.0.1:9"):
        store.get(NAME)


def test_requests_are_of_the_plainest_kind(server: SloppyS3) -> None:
    store = store_at(server)
    store.put(NAME, bytes(1000))
    store.get_range(NAME, 990, 10)
    store.delete(NAME)
    assert {method for method, _ in server.requests} == {"PUT", "GET", "DELETE"}
    assert not any("?" in path for _, path in server.requests)


def test_no_bytes_need_no_range(server: SloppyS3) -> None:
    store = store_at(server)
    store.put(NAME, bytes(10))
    assert store.get_range(NAME, 10, 0) == b""
    with pytest.raises(DamageError):
        store.get_range(NAME, 11, 0)
    with pytest.raises(MissingObjectError):
        store.get_range("data/" + "0" * 64, 0, 0)
