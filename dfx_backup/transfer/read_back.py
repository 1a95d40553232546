"""Reading an uploaded snapshot back: what is compared with the folder, all of it or a sample."""

import random
from collections.abc import Iterator, Sequence
from typing import TypeVar

from dfx_backup.ic.snapshot_parts import ReadPart, Section, Slice, WasmChunk
from dfx_backup.transfer.terms import PAGE_BYTES, SLICE_BYTES, ReadBack
from dfx_backup.transfer.upload_plan import SectionData, UploadPlan

SAMPLED_SLICES = 32
"""Slices of data in a sample, chosen by chance."""
SAMPLED_EDGES = 128
"""Borders between what was sent and what was not: all of them, or so many chosen by chance."""
SAMPLED_ZEROS = 16
"""Places in a sample that were not sent."""
SAMPLED_CHUNKS = 16

T = TypeVar("T")

Check = tuple[SectionData, ReadPart]
"""What is read, and where the bytes that must come are."""


def checks(plan: UploadPlan, how: ReadBack, seed: int) -> Iterator[Check]:
    """What is read back.

    A sample holds the first and the last slice of every section, pages on both sides of borders of
    zero runs, and by chance slices that were sent, places that were not, and chunks. Where that
    would be more than there is, all is read instead: each byte once.

    Args:
        plan: what was sent.
        how: all, a sample, or nothing.
        seed: the same seed gives the same sample.
    """
    if how is ReadBack.NONE:
        return
    if how is ReadBack.ALL:
        yield from _all(plan)
        return
    rng = random.Random(seed)  # noqa: S311 # a sample, no secret
    found = {_key(check): check for check in _sample(plan, rng)}
    if sum(_size(check) for check in found.values()) < sum(each.size for each in plan.sections):
        yield from found.values()
    else:
        yield from _all(plan)


def _key(check: Check) -> tuple[object, ...]:
    part = check[1]
    place = (part.hash,) if isinstance(part, WasmChunk) else (part.section, part.offset)
    return (*place, _size(check))


def _size(check: Check) -> int:
    data, part = check
    return data.size if isinstance(part, WasmChunk) else part.size


def _all(plan: UploadPlan) -> Iterator[Check]:
    for data in plan.sections:
        if isinstance(data.part, WasmChunk):
            yield data, data.part
        else:
            steps = range(0, data.size, plan.slice_bytes)
            yield from (_range(data, offset, offset + plan.slice_bytes) for offset in steps)


def _sample(plan: UploadPlan, rng: random.Random) -> Iterator[Check]:
    sections = [each for each in plan.sections if not isinstance(each.part, WasmChunk)]
    chunks = [each for each in plan.sections if isinstance(each.part, WasmChunk)]
    for data in _some(chunks, SAMPLED_CHUNKS, rng):
        assert isinstance(data.part, WasmChunk)
        yield data, data.part
    for data in sections:
        yield _range(data, 0, SLICE_BYTES)
        yield _range(data, data.size - SLICE_BYTES, data.size)
    edges = [(data, edge) for data in sections for run in data.runs for edge in run]
    for data, edge in _some(edges, SAMPLED_EDGES, rng):
        yield _range(data, edge - PAGE_BYTES, edge + PAGE_BYTES)
    slices = [each for each in plan.slices() if each.place.section is not None]
    for each in _some(slices, SAMPLED_SLICES, rng):
        yield _range(each.data, each.place.offset, each.place.offset + each.size)
    gaps = [(data, *gap) for data in sections for gap in _gaps(data)]
    for data, begin, end in _some(gaps, SAMPLED_ZEROS, rng):
        offset = rng.randrange(begin, max(begin + 1, end - SLICE_BYTES))
        yield _range(data, offset, min(end, offset + SLICE_BYTES))


def _gaps(data: SectionData) -> Iterator[tuple[int, int]]:
    """Ranges of a section that were not sent."""
    position = 0
    for begin, end in data.runs:
        if position < begin:
            yield position, begin
        position = end
    if position < data.size:
        yield position, data.size


def _range(data: SectionData, begin: int, end: int) -> Check:
    begin, end = max(0, begin), min(data.size, end)
    assert isinstance(data.part, Section)
    return data, Slice(section=data.part, offset=begin, size=end - begin)


def _some(population: Sequence[T], count: int, rng: random.Random) -> Sequence[T]:
    return population if len(population) <= count else rng.sample(population, count)
