"""RECOVERY.md: what to do on a bad day, filled in for one project.

It must help somebody who has only the repository's password and has never seen this program.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from dfx_backup.operations.backup_kinds import kind_tag
from dfx_backup.operations.repository_access import Location
from dfx_backup.transfer.backup_details import KIND_SNAPSHOT, KIND_STABLE

_NO_ID: Final = "CANISTER-ID"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A network with the project's canisters on it.

    Attributes:
        network: its name.
        url: where it answers.
        canisters: name and id of each.
    """

    network: str
    url: str
    canisters: tuple[tuple[str, str], ...]


def runbook(location: Location, places: Sequence[Place], *, program: str) -> str:
    """The text of RECOVERY.md.

    Args:
        location: where the repository is.
        places: the networks with canisters that the project knows.
        program: how this program is called.
    """
    rows = [
        f"| `{name}` | `{canister}` | {place.network} ({place.url}) |"
        for place in places
        for name, canister in place.canisters
    ]
    name, canister, network = _example(places)
    return _TEXT.format(
        repo=location,
        restic_repo=location,
        rows="\n".join(rows) or f"| NAME | {_NO_ID} | none was deployed when this was written |",
        name=name,
        canister=canister,
        network=network,
        program=program,
        tag=kind_tag(KIND_SNAPSHOT),
        stream_tag=kind_tag(KIND_STABLE),
        s3=_S3 if location.folder is None else "",
    )


def _example(places: Sequence[Place]) -> tuple[str, str, str]:
    for place in places:
        for name, canister in place.canisters:
            return name, canister, place.network
    return "NAME", _NO_ID, "ic"


_S3: Final = """
The repository is in S3: restic and {program} find credentials in `AWS_ACCESS_KEY_ID` and
`AWS_SECRET_ACCESS_KEY`.
""".replace("{program}", "dfx-backup")

_TEXT: Final = """\
# Recovery: how to get the canisters of this project back

Print this, or keep a copy outside of this machine. The password is not in here, on purpose: where
is it kept? ______________________________

| canister | id | network |
| --- | --- | --- |
{rows}

Repository: `{repo}`
{s3}
## First

1. Do not panic, and do not delete anything. `uninstall-code`, `delete` and `reinstall` lose what a
   restore may need.
2. Is a canister stopped that should run? `{program} recover --all`
3. What is there to go back to? `{program} list`, and on the subnet itself
   `{program} snapshot list {name} --network {network}`.
4. Take the present state before you replace it, broken as it is:
   `{program} create {name} --network {network} --tag before-recovery`

## The canister exists, its data is wrong

```
{program} show {name}@latest --network {network}
{program} restore {name}@latest --network {network} --dry-run
{program} restore {name}@latest --network {network}
```

An older state: `{program} list --canister {name}` shows the ids; name one instead of
`{name}@latest`. `restore` shows what will be lost and asks, and keeps the present state in a safety
snapshot. Canisters that were backed up together: `{program} restore set:SET-ID`, all of them or
none.

## The canister is gone, or its subnet is

```
dfx canister create {name} --network {network}
{program} restore BACKUP --to {name} --network {network} --settings
```

A canister with a new id has other threshold keys, vetKeys and Internet Identity principals, and
whoever calls the old id has to be told. Cycles are never in a backup.

## This machine is gone

On a new one, install {program}, get this project's files and the password, then:

```
{program} list --repo {repo}
{program} verify --read-data --repo {repo}
```

## Without {program}: restic, then dfx or icp

The repository is a restic repository (format 2), and every backup is a folder that dfx and icp
upload.

```
restic -r {restic_repo} snapshots --tag {tag}
restic -r {restic_repo} restore latest --tag {tag} --path /{canister} --target ./back
```

`restore ID` instead of `restore latest …` takes an older one. Then, with dfx (0.30.1 or later):

```
dfx canister stop {canister} --network {network}
dfx canister snapshot upload {canister} --dir ./back --network {network}
dfx canister snapshot load {canister} SNAPSHOT-ID --network {network}
dfx canister start {canister} --network {network}
```

or with icp, in a project that knows the canister:

```
icp canister stop {name} -e {network}
icp canister snapshot upload {name} -i ./back -e {network}
icp canister snapshot restore {name} SNAPSHOT-ID -e {network}
icp canister start {name} -e {network}
```

`backup.json` in that folder holds settings, controllers, environment variables and cycles as they
were; set them with `dfx canister update-settings` when they are wrong now. Where it says
`"ours_only": true`, only {program} can upload the backup exactly.

Backups with the tag `{stream_tag}` hold one stream of a canister's memory, not the canister.
What restic brings of them is what `{program} stable import {canister} --file ./back/memory` takes.

## When something is damaged

`{program} verify --read-data` names the backups and files that are hit; the others can be restored.
`restic -r {restic_repo} check --read-data` is a second opinion. A lock of a process that is gone:
`{program} unlock`.

## Practise

Once a quarter: `{program} verify --read-data`, and restore the newest backup into a canister on a
local network (`{program} restore {name}@latest --network local --to {name}`). Did it take longer
than you can afford?
"""
