import hashlib

import pytest

from pruneguard.errors import InvalidInputError
from pruneguard.privacy.commitments import VALUE_BYTES_MAX, Opening
from pruneguard.privacy.vault import Kept


def test_a_commitment_is_the_hash_of_label_salt_and_value() -> None:
    opening = Opening(bytes(range(32)), "Ada Lovelace")
    assert opening.commitment == hashlib.sha256(b"field/v1" + bytes(range(32)) + b"Ada Lovelace").hexdigest()


def test_one_value_has_another_commitment_every_time() -> None:
    assert len({Opening.of("Ada").commitment for _ in range(20)}) == 20


@pytest.mark.parametrize("value", ["Ada", "é" * 2_048, "李", "a" * VALUE_BYTES_MAX])
def test_an_opening_comes_back_from_its_bytes(value: str) -> None:
    opening = Opening.of(value)
    assert Opening.decode(opening.encode()) == opening


@pytest.mark.parametrize(
    "value", ["", " \t", "Zoe\u0308 Z.", "Ada\nLovelace", "Ada\0", "Ada\udc80", "Ada L. " * 600, "é" * 2_049]
)
def test_a_value_that_cannot_be_kept_is_refused_without_being_repeated(value: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        Opening.of(value)
    assert not value.strip() or value[:3] not in str(refused.value)


def test_neither_an_opening_nor_what_is_kept_prints_its_value() -> None:
    opening = Opening.of("Ada Lovelace")
    assert "Ada" not in repr(opening)
    assert "Ada" not in repr(Kept("name", opening.value, opening.commitment))
