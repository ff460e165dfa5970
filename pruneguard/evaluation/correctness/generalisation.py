"""Did pruning and training again make the model remember its training rows more than its twin does?"""

import numpy as np

from pruneguard.evaluation.contender import Pair
from pruneguard.evaluation.correctness.quality import paired
from pruneguard.evaluation.estimates import difference, minus, share
from pruneguard.evaluation.marking import BY_CLASS, Marking
from pruneguard.evidence import Measurement
from pruneguard.workload import Floats, Split

ALPHA = 0.05
"""Two-sided level of a reported interval."""


def measure(
    pair: Pair,
    logits: tuple[Floats, Floats],
    split: Split,
    train: Split,
    *,
    seed: int,
    marking: Marking = BY_CLASS,
) -> dict[str, Measurement]:
    """`generalisation.gap`: accuracy on training rows minus accuracy on the rows of `split`, and by how much it is
    wider than the twin's; `logits` are both models' on the rows of `split`, the candidate's first.

    As many training rows as the split has are drawn by the seed: one pass for either model, the twin's once a search.
    """
    drawn = np.sort(np.random.default_rng(seed).permutation(len(train))[: len(split)])
    seen = train.taken(drawn)
    on_seen = [marking.right(each, seen.y) for each in pair.logits(seen.x)]
    on_fresh = [marking.right(each, split.y) for each in logits]
    gap, twin_gap = (
        minus(*(share(int(right.sum()), len(right), alpha=ALPHA) for right in both))
        for both in zip(on_seen, on_fresh, strict=True)
    )
    return {
        "generalisation.gap": gap,
        "generalisation.twin_gap": twin_gap,
        "generalisation.gap_increase": minus(
            difference(paired(*on_seen), alpha=ALPHA), difference(paired(*on_fresh), alpha=ALPHA)
        ),
    }
