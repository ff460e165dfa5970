"""No bit of a bundle is free: 50,000 of them are flipped, one at a time, in every file, header and padding."""

import os
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from pruneguard.audit.archive import BLOCK, Archive, RefusedError
from pruneguard.audit.contents import Contents
from pruneguard.audit.report import EXIT_CODES, Level
from pruneguard.audit.standalone import verify as standalone
from pruneguard.audit.verify import INTEGRITY, verify
from tests.audit.conftest import Told, contents, packed

FLIPS = 50_000
EACH_REGION = 40
FULLY = 200
"""Every so many flips, the whole of both verifiers runs and must come to the same exit code."""


def regions(path: Path) -> dict[str, range]:
    """Every byte of an archive, by what it is part of."""
    with path.open("rb") as file:
        members = Archive(file).members
    found, at = {}, 0
    for name, member in members.items():
        found[f"header of {name}"] = range(at, at + BLOCK)
        found[name] = range(member.offset, at := member.offset + member.size)
        found[f"padding of {name}"] = range(at, at := at + -at % BLOCK)
    found["end"] = range(at, path.stat().st_size)
    assert sum(map(len, found.values())) == path.stat().st_size
    return found


def flips(path: Path, chance: random.Random) -> Iterator[tuple[str, int, int]]:
    """Region, byte and bit: some in every region, the others spread over the whole, none twice."""
    parts, left = regions(path), set[tuple[str, int, int]]()
    for name, region in parts.items():
        bits = [(name, at, bit) for at in region for bit in range(8)] if len(region) < 4_096 else None
        some = chance.sample(bits, min(EACH_REGION, len(bits))) if bits is not None else []
        left |= set(some)
    names, sizes = list(parts), [len(region) for region in parts.values()]
    while len(left) < FLIPS:
        (name,) = chance.choices(names, sizes)
        left.add((name, chance.choice(parts[name]), chance.randrange(8)))
    yield from sorted(left)


def found_at(path: Path) -> Level | None:
    """The level at which the first of the verifier's own steps finds a fault; those on the log's meaning do not run."""
    with path.open("rb") as file:
        try:
            bundle = Contents(Archive(file))
        except RefusedError:
            return Level.FILES
        for level, _, step in INTEGRITY:
            try:
                fault = next(step(bundle), None)
            except RefusedError:
                return level
            if fault is not None:
                return level
    return None


@pytest.mark.slow
def test_no_flipped_bit_is_missed(told: Told, tmp_path: Path) -> None:
    files = contents(told.ledger, told.artifacts, model=told.story.model, frameworks={})
    path, caught = packed(files, tmp_path / "b.tar"), Counter[str]()
    assert found_at(path) is None
    assert verify(path).ok
    handle = os.open(path, os.O_RDWR)
    try:
        for number, (name, at, bit) in enumerate(flips(path, random.Random(20260105))):
            (before,) = os.pread(handle, 1, at)
            os.pwrite(handle, bytes([before ^ 1 << bit]), at)
            level = found_at(path)
            assert level is not None, f"bit {bit} of byte {at}, in {name}, can change unseen"
            if number % FULLY == 0:
                assert verify(path).exit_code == EXIT_CODES[level], (name, at, bit)
                assert standalone.verify(path.read_bytes())["exit_code"] == EXIT_CODES[level], (name, at, bit)
            os.pwrite(handle, bytes([before]), at)
            caught[level] += 1
    finally:
        os.close(handle)
    assert caught.total() >= 50_000
    assert caught[Level.FILES] > 49_000
    assert caught[Level.SIGNATURES] > EACH_REGION  # the manifest's own signature, which no manifest can list


@pytest.mark.slow
def test_no_flipped_bit_of_the_log_or_its_signatures_is_missed_by_the_stand_alone_verifier(
    told: Told, tmp_path: Path
) -> None:
    path = packed(contents(told.ledger, told.artifacts, model=told.story.model, frameworks={}), tmp_path / "b.tar")
    data, chance = bytearray(path.read_bytes()), random.Random(7)
    for name, region in regions(path).items():
        if name.startswith(("ledger/", "manifest", "proofs/9", "header of ledger", "end")):
            for _ in range(min(100, 8 * len(region))):
                at, bit = chance.choice(region), chance.randrange(8)
                data[at] ^= 1 << bit
                report = standalone.verify(bytes(data))
                assert report["exit_code"] in (10, 11), (name, at, bit)
                assert report["guarantee"] == "none"
                data[at] ^= 1 << bit
