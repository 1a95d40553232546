"""The control endpoint: deploy, set cycles, faults and time from another process.

It exists only when asked for, on loopback, for those who can read a file of the state directory.
The requests are JSON objects posted to `/_control/<action>` with `Authorization: Bearer <token>`;
the answers are JSON objects too, `{"error": text}` with status 4xx when refused. Binary values are
base64, principals are text, cycles are numbers or decimal text.
"""

import base64
import binascii
import hmac
import json
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from dfx_backup.errors import BackupError, UsageError
from dfx_backup.replica import principal
from dfx_backup.replica.control_client import CONTROL_PREFIX
from dfx_backup.replica.http import Response
from dfx_backup.replica.injector import FaultInjector
from dfx_backup.replica.management_call import Call
from dfx_backup.replica.management_canisters import create, install
from dfx_backup.replica.reject import Reject
from dfx_backup.replica.replica import Replica
from dfx_backup.replica.state import ANONYMOUS_ID, DEFAULT_CYCLES

__all__ = ["MAX_CONTROL_BODY", "Control"]

MAX_CONTROL_BODY: Final = 256 * 1024 * 1024
_MODES: Final = ("install", "reinstall", "upgrade")


class Control:
    """Serves the actions.

    Args:
        replica: that is controlled.
        faults: its switches and counters.
        advance: lets its clock jump by so many seconds.
    """

    def __init__(
        self, replica: Replica, faults: FaultInjector, advance: Callable[[float], None]
    ) -> None:
        self.token: Final = secrets.token_hex(32)
        self._replica = replica
        self._faults = faults
        self._advance = advance
        self._actions: Mapping[str, Callable[[Mapping[str, Any]], Mapping[str, Any]]] = {
            "create": self._create,
            "deploy": self._deploy,
            "set_cycles": self._set_cycles,
            "faults/get": self._faults_get,
            "faults/set": self._faults_set,
            "faults/reset": self._faults_reset,
            "counters": self._counters,
            "counters/reset": self._counters_reset,
            "advance_time": self._advance_time,
        }

    def handle(self, method: str, path: str, body: bytes, authorization: str) -> Response:
        """Serve one request."""
        if not hmac.compare_digest(authorization.encode(), f"Bearer {self.token}".encode()):
            return _json_response(401, {"error": "The token is missing or wrong"})
        action = self._actions.get(path.removeprefix(CONTROL_PREFIX))
        if action is None or method != "POST":
            return _json_response(404, {"error": f"There is no action {method} {path}"})
        try:
            return _json_response(200, action(_object(body)))
        except BackupError as error:
            hint = f". {error.hint}" if error.hint else ""
            return _json_response(400, {"error": error.message + hint})
        except Reject as reject:
            return _json_response(
                409,
                {
                    "error": reject.message,
                    "reject_code": reject.code,
                    "error_code": reject.error_code,
                },
            )

    def _create(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        fields = _Fields(request, {"controllers", "cycles", "specified_id"})
        return {"canister_id": principal.to_text(self._new(fields))}

    def _new(self, fields: "_Fields") -> bytes:
        controllers = fields.principals("controllers")
        args = {"settings": {"controllers": controllers}}
        with self._changes():
            (made,) = create(
                self._call("create_canister", controllers, args),
                cycles=fields.number("cycles", DEFAULT_CYCLES),
                specified_id=fields.principal("specified_id"),
            )
        return made["canister_id"]

    def _call(self, method: str, controllers: list[bytes], args: dict[str, Any]) -> Call:
        """A call that the history shows as the first controller's."""
        caller = controllers[0] if controllers else ANONYMOUS_ID
        return Call.without_message(self._replica, caller, method, args)

    @contextmanager
    def _changes(self) -> Iterator[None]:
        with self._replica.lock:
            yield
            self._replica.commit()

    def _deploy(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        known = {"wasm", "arg", "mode", "canister_id", "controllers", "cycles", "specified_id"}
        fields = _Fields(request, known)
        wasm, arg = fields.data("wasm"), fields.data("arg", b"")
        mode = request.get("mode", "install")
        if mode not in _MODES:
            raise UsageError(f"'mode' is one of {', '.join(_MODES)}, not {mode!r}")
        existing = fields.principal("canister_id")
        canister_id = self._new(fields) if existing is None else existing
        try:
            with self._changes():
                owners = self._replica.canister(canister_id).controllers
                controllers = fields.principals("controllers") or owners
                args = {"mode": (mode, None), "arg": arg}
                install(self._call("install_code", controllers, args), canister_id, wasm)
        except Reject:
            if existing is None:
                self._replica.stop(canister_id, lambda _result, _refund: None)
                self._replica.delete(canister_id)
            raise
        module = self._replica.canister(canister_id).module
        return {
            "canister_id": principal.to_text(canister_id),
            "module_hash": module.sha256.hex() if module is not None else None,
        }

    def _set_cycles(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        fields = _Fields(request, {"canister_id", "cycles"})
        canister_id = fields.principal("canister_id")
        if canister_id is None:
            raise UsageError("'canister_id' is missing")
        with self._changes():
            self._replica.canister(canister_id).cycles = fields.number("cycles", None)
        return {}

    def _faults_get(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        _Fields(request, set())
        return self._faults.current.to_json()

    def _faults_set(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        return self._faults.set(**request).to_json()

    def _faults_reset(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        _Fields(request, set())
        self._faults.reset()
        return self._faults.current.to_json()

    def _counters(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        _Fields(request, set())
        return self._faults.counters().to_json()

    def _counters_reset(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        _Fields(request, set())
        self._faults.reset_counters()
        return {}

    def _advance_time(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        _Fields(request, {"seconds"})
        seconds = request.get("seconds")
        if isinstance(seconds, bool) or not isinstance(seconds, (int, float)):
            raise UsageError("'seconds' is missing or not a number")
        self._advance(seconds)
        self._replica.tick()
        return {"now_ns": self._replica.now_ns()}


class _Fields:
    """Typed access to the fields of a request."""

    def __init__(self, request: Mapping[str, Any], known: set[str]) -> None:
        unknown = sorted(set(request) - known)
        if unknown:
            raise UsageError(f"There is no field {unknown[0]!r}")
        self._request = request

    def data(self, name: str, default: bytes | None = None) -> bytes:
        value = self._request.get(name)
        if value is None and default is not None:
            return default
        if not isinstance(value, str):
            raise UsageError(f"{name!r} is missing or not base64 text")
        try:
            return base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError) as error:
            raise UsageError(f"{name!r} is not base64") from error

    def principal(self, name: str) -> bytes | None:
        value = self._request.get(name)
        return None if value is None else _principal(name, value)

    def principals(self, name: str) -> list[bytes]:
        values = self._request.get(name, [])
        if not isinstance(values, list):
            raise UsageError(f"{name!r} is not a list")
        return [_principal(name, value) for value in values]

    def number(self, name: str, default: int | None) -> int:
        value = self._request.get(name, default)
        if isinstance(value, str) and value.isascii() and value.isdigit():
            value = int(value)
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 128:
            raise UsageError(f"{name!r} is missing or not a number of cycles")
        return value


def _principal(name: str, value: Any) -> bytes:  # noqa: ANN401 - decoded JSON
    if not isinstance(value, str):
        raise UsageError(f"{name!r} is not the text of a principal")
    try:
        return principal.from_text(value)
    except ValueError as error:
        raise UsageError(f"{name!r}: {error}") from error


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        value = json.loads(body or b"{}")
    except ValueError as error:
        raise UsageError(f"The request is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise UsageError("The request is not a JSON object")
    return value


def _json_response(status: int, value: Mapping[str, Any]) -> Response:
    return Response(status=status, body=json.dumps(value).encode(), content_type="application/json")
