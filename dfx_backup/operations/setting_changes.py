"""Two settings side by side, and the way from one to the other."""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace

from dfx_backup.errors import BackupError, NetworkError, RefusedError
from dfx_backup.ic.canister_settings import CanisterSettings
from dfx_backup.operations.backups import Backup
from dfx_backup.operations.target import Target


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingChange:
    """A setting that differs; values as people read them.

    Attributes:
        name: which.
        old: what it is, or was first.
        new: what it becomes, or became.
    """

    name: str
    old: str
    new: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingsPlan:
    """What applying a backup's settings does.

    Attributes:
        wanted: the settings that change; the others are None.
        changes: the same for people.
        loses_control: who calls is no controller any more afterwards.
    """

    wanted: CanisterSettings
    changes: tuple[SettingChange, ...]
    loses_control: bool


def setting_changes(old: CanisterSettings, new: CanisterSettings) -> Iterator[SettingChange]:
    """Every setting that both tell, and differently; the order of lists does not count."""
    for name in _differing(old, new):
        yield SettingChange(name=name, old=_told(getattr(old, name)), new=_told(getattr(new, name)))


def plan_settings(target: Target, backup: Backup) -> SettingsPlan:
    """Compare a backup's settings with the canister's.

    Raises:
        RefusedError: the backup has none, or we have no key to apply them with.
        NetworkError: the canister can't be asked.
    """
    then = None if backup.details is None else backup.details.settings
    if then is None:
        raise RefusedError(
            f"{backup} holds no settings",
            hint="leave --settings out, and set them by hand",
        )
    if target.direct is None:
        raise RefusedError(
            f"only {target.driver.describe()} can use the identity's key, and it can't be told to"
            " apply settings",
            hint="use an identity whose key can be read, or leave --settings out and set them by"
            " hand: `show` tells them",
        )
    now = target.direct.calls.full_status(target.canister_id).settings
    wanted = CanisterSettings(**{name: getattr(then, name) for name in _differing(now, then)})
    loses = wanted.controllers is not None and target.principal not in wanted.controllers
    return SettingsPlan(
        wanted=wanted, changes=tuple(setting_changes(now, then)), loses_control=loses
    )


def apply_settings(target: Target, plan: SettingsPlan) -> None:
    """Apply the settings, the controllers last of all, and look whether they are there.

    Raises:
        NetworkError: the network refused, or they are not there; it may have taken a part.
    """
    assert target.direct is not None  # or it would not be planned
    calls, canister = target.direct.calls, target.canister_id
    first = replace(plan.wanted, controllers=None)
    if first != CanisterSettings():
        calls.update_settings(canister, first)
    if plan.wanted.controllers is not None:
        calls.update_settings(canister, CanisterSettings(controllers=plan.wanted.controllers))
    if plan.loses_control:
        return  # nobody tells us any more
    now = calls.full_status(canister).settings
    left = tuple(_differing(now, plan.wanted))
    if left:
        raise NetworkError(f"{', '.join(left)} of {target} did not become what the backup says")


def failed(target: Target, error: BackupError) -> str:
    """The sentence about settings that could not be applied."""
    return f"The settings of {target} could not be applied: {error.message}."


def _differing(old: CanisterSettings, new: CanisterSettings) -> Iterator[str]:
    for each in fields(CanisterSettings):
        one, other = getattr(old, each.name), getattr(new, each.name)
        if isinstance(one, tuple) and isinstance(other, tuple):
            one, other = tuple(sorted(one)), tuple(sorted(other))
        if one is not None and other is not None and one != other:
            yield each.name


def _told(value: object) -> str:
    if isinstance(value, tuple):
        return ", ".join("=".join(each) if isinstance(each, tuple) else str(each) for each in value)
    audience, viewers = getattr(value, "audience", None), getattr(value, "viewers", ())
    return str(value) if audience is None else " ".join((str(audience), *viewers))
