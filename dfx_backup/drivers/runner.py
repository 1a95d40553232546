"""Runs one tool for a driver: questions and calls, their time-outs, and what their failures mean.

dfx and icp sign the calls: their request ids are not known, and a call may execute until minutes
after the tool ended. Nothing is ever sent twice here; a lost answer is settled by whoever holds the
canister, from its status and its list of snapshots.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from dfx_backup.drivers import process
from dfx_backup.drivers.base import BeforeSend, ignore_sent
from dfx_backup.drivers.failures import EXPIRY_S, Failure, unknown_outcome
from dfx_backup.drivers.terminal import Question
from dfx_backup.errors import BackupError, WrongKeyError
from dfx_backup.model import SentCall

_log = logging.getLogger(__name__)

CALL_TIMEOUT_S = 360.0
"""How long one call may take: the five minutes that a tool polls for an answer, and a margin."""

PROBE_TIMEOUT_S = 30.0
"""How long a tool may take to tell its version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """A tool and how it is run.

    Attributes:
        name: the tool's, for messages.
        env: its whole environment.
        cwd: its working directory, or None for ours.
        prompt: regular expression that finds its question for the identity's password.
        password: gives the password; None when it is not to be asked.
        classify: the error that a failed run stands for.
        clock: seconds since the epoch.
        timeout_s: how long a run may take when nobody says otherwise.
        patience: how a run is ended that does not end by itself.
    """

    name: str
    env: Mapping[str, str] = field(repr=False)
    cwd: str | None
    prompt: str
    password: Callable[[], str] | None
    classify: Callable[[Failure], BackupError]
    clock: Callable[[], float]
    timeout_s: float = CALL_TIMEOUT_S
    patience: process.Patience | None = None

    def ask(
        self, argv: Sequence[str], doing: str, *, timeout_s: float | None = None
    ) -> process.Finished:
        """Run something that changes nothing.

        Args:
            argv: the program and its arguments.
            doing: what it does, for messages: `list the snapshots of canister X`.
            timeout_s: seconds until it is ended.

        Raises:
            BackupError: it failed.
        """
        limit_s = self.timeout_s if timeout_s is None else timeout_s
        return self._judge(self._run(argv, doing, limit_s), doing, sends=False)

    def send(
        self,
        argv: Sequence[str],
        doing: str,
        *,
        before_send: BeforeSend = ignore_sent,
        timeout_s: float | None = None,
    ) -> process.Finished:
        """Run something that changes the network's state.

        The expiry told to `before_send` is an upper bound: the tool may sign at any moment until
        its time-out, and what it signed may execute for five more minutes.

        Args:
            argv: the program and its arguments.
            doing: what it does, for messages: `stop canister X`.
            before_send: called before it starts.
            timeout_s: seconds until it is ended.

        Raises:
            BackupError: it failed; `UnknownOutcomeError` when it may have had its effect.
        """
        limit_s = self.timeout_s if timeout_s is None else timeout_s
        expires_at = self.clock() + limit_s + EXPIRY_S
        before_send(SentCall(request_id=None, expires_at=expires_at))
        try:
            done = self._run(argv, doing, limit_s)
        except process.ProgramTimedOutError as err:
            why = f"{self.name} did not end within {limit_s:g} s"
            raise unknown_outcome(doing, why, now=self.clock()) from err
        return self._judge(done, doing, sends=True)

    def unclear(self, doing: str, done: process.Finished) -> BackupError:
        """The error for a success that does not tell its result."""
        why = f"{self.name} succeeded, and printed no snapshot id: {done.text.strip()[-200:]!r}"
        return unknown_outcome(doing, why, now=self.clock())

    def _run(self, argv: Sequence[str], doing: str, timeout_s: float) -> process.Finished:
        password = self.password
        question = None if password is None else Question(pattern=self.prompt, answer=password)
        try:
            return process.run(
                argv,
                env=self.env,
                timeout_s=timeout_s,
                cwd=self.cwd,
                question=question,
                patience=self.patience,
            )
        except process.AskedAgainError as err:
            raise WrongKeyError(
                f"could not {doing}: {self.name} did not accept the identity's password"
            ) from err

    def _judge(self, done: process.Finished, doing: str, *, sends: bool) -> process.Finished:
        if done.code == 0:
            return done
        failure = Failure(finished=done, doing=doing, sends=sends, now=self.clock())
        error = self.classify(failure)
        _log.debug("%s failed: %s", self.name, error.message)
        raise error


class Once:
    """Asks for a secret when it is first needed, and keeps it; never shows it."""

    def __init__(self, ask: Callable[[], str]) -> None:
        self._ask = ask
        self._known: str | None = None

    def __call__(self) -> str:
        """The secret."""
        if self._known is None:
            self._known = self._ask()
        return self._known

    def __repr__(self) -> str:
        return "<password>"
