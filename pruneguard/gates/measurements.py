"""Every measurement a policy can name, what kind of value it is, and which values it can take."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from pruneguard.evidence import Estimate, PairedTable


@dataclass(frozen=True, slots=True)
class Scale:
    """Kind and range of a measurement: a limit outside the range would always or never pass."""

    kind: type[Estimate] | type[PairedTable]
    low: float
    high: float
    doc: str


def _numbers(low: float, high: float, docs: Mapping[str, str]) -> dict[str, Scale]:
    return {name: Scale(Estimate, low, high, doc) for name, doc in docs.items()}


def _tables(docs: Mapping[str, str]) -> dict[str, Scale]:
    return {name: Scale(PairedTable, -1, 1, doc) for name, doc in docs.items()}


_COUNTS = {
    "data.expectations_failed": "critical expectations about the data that failed",
    "data.warnings": "expectations of severity warning that failed",
    "efficiency.latency_ratio": "median latency over the twin's, batch 1, interleaved",
    "efficiency.latency_ratio_b64": "median latency over the twin's, batch 64, interleaved",
    "efficiency.size_bytes": "bytes of the ONNX file",
    "efficiency.size_ratio": "bytes of the ONNX file over the twin's",
    "efficiency.parameters": "parameters",
    "efficiency.parameter_ratio": "parameters over the twin's",
    "efficiency.nonzero_ratio": "parameters that are not zero over the twin's parameters, zero or not",
    "efficiency.macs_ratio": "multiply-accumulates of one row over the twin's; by zero too, as dense kernels do",
    "efficiency.stored_bytes": "bytes of the file of coded weights, where there is one beside the ONNX file",
    "efficiency.stored_ratio": "bytes of that file over the bytes of the twin's weights",
}
_SHARES = {
    "data.missing": "share of values that are missing",
    "data.leakage": "share of gate and release rows that stand in train too",
    "data.duplicates": "share of train rows that stand there twice",
    "quality.accuracy": "accuracy of the candidate",
    "quality.twin_accuracy": "accuracy of the twin",
    "quality.flips": "share of rows on which the two answer differently",
    "quality.flips_to_wrong": "share of rows that the twin gets right and the candidate wrong",
    "quality.flips_to_right": "share of rows that the candidate gets right and the twin wrong",
    "quality.divergence": "mean Jensen-Shannon divergence of the two answers, base 2",
    "calibration.ece": "expected calibration error of the candidate",
    "calibration.twin_ece": "expected calibration error of the twin",
    "ood.auroc": "how well the candidate's confidence tells outliers from data (0.5 is chance)",
    "ood.twin_auroc": "how well the twin's confidence tells outliers from data",
    "ood.energy_auroc": "the same by the energy of the candidate's logits",
    "ood.twin_energy_auroc": "the same by the energy of the twin's logits",
    "artifact.deviation": "largest difference of a probability between the exported ONNX file and its network",
    "artifact.rounding": "largest difference of a probability that 8 bits make; of files in 8 bits only",
}
_DIFFERENCES = {
    "calibration.ece_increase": "expected calibration error minus the twin's",
    "ood.auroc_drop": "the twin's AUROC on outliers minus the candidate's, by confidence",
    "ood.energy_auroc_drop": "the twin's AUROC on outliers minus the candidate's, by energy",
}
_PAIRED = {
    "quality.paired": "right and wrong answers of the two on clean rows",
    "robustness.noise.paired": "the same with Gaussian noise, severities 1 to 3 in equal shares",
    "robustness.blur.paired": "the same with blur (images)",
    "robustness.contrast.paired": "the same with less contrast (images)",
    "robustness.scaling.paired": "the same with gains that drift (tables)",
    "robustness.missing.paired": "the same with features replaced by their mean (tables)",
    "robustness.fgsm.paired": "the same on adversarial rows (FGSM), each model attacked by itself",
    "robustness.pgd.paired": "the same on adversarial rows (PGD), each model attacked by itself",
}

MEASUREMENTS: Mapping[str, Scale] = MappingProxyType(
    _numbers(0, math.inf, _COUNTS)
    | _numbers(1, math.inf, {"data.imbalance": "rows of the largest class over rows of the smallest"})
    | _numbers(0, 1, _SHARES)
    | _numbers(-1, 1, _DIFFERENCES)
    | _numbers(0, 2, {"calibration.brier": "Brier score of the candidate, summed over classes"})
    | _numbers(-2, 2, {"calibration.brier_increase": "Brier score minus the twin's"})
    | _tables(_PAIRED)
)
