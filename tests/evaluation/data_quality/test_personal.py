from dataclasses import replace

import numpy as np
import pytest

from pruneguard.evaluation.data_quality import personal
from tests.evaluation.small import table


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Ada.Lovelace+x@mail.example.org", "e-mail address"),
        ("call +49 711 1234567 now", "telephone number"),
        ("(212) 555-0123", "telephone number"),
        ("0711/1234567", "telephone number"),
        ("GB82 WEST 1234 5698 7654 32", "IBAN"),
        ("de89370400440532013000", "IBAN"),
        ("4539 1488 0343 6467", "payment card"),
        ("378282246310005", "payment card"),
        ("from 192.168.0.17", "IP address"),
        ("2001:db8::8a2e:370:7334", "IP address"),
        ("078-05-1120", "social security number"),
    ],
)
def test_what_looks_like_personal_data_is_named(text, kind):
    assert list(personal.kinds(text)) == [kind]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "f",
        "South",
        "United-States",
        "2026-11-21",
        "2026-11-21T12:30:45",
        "12:30:45",
        "3.14159265358979",
        "1.24.1",
        "v1.2.3.4.5",
        "GB82 WEST 1234 5698 7654 33",  # one digit off
        "4539 1488 0343 6468",
        "999.1.1.1",
        "10000000000000",
        "666-05-1120",
        "sha256:9f86d081884c7d659a2feaa0c55ad015",
        "a@b",
        "::",
        "1,234,567.89",
    ],
)
def test_what_is_none_is_left_alone(text):
    assert list(personal.kinds(text)) == []


def test_cells_are_counted_by_column_and_kind_and_no_value_is_told():
    base = table()
    mails = np.array(["none"] * 28 + ["ada@example.org", "ada@example.org"])
    gate = replace(base.gate, slices={"remark": mails, "Customer_Name": np.array(["x"] * 30)})
    found = personal.measure(replace(base, gate=gate))
    values, columns = (found.measurements[f"data.personal_{what}"] for what in ("values", "columns"))
    assert found.found == {"remark": {"e-mail address": 2}}
    assert found.named == ("Customer_Name",)
    assert (values.value, values.n) == (2, 60)
    assert (columns.value, columns.n) == (2, 2)
    assert "ada" not in repr(found)


def test_the_names_on_a_data_card_are_judged_too():
    assert personal.measure(table(), ["age", "dateOfBirth"]).named == ("dateOfBirth",)


def test_a_long_text_takes_no_time():
    assert list(personal.kinds("1 2-" * 100_000)) == []
    assert list(personal.kinds("a." * 100_000)) == []
