"""The model card: tables for people, front matter for programs, and no text that ends its own cell."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from pruneguard.audit.selection import Selection
from pruneguard.audit.views import card
from tests.audit.conftest import Told


def front_matter(text: str) -> dict[str, Any]:
    _, matter, _ = text.split("---\n", 2)
    found: dict[str, Any] = YAML(typ="safe").load(matter)
    return found


def test_the_card_says_what_was_measured_against_the_twin_and_who_answers(told: Told, selection: Selection) -> None:
    text = card.cards(selection)[card.path(told.story.candidate)].decode()
    assert "A pruned model, whose release is rolled back" in text
    assert "It passed 5/5 rules of its policy on the release split." in text
    assert "| efficiency.latency\\_ratio | 0.61 | 0.5917 to 0.6283 |  | 200 |" in text
    assert "| approved | grace |" in text
    assert "pruneguard audit recompute-lineage" in text
    assert told.story.twin in text


def test_front_matter_names_the_base_model_of_a_pruned_version_only(told: Told, selection: Selection) -> None:
    cards = card.cards(selection)
    pruned = front_matter(cards[card.path(told.story.candidate)].decode())
    assert pruned["base_model"] == f"digits/twin-{told.story.twin.removeprefix('sha256:')[:12]}"
    assert pruned["tags"] == ["pruneguard", "pruned"]
    assert "base_model" not in front_matter(cards[card.path(told.story.twin)].decode())


@given(st.text())
def test_any_text_is_one_line_that_opens_nothing(text: str) -> None:
    line = card.plain(text)
    assert "\n" not in line
    bare = line.replace("\\\\", "")
    assert all(bare[at - 1] == "\\" for at, character in enumerate(bare) if character in "|[]<>`*_&!@")
    assert "://" not in line.lower()


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_comes_back_from_yaml(text: str) -> None:
    assert YAML(typ="safe", pure=True).load(card.quoted(text)) == text
