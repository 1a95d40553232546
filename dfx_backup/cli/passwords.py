"""The password of an encrypted identity: from a file, or asked for once on the terminal."""

from pathlib import Path

from dfx_backup.cli.session import Run
from dfx_backup.errors import ProjectError, WrongKeyError

FILE_VARIABLE = "DFX_BACKUP_IDENTITY_PASSWORD_FILE"


class Password:
    """Gives the password when it is called; asks at most once and never shows it.

    Args:
        run: the command's run, which says where to look and whom to ask.
        whose: names the identity in the prompt.
    """

    def __init__(self, run: Run, whose: str) -> None:
        self._run = run
        self._whose = whose
        self._known: str | None = None

    def __call__(self) -> str:
        """The password.

        Raises:
            ProjectError: the file can't be read, or is empty.
            WrongKeyError: there is no file, and no terminal to ask on.
        """
        if self._known is None:
            self._known = self._find()
            self._run.session.secrets.append(self._known)
        return self._known

    def __repr__(self) -> str:
        return "Password(***)"

    def _find(self) -> str:
        surroundings = self._run.surroundings
        typed = self._run.shared.identity_password_file or surroundings.variable(FILE_VARIABLE)
        if typed is not None:
            return read_password(surroundings.path(typed))
        if not surroundings.can_ask:
            raise WrongKeyError(
                f"{self._whose} is encrypted, and there is no terminal to ask for its password on",
                hint="Give the password with `--identity-password-file FILE`.",
            )
        self._run.view.pause()
        return surroundings.ask_password(f"Password of {self._whose}: ")


def file_for_tools(run: Run) -> Path | None:
    """The file that the user gave, if a program that takes it as a whole finds the same in it."""
    typed = run.shared.identity_password_file or run.surroundings.variable(FILE_VARIABLE)
    if typed is None:
        return None
    file = run.surroundings.path(typed)
    password = read_password(file)
    return file if file.read_text(encoding="utf-8").strip() == password else None


def read_password(file: Path) -> str:
    """The first line of a file.

    Raises:
        ProjectError: it can't be read, or the line is empty.
    """
    try:
        with file.open(encoding="utf-8") as opened:
            line = opened.readline().rstrip("\r\n")
    except OSError as error:
        raise ProjectError(f"Password file {file} can't be read: {error.strerror}") from error
    except UnicodeDecodeError:
        raise ProjectError(f"Password file {file} is not UTF-8 text") from None
    if not line:
        raise ProjectError(f"Password file {file} has no password in its first line")
    return line
