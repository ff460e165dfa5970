"""What is measured of a siege, by families of `robustness.*`.

Costs in passes of both models over the same rows, measured on a small convolutional network: FGSM 10, PGD 100, their
sweeps 40 and 370, transfer 105, Square up to 270, masking 120 more than PGD, transfer and Square, which it needs; and
10 for finding out whether gradients reach the rows.
"""

from pruneguard.evaluation.correctness.quality import ALPHA, paired
from pruneguard.evaluation.estimates import difference, share, unknown
from pruneguard.evaluation.security.attacks.siege import Marks, Siege
from pruneguard.evaluation.security.attacks.whitebox import EPSILON
from pruneguard.evidence import Measurement

EPSILONS = (0.01, 0.02, EPSILON, 0.1, 0.2)
EVERYWHERE = 1.0
"""A ball in which every image lies: whoever still answers right in it was attacked in vain, not strong."""


def paired_under(siege: Siege, *, attack: str) -> dict[str, Measurement]:
    """`robustness.<attack>.paired`, `fgsm` or `pgd`."""
    return {f"robustness.{attack}.paired": paired(*siege.gradient(attack))}


def sweep(siege: Siege, *, attack: str) -> dict[str, Measurement]:
    """`robustness.<attack>_sweep.paired.slice.epsilon=...`: robust accuracy of both at every size of ball.

    No table stands above the slices: a row that counted at every size would look like several. A policy judges the
    sweep with `slices_non_inferior`.
    """
    ours, theirs = siege.sweep(attack, EPSILONS)
    return {
        f"robustness.{attack}_sweep.paired.slice.epsilon={epsilon:g}": paired(mine, other)
        for epsilon, mine, other in zip(EPSILONS, ours, theirs, strict=True)
    }


def square_paired(siege: Siege) -> dict[str, Measurement]:
    """`robustness.square.paired`."""
    return {"robustness.square.paired": paired(*siege.square())}


def transfer(siege: Siege) -> dict[str, Measurement]:
    """`robustness.transfer.paired`: each answers the rows that PGD made of the other."""
    return {"robustness.transfer.paired": paired(*siege.transfer())}


def masking(siege: Siege) -> dict[str, Measurement]:
    """`robustness.masking.*`: is the strength that PGD saw real, or are the gradients no guide (Athalye 2018)?

    A row is masked when PGD leaves it standing although it falls in the same ball to Square or to PGD made of the
    other model, or when it still stands in a ball that holds every image: then a point was there, and the gradient
    did not show the way (checks of Carlini 2019, arXiv:1902.06705, section 4). `share` of the candidate, `twin_share`
    and `share_increase`, the first minus the second on the same rows. Unknown where one of the two is right on no row.
    """
    n, names = len(siege.y), ("share", "twin_share", "share_increase")
    if not all(right.any() for right in siege.clean()):
        return {f"robustness.masking.{name}": unknown(n=n) for name in names}
    sides = zip(
        siege.gradient("pgd"),
        siege.square(),
        siege.transfer(),
        siege.gradient("pgd", epsilon=EVERYWHERE),
        strict=True,
    )
    ours, theirs = (_masked(*side) for side in sides)
    estimates = (
        share(int(ours.sum()), n, alpha=ALPHA),
        share(int(theirs.sum()), n, alpha=ALPHA),
        difference(paired(ours, theirs), alpha=ALPHA),
    )
    return {f"robustness.masking.{name}": estimate for name, estimate in zip(names, estimates, strict=True)}


def _masked(gradient: Marks, square: Marks, transfer: Marks, everywhere: Marks) -> Marks:
    return (gradient & ~(square & transfer)) | everywhere
