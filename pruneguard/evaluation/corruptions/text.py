"""Damage to text: what people who type, speech recognition and bad joins do to a row of tokens.

Every function takes rows [n, places] of token numbers. Words are the tokens that are neither filling nor marks; marks
stay where they are among them, and no word crosses one. Where a row becomes too long, its last words are lost. At least
one word of every row is touched where there is one to touch, and no row loses its last.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from pruneguard.evaluation.domain import Domain, Words
from pruneguard.workload import Floats

Drawn: TypeAlias = np.random.Generator
Marks: TypeAlias = npt.NDArray[np.bool_]
Keys: TypeAlias = npt.NDArray[np.floating] | npt.NDArray[np.int64]

_SHARES = (0.05, 0.1, 0.2, 0.3, 0.4)
"""Of a row's words, rounded up."""

_REACHES = (2, 3, 4, 6, 8)
"""Places that a word of shuffled ones may wander."""


def corrupt(x: Floats, domain: Domain, *, family: str, severity: int, rng: Drawn) -> Floats:
    """The rows damaged at a severity from 1 to 5."""
    assert domain.words is not None  # a domain of text has words
    return FAMILIES[family](x, severity - 1, domain.words, rng)


def lacks(family: str, domain: Domain) -> str | None:
    """Why these rows cannot be damaged so; None where they can."""
    assert domain.words is not None
    tokens = domain.words.tokens
    if family in ("unknown_words", "rare_words") and tokens.unknown is None:
        return "the data name no token for unknown words"
    if family in ("dropped_words", "common_words", "truncation", "late_start") and tokens.filling is None:
        return "the data name no token that fills rows up"
    return None


def _unknown_words(x: Floats, level: int, words: Words, rng: Drawn) -> Floats:
    return _made_unknown(x, _chosen(words.are(x), level, rng.random(x.shape)), words)


def _rare_words(x: Floats, level: int, words: Words, rng: Drawn) -> Floats:
    """The rarest of a row are unknown."""
    return _made_unknown(x, _chosen(words.are(x), level, words.commonness(x)), words)


def _random_words(x: Floats, level: int, words: Words, rng: Drawn) -> Floats:
    return np.where(_chosen(words.are(x), level, rng.random(x.shape)), words.drawn(x.shape, rng), x)


def _dropped_words(x: Floats, level: int, words: Words, rng: Drawn) -> Floats:
    return _without(x, level, words, rng.random(x.shape))


def _common_words(x: Floats, level: int, words: Words, rng: Drawn) -> Floats:
    """As in a telegram, the commonest of a row are left out."""
    return _without(x, level, words, -words.commonness(x))


def _truncation(x: Floats, level: int, words: Words, rng: Drawn) -> Floats:
    return _without(x, level, words, -_places(x, words))


def _late_start(x: Floats, level: int, words: Words, rng: Drawn) -> Floats:
    return _without(x, level, words, _places(x, words))


def _repeated_words(x: Floats, level: int, words: Words, rng: Drawn) -> Floats:
    return _inserted(x, x, _chosen(words.are(x), level, rng.random(x.shape)), words)


def _inserted_words(x: Floats, level: int, words: Words, rng: Drawn) -> Floats:
    return _inserted(x, words.drawn(x.shape, rng), _chosen(words.are(x), level, rng.random(x.shape)), words)


def _swapped_words(x: Floats, level: int, words: Words, rng: Drawn) -> Floats:
    """Some words change places with the next one."""
    word = words.are(x)
    followed = word & np.pad(word[:, 1:], [(0, 0), (0, 1)])
    late = _chosen(followed, level, rng.random(x.shape))
    return _arranged(x, _places(x, words) + 1.5 * late, words, places=x.shape[1])


def _shuffled_words(x: Floats, level: int, words: Words, rng: Drawn) -> Floats:
    """Every word wanders among its next neighbours."""
    wandered = words.are(x) * _REACHES[level] * rng.random(x.shape)
    return _arranged(x, _places(x, words) + wandered, words, places=x.shape[1])


def _second_text(x: Floats, level: int, words: Words, rng: Drawn) -> Floats:
    """The beginning of another row follows, its first 2, 4, 6, 8, 10 words."""
    other, places = x[rng.permutation(len(x))], x.shape[1]
    word = words.are(other)
    first = word & (np.cumsum(word, axis=1) <= 2 * (level + 1))
    keys = _places(x, words)
    end = np.where(words.are(x), keys, -1).max(axis=1, keepdims=True)
    follows = end + (1 + np.arange(places)) / (1 + places)  # before the mark that comes next
    both = np.hstack([keys, np.where(first, follows, np.inf)])
    return _arranged(np.hstack([x, other]), both, words, places=places)


FAMILIES: Mapping[str, Callable[[Floats, int, Words, Drawn], Floats]] = MappingProxyType(
    {
        "unknown_words": _unknown_words,
        "rare_words": _rare_words,
        "random_words": _random_words,
        "dropped_words": _dropped_words,
        "common_words": _common_words,
        "truncation": _truncation,
        "late_start": _late_start,
        "repeated_words": _repeated_words,
        "inserted_words": _inserted_words,
        "swapped_words": _swapped_words,
        "shuffled_words": _shuffled_words,
        "second_text": _second_text,
    }
)
"""By name; arguments are the rows, the severity from 0 to 4, the words of the training rows, and the chance."""


def _places(x: Floats, words: Words) -> Keys:
    """What a row is sorted by: places in order, every mark far above all before it, filling at infinity."""
    marks = words.mark(x)
    apart = 4 * (x.shape[1] + _REACHES[-1])
    keys = np.arange(x.shape[1]) + apart * np.cumsum(marks, axis=1) - marks * (x.shape[1] + 1)
    return np.where(marks | words.are(x), keys, np.inf)


def _arranged(tokens: Floats, keys: Keys, words: Words, *, places: int) -> Floats:
    """Rows of `places` tokens in the order of their keys; what has the key infinity is gone."""
    order = np.argsort(keys, axis=1, kind="stable")
    tokens, there = np.take_along_axis(tokens, order, 1), np.isfinite(np.take_along_axis(keys, order, 1))
    word = there & words.are(tokens)
    to_come = np.cumsum(word[:, ::-1], axis=1)[:, ::-1]
    there &= ~word | (to_come > there.sum(axis=1, keepdims=True) - places)
    order = np.argsort(~there, axis=1, kind="stable")[:, :places]
    filling = np.float32(words.tokens.filling or 0)
    return np.where(np.take_along_axis(there, order, 1), np.take_along_axis(tokens, order, 1), filling)


def _inserted(x: Floats, after: Floats, chosen: Marks, words: Words) -> Floats:
    """Behind every chosen word what `after` has in its place."""
    keys = _places(x, words)
    both = np.hstack([keys, np.where(chosen, keys + 0.5, np.inf)])
    return _arranged(np.hstack([x, after]), both, words, places=x.shape[1])


def _without(x: Floats, level: int, words: Words, scores: Keys) -> Floats:
    """Without its words of the lowest scores, but never without all."""
    chosen = _chosen(words.are(x), level, scores, leave=1)
    return _arranged(x, np.where(chosen, np.inf, _places(x, words)), words, places=x.shape[1])


def _made_unknown(x: Floats, chosen: Marks, words: Words) -> Floats:
    assert words.tokens.unknown is not None  # `lacks` says so before
    return np.where(chosen, np.float32(words.tokens.unknown), x)


def _chosen(word: Marks, level: int, scores: Keys, *, leave: int = 0) -> Marks:
    """A row's share of its words, those with the lowest scores; the first of equals."""
    count = word.sum(axis=1, keepdims=True)
    most = np.minimum(np.ceil(_SHARES[level] * count), count - leave)
    rank = np.argsort(np.argsort(np.where(word, scores, np.inf), axis=1, kind="stable"), axis=1)
    chosen: Marks = word & (rank < most)
    return chosen
