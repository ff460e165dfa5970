"""CLINC150: what a customer asks an assistant, 150 intents, told apart by a small transformer trained from scratch."""

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from pruneguard.errors import InvalidInputError
from pruneguard.pruning.training import Schedule
from pruneguard.workload import Floats, Snapshot, Split, Tokens

INTENTS = 150
VOCABULARY = 1536
"""Numbers that a token can have: 0 fills a row up, 1 is a word that train hardly knows, the others its commonest."""

LENGTH = 16
"""Tokens of a row; the two queries in a hundred that are longer are cut."""

FILLING, UNKNOWN, FIRST = 0, 1, 2
FORGOTTEN = 0.1
"""Share of the words that training replaces by the unknown one."""

WORD = re.compile(r"[a-z0-9']+")
PARTS = ("train", "val", "test", "oos_test")

Queries = list[tuple[str, str]]
"""What was asked, and the intent."""


class Clinc150:
    """Rows are token numbers [n, 16], kept as float32; outliers are the queries that ask for none of the intents."""

    schedule = Schedule(rate=2e-3, batch_size=64, weight_decay=0.05, label_smoothing=0.1)

    def build(self) -> nn.Module:
        return Intents(width=128, heads=4, inner=512, layers=2, narrow=32)

    def data(self, directory: Path) -> Snapshot:
        parts = _parts(directory / "clinc150" / "data_full.json")
        words = _vocabulary(text for text, _ in parts["train"])
        intents = sorted({intent for _, intent in parts["train"]})
        train, gate, release = (_split(parts[name], words, intents) for name in ("train", "val", "test"))
        gate = _unlike(gate, train)
        release = _unlike(release, train, gate)
        outliers = _tokens([text for text, _ in parts["oos_test"]], words)
        return Snapshot(
            train,
            gate,
            release,
            INTENTS,
            bounds=(0.0, VOCABULARY - 1.0),
            outliers=outliers,
            kind="text",
            tokens=Tokens(filling=FILLING, unknown=UNKNOWN),
        )

    def augment(self, x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Some words are forgotten, so that the others must do."""
        forgotten = (torch.rand(x.shape, generator=generator) < FORGOTTEN) & (x != FILLING)
        return torch.where(forgotten, float(UNKNOWN), x)


class Intents(nn.Module):
    """Narrow word vectors widened by one matrix (ALBERT, arXiv 1909.11942), a pre-norm encoder, the mean over tokens.

    With vectors of full width the table of words would hold a third of the weights, and no pruning of the encoder makes
    that smaller.
    """

    def __init__(self, *, width: int, heads: int, inner: int, layers: int, narrow: int) -> None:
        super().__init__()
        self.words = nn.Embedding(VOCABULARY, narrow)
        self.widen = nn.Linear(narrow, width)
        self.places = nn.Parameter(torch.randn(LENGTH, width) * 0.02)
        layer = nn.TransformerEncoderLayer(width, heads, inner, dropout=0.1, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, layers, nn.LayerNorm(width), enable_nested_tensor=False)
        self.dropout = nn.Dropout(0.3)
        self.intent = nn.Linear(width, INTENTS)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = x.long()
        filling = F.pad(tokens[:, 1:] == FILLING, (1, 0))  # the first token counts always: no mean is of nothing
        inner = self.encoder(self.widen(self.words(tokens)) + self.places, src_key_padding_mask=filling)
        real = (~filling).unsqueeze(2).to(inner.dtype)
        return self.intent(self.dropout((inner * real).sum(1) / real.sum(1)))


def _vocabulary(texts: Iterable[str]) -> dict[str, int]:
    """The commonest words and their numbers; of equally common ones the first in the alphabet."""
    counts = Counter(word for text in texts for word in WORD.findall(text.lower()))
    common = sorted(counts, key=lambda word: (-counts[word], word))[: VOCABULARY - FIRST]
    return {word: number for number, word in enumerate(common, FIRST)}


def _split(queries: Queries, words: Mapping[str, int], intents: Sequence[str]) -> Split:
    number = {intent: number for number, intent in enumerate(intents)}
    labels = np.array([number[intent] for _, intent in queries], dtype=np.int64)
    return Split(_tokens([text for text, _ in queries], words), labels)


def _tokens(texts: Sequence[str], words: Mapping[str, int]) -> Floats:
    rows = np.full((len(texts), LENGTH), FILLING, dtype=np.float32)
    for row, text in zip(rows, texts, strict=True):
        tokens = [words.get(word, UNKNOWN) for word in WORD.findall(text.lower())][:LENGTH]
        row[: len(tokens)] = tokens
    return rows


def _unlike(split: Split, *others: Split) -> Split:
    """The rows that are in none of the others: some queries differ in words that are outside the vocabulary only."""
    seen = {row.tobytes() for other in others for row in other.x}
    new = np.array([row.tobytes() not in seen for row in split.x])
    return Split(split.x[new], split.y[new])


def _parts(file: Path) -> dict[str, Queries]:
    if not file.is_file():
        raise InvalidInputError(
            f"{file.name} is not in {file.parent.resolve()}; set PRUNEGUARD_DATA_DIR to a directory with clinc150/ "
            "(one file, https://github.com/clinc/oos-eval); examples/clinc150/README.md has the commands"
        )
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
        parts = {name: [(str(text), str(intent)) for text, intent in document[name]] for name in PARTS}
        _require_known_intents(parts)
    except (ValueError, TypeError, KeyError) as error:
        raise InvalidInputError(
            f"{file} is not the published JSON, lists of [query, intent] under {', '.join(PARTS)}: "
            f"{type(error).__name__}: {error}; download it again"
        ) from error
    return parts


def _require_known_intents(parts: Mapping[str, Queries]) -> None:
    known = {intent for _, intent in parts["train"]}
    for name in ("val", "test"):
        if unknown := sorted({intent for _, intent in parts[name]} - known):
            raise ValueError(f"train has no query of {unknown[0]!r}, which stands in {name}")
