"""The other side of the control endpoint: what a process needs to control a running replica.

It does not load the execution engine; `control` describes the protocol.
"""

import http.client
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import urlsplit

from dfx_backup.errors import NetworkError, ProjectError, RejectError, UsageError

__all__ = ["CONTROL_PREFIX", "ControlClient", "ControlFile"]

CONTROL_PREFIX: Final = "/_control/"
FILE_NAME: Final = "control.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlFile:
    """What another process must know, in `control.json` of the state directory (mode 0600).

    Attributes:
        url: of the replica.
        token: for the control endpoint.
        root_key: public root key, DER.
    """

    path: Path
    url: str
    token: str
    root_key: bytes

    @classmethod
    def write(cls, state_dir: Path, *, url: str, root_key: bytes, token: str) -> Self:
        """Write the file for a replica that has just started."""
        path = state_dir / FILE_NAME
        content = {"url": url, "token": token, "root_key": root_key.hex(), "pid": os.getpid()}
        temporary = path.with_suffix(".tmp")
        temporary.unlink(missing_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(json.dumps(content) + "\n")
        temporary.replace(path)
        return cls(path=path, url=url, token=token, root_key=root_key)

    @classmethod
    def read(cls, state_dir: Path) -> Self:
        """Read the file of a running replica.

        Raises:
            ProjectError: there is none, or it can't be read.
        """
        path = state_dir / FILE_NAME
        try:
            content = json.loads(path.read_text("utf-8"))
            return cls(
                path=path,
                url=content["url"],
                token=content["token"],
                root_key=bytes.fromhex(content["root_key"]),
            )
        except FileNotFoundError as error:
            raise ProjectError(
                f"{state_dir}: no replica with a control endpoint runs here",
                hint="Start one with --control and this state directory",
            ) from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ProjectError(f"{path} can't be read: {error}") from error

    def remove(self) -> None:
        """Take the file away, if it still is ours."""
        try:
            current = json.loads(self.path.read_text("utf-8"))
        except (OSError, ValueError):
            return
        if current.get("token") == self.token:
            self.path.unlink(missing_ok=True)


class ControlClient:
    """Sends actions to the control endpoint of a running replica.

    Args:
        file: from the state directory.
        timeout_s: of one action; compiling a large module takes seconds.
    """

    def __init__(self, file: ControlFile, *, timeout_s: float = 120.0) -> None:
        self._file = file
        self._timeout_s = timeout_s

    def send(self, action: str, **fields: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
        """Carry out an action.

        Raises:
            NetworkError: the replica can't be reached.
            RejectError: the replica refused it as it refuses a canister's call.
            UsageError: a field is wrong.
        """
        address = urlsplit(self._file.url)
        connection = http.client.HTTPConnection(
            address.hostname or "", address.port, timeout=self._timeout_s
        )
        headers = {
            "Authorization": f"Bearer {self._file.token}",
            "Content-Type": "application/json",
        }
        try:
            connection.request("POST", CONTROL_PREFIX + action, json.dumps(fields), headers)
            answer = connection.getresponse()
            status, content = answer.status, json.loads(answer.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise NetworkError(
                f"The replica at {self._file.url} does not answer: {error}",
                hint="It may have been killed; start it again",
            ) from error
        finally:
            connection.close()
        if status == 200:
            result: dict[str, Any] = content
            return result
        message = str(content.get("error"))
        if "reject_code" in content:
            raise RejectError(
                message,
                reject_code=content["reject_code"],
                reject_message=message,
                error_code=content.get("error_code"),
            )
        raise UsageError(message)
