"""Exports of a stream into files, as `operations.stable_places.FilePlace` lets them be made."""

from dfx_backup.transfer.stable_export import export_into
from dfx_backup.transfer.stable_reads import CHUNK_BYTES, StreamReader
from dfx_backup.transfer.stable_sidecar import StablePaths, StreamIdentity
from dfx_backup.transfer.stable_terms import ExportChoices, ExportReport
from dfx_backup.transfer.stable_work import opened
from dfx_backup.transfer.terms import TransferOptions, TransferProgress


def export_stream(
    reader: StreamReader,
    what: StreamIdentity,
    paths: StablePaths,
    choices: ExportChoices,
    *,
    options: TransferOptions,
    progress: TransferProgress,
    chunk_bytes: int = CHUNK_BYTES,
) -> ExportReport:
    with opened(paths, what, chunk_bytes) as work:
        return export_into(work, reader, what, choices, options=options, progress=progress)
