"""Where a repository in S3 lies, and with which credentials it is reached."""

import configparser
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from dfx_backup.errors import UsageError
from dfx_backup.repository.store import StoreError

_SCHEME = "s3:"
_BUCKET = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9._-]{1,254}")
_AWS_HOST = re.compile(r"s3[.-](?:dualstack\.)?([a-z]{2}(?:-[a-z]+)+-\d)\.amazonaws\.com(?:\.cn)?")


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Location:
    """A prefix of a bucket of an S3-compatible server.

    Attributes:
        endpoint: scheme, host and port.
        bucket: name of the bucket.
        prefix: what all names of objects begin with, without slashes around it; "" for nothing.
    """

    endpoint: str
    bucket: str
    prefix: str

    @classmethod
    def parse(cls, text: str) -> "S3Location":
        """Read `s3:https://host/bucket/prefix`; without a scheme, HTTPS is meant.

        Raises:
            UsageError: it is no such location, or it carries a password.
        """
        url = text.removeprefix(_SCHEME)
        if "://" not in url:
            url = f"https://{url}"
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise _unreadable(text) from error
        if "@" in parts.netloc:
            raise UsageError(
                "credentials don't belong into the location of a repository",
                hint="Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY instead.",
            )
        bucket, _, prefix = parts.path.strip("/").partition("/")
        usable = parts.scheme in ("http", "https") and parts.hostname and not parts.query
        if not (text.startswith(_SCHEME) and usable and _BUCKET.fullmatch(bucket)):
            raise _unreadable(text)
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        endpoint = f"{parts.scheme}://{host}" + (f":{port}" if port else "")
        return cls(endpoint=endpoint, bucket=bucket, prefix=prefix)

    def __str__(self) -> str:
        return f"{_SCHEME}{self.endpoint}/{self.bucket}" + (
            f"/{self.prefix}" if self.prefix else ""
        )

    @property
    def region(self) -> str | None:
        """The region that a host of Amazon's names."""
        found = _AWS_HOST.fullmatch(self.endpoint.partition("://")[2])
        return found[1] if found else None

    def endpoint_of_requests(self, *, path_style: bool) -> str:
        """Where requests go: the bucket is part of the path, or of the host's name."""
        if path_style:
            return self.endpoint
        scheme, _, host = self.endpoint.partition("://")
        return f"{scheme}://{self.bucket}.{host}"


def _unreadable(text: str) -> UsageError:
    """The error for a location that can't be read."""
    return UsageError(
        f"`{text}` is no location in S3",
        hint="Write s3:https://host/bucket/prefix, such as s3:https://s3.amazonaws.com/mine/ic.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class S3Access:
    """Credentials and what else decides about requests.

    Without an access key, obstore asks the places where a machine in the cloud finds one: a web
    identity, the container, the instance.

    Attributes:
        access_key: id of the key, or None.
        secret_key: its secret.
        session_token: of credentials that end by themselves.
        region: region of the bucket, or None for the one that the host names, or us-east-1.
        path_style: whether the bucket is part of the path; all servers know that.
        ca_bundle: certificates to trust, PEM.
    """

    access_key: str | None = None
    secret_key: str | None = field(default=None, repr=False)
    session_token: str | None = field(default=None, repr=False)
    region: str | None = None
    path_style: bool = True
    ca_bundle: bytes | None = field(default=None, repr=False)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str], *, path_style: bool = True) -> "S3Access":
        """Find credentials where the AWS tools do: variables, then the profile's files.

        Raises:
            StoreError: a file that is named can't be read, or lacks the profile that is named.
        """
        values = _profile(environ)
        if environ.get("AWS_ACCESS_KEY_ID"):
            values |= {
                "aws_access_key_id": environ["AWS_ACCESS_KEY_ID"],
                "aws_secret_access_key": environ.get("AWS_SECRET_ACCESS_KEY", ""),
                "aws_session_token": environ.get("AWS_SESSION_TOKEN", ""),
            }
        region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION")
        bundle = environ.get("AWS_CA_BUNDLE")
        return cls(
            access_key=values.get("aws_access_key_id") or None,
            secret_key=values.get("aws_secret_access_key") or None,
            session_token=values.get("aws_session_token") or None,
            region=region or values.get("region") or None,
            path_style=path_style,
            ca_bundle=_read(Path(bundle)) if bundle else None,
        )

    def credentials(self) -> dict[str, str]:
        """The credentials by obstore's names."""
        pairs = {
            "access_key_id": self.access_key,
            "secret_access_key": self.secret_key,
            "session_token": self.session_token,
        }
        return {name: value for name, value in pairs.items() if value}


def _profile(environ: Mapping[str, str]) -> dict[str, str]:
    """What the shared files say of the profile that is chosen; nothing when there are none."""
    home = Path(environ.get("HOME", "/nonexistent")) / ".aws"
    name = environ.get("AWS_PROFILE")
    files = (
        (environ.get("AWS_CONFIG_FILE"), home / "config", f"profile {name or 'default'}"),
        (environ.get("AWS_SHARED_CREDENTIALS_FILE"), home / "credentials", name or "default"),
    )
    values: dict[str, str] = {}
    for named, usual, section in files:
        path = Path(named) if named else usual
        if named or path.is_file():
            content = _sections(path)
            values |= content.get(section) or content.get(name or "default", {})
    if name and not values and not environ.get("AWS_ACCESS_KEY_ID"):
        raise StoreError(
            f"AWS_PROFILE names `{name}`, and no file of credentials knows that profile"
        )
    return values


def _sections(path: Path) -> dict[str, dict[str, str]]:
    """The sections of a file of credentials."""
    parser = configparser.ConfigParser(interpolation=None, strict=False, default_section="\0")
    try:
        parser.read_string(_read(path).decode())
    except (configparser.Error, UnicodeDecodeError) as error:
        # The parser's own message would show lines of the file, and so secrets.
        raise StoreError(f"{path} can't be understood as a file of credentials") from error
    return {name: dict(parser[name]) for name in parser.sections()}


def _read(path: Path) -> bytes:
    """The bytes of a file that the environment names."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise StoreError(f"{path} can't be read: {error.strerror}") from error
