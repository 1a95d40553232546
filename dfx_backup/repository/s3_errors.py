"""What went wrong with a request to S3, in words that tell what to do."""

import re

from dfx_backup.errors import BackupError, DamageError
from dfx_backup.repository.s3_access import S3Access, S3Location
from dfx_backup.repository.store import MissingObjectError, StoreError

_CODE = re.compile(r"<Code>\s*(\w+)\s*</Code>")
_MESSAGE = re.compile(r"<Message>([^<]{1,300})</Message>")
_REGION = re.compile(r"<Region>\s*([\w-]+)\s*</Region>|expecting '([\w-]+)'")
_STATUS = re.compile(r"status code: (\d{3})")
_CAUSE = re.compile(r"(?:HTTP error|Error): ([^\n]{1,200})")
_CLOUD_CREDENTIALS = ("169.254.169.254", "169.254.170.2", "fd00:ec2")

_BAD_CREDENTIALS = {
    "InvalidAccessKeyId": "the access key is not known there",
    "SignatureDoesNotMatch": "the secret does not belong to the access key",
    "ExpiredToken": "the session has ended",
    "InvalidToken": "the session token is not valid",
    "TokenRefreshRequired": "the session has ended",
}
_WRONG_REGION = {
    "AuthorizationHeaderMalformed",
    "PermanentRedirect",
    "IllegalLocationConstraintException",
    "TemporaryRedirect",
}


def store_error(
    error: Exception, name: str | None, location: S3Location, access: S3Access
) -> BackupError:
    """The error to raise instead of one of obstore's.

    Args:
        error: what obstore raised.
        name: the object that was asked for, None for a listing.
        location: the bucket.
        access: what the request was signed with.
    """
    text = str(error)
    code = _found(_CODE, text)
    status = _found(_STATUS, text)
    if isinstance(error, FileNotFoundError) and name is not None and code != "NoSuchBucket":
        return MissingObjectError(name, where=str(location))
    if code == "InvalidRange" or status == "416":
        return DamageError(f"{name} in {location} is shorter than it should be")
    setting = _setting(text, code, location)
    if setting is not None:
        return setting
    if code in _WRONG_REGION or status == "301" or "redirect without LOCATION" in text:
        return _wrong_region(text, location, access)
    if status in ("401", "403") or isinstance(error, PermissionError):
        return _denied(name, location, access)
    return _other(text, code, status, location)


def _setting(text: str, code: str, location: S3Location) -> StoreError | None:
    """The error for a location or credentials that can't work, if it is one of those."""
    if any(host in text for host in _CLOUD_CREDENTIALS):
        return StoreError(
            f"there are no credentials for {location}",
            hint="Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE.",
        )
    if code == "NoSuchBucket":
        return StoreError(
            f"there is no bucket `{location.bucket}` at {location.endpoint}",
            hint="Create it first, or correct the location; this program creates no buckets.",
        )
    if code in _BAD_CREDENTIALS:
        return StoreError(
            f"{location.endpoint} does not accept the credentials: {_BAD_CREDENTIALS[code]}",
            hint="See AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_PROFILE.",
        )
    if code == "RequestTimeTooSkewed":
        return StoreError(
            f"{location.endpoint} refuses requests: the clock of this machine is wrong",
            hint="Set the clock.",
        )
    return None


def _found(pattern: re.Pattern[str], text: str) -> str:
    """The first group that a pattern finds, or nothing."""
    found = pattern.search(text)
    return next((group for group in found.groups() if group), "") if found else ""


def _wrong_region(text: str, location: S3Location, access: S3Access) -> StoreError:
    """The error for a bucket that lives elsewhere."""
    used = access.region or location.region or "us-east-1"
    right = _found(_REGION, text)
    return StoreError(
        f"bucket `{location.bucket}` is not in the region {used}",
        hint=f"Set AWS_REGION={right}." if right else "Set AWS_REGION to the bucket's region.",
    )


def _denied(name: str | None, location: S3Location, access: S3Access) -> StoreError:
    """The error for a request that the server understood and refused."""
    key = f" to the access key {access.access_key}" if access.access_key else ""
    return StoreError(
        f"{location} denies access{key}" + (f": {name}" if name else ": listing"),
        hint="Needed are the rights to list the bucket, and to get, put and delete objects below "
        "the prefix; for backups alone, deleting below locks/ is enough.",
    )


def _other(text: str, code: str, status: str, location: S3Location) -> StoreError:
    """The error for all the rest, with the server's words or the library's first line."""
    if "non-partial response" in text:
        return StoreError(f"{location.endpoint} can't read parts of objects, which is needed")
    said = _found(_MESSAGE, text) or _found(_CAUSE, text) or text.partition("\n")[0][:200]
    answer = " ".join(part for part in (status, code) if part)
    if status.startswith("5"):
        return StoreError(
            f"{location.endpoint} keeps failing ({answer}): {said}", hint="Try again later."
        )
    prefix = (
        f"{location.endpoint} answered {answer}" if answer else f"no use of {location.endpoint}"
    )
    return StoreError(f"{prefix}: {said}")
