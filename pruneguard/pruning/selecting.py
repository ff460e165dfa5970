"""Data pruning: which training rows are worth learning from, seen by small numbers of short trainings.

Every network here is a fresh one of the workload's, fitted by the default training under the workload's schedule and
augmentation; also where the workload has a training of its own, which cannot be looked at after each epoch.
"""

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from pruneguard.errors import InvalidInputError
from pruneguard.pruning import training
from pruneguard.reporting import Progress
from pruneguard.workload import Integers, Snapshot, Split, Workload, ask

Scores = npt.NDArray[np.float64]

NETWORKS = 3
EARLY_EPOCHS = 4
"""After how many epochs EL2N looks: soon, while hard rows and easy ones still differ."""

EPOCHS = 8
FOLDS = 4
_BATCH = 1024


def select(
    workload: Workload, snapshot: Snapshot, *, by: str, keep: float, seed: int, prefer: str = "hard"
) -> Integers:
    """Numbers of the training rows that stay, ascending.

    By "el2n" or "forgetting", the share `keep` of each class stays, the hard rows or the easy ones as `prefer` says:
    hard ones where data are plenty, easy ones where they are scarce (Sorscher et al. 2022, arXiv 2206.14486). By
    "noise" rows leave whose label is likely wrong, the likeliest first; `keep` is the least share of a class to stay.
    Raises InvalidInputError for another `by`, `prefer` or share, and when the loss of a network stops being finite.
    """
    if not 0 < keep <= 1 or prefer not in ("hard", "easy"):
        raise InvalidInputError(f"keep={keep}, prefer={prefer!r}; give a share above 0 up to 1, and hard or easy")
    found = scores(workload, snapshot, by=by, seed=seed)
    y = snapshot.train.y
    return clean(found, y, keep=keep) if by == "noise" else chosen(found, y, keep=keep, prefer=prefer)


def scores(workload: Workload, snapshot: Snapshot, *, by: str, seed: int) -> Scores:
    """One number for each training row, high for the hard ones, or for those whose label is likely wrong."""
    measures: dict[str, Callable[..., Scores]] = {"el2n": el2n, "forgetting": forgetting, "noise": noise}
    if by not in measures:
        raise InvalidInputError(f"rows can be chosen by {', '.join(measures)}; found {by!r}")
    if snapshot.numeric:
        raise InvalidInputError(f"rows are chosen by {by} where labels are classes; these are numbers: keep all rows")
    return measures[by](workload, snapshot, seed=seed)


def el2n(workload: Workload, snapshot: Snapshot, *, seed: int) -> Scores:
    """How far a row's probabilities are from its label early in training (Paul et al. 2021, arXiv 2107.07075)."""
    split = snapshot.train
    networks = (_fitted(workload, split, epochs=EARLY_EPOCHS, seed=seed + number) for number in range(NETWORKS))
    return _mean([distance(_probabilities(network, split), split.y) for network in networks])


def forgetting(workload: Workload, snapshot: Snapshot, *, seed: int) -> Scores:
    """How often a row was right after an epoch and wrong after the next (Toneva et al. 2019, arXiv 1812.05159)."""
    split = snapshot.train
    return _mean([forgotten(_history(workload, split, seed=seed + number)) for number in range(NETWORKS)])


def noise(workload: Workload, snapshot: Snapshot, *, seed: int) -> Scores:
    """How likely a label is wrong, to networks that were not shown the row; 0 where nothing speaks against it."""
    split = snapshot.train
    fold = folds(split.y, seed=seed)
    held_out = np.zeros((len(split), snapshot.classes or 0))
    for number in range(FOLDS):
        shown, hidden = split.taken(fold != number), split.taken(fold == number)
        if len(shown) and len(hidden):
            network = _fitted(workload, shown, epochs=EPOCHS, seed=seed + number)
            held_out[fold == number] = _probabilities(network, hidden)
    return mislabelled(held_out, split.y)


def distance(probabilities: Scores, y: Integers) -> Scores:
    """Euclidean distance of each row's probabilities [n, classes] from its label.

    >>> distance(np.array([[1.0, 0.0], [0.4, 0.6]]), np.array([0, 0])).round(4).tolist()
    [0.0, 0.8485]
    """
    errors = probabilities.copy()
    errors[np.arange(len(y)), y] -= 1
    lengths: Scores = np.linalg.norm(errors, axis=1)
    return lengths


def forgotten(right: npt.NDArray[np.bool_]) -> Scores:
    """Forgetting events in [epochs, n]; a row that was never right counts one more than could be seen.

    >>> forgotten(np.array([[True, False, True], [False, False, True], [True, False, True]])).tolist()
    [1.0, 3.0, 0.0]
    """
    events = (right[:-1] & ~right[1:]).sum(axis=0)
    return np.where(right.any(axis=0), events, len(right)).astype(np.float64)


def mislabelled(probabilities: Scores, y: Integers) -> Scores:
    """Confident learning (Northcutt et al. 2021, arXiv 1911.00068) on probabilities [n, classes] of unseen rows.

    A row is surely of a class when it is as likely of it as the rows with that label are on average. How many rows with
    one label are surely of another class says how many labels are wrong (scaled up to the rows that are surely of
    none), and the likeliest of them are doubted: by how much likelier the other class is. All other rows are at 0.
    """
    classes = probabilities.shape[1]
    usual = np.array([probabilities[y == c, c].mean() if (y == c).any() else np.inf for c in range(classes)])
    sure = np.where(probabilities >= usual, probabilities, -np.inf)
    found = sure.argmax(axis=1)
    known: npt.NDArray[np.bool_] = np.greater(sure.max(axis=1), -np.inf)
    doubt = np.zeros(len(y))
    for label in np.unique(y):
        rows = np.flatnonzero(y == label)
        seen = np.bincount(found[rows][known[rows]], minlength=classes)
        for other in np.flatnonzero(seen):
            margin = probabilities[rows, other] - probabilities[rows, label]
            wrong = np.argsort(-margin, kind="stable")[: round(len(rows) * seen[other] / seen.sum())]
            doubt[rows[wrong]] = np.maximum(doubt[rows[wrong]], margin[wrong])
    return doubt


def chosen(scores: Scores, y: Integers, *, keep: float, prefer: str) -> Integers:
    """The share `keep` of each class, at least one row: those of the highest scores, or "easy": of the lowest."""
    order = np.argsort(-scores if prefer == "hard" else scores, kind="stable")
    stay = [rows[: max(1, round(keep * len(rows)))] for rows in (order[y[order] == c] for c in np.unique(y))]
    return np.sort(np.concatenate(stay)).astype(np.int64)


def clean(scores: Scores, y: Integers, *, keep: float) -> Integers:
    """All rows but those with a score above 0; where that is too many of a class, those with the highest scores go."""
    order = np.argsort(-scores, kind="stable")
    gone = []
    for rows in (order[y[order] == c] for c in np.unique(y)):
        most = len(rows) - max(1, round(keep * len(rows)))
        gone.append(rows[scores[rows] > 0][:most])
    return np.setdiff1d(np.arange(len(y), dtype=np.int64), np.concatenate(gone))


def folds(y: Integers, *, seed: int) -> Integers:
    """The number of a fold for each row; every class in all of them, where it has enough rows."""
    rng = np.random.default_rng(seed)
    fold = np.zeros(len(y), dtype=np.int64)
    dealt = 0
    for label in np.unique(y):
        rows = rng.permutation(np.flatnonzero(y == label))
        fold[rows] = (dealt + np.arange(len(rows))) % FOLDS
        dealt += len(rows)
    return fold


def _history(workload: Workload, split: Split, *, seed: int) -> npt.NDArray[np.bool_]:
    """Which rows were right after each epoch, [epochs, n]."""
    right: list[npt.NDArray[np.bool_]] = []

    def watch(network: nn.Module) -> Progress:
        def look(done: int, total: int) -> None:
            if done * EPOCHS % total == 0:  # the end of an epoch
                right.append(_probabilities(network, split).argmax(axis=1) == split.y)

        return look

    _fitted(workload, split, epochs=EPOCHS, seed=seed, watch=watch)
    return np.array(right)


def _fitted(
    workload: Workload,
    split: Split,
    *,
    epochs: int,
    seed: int,
    watch: Callable[[nn.Module], Progress] | None = None,
) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # the first weights are drawn from the global generator
        network: nn.Module = ask(workload, "build")
    training.fit(
        network,
        split,
        epochs=epochs,
        seed=seed,
        augment=getattr(workload, "augment", None),
        schedule=getattr(workload, "schedule", training.Schedule()),
        progress=None if watch is None else watch(network),
    )
    return network


def _probabilities(network: nn.Module, split: Split) -> Scores:
    """[n, classes] in eval mode; the network's own mode is put back."""
    training_ = network.training
    network.eval()
    with torch.no_grad():
        logits = torch.cat(
            [network(torch.from_numpy(split.x[at : at + _BATCH])) for at in range(0, len(split), _BATCH)]
        )
    network.train(training_)
    found: Scores = torch.softmax(logits.double(), 1).numpy()
    return found


def _mean(scores: Sequence[Scores]) -> Scores:
    mean: Scores = np.mean(scores, axis=0)
    return mean
