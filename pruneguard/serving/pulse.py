"""A page of memory that a worker and its parent share: it tells of the worker even when the worker no longer can."""

import mmap
import os
from typing import Self

BEATS, IN_FLIGHT, TOLD, TURNED_AWAY, FAILURES, STOPPING, HEARD = range(7)
_SIZE = 4096


class Pulse:
    """Counters, written by one side each.

    By the worker: `BEATS` of its event loop, requests `IN_FLIGHT`, answers its observer was `TOLD` of, connections
    `TURNED_AWAY`, observer `FAILURES`. By the parent: `STOPPING`, once nobody shall send more, and of how many answers
    it has `HEARD`, or that they were lost.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._memory = mmap.mmap(descriptor, _SIZE)
        self.counts = memoryview(self._memory).cast("Q")
        self.in_flight = self.counts[IN_FLIGHT : IN_FLIGHT + 1]

    @classmethod
    def create(cls) -> Self:
        descriptor = os.memfd_create("pruneguard-worker")
        os.ftruncate(descriptor, _SIZE)
        return cls(descriptor)

    def __getitem__(self, name: int) -> int:
        return self.counts[name]

    def close(self) -> None:
        self.in_flight.release()
        self.counts.release()
        self._memory.close()
        os.close(self.descriptor)
