"""`dfx canister status|stop|start|snapshot …`."""

from datetime import UTC, datetime
from typing import Any

from icp_candid.candid import Types

from tests.fakes.dfx.arguments import Parsed
from tests.fakes.dfx.shell import DfxError, Shell
from tests.fakes.dfx.subnet import BLOB, NOTHING, Subnet, record

_STATES = {"running": "Running", "stopping": "Stopping", "stopped": "Stopped"}
_LOG_VISIBILITY = Types.Variant(
    {
        "controllers": NOTHING,
        "public": NOTHING,
        "allowed_viewers": Types.Vec(Types.Principal),
    }
)
_STATUS = Types.Record(
    {
        "status": Types.Variant(dict.fromkeys(_STATES, NOTHING)),
        "settings": Types.Record(
            {
                "controllers": Types.Vec(Types.Principal),
                "compute_allocation": Types.Nat,
                "memory_allocation": Types.Nat,
                "freezing_threshold": Types.Nat,
                "reserved_cycles_limit": Types.Nat,
                "wasm_memory_limit": Types.Nat,
                "wasm_memory_threshold": Types.Nat,
                "log_visibility": _LOG_VISIBILITY,
            }
        ),
        "module_hash": Types.Opt(BLOB),
        "memory_size": Types.Nat,
        "cycles": Types.Nat,
        "reserved_cycles": Types.Nat,
        "idle_cycles_burned_per_day": Types.Nat,
        "query_stats": Types.Record(
            {
                "num_calls_total": Types.Nat,
                "num_instructions_total": Types.Nat,
                "request_payload_bytes_total": Types.Nat,
                "response_payload_bytes_total": Types.Nat,
            }
        ),
    }
)
SNAPSHOT = Types.Record({"id": BLOB, "taken_at_timestamp": Types.Nat64, "total_size": Types.Nat64})


class Canister:
    """One canister of a subnet, as it was named on the command line."""

    def __init__(self, shell: Shell, subnet: Subnet, argument: str, canister_id: str) -> None:
        self.shell = shell
        self.subnet = subnet
        self.argument = argument
        self.canister_id = canister_id

    # -- commands ---------------------------------------------------------------------------------

    def status(self) -> None:
        try:
            told = self._status()
        except DfxError as err:
            raise err.under(f"Failed to get canister status for '{self.argument}'.") from err
        settings, queries = told["settings"], told["query_stats"]
        module = told["module_hash"]
        lines = [
            f"Canister status call result for {self.argument}.",
            f"Status: {_STATES[next(iter(told['status']))]}",
            f"Controllers: {' '.join(sorted(str(each) for each in settings['controllers']))}",
            f"Memory allocation: {settings['memory_allocation']:_} Bytes",
            f"Compute allocation: {settings['compute_allocation']:_} %",
            f"Freezing threshold: {settings['freezing_threshold']:_} Seconds",
            f"Idle cycles burned per day: {told['idle_cycles_burned_per_day']:_} Cycles",
            f"Memory Size: {told['memory_size']:_} Bytes",
            f"Balance: {told['cycles']:_} Cycles",
            f"Reserved: {told['reserved_cycles']:_} Cycles",
            f"Reserved cycles limit: {settings['reserved_cycles_limit']:_} Cycles",
            f"Wasm memory limit: {settings['wasm_memory_limit']:_} Bytes",
            f"Wasm memory threshold: {settings['wasm_memory_threshold']:_} Bytes",
            f"Module hash: {'0x' + bytes(module[0]).hex() if module else 'None'}",
            f"Number of queries: {queries['num_calls_total']:_}",
            f"Instructions spent in queries: {queries['num_instructions_total']:_}",
            f"Total query request payload size: {queries['request_payload_bytes_total']:_} Bytes",
            f"Total query response payload size: {queries['response_payload_bytes_total']:_} Bytes",
            f"Log visibility: {_visibility(settings['log_visibility'])}",
        ]
        self.shell.out("\n".join(lines))

    def stop(self) -> None:
        name = self.argument
        self.shell.info(f"Stopping code for canister {name}, with canister_id {self.canister_id}")
        if self.shell.playground:
            raise DfxError("Canisters borrowed from a playground cannot be stopped.")
        self._change("stop_canister", {}, f"Failed to stop canister {self.canister_id}.")

    def start(self) -> None:
        name = self.argument
        self.shell.info(f"Starting code for canister {name}, with canister_id {self.canister_id}")
        self._change("start_canister", {}, f"Failed to start canister {self.canister_id}.")

    def create(self, parsed: Parsed) -> None:
        self._require_stopped("taken of")
        replace = parsed.option("--replace")
        fields = {
            "replace_snapshot": (Types.Opt(BLOB), [bytes.fromhex(replace)] if replace else []),
        }
        made = self._change(
            "take_canister_snapshot",
            fields,
            f"Failed to take snapshot of canister {self.argument}",
            f"Failed to take snapshot in canister {self.canister_id}",
            wanted=SNAPSHOT,
        )
        self.shell.result(
            f"Created a new snapshot of canister {self.argument}. "
            f"Snapshot ID: {bytes(made['id']).hex()}"
        )

    def load(self, parsed: Parsed) -> None:
        snapshot = parsed.positionals[1]
        self._require_stopped("applied to")
        fields = {
            "snapshot_id": (BLOB, bytes.fromhex(snapshot)),
            "sender_canister_version": (Types.Opt(Types.Nat64), []),
        }
        failure = f"Failed to load snapshot {snapshot} in canister {self.argument}"
        self._change("load_canister_snapshot", fields, failure)
        self.shell.info(f"Loaded snapshot {snapshot} in canister {self.argument}")

    def list(self) -> None:
        told = self._change(
            "list_canister_snapshots",
            {},
            f"Failed to retrieve snapshot list from canister {self.argument}",
            wanted=Types.Vec(SNAPSHOT),
        )
        if not told:
            self.shell.info(f"No snapshots found in canister {self.argument}")
        for each in told:
            moment = datetime.fromtimestamp(each["taken_at_timestamp"] // 1_000_000_000, tz=UTC)
            self.shell.result(
                f"{bytes(each['id']).hex()}: {human_bytes(each['total_size'])}, "
                f"taken at {moment:%Y-%m-%d %H:%M:%S} UTC"
            )

    def delete(self, parsed: Parsed) -> None:
        snapshot = parsed.positionals[1]
        failure = f"Failed to delete snapshot {snapshot} from canister {self.argument}"
        fields = {"snapshot_id": (BLOB, bytes.fromhex(snapshot))}
        self._change("delete_canister_snapshot", fields, failure)
        self.shell.info(f"Deleted snapshot {snapshot} from canister {self.argument}")

    # -- calls ------------------------------------------------------------------------------------

    def call(self, method: str, fields: dict[str, tuple[Any, Any]], wanted: Any = None) -> Any:
        argument = record(canister_id=(Types.Principal, self.canister_id), **fields)
        try:
            return self.subnet.call(self.canister_id, method, argument, wanted)
        except DfxError as err:
            raise err.under(
                f"Failed to call update function '{method}' regarding canister "
                f"'{self.canister_id}'.",
                "Update call (without wallet) failed.",
            ) from err

    def _change(
        self, method: str, fields: dict[str, tuple[Any, Any]], *failure: str, wanted: Any = None
    ) -> Any:
        self.shell.moment("before")
        try:
            told = self.call(method, fields, wanted)
        except DfxError as err:
            raise err.under(*failure) from err
        self.shell.moment("after")
        return told

    def _status(self) -> Any:
        try:
            return self.call("canister_status", {}, _STATUS)
        except DfxError as err:
            raise err.under(f"Failed to get canister status of {self.canister_id}.") from err

    def _require_stopped(self, verb: str) -> None:
        try:
            state = next(iter(self._status()["status"]))
        except DfxError as err:
            raise err.under(f"Could not retrieve status of canister {self.argument}") from err
        if state == "running":
            raise DfxError(
                f"Canister {self.argument} is running and snapshots should not be {verb} running "
                "canisters. Run `dfx canister stop` first"
            )
        if state == "stopping":
            raise DfxError(
                f"Canister {self.argument} is stopping but is not yet stopped. Wait a few seconds "
                "and try again"
            )


def _visibility(told: dict[str, Any]) -> str:
    name, viewers = next(iter(told.items()))
    if name != "allowed_viewers":
        return str(name)
    if not viewers:
        return "allowed viewers list is empty"
    return f"allowed viewers: {', '.join(str(each) for each in viewers)}"


def human_bytes(size: int) -> str:
    """As indicatif 0.17 rounds: `0 B`, `1023 B`, `2.39 MiB`."""
    if size < 1024:
        return f"{size} B"
    value = float(size)
    for unit in ("KiB", "MiB", "GiB", "TiB"):
        value /= 1024
        if value < 1024 or unit == "TiB":
            return f"{value:.2f} {unit}"
    raise AssertionError
