"""The trial itself: every fault and some clean candidates, measured and judged by a policy as a run does it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from pruneguard import canonical
from pruneguard.drill.bench import Artefact, Bench
from pruneguard.drill.faults import FAULTS, Fault
from pruneguard.errors import InvalidInputError
from pruneguard.evaluation import data_quality
from pruneguard.evaluation.estimates import exact
from pruneguard.evaluation.evaluate import evaluate
from pruneguard.evidence import Evidence, Measurement
from pruneguard.gates.exhibits import STOPPED, ArtefactTest, Exhibit, tried
from pruneguard.gates.stopping import wanted
from pruneguard.policy import Policy
from pruneguard.reporting import Progress
from pruneguard.workload import Snapshot

CLEAN = 20
CRITERIA = ("l2", "taylor", "fpgm", "l1")
_FIRST_CLEAN = 100  # a fault's seed is the bench's; clean ones have seeds of their own


def artefact_test(
    policy: Policy,
    *,
    seed: int,
    faults: Sequence[Fault] = FAULTS,
    clean: int = CLEAN,
    progress: Progress | None = None,
) -> ArtefactTest:
    """Make every fault, and `clean` candidates that differ by seed and criterion, and have `policy` judge them.

    Takes some seconds for each. The same seed makes the same artefacts; latencies alone are measured anew.
    """
    exhibits = []
    for exhibit in _exhibits(_Measuring(Bench(seed=seed), policy, {}), faults, clean):
        exhibits.append(exhibit)
        if progress is not None:
            progress(len(exhibits), len(faults) + clean)
    return ArtefactTest(policy, seed, tuple(exhibits))


def _exhibits(measuring: "_Measuring", faults: Sequence[Fault], clean: int) -> Iterator[Exhibit]:
    bench = measuring.bench
    for fault in faults:
        yield measuring.exhibit(fault.name, fault.what, fault.aims_at, fault.make(bench))
    for number in range(clean):
        criterion = CRITERIA[number % len(CRITERIA)]
        seed = bench.seed + _FIRST_CLEAN + number
        made = Artefact(model=bench.pruned(seed=seed, criterion=criterion))
        yield measuring.exhibit(f"clean, {criterion}, seed {seed}", None, "", made)


@dataclass(frozen=True, slots=True, eq=False)
class _Measuring:
    """`admitted` remembers what is known about a snapshot, by its digest."""

    bench: Bench
    policy: Policy
    admitted: dict[str, Evidence]

    def exhibit(self, name: str, fault: str | None, aims_at: str, artefact: Artefact) -> Exhibit:
        """Measured up to the family that shows the fault; whatever is not shown so is measured in full."""
        bench, contender = self.bench, self.bench.contender(artefact)
        data = artefact.data or bench.snapshot
        measured_on = artefact.measured_on or data
        released = contender.digest if artefact.released is None else canonical.digest(artefact.released)
        about_data = self._admission(measured_on)
        exhibit = Exhibit(name, fault, aims_at, released, bench.twin.digest, data.digest, (about_data,))

        def shown(measured: Mapping[str, Measurement]) -> bool:
            context = {STOPPED: "what is asked here"}
            seen = Evidence(contender.digest, bench.twin.digest, measured_on.digest, measured, context)
            return tried(self.policy, replace(exhibit, evidence=(about_data, seen))).seen

        if shown({}):
            return exhibit
        try:
            evidence = evaluate(
                contender,
                bench.twin,
                measured_on,
                split="gate",
                seed=bench.seed,
                wanted=wanted(self.policy),
                all_else=False,
                stop=shown,
                yardstick=bench.yardstick,
            )
        except InvalidInputError as error:  # what cannot be measured is refused in words, before any gate
            return replace(exhibit, refusal=str(error))
        return replace(exhibit, evidence=(about_data, evidence))

    def _admission(self, snapshot: Snapshot) -> Evidence:
        """As a run has it that is the first to judge by these rows."""
        name = snapshot.digest
        if name not in self.admitted:
            evidence = data_quality.admit(snapshot).evidence
            measured = {**evidence.measurements, "data.openings": exact(0, n=len(snapshot.release))}
            self.admitted[name] = replace(evidence, measurements=measured)
        return self.admitted[name]
