"""`key add`, `remove` and `passwd`: the passwords of a repository."""

from dfx_backup.errors import UsageError
from dfx_backup.operations.repository_access import PasswordGiver
from dfx_backup.progress import Progress
from dfx_backup.repository.keys import KeyInfo, Password
from dfx_backup.repository.repository import Repository


def add_key(repository: Repository, password: PasswordGiver, *, progress: Progress) -> str:
    """Add a key; its id.

    Raises:
        WrongKeyError: no password was given.
        LockedError: somebody works on the repository alone.
        StoreError: it can't be written.
    """
    new = Password(password(_what(repository), new=True))
    with repository.lock(exclusive=False, progress=progress):
        return repository.keys.add(new)


def remove_key(
    repository: Repository, typed: str, *, progress: Progress
) -> tuple[KeyInfo, tuple[KeyInfo, ...]]:
    """Remove the key whose id begins so; it, and those that are left.

    Raises:
        UsageError: it is the beginning of no id, or of several.
        RefusedError: it is the key that opened the repository.
        LockedError: somebody else works on the repository.
    """
    with repository.lock(exclusive=True, progress=progress):
        keys = repository.keys.list()
        found = [each for each in keys if typed and each.key_id.startswith(typed.lower())]
        if len(found) != 1:
            told = f"{len(found)} keys have" if found else "no key has"
            raise UsageError(
                f"{told} an id that begins with `{typed}`", hint="`key list` shows them."
            )
        repository.keys.remove(found[0].key_id)
    return found[0], tuple(each for each in keys if each is not found[0])


def change_key(
    repository: Repository, password: PasswordGiver, *, progress: Progress
) -> tuple[str, str]:
    """Replace the key that opened the repository; ids of the old and the new one.

    Raises:
        WrongKeyError: no password was given.
        LockedError: somebody else works on the repository.
        StoreError: it can't be written.
    """
    new, old = Password(password(_what(repository), new=True)), repository.keys.current
    with repository.lock(exclusive=True, progress=progress):
        return old, repository.keys.change(new)


def _what(repository: Repository) -> str:
    return f"repository {repository.store.describe()}"
