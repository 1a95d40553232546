"""A run of dfx or icp that failed, and the words that both share: those of the Rust agent in them.

Sources: `AgentError` of ic-agent; the reject codes of the interface specification.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from dfx_backup.drivers.process import Finished, ProgramFailedError
from dfx_backup.errors import NetworkError, RejectError, UnknownOutcomeError

EXPIRY_S = 300.0
"""Seconds for which a call that a tool signed may still execute: the replica's own upper limit."""

USAGE_CODE = 2
"""Exit code of both tools for arguments that they do not know."""

_REJECT = re.compile(
    r"reject code (\w+), reject message (.*?), error code (?:Some\(\"(\w+)\"\)|None)", re.DOTALL
)
_REJECT_CODES = {
    "SysFatal": 1,
    "SysTransient": 2,
    "DestinationInvalid": 3,
    "CanisterReject": 4,
    "CanisterError": 5,
    "SysUnknown": 6,
}
# dfx writes `Caused by: …` on each line, icp one line `Caused by:` and numbered causes below it.
_LINK = re.compile(r"^(?:(?:Error|Caused by): *| {4}(?:\d+: )?)(\S.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A run that failed, and what is known about it besides its output.

    Attributes:
        finished: the run.
        doing: what was being done, such as `stop canister rwlgt-iiaaa-aaaaa-aaaaa-cai`.
        sends: it was to change something, so that a lost answer matters.
        now: seconds since the epoch.
    """

    finished: Finished
    doing: str
    sends: bool
    now: float

    @property
    def text(self) -> str:
        """Everything that it printed."""
        return self.finished.text

    @property
    def reason(self) -> str:
        """The chain of causes in one line, or the last line when there is none."""
        links: list[str] = []
        begin = self.text.find("Error: ")
        for found in _LINK.findall(self.text[begin:]) if begin >= 0 else ():
            link = found.strip().rstrip(".")
            if not any(link in told for told in links):  # icp repeats causes
                links.append(link)
        if links:
            return ": ".join(links)
        lines = [line for line in self.text.splitlines() if line.strip()]
        return lines[-1].strip() if lines else "it printed nothing"

    def message(self, why: str) -> str:
        """One sentence: what could not be done, and why."""
        return f"could not {self.doing}: {why}"

    def lost(self, why: str, *, hint: str | None = None) -> NetworkError:
        """The answer did not come: unknown outcome of a call, else a plain network error."""
        if not self.sends:
            return NetworkError(self.message(why), hint=hint)
        return unknown_outcome(self.doing, why, now=self.now, hint=hint)

    def failed(self, why: str, *, hint: str | None = None) -> ProgramFailedError:
        """Nothing was sent: the tool failed by itself."""
        return self.finished.failed(self.message(why), hint=hint)

    def killed(self, tool: str) -> NetworkError | ProgramFailedError:
        """A signal ended it."""
        why = f"{tool} was killed by signal {-self.finished.code}"
        return self.lost(why) if self.sends else self.failed(why)

    def unknown_canister(self, told: str) -> RejectError:
        """The replica says that it has no such canister."""
        return RejectError(
            self.message("there is no such canister on this network"),
            reject_code=3,
            reject_message=told,
            error_code="IC0301",
            hint="check the canister's id and `--network`",
        )

    def rejected(self, hints: Mapping[str, str]) -> RejectError | None:
        """The replica's refusal, if that is what it was.

        Args:
            hints: what to do, by the replica's error code.
        """
        found = _REJECT.search(self.text)
        if found is None:
            return None
        name, text, error_code = found.groups()
        hint = hints.get(error_code or "")
        if error_code == "IC0406" and "maximum number of snapshots" in text:
            hint = "delete a snapshot, or replace one with `--replace ID`"
        return RejectError(
            self.message(f"the replica refused: {text}"),
            reject_code=_REJECT_CODES.get(name, 5),
            reject_message=text,
            error_code=error_code,
            hint=hint,
        )


def unknown_outcome(
    doing: str, why: str, *, now: float, hint: str | None = None
) -> UnknownOutcomeError:
    """A call that a tool may have signed until now may execute until its expiry."""
    return UnknownOutcomeError(
        f"could not see the outcome of: {doing}: {why}",
        request_id=None,
        expires_at=now + EXPIRY_S,
        hint=hint or "the canister's status and its list of snapshots tell what happened",
    )
