"""Validations made by hand, for reports to be made from."""

from pruneguard.evidence import Estimate, Evidence, Measurement, PairedTable
from pruneguard.gates import judge
from pruneguard.policy import Policy, Rule
from pruneguard.validation.result import Source, Validation

MODEL, TWIN, DATA = ("sha256:" + letter * 64 for letter in "abc")

RULES = (
    Rule(
        "quality.paired", "non_inferior", "quality.paired", {"margin": 0.02, "alpha": 0.05}, "It costs.", "Prune less."
    ),
    Rule(
        "quality.slices",
        "slices_non_inferior",
        "quality.paired",
        {"margin": 0.05, "alpha": 0.05, "rows_min": 30.0},
        "Nobody pays for all.",
        "Look at the slice.",
    ),
    Rule(
        "calibration.ece",
        "at_most",
        "calibration.ece",
        {"limit": 0.05},
        "People act on it.",
        "Calibrate <again> & | `so`.",
    ),
    Rule("ood.auroc_drop", "at_most_surely", "ood.auroc_drop", {"limit": 0.03}, "Others come.", "Prune less."),
)
LEFT_OUT = Rule(
    "artifact.deviation", "at_most", "artifact.deviation", {"limit": 0.1}, "It is the same.", "Export again."
)

GOOD: dict[str, Measurement] = {
    "quality.paired": PairedTable(950, 12, 8, 30),
    "quality.paired.slice.site=<b>": PairedTable(450, 6, 4, 10),
    "quality.paired.slice.site=c": PairedTable(500, 6, 4, 20),
    "calibration.ece": Estimate(0.02, 0.01, 0.03, 1000),
    "calibration.reliability.slice.confidence=0.6000": Estimate(0.7, 0.6, 0.8, 100),
    "calibration.twin_reliability.slice.confidence=0.9000": Estimate(0.9, 0.8, 0.95, 100),
    "ood.auroc_drop": Estimate(0.01, -0.01, 0.02, 500),
}
BAD: dict[str, Measurement] = GOOD | {
    "quality.paired": PairedTable(930, 8, 32, 30),
    "quality.paired.slice.site=<b>": PairedTable(400, 0, 60, 10),
    "ood.auroc_drop": Estimate(0.01, -0.01, 0.05, 500),
}


def validation(measured: dict[str, Measurement], *, left_out: tuple[Rule, ...] = ()) -> Validation:
    """A verdict over RULES on these measurements; where `calibration.ece` is missing, it says why."""
    context = {"split": "gate", "left out": "robustness.pgd: not asked; calibration: no answers"}
    policy = Policy("mine", 3, "To be as good.", RULES)
    evidence = (Evidence(MODEL, TWIN, DATA, measured, context),)
    verdict = judge(policy, evidence, candidate=MODEL, twin=TWIN, data=DATA)
    sources = (
        Source("model", "out/model 1.onnx", MODEL),
        Source("twin", "dense.onnx", TWIN),
        Source("data", "workload.py:Mine", DATA),
        Source("policy", "ci/policy.yaml", policy.digest),
    )
    return Validation(policy, left_out, verdict, evidence, {"calibration.ece": "no answers"}, sources)


def without(measured: dict[str, Measurement], *names: str) -> dict[str, Measurement]:
    return {name: value for name, value in measured.items() if name not in names}
