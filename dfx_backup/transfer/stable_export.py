"""A stream to a place, of one moment: every chunk certified, and torn or not by evidence.

Two ways to read: certified reads, or certified hashes and then plain queries that must match them.
All chunks are of one moment when the canister's version rose by our own calls alone, or when every
chunk was found the same a second time. Else what changed is read again, in five rounds at most.
"""

from dfx_backup.errors import EndpointError, MovingError, NetworkError
from dfx_backup.ic.stable_endpoints import EndpointsInfo, Stream
from dfx_backup.transfer.chunk_table import ChunkTable
from dfx_backup.transfer.stable_fetch import Fetcher
from dfx_backup.transfer.stable_hashes import HashPass, certified_hashes
from dfx_backup.transfer.stable_reads import StreamReader
from dfx_backup.transfer.stable_sidecar import (
    Certified,
    Moment,
    Sidecar,
    StreamIdentity,
)
from dfx_backup.transfer.stable_terms import (
    ExportChoices,
    ExportReport,
    Proof,
    Reads,
    StreamWork,
)
from dfx_backup.transfer.terms import TransferOptions, TransferProgress
from dfx_backup.transfer.window import persist

ROUNDS = 5
"""How often a canister that moves is read at most."""
_MOVED = ("out_of_range",)


def export_into(
    work: StreamWork,
    reader: StreamReader,
    what: StreamIdentity,
    choices: ExportChoices,
    *,
    options: TransferOptions,
    progress: TransferProgress,
) -> ExportReport:
    """Copy a stream to a place; it is closed in the end, unless reads are still in flight.

    What the place has of an earlier export stays as it is until the new one is complete.

    Args:
        work: the place.
        reader: reads the network; certifies what it says to be certified.
        what: which stream; goes into the sidecar.
        choices: how it is read.
        options: window, patience and surroundings.
        progress: hears how far it is.

    Raises:
        MovingError: the stream changed all the time; nothing was completed.
        InterruptedRunError: `options.should_stop` said so.
        EndpointError: the canister answers with an error, or with less than was asked for.
        NetworkError: the canister refuses, or can't be reached.
        DamageError: a chunk was lost here.
        OSError: the place can't be used.
        BackupError: as the place tells it.
    """
    run = _Export(reader, what, work, choices, options, progress)
    try:
        return run.carry_out()
    finally:
        run.close()


class _Export:
    """One run. Its place stays open when reads had to be left behind in flight."""

    def __init__(
        self,
        reader: StreamReader,
        what: StreamIdentity,
        work: StreamWork,
        choices: ExportChoices,
        options: TransferOptions,
        progress: TransferProgress,
    ) -> None:
        self._reader = reader
        self._what = what
        self._work = work
        self._choices = choices
        self._options = options
        self._progress = progress
        self._retries = 0
        self._rounds = 0
        self._hash_calls = 0
        self._collected: ChunkTable | None = None  # every chunk as it was before this round
        self._fetcher: Fetcher | None = None

    def carry_out(self) -> ExportReport:
        """Round after round, until there is proof."""
        self._first = stream, info = self._look()
        fetcher = Fetcher(self._reader, self._work, stream.size, self._options, self._progress)
        self._fetcher = fetcher
        fetcher.take_resumed(self._work.resumed)
        for number in range(1, ROUNDS + 1):
            self._rounds = number
            if number > 1:
                self._progress.step("the canister changed meanwhile: reading what changed")
            proof = self._round(fetcher, is_first=number == 1)
            if proof is not None:
                return self._finish(fetcher, proof, stream, info)
        raise MovingError(
            f"stream {self._what.stream} of {self._what.canister_id} changed all the time:"
            f" {ROUNDS} rounds of reading brought no moment that holds still",
            hint="add --via snapshot (with --file): it is of one moment by itself, for some seconds"
            " of outage; or stop what writes, and run the same again",
        )

    def close(self) -> None:
        """Close what no thread needs any more."""
        if self._fetcher is None or self._fetcher.is_idle:
            self._work.close()

    def _round(self, fetcher: Fetcher, *, is_first: bool) -> Proof | None:
        try:
            by_reads = self._choices.reads is Reads.CERTIFIED
            if by_reads and (is_first or not self._choices.rounds_by_hashes):
                return self._by_reads(fetcher, is_first=is_first)
            return self._by_hashes(fetcher)
        except EndpointError as error:
            # A read that is still in flight would bring what was there before into the next round.
            if error.case not in _MOVED or not fetcher.is_idle:
                raise
            self._collected = None  # it shrank under our hands
            return None

    # Certified reads

    def _by_reads(self, fetcher: Fetcher, *, is_first: bool) -> Proof | None:
        before, info = self._first if is_first else self._look()
        fetcher.resize(before.size)
        resumed = fetcher.resumed if is_first else 0
        executed = fetcher.executed
        earlier = fetcher.snapshot() if not is_first else None
        if not is_first:
            fetcher.forget()
        fetcher.read_certified()
        after, last = self._look()
        found = fetcher.snapshot()
        versions = _versions(info, last)
        calls = self._reader.info_counts + fetcher.executed - executed
        same_size = before.size == after.size
        certified = Certified.READS if self._reader.certifies_size else Certified.UNCERTIFIED
        self._collected = found if same_size else None
        if versions and same_size and not resumed and versions[1] - versions[0] == calls:
            return Proof(certified=certified, moment=Moment.VERSIONS, versions=versions)
        if same_size and earlier is not None and earlier == found:
            return Proof(certified=certified, moment=Moment.SECOND_PASS, versions=versions)
        if self._choices.accept_unproven and versions is None and same_size:
            return Proof(certified=certified, moment=Moment.UNPROVEN, versions=None)
        return None

    # Certified hashes, then queries

    def _by_hashes(self, fetcher: Fetcher) -> Proof | None:
        self._progress.step("asking for certified hashes")
        found = certified_hashes(
            self._reader,
            self._what.stream,
            self._work.chunk_bytes,
            options=self._options,
            on_retry=self._progress.retry,
        )
        self._retries += found.retries
        self._hash_calls += len(found.versions)
        earlier, self._collected = self._collected, found.table
        if not found.table.is_whole():  # the size changed meanwhile
            self._collected = None
            return None
        fetcher.resize(found.table.size)
        if not fetcher.fetch(found.table):
            return None
        return _proof_of(found, earlier)

    # Before and after

    def _look(self) -> tuple[Stream, EndpointsInfo]:
        info = persist(self._reader.info, self._options, failed=self._tell)
        for each in info.streams:
            if each.name == self._what.stream:
                return each, info
        raise EndpointError(
            f"the canister has no stream {self._what.stream}",
            case="unknown_stream",
            detail=self._what.stream,
        )

    def _tell(self, error: NetworkError) -> None:
        self._retries += 1
        self._progress.retry(error.message)

    def _finish(
        self, fetcher: Fetcher, proof: Proof, stream: Stream, info: EndpointsInfo
    ) -> ExportReport:
        fetcher.sync()
        hashes = fetcher.snapshot()
        hashes.require_whole(self._what.stream)
        sidecar = Sidecar(
            identity=self._what,
            kind=stream.kind.value,
            kit=info.kit,
            hashes=hashes,
            certified=proof.certified,
            moment=proof.moment,
            versions=proof.versions,
            tool=self._choices.tool,
            created_at=self._choices.created_at,
        )
        self._work.commit(sidecar)
        return ExportReport(
            sidecar=sidecar,
            reads=self._choices.reads,
            rounds=self._rounds,
            hash_calls=self._hash_calls,
            tally=fetcher.tally(self._retries),
        )


def _versions(before: EndpointsInfo, after: EndpointsInfo) -> tuple[int, int] | None:
    if before.canister_version is None or after.canister_version is None:
        return None
    return before.canister_version, after.canister_version


def _proof_of(found: HashPass, earlier: ChunkTable | None) -> Proof | None:
    versions = found.versions[0], found.versions[-1]
    if found.is_quiet:
        return Proof(certified=Certified.HASHES, moment=Moment.VERSIONS, versions=versions)
    if earlier == found.table:
        return Proof(certified=Certified.HASHES, moment=Moment.SECOND_PASS, versions=versions)
    return None
