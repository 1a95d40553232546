"""Objects in an S3-compatible bucket, through obstore.

Requests are the plainest there are, since servers differ in all others: one PUT an object, ranges
with a start and an end, listings page by page, one DELETE an object, nothing conditional.
"""

from __future__ import annotations

from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from dfx_backup.errors import DamageError, ToolError
from dfx_backup.repository.s3_access import S3Access, S3Location
from dfx_backup.repository.s3_errors import store_error
from dfx_backup.repository.store import (
    Buffer,
    MissingObjectError,
    ObjectInfo,
    ObjectStore,
    checked_name,
    checked_prefix,
    pieces_of,
    valid_name,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from types import ModuleType

_LIST_PAGE = 1000
_REQUEST_TIMEOUT = timedelta(minutes=4)
"""Enough for a pack of 16 MiB at 600 kbit/s; signatures are good for longer."""
_CONNECT_TIMEOUT = timedelta(seconds=10)
_RETRY_FOR = timedelta(minutes=4)
_RETRIES = 8
_FIRST_PAUSE = timedelta(milliseconds=200)
_LONGEST_PAUSE = timedelta(seconds=20)


def open_s3(location: str, *, environ: Mapping[str, str]) -> S3ObjectStore:
    """The store that `s3:https://host/bucket/prefix` means; nothing is asked over the network yet.

    Args:
        location: where it is.
        environ: environment variables; those that the AWS tools read decide the credentials.

    Raises:
        UsageError: the location can't be read.
        ToolError: the extra for S3 is not installed.
        StoreError: a file that the variables name can't be read.
    """
    return S3ObjectStore(S3Location.parse(location), S3Access.from_environment(environ))


class S3ObjectStore(ObjectStore):
    """Objects below one prefix of a bucket.

    Args:
        location: host, bucket and prefix.
        access: credentials and region.
        retries: how often a request that failed for a passing reason is repeated.
        retry_for: how long at most.

    Raises:
        ToolError: the extra for S3 is not installed.
    """

    def __init__(
        self,
        location: S3Location,
        access: S3Access,
        *,
        retries: int = _RETRIES,
        retry_for: timedelta = _RETRY_FOR,
        first_pause: timedelta = _FIRST_PAUSE,
        timeout: timedelta = _REQUEST_TIMEOUT,
    ) -> None:
        self._location = location
        self._access = access
        self._obstore = _load_obstore()
        self._bucket_seen = False
        client: dict[str, Any] = {
            "allow_http": location.endpoint.startswith("http:"),
            "timeout": timeout,
            "connect_timeout": min(_CONNECT_TIMEOUT, timeout),
        }
        if access.ca_bundle is not None:
            client["root_certificate"] = access.ca_bundle
        self._store = self._obstore.store.S3Store(
            location.bucket,
            prefix=location.prefix or None,
            endpoint=location.endpoint_of_requests(path_style=access.path_style),
            region=access.region or location.region or "us-east-1",
            virtual_hosted_style_request=not access.path_style,
            disable_bulk_delete=True,
            client_options=client,
            retry_config={
                "max_retries": retries,
                "retry_timeout": retry_for,
                "backoff": {"init_backoff": first_pause, "max_backoff": _LONGEST_PAUSE},
            },
            **access.credentials(),
        )

    def put(self, name: str, data: Buffer | Sequence[Buffer]) -> None:
        """Write an object in one request, whose signature covers the bytes."""
        body = b"".join(pieces_of(data))
        with self._errors(checked_name(name)):
            self._obstore.put(self._store, name, body, use_multipart=False)

    def get(self, name: str) -> bytes:
        """Read an object."""
        with self._errors(checked_name(name)):
            found: bytes = self._obstore.get(self._store, name).bytes().to_bytes()
        return found

    def get_range(self, name: str, offset: int, length: int) -> bytes:
        """Read a part of an object by its first and last byte."""
        if length == 0 or offset < 0:
            return self._empty_range(name, offset)
        with self._errors(checked_name(name)):
            part: bytes = self._obstore.get_range(
                self._store, name, start=offset, length=length
            ).to_bytes()
        if len(part) != length:
            raise _short(name, self.describe())
        return part

    def size(self, name: str) -> int:
        """Bytes of an object."""
        with self._errors(checked_name(name)):
            size: int = self._obstore.head(self._store, name)["size"]
        return size

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Objects below a prefix, a page of a thousand a request."""
        folder = checked_prefix(prefix).removesuffix("/") or None
        with self._errors(None):
            pages = self._obstore.list(self._store, prefix=folder, chunk_size=_LIST_PAGE)
            while page := next(pages, None):
                for each in page:
                    if valid_name(each["path"]):
                        yield ObjectInfo(
                            name=each["path"],
                            size=each["size"],
                            modified=each["last_modified"].timestamp(),
                        )

    def delete(self, name: str) -> None:
        """Remove an object."""
        try:
            with self._errors(checked_name(name)):
                self._obstore.delete(self._store, name)
        except MissingObjectError:
            return

    def exists(self, name: str) -> bool:
        """Whether there is such an object."""
        try:
            self.size(name)
        except MissingObjectError:
            return False
        return True

    def describe(self) -> str:
        """The location, as it was typed."""
        return str(self._location)

    def _empty_range(self, name: str, offset: int) -> bytes:
        """No bytes, of an object that reaches as far as that: no request asks for them."""
        if not 0 <= offset <= self.size(name):
            raise _short(name, self.describe())
        return b""

    @contextmanager
    def _errors(self, name: str | None) -> Iterator[None]:
        """Turn what obstore raises into our errors, which name the object and the bucket."""
        try:
            yield
        except (self._obstore.exceptions.BaseError, OSError, ValueError) as error:
            found = store_error(error, name, self._location, self._access)
            if isinstance(found, MissingObjectError):
                self._see_bucket()
            raise found from error

    def _see_bucket(self) -> None:
        """Once, tell a bucket that is missing from an object: answers to HEAD don't."""
        if self._bucket_seen:
            return
        self._bucket_seen = True
        for _ in self.list("locks/"):
            break


def _short(name: str, where: str) -> DamageError:
    """The error for an object that ends before it should."""
    return DamageError(f"{name} in {where} is shorter than it should be")


def _load_obstore() -> ModuleType:
    """The library that speaks S3, with the parts that are used here.

    Raises:
        ToolError: it is not installed.
    """
    try:
        import obstore  # noqa: PLC0415 - an extra; only repositories in S3 need it
        import obstore.exceptions  # noqa: PLC0415 - the same
        import obstore.store  # noqa: PLC0415 - the same
    except ImportError as error:
        raise ToolError(
            "repositories in S3 need a library that is not installed",
            hint="Install it with: pip install 'dfx-backup[s3]'",
        ) from error
    return obstore
