"""Worst-case damage inside a small ball, each model attacked by itself, the score always the deployed artefact's.

whitebox   FGSM and PGD follow the gradients of the torch network
blackbox   Square asks the artefact itself, 8 bits included, and needs no gradient
siege      both models under the same attacks on the same rows, each attack made once
families   what is measured of it: `robustness.fgsm`, `pgd`, their sweeps, `square`, `transfer`, `masking`

Every attack is called `attack(model, x, y, domain, epsilon=..., steps=..., seed=...)` and gives the attacked rows.
"""

from pruneguard.evaluation.security.attacks.blackbox import QUERIES, square
from pruneguard.evaluation.security.attacks.families import masking, paired_under, square_paired, sweep, transfer
from pruneguard.evaluation.security.attacks.siege import ROWS_MAX, Siege
from pruneguard.evaluation.security.attacks.whitebox import ATTACKS, EPSILON, STEPS, UNIT, fgsm, obstacle, pgd

__all__ = [
    "ATTACKS",
    "EPSILON",
    "QUERIES",
    "ROWS_MAX",
    "STEPS",
    "UNIT",
    "Siege",
    "fgsm",
    "masking",
    "obstacle",
    "paired_under",
    "pgd",
    "square",
    "square_paired",
    "sweep",
    "transfer",
]
