"""What a disturbance must know about the rows it disturbs: their kind and limits, and how large a change is large."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from pruneguard.errors import InvalidInputError
from pruneguard.workload import KINDS, Floats, Integers, Kind, Snapshot, Tokens

TABLE_SPREAD = 4
"""Standard deviations that count as a table feature's range: about 95 % of a normal feature."""

_SEEN = 4096  # rows that tell which columns of a table are one category


@dataclass(frozen=True, slots=True, eq=False)
class Words:
    """The words of a text, those of its training rows with how often they are said there."""

    tokens: Tokens
    known: Floats
    counts: Integers

    @classmethod
    def of(cls, x: Floats, tokens: Tokens) -> "Words":
        known, counts = np.unique(x, return_counts=True)
        said = cls(tokens, known, counts.astype(np.int64)).are(known)
        return cls(tokens, known[said], counts[said].astype(np.int64))

    def are(self, x: Floats) -> npt.NDArray[np.bool_]:
        """Where a word stands, known or not."""
        return ~self.mark(x) if self.tokens.filling is None else ~self.mark(x) & (x != self.tokens.filling)

    def mark(self, x: Floats) -> npt.NDArray[np.bool_]:
        return np.isin(x, np.asarray(self.tokens.marks, dtype=np.float32))

    def commonness(self, x: Floats) -> Integers:
        """How often each token is said in training, 0 for no word."""
        place = np.searchsorted(self.known, x).clip(max=len(self.known) - 1)
        return np.where(self.known[place] == x, self.counts[place], 0)

    def drawn(self, shape: tuple[int, ...], rng: np.random.Generator) -> Floats:
        """Words as often as in training."""
        said = np.cumsum(self.counts)
        return self.known[np.searchsorted(said, rng.integers(said[-1], size=shape), side="right")]


@dataclass(frozen=True, slots=True, eq=False)
class Domain:
    """Where rows live.

    `spread` is the unit in which noise and attacks are stated, and broadcasts against rows: for images [n, channels,
    height, width] the width of the bounds, for everything else four standard deviations of each feature in `train`,
    since one pair of bounds says nothing about features of different scales. `mean` is each feature's, in `train`.
    `features` numbers the feature of every column of a table, one for all columns of a one-hot category; `words` are
    those of a text. A snapshot without training rows is known by its gate rows, or else by those of release.
    """

    low: float
    high: float
    kind: Kind
    mean: Floats
    spread: Floats
    features: Integers = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    words: Words | None = None

    @classmethod
    def of(cls, snapshot: Snapshot) -> "Domain":
        """Raises InvalidInputError when the rows are not of the kind that the snapshot says, or when there are none."""
        for problem in kind_problems(snapshot):
            raise InvalidInputError(f"{problem}; change what the workload's `data` returns")
        x = next((split.x for split in snapshot.splits.values() if len(split)), None)
        if x is None:
            raise InvalidInputError("the data have no rows; change what the workload's `data` returns")
        low, high = snapshot.bounds
        kind = kind_of(snapshot)
        spread = np.float32(high - low) if kind == "images" else TABLE_SPREAD * x.std(axis=0, dtype=np.float64)
        return cls(
            low=low,
            high=high,
            kind=kind,
            mean=x.mean(axis=0, dtype=np.float64).astype(np.float32),
            spread=np.asarray(spread, dtype=np.float32),
            features=_features(x[:_SEEN].reshape(min(len(x), _SEEN), -1)) if kind == "table" else np.zeros(0, np.int64),
            words=Words.of(x, snapshot.tokens or Tokens()) if kind == "text" else None,
        )

    def clip(self, x: Floats) -> Floats:
        """The rows moved inside the bounds, as float32."""
        return np.clip(x, self.low, self.high).astype(np.float32, copy=False)


def kind_of(snapshot: Snapshot) -> Kind:
    """What the snapshot says its rows are, or how they look: four dimensions are images, everything else a table."""
    if snapshot.kind is not None:
        return snapshot.kind
    return "images" if snapshot.train.x.ndim == 4 else "table"


def kind_problems(snapshot: Snapshot) -> Iterator[str]:
    """Where the rows, which are arrays, are not what the snapshot says they are."""
    if snapshot.kind not in (None, *KINDS):
        yield f"kind is {snapshot.kind!r}; expected one of {', '.join(KINDS)}, or None"
    elif snapshot.tokens is not None and snapshot.kind != "text":
        yield f"tokens are given and kind is {snapshot.kind!r}; only the kind 'text' has tokens"
    elif snapshot.kind == "images" and snapshot.train.x.ndim != 4:
        shape = list(snapshot.train.x.shape)
        yield f"kind is 'images' and rows have the shape {shape}; expected [n, channels, height, width]"
    elif snapshot.kind == "text":
        yield from _text_problems(snapshot)


def _text_problems(snapshot: Snapshot) -> Iterator[str]:
    tokens = snapshot.tokens or Tokens()
    if snapshot.train.x.ndim != 2:
        yield f"kind is 'text' and rows have the shape {list(snapshot.train.x.shape)}; expected [n, places]"
        return
    for name, split in snapshot.splits.items():
        if (broken := (split.x != np.rint(split.x)).any(axis=1)).any():
            yield f"kind is 'text' and row {broken.argmax()} of {name} holds a number that is no whole one"
        filled = split.x == tokens.filling
        if (early := (filled[:, :-1] & ~filled[:, 1:]).any(axis=1)).any():
            yield (
                f"row {early.argmax()} of {name} has the filling token {tokens.filling} before another one; "
                "expected filling at the end only"
            )
    if len(snapshot.train) and not len(Words.of(snapshot.train.x, tokens).known):
        yield "kind is 'text' and train has no word, only filling and marks"


def _features(x: Floats) -> Integers:
    """The feature of each column [columns], numbered from 0.

    Neighbours of which in every row one is 1 and the others are 0 are a category: between two running totals that
    differ by 1 in all rows lies one.
    """
    first_of = np.arange(x.shape[1])
    total, starts = np.zeros(len(x), dtype=np.int32), dict[bytes, int]()
    for column, values in enumerate(x.T):
        if not ((values == 0) | (values == 1)).all():
            starts.clear()
            continue
        starts[total.tobytes()] = column
        total += values == 1
        first = starts.get((total - 1).tobytes(), column)
        if first < column:
            first_of[first : column + 1] = first
            starts.clear()
    return np.unique(first_of, return_inverse=True)[1].astype(np.int64)
