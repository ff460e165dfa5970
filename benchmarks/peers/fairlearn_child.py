"""Runs in the environment of fairlearn: rates by group with its bootstrap.

Arguments: the answers, where the intervals go, resamples, seed.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np


def main(given: str, made: str, resamples: str, seed: str) -> None:
    from fairlearn import metrics  # type: ignore[import-not-found]  # here, as it is in no other environment
    from sklearn.metrics import accuracy_score

    answers = np.load(given)
    start = time.perf_counter()
    frame = metrics.MetricFrame(
        metrics={
            "selection_rate": metrics.selection_rate,
            "tpr": metrics.true_positive_rate,
            "fpr": metrics.false_positive_rate,
            "accuracy": accuracy_score,
        },
        y_true=answers["y"],
        y_pred=answers["predicted"],
        sensitive_features=answers["groups"],
        n_boot=int(resamples),
        ci_quantiles=[0.025, 0.975],
        random_state=int(seed),
    )
    low, high = frame.by_group_ci
    seconds = time.perf_counter() - start
    intervals = {
        f"{rate}.slice.{group}": [float(low[rate][group]), float(high[rate][group])]
        for rate in low.columns
        for group in low.index
    }
    Path(made).write_text(json.dumps({"seconds": seconds, "intervals": intervals}))


if __name__ == "__main__":
    main(*sys.argv[1:])
