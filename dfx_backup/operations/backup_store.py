"""From a snapshot on the subnet to a backup in the repository; the canister need not be stopped."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace

from dfx_backup.errors import DamageError
from dfx_backup.ic.certificate import Evidence
from dfx_backup.ic.principal import Principal
from dfx_backup.ic.snapshot_metadata import SnapshotMetadata, SnapshotSource
from dfx_backup.operations import cycles, folder_way, transfers
from dfx_backup.operations.backup_create_plan import BackupOptions
from dfx_backup.operations.backup_files import commit_backup, is_ours_only, write_folder
from dfx_backup.operations.backup_stream import Streamed, stream
from dfx_backup.operations.interrupts import Interrupts
from dfx_backup.operations.plans import Versions
from dfx_backup.operations.take_together import judge
from dfx_backup.operations.target import Runtime, Target
from dfx_backup.operations.unfinished import Unfinished
from dfx_backup.operations.wasm_module import candid_sections
from dfx_backup.repository.repository import Repository
from dfx_backup.repository.writer import Writer
from dfx_backup.transfer.backup_details import BackupDetails
from dfx_backup.transfer.backup_json import BackupRecord
from dfx_backup.transfer.folder import open_folder
from dfx_backup.transfer.parts import PartsReader, PartsReport, check_module
from dfx_backup.transfer.terms import BackupIdentity, TransferProgress


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A backup that is in the repository.

    Attributes:
        record: its manifest.
        restic_id: id of its snapshot object.
        versions: the canister's versions that say how consistent it is.
        report: what the transfer did; None when the driver did it.
    """

    record: BackupRecord
    restic_id: str
    versions: Versions
    report: PartsReport | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Storing:
    """Brings snapshots into one repository.

    Attributes:
        run: the surroundings.
        repository: where to.
        options: what was asked for.
        interrupts: entered by the caller.
        progress: hears how far it is.
    """

    run: Runtime
    repository: Repository
    options: BackupOptions
    interrupts: Interrupts
    progress: TransferProgress

    def store(self, target: Target, left: Unfinished, tags: Sequence[str]) -> Stored:
        """Download a snapshot into the repository, and commit it.

        Args:
            target: the canister.
            left: the snapshot, and what was known when it was taken.
            tags: the user's.

        Raises:
            InterruptedRunError: a signal has come.
            DamageError: the module is not the canister's, or the repository is damaged.
            LockedError: our lock on the repository was lost.
            StoreError: the repository can't be written.
            NetworkError, ToolError: as the network or the driver tells them.
        """
        if target.direct is None:
            return self._through_driver(target, left, tags)
        with self.interrupts.deferred(), self.repository.writer(progress=self.progress) as writer:
            parts = PartsReader(
                target.direct.slices,
                target.canister_id,
                left.snapshot_id,
                options=transfers.options(self.run, self.interrupts, self.options.window),
                progress=self.progress,
            )
            metadata = parts.metadata()
            streamed = stream(writer, parts, metadata, self.progress)
            _check_module(left, streamed)
            self.interrupts.check()
            return self._commit(writer, target, left, streamed, tags)

    def _through_driver(self, target: Target, left: Unfinished, tags: Sequence[str]) -> Stored:
        """The driver writes a folder, which is imported and removed."""
        folder = self.run.state / "scratch" / f"create-{target.key}"
        shutil.rmtree(folder, ignore_errors=True)  # of a run that was killed
        try:
            folder_way.download(
                target, self._identity(target, left), folder, self.progress, self.run
            )
            contents = open_folder(folder)
            if contents.problems or contents.metadata is None:
                told = " ".join(contents.problems)
                raise DamageError(f"{folder} was changed by somebody: {told}")
            self.progress.step("importing the files")
            with (
                self.interrupts.deferred(),
                self.repository.writer(progress=self.progress) as writer,
            ):
                files, text = write_folder(writer, contents, contents.metadata)
                self.interrupts.check()
                streamed = Streamed(
                    metadata=contents.metadata, files=files, text=text, module=None, report=None
                )
                return self._commit(writer, target, left, streamed, tags)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _commit(
        self,
        writer: Writer,
        target: Target,
        left: Unfinished,
        streamed: Streamed,
        tags: Sequence[str],
    ) -> Stored:
        versions = _versions(left, streamed.metadata)
        record = BackupRecord(
            identity=self._identity(target, left),
            files=streamed.files,
            globals=streamed.metadata.globals,
            backup=_details(left, streamed, versions, _evidence(target)),
        )
        self.progress.step("committing")
        record, commit = commit_backup(writer, record, streamed.text, tags=tags)
        return Stored(
            record=record,
            restic_id=commit.snapshot_id,
            versions=versions,
            report=streamed.report,
        )

    def _identity(self, target: Target, left: Unfinished) -> BackupIdentity:
        return BackupIdentity(
            canister_id=target.canister_id,
            snapshot_id=left.snapshot_id,
            network_id=target.network_id,
            tool=self.options.tool,
            created_at=self.run.clock.now(),
        )


def _versions(left: Unfinished, metadata: SnapshotMetadata) -> Versions:
    return Versions(
        after_stop=left.after_stop.version,
        in_snapshot=metadata.canister_version,
        before_start=left.before_start.version,
    )


def _evidence(target: Target) -> Evidence | None:
    if target.direct is None:
        return None
    return target.direct.evidence(Principal.from_text(target.canister_id))


def _details(
    left: Unfinished, streamed: Streamed, versions: Versions, evidence: Evidence | None
) -> BackupDetails:
    metadata, report = streamed.metadata, streamed.report
    moments = (left.after_stop, left.before_start)
    spent = left.details.cycles_estimate
    if report is not None:
        paid = cycles.download_cost(report.moved_bytes, report.calls)
        spent = paid if spent is None else spent + paid
    return replace(
        left.details,
        taken_at_ns=metadata.taken_at_ns,
        consistency=judge(versions, moments, live=left.live),
        canister_version=metadata.canister_version,
        module_hash=streamed.module_sha256,
        level=0 if report is None else 1,
        ours_only=is_ours_only(metadata),
        cycles_estimate=spent,
        candid=() if streamed.module is None else candid_sections(streamed.module),
        subnet_id=None if evidence is None else evidence.subnet.to_text(),
        certificate_time=None if evidence is None else evidence.newest_ns / 1e9,
    )


def _check_module(left: Unfinished, streamed: Streamed) -> None:
    """Compare the module with the hash that was certified at the snapshot's own version.

    Raises:
        DamageError: they differ.
    """
    metadata, certified = streamed.metadata, left.details.module_hash
    native = metadata.source is SnapshotSource.TAKEN_FROM_CANISTER
    same = native and left.details.canister_version == metadata.canister_version
    if certified is not None and same:
        check_module(streamed.module_sha256, certified)
