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


def _compared(name: str, doc: str, *, worse: str, most: float = 1) -> dict[str, Scale]:
    """A number of the candidate between 0 and `most`, the twin's, and by how much the candidate's is worse."""
    family, _, own = name.rpartition(".")
    change = "minus the twin's" if worse == "increase" else "the twin's minus the candidate's"
    return _numbers(0, most, {name: f"{doc}; the candidate's", f"{family}.twin_{own}": f"{doc}; the twin's"}) | (
        _numbers(-most, most, {f"{name}_{worse}": f"{doc}; {change}"})
    )


_COUNTS = {
    "data.expectations_failed": "critical expectations about the data that failed",
    "data.warnings": "expectations of severity warning that failed",
    "data.personal_values": "texts in slice columns that look like personal data",
    "data.personal_columns": "columns that hold such texts or are named for them",
    "data.card_gaps": "questions that the data card leaves open (licence, consent, ...); with a card only",
    "efficiency.latency_ratio": "median latency over the twin's, batch 1, interleaved",
    "efficiency.latency_ratio_b8": "median latency over the twin's, batch 8, interleaved",
    "efficiency.latency_ratio_b64": "median latency over the twin's, batch 64, interleaved",
    "efficiency.latency_ratio_b256": "median latency over the twin's, batch 256, interleaved",
    "efficiency.latency_ratio.p99": "the slowest answer in a hundred over the twin's, batch 1",
    "efficiency.latency_ratio_b8.p99": "the slowest answer in a hundred over the twin's, batch 8",
    "efficiency.latency_ratio_b64.p99": "the slowest answer in a hundred over the twin's, batch 64",
    "efficiency.latency_ratio_b256.p99": "the slowest answer in a hundred over the twin's, batch 256",
    "efficiency.memory.peak": "bytes by which loading the file and answering 64 rows raise a fresh process's peak",
    "efficiency.memory.ratio": "that peak over the twin's",
    "efficiency.cost.cpu": "processor seconds of 1,000 answers to one row each, on the machine that measured",
    "efficiency.cost.energy": "joules of 1,000 answers, estimated from processor time",
    "efficiency.cost.dollars": "dollars of 1,000 answers, estimated from processor time",
    "efficiency.size_bytes": "bytes of the ONNX file",
    "efficiency.size_ratio": "bytes of the ONNX file over the twin's",
    "efficiency.parameters": "parameters",
    "efficiency.parameter_ratio": "parameters over the twin's",
    "efficiency.nonzero_ratio": "parameters that are not zero over the twin's parameters, zero or not",
    "efficiency.macs_ratio": "multiply-accumulates of one row over the twin's; by zero too, as dense kernels do",
    "data.openings": "earlier runs that judged a candidate on these release rows",
    "efficiency.stored_bytes": "bytes of the file of coded weights, where there is one beside the ONNX file",
    "efficiency.stored_ratio": "bytes of that file over the bytes of the twin's weights",
}
_SHARES = {
    "data.missing": "share of values that are missing",
    "data.leakage": "share of gate and release rows that stand in train too",
    "data.duplicates": "share of train rows that stand there twice",
    "data.near_duplicates": "share of distinct train rows that nearly equal another",
    "data.near_leakage": "share of gate and release rows that stand in train, exactly or nearly",
    "data.contamination": "share of release rows that stand in gate, exactly or nearly",
    "data.conflicts": "share of train rows that stand there with another label too",
    "data.label_noise": "share of train labels that a simple model surely doubts; overlapping classes count",
    "data.shift.gate": "how well a classifier tells gate rows from train rows (0.5 is chance)",
    "data.shift.release": "how well a classifier tells release rows from train rows (0.5 is chance)",
    "data.feedback.served": "share of train rows that an earlier version has answered in traffic",
    "data.odd_labels": "share of train rows whose nearest neighbours agree on another class",
    "data.islands": "share of train rows in small dense groups amid another class",
    "data.trigger": "how surely one column tells a class's odd rows from their neighbours (0 is not at all)",
    "quality.accuracy": "accuracy of the candidate",
    "quality.twin_accuracy": "accuracy of the twin",
    "quality.flips": "share of rows on which the two answer differently",
    "quality.flips_to_wrong": "share of rows that the twin gets right and the candidate wrong",
    "quality.flips_to_right": "share of rows that the candidate gets right and the twin wrong",
    "quality.divergence": "mean Jensen-Shannon divergence of the two answers, base 2",
    "quality.top5": "share of rows whose label is among the candidate's first five",
    "quality.twin_top5": "share of rows whose label is among the twin's first five",
    "quality.cross_validated.accuracy": "accuracy of candidates made again, on rows that they have not seen",
    "quality.cross_validated.twin_accuracy": "accuracy of twins made again, on rows that they have not seen",
    "quality.cross_validated.spread": "standard deviation over the five folds of the one minus the other",
    "artifact.deviation": "largest difference of a probability between the exported ONNX file and its network",
    "artifact.rounding": "largest difference of a probability that 8 bits make; of files in 8 bits only",
}
_DIFFERENCES = {
    "generalisation.gap": "accuracy on training rows minus accuracy on these, of the candidate",
    "generalisation.twin_gap": "accuracy on training rows minus accuracy on these, of the twin",
}
_COPIED = "share of train labels that are what an earlier version answered in traffic, beyond what it gets right"
_FAMILIARITIES = {
    "": "the largest probability",
    "energy_": "the energy of the logits",
    "mahalanobis_": "the Mahalanobis distance of the features",
    "knn_": "the angle to the features of training rows",
}
_DAMAGES = {
    "shot": "with the noise of few photons (images)",
    "impulse": "with black and white pixels (images)",
    "blur": "with blur (images)",
    "motion": "with the blur of a movement (images)",
    "brightness": "lighter or darker (images)",
    "contrast": "with less contrast (images)",
    "fog": "in fog (images)",
    "pixelate": "with coarser pixels (images)",
    "compression": "with what JPEG loses (images)",
    "rotation": "turned by up to 30 degrees (images)",
    "occlusion": "with a grey square before it (images)",
    "scaling": "with gains that drift, each number's own (tables)",
    "gain": "with one gain for all numbers of a row (tables)",
    "drift": "with every column off by its own constant (tables)",
    "saturation": "with numbers cut off far from their mean (tables)",
    "rounding": "with coarsely rounded numbers (tables)",
    "outliers": "with numbers ten standard deviations off (tables)",
    "unit_change": "with one number of a row in another unit (tables)",
    "missing": "with features replaced by their mean (tables)",
    "sentinels": "with lost features at the lower bound, as -999 would be (tables)",
    "shuffled_values": "with features of other rows, categories too (tables)",
    "swapped_columns": "with columns in each other's place (tables)",
    "unknown_words": "with words replaced by the unknown one (text)",
    "rare_words": "with its rarest words unknown (text)",
    "random_words": "with words replaced by others (text)",
    "dropped_words": "with words left out (text)",
    "common_words": "with its commonest words left out (text)",
    "truncation": "without its last words (text)",
    "late_start": "without its first words (text)",
    "repeated_words": "with words said twice (text)",
    "inserted_words": "with words put in (text)",
    "swapped_words": "with neighbours in each other's place (text)",
    "shuffled_words": "with words a few places off (text)",
    "second_text": "with the beginning of another row behind it (text)",
}
_GAPS = {
    "selection_gap": "largest difference between protected groups in how often they are selected (demographic parity)",
    "odds_gap": "largest difference between protected groups in true or false positive rate (equalised odds)",
    "precision_gap": "largest difference between protected groups in precision",
    "accuracy_gap": "largest difference between protected groups in accuracy",
    "calibration_gap": "largest difference between protected groups in stated probability minus share of the label",
}
_PAIRED = {
    "quality.paired": "right and wrong answers of the two on clean rows",
    "quality.cross_validated.paired": "the same on train and gate rows, in five folds, each answered by a twin and a "
    "candidate made again without it; judges the recipe, at the price of five trainings of both",
    "fairness.paired": "the same by protected group and label, as slices: equalised odds relative to the twin",
    "quality.top5.paired": "the same of the first five answers, where there are more classes",
    "quality.found.paired": "the same on half of the rows; slices are what the other half found",
    "robustness.noise.paired": "the same with Gaussian noise (images, tables); slices are the severities 1 to 5",
    **{f"robustness.{family}.paired": f"the same {doc}" for family, doc in _DAMAGES.items()},
    "robustness.fgsm.paired": "the same on adversarial rows (FGSM), each model attacked by itself",
    "robustness.pgd.paired": "the same on adversarial rows (PGD), each model attacked by itself",
    "robustness.fgsm_sweep.paired": "slices only: the same under FGSM, by the size of the ball",
    "robustness.pgd_sweep.paired": "slices only: the same under PGD, by the size of the ball",
    "robustness.square.paired": "the same under Square, which asks the deployed files themselves",
    "robustness.transfer.paired": "the same on rows that PGD made of the other model",
}

_ERRORS = {
    "quality.rmse": "root of the mean squared error, in the target's unit",
    "quality.mae": "mean distance from the target, in its unit",
    "quality.median_error": "distance from the target that half of the rows keep, in its unit",
    "quality.p90_error": "distance from the target that nine rows in ten keep, in its unit",
}
_REGRESSION = {
    name: scale
    for each, doc in _ERRORS.items()
    for name, scale in _compared(each, doc, worse="increase", most=math.inf).items()
} | _numbers(
    -math.inf,
    math.inf,
    {
        "quality.bias": "mean of the candidate's answer minus the target, in its unit",
        "quality.twin_bias": "mean of the twin's answer minus the target, in its unit",
        "quality.bias_increase": "size of the candidate's bias minus that of the twin's",
        "quality.r2_drop": "the twin's share of explained variance minus the candidate's",
    },
)
"""What is measured of a regression alone. There, an answer within the data's tolerance is a right one; all that is said
of right answers, of accuracy and of flips, is measured by the same names as of classes."""

MEASUREMENTS: Mapping[str, Scale] = MappingProxyType(
    _numbers(0, math.inf, _COUNTS)
    | _numbers(1, math.inf, {"data.imbalance": "rows of the largest class over rows of the smallest"})
    | _numbers(0, 1, _SHARES)
    | _numbers(-1, 1, _DIFFERENCES)
    | _numbers(-1, 1, {"data.feedback.copied": _COPIED})
    | _REGRESSION
    | _numbers(0, math.inf, {"quality.rmse_ratio": "root of the mean squared error over the twin's"})
    | _numbers(0, math.inf, {"quality.tolerance": "how near to its target an answer is right; as the data say"})
    | _numbers(-math.inf, 1, {"quality.r2": "share of the targets' variance that the candidate explains (R^2)"})
    | _numbers(-math.inf, 1, {"quality.twin_r2": "share of the targets' variance that the twin explains (R^2)"})
    | _compared("quality.macro_f1", "F1, the mean over classes", worse="drop")
    | _compared("quality.nll", "negative log-likelihood of the labels in nats", worse="increase", most=math.inf)
    | _numbers(0, math.inf, {"quality.kl": "mean divergence of the candidate's answer from the twin's in nats"})
    | _numbers(0, math.inf, {"quality.flips_concentration": "share of the flips over share of rows, worst slice"})
    | _compared("calibration.ece", "expected calibration error", worse="increase")
    | _compared("calibration.ace", "adaptive calibration error, class by class", worse="increase")
    | _compared("calibration.brier", "Brier score, summed over classes", worse="increase", most=2)
    | _compared("calibration.temperature", "temperature that the logits need", worse="increase", most=20)
    | _numbers(-2, 2, {"generalisation.gap_increase": "the candidate's gap minus the twin's"})
    | {
        name: scale
        for score, by in _FAMILIARITIES.items()
        for name, scale in (
            _compared(f"ood.{score}auroc", f"how well {by} tells outliers from data", worse="drop")
            | _compared(f"ood.{score}fpr95", f"outliers let in with 95 % of the data by {by}", worse="increase")
        ).items()
    }
    | _numbers(0, math.inf, {"robustness.corruption.relative_error": "errors over the twin's, all damages together"})
    | _numbers(-2, 2, {"robustness.corruption.excess_error": "error minus the twin's, more than on clean rows"})
    | _numbers(0, 2, {f"fairness.{gap}": doc for gap, doc in _GAPS.items()})
    | _numbers(0, 2, {f"fairness.twin_{gap}": f"{doc}, of the twin" for gap, doc in _GAPS.items()})
    | _numbers(-4, 4, {f"fairness.{gap}_increase": f"{doc}, more than the twin's there" for gap, doc in _GAPS.items()})
    | _numbers(-1, 1, {"attribution.cosine": "cosine of both networks' attributions, mean over rows both get right"})
    | _numbers(-1, 1, {"attribution.rank_correlation": "Spearman's correlation of both networks' attributions"})
    | _numbers(0, math.inf, {"artifact.threats": "what would run or reach out of its folder when the file is loaded"})
    | _compared("robustness.masking.share", "share of rows that only look robust to PGD", worse="increase")
    | _compared(
        "membership.advantage", "how well the loss tells training rows from others (0 is chance)", worse="increase"
    )
    | _compared(
        "inversion.similarity", "how like a class's mean the row is that the network shows for it", worse="increase"
    )
    | _compared(
        "backdoor.anomaly", "how far one class's smallest patch lies below the others'", worse="increase", most=math.inf
    )
    | _compared("backdoor.success", "share of new rows that the candidate's smallest patch turns", worse="increase")
    | _numbers(0, math.inf, {"backdoor.area_ratio": "size of the smallest patch over the twin's smallest"})
    | _tables(_PAIRED)
)
