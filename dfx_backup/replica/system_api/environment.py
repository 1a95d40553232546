"""Identity, time, certified data, environment variables, printing and trapping."""

from dfx_backup.replica.state import RunState
from dfx_backup.replica.system_api.frame import Frame, Trap

# ruff: noqa: D103 - the functions are specified under their names in the interface specification

MAX_CERTIFIED_DATA = 32
_STATUS = {RunState.RUNNING: 1, RunState.STOPPING: 2, RunState.STOPPED: 3}


def canister_self_size(frame: Frame) -> int:
    return len(frame.canister.canister_id)


def canister_self_copy(frame: Frame, target: int, offset: int, size: int) -> None:
    frame.copy_out(target, offset, size, frame.canister.canister_id)


def subnet_self_size(frame: Frame) -> int:
    return len(frame.world.subnet_id)


def subnet_self_copy(frame: Frame, target: int, offset: int, size: int) -> None:
    frame.copy_out(target, offset, size, frame.world.subnet_id)


def canister_status(frame: Frame) -> int:
    return _STATUS[frame.canister.status]


def canister_version(frame: Frame) -> int:
    return frame.canister.version


def root_key_size(frame: Frame) -> int:
    return len(frame.world.root_key)


def root_key_copy(frame: Frame, target: int, offset: int, size: int) -> None:
    frame.copy_out(target, offset, size, frame.world.root_key)


def certified_data_set(frame: Frame, start: int, size: int) -> None:
    if size > MAX_CERTIFIED_DATA:
        raise Trap(f"certified_data_set: {size} bytes are more than {MAX_CERTIFIED_DATA}", 504)
    frame.certified_data = frame.memory.read(start, size)


def data_certificate_present(frame: Frame) -> int:
    return int(frame.world.has_certificate)


def data_certificate_size(frame: Frame) -> int:
    return len(frame.world.certificate)


def data_certificate_copy(frame: Frame, target: int, offset: int, size: int) -> None:
    frame.copy_out(target, offset, size, frame.world.certificate)


def time(frame: Frame) -> int:
    return frame.world.now


def global_timer_set(frame: Frame, deadline: int) -> int:
    previous = frame.canister.global_timer if frame.global_timer is None else frame.global_timer
    frame.global_timer = deadline
    return previous


def performance_counter(frame: Frame, kind: int) -> int:
    if kind > 1:
        raise Trap(f"performance_counter: unknown type {kind}", 504)
    executed = frame.executed + frame.limit - frame.memory.instructions_left()
    return executed + (frame.context_instructions if kind else 0)


def is_controller(frame: Frame, start: int, size: int) -> int:
    return int(frame.memory.read(start, size) in frame.canister.controllers)


def in_replicated_execution(frame: Frame) -> int:
    return int(frame.is_replicated)


def env_var_count(frame: Frame) -> int:
    return len(frame.canister.settings.environment_variables)


def env_var_name_size(frame: Frame, index: int) -> int:
    return len(_variable_name(frame, index))


def env_var_name_copy(frame: Frame, index: int, target: int, offset: int, size: int) -> None:
    frame.copy_out(target, offset, size, _variable_name(frame, index))


def env_var_name_exists(frame: Frame, start: int, size: int) -> int:
    return int(frame.text(start, size) in dict(frame.canister.settings.environment_variables))


def env_var_value_size(frame: Frame, start: int, size: int) -> int:
    return len(_variable_value(frame, start, size))


def env_var_value_copy(
    frame: Frame, start: int, name_size: int, target: int, offset: int, size: int
) -> None:
    frame.copy_out(target, offset, size, _variable_value(frame, start, name_size))


def debug_print(frame: Frame, start: int, size: int) -> None:
    frame.logs.append(frame.memory.read(start, size))


def trap(frame: Frame, start: int, size: int) -> None:
    raise Trap(frame.memory.read(start, size).decode(errors="replace"), 503)


def _variable_name(frame: Frame, index: int) -> bytes:
    variables = frame.canister.settings.environment_variables
    if index >= len(variables):
        raise Trap(f"env_var_name: there is no variable {index}", 504)
    return variables[index][0].encode()


def _variable_value(frame: Frame, start: int, size: int) -> bytes:
    name = frame.text(start, size)
    value = dict(frame.canister.settings.environment_variables).get(name)
    if value is None:
        raise Trap(f"env_var_value: there is no variable {name!r}", 504)
    return value.encode()
