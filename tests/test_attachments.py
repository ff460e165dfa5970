from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from policies.framework import load_frameworks
from pruneguard import canonical, testing
from pruneguard.artifacts import Artifacts
from pruneguard.attachments import attach, day
from pruneguard.audit.bundle import DOCUMENT_BYTES_MAX
from pruneguard.audit.frameworks import Framework
from pruneguard.errors import InvalidInputError
from pruneguard.ledger.ledger import Ledger, Recorded

NIST = Framework.decode(load_frameworks(["nist-ai-rmf"])["nist-ai-rmf"])


@pytest.fixture
def ledger() -> Ledger:
    ledger = testing.memory_ledger()
    testing.register(ledger)
    return ledger


@pytest.fixture
def artifacts(tmp_path: Path) -> Artifacts:
    return Artifacts(str(tmp_path))


def attached(ledger: Ledger, artifacts: Artifacts, **changes: Any) -> Recorded:
    given = {"framework": NIST, "control": "GOVERN 1.1", "title": "", "signer": testing.people()["grace"]} | changes
    return attach(ledger, artifacts, **given)


def test_a_document_is_stored_under_its_digest_and_named_by_a_signed_entry(
    ledger: Ledger, artifacts: Artifacts
) -> None:
    done = attached(ledger, artifacts, control="govern 1.1", title="Register", document=b"law by law")
    digest = canonical.digest(b"law by law")
    (found,) = ledger.state().attachments
    assert (found.control, found.title, found.document, found.by) == ("GOVERN 1.1", "Register", digest, "grace")
    assert artifacts.get(digest) == b"law by law"
    assert ledger.entry(done.index).envelope is not None


def test_a_statement_without_a_title_is_called_by_its_first_line(ledger: Ledger, artifacts: Artifacts) -> None:
    done = attached(ledger, artifacts, statement="Reviewed with the clinic.\nNobody objected.")
    assert done.event.data["title"] == "Reviewed with the clinic."
    assert "document" not in done.event.refs


def test_the_day_it_expires_is_recorded_to_the_microsecond_in_utc(ledger: Ledger, artifacts: Artifacts) -> None:
    done = attached(ledger, artifacts, statement="So it is.", expires=day("2090-03-01"))
    assert done.event.data["expires"] == "2090-03-01T00:00:00.000000Z"


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"statement": "x", "control": "GOVERN 9.9"}, "its controls are GOVERN 1.1"),
        ({"statement": "x", "model": "digits"}, "no model 'digits'"),
        ({"statement": "  "}, "nothing to attach"),
        ({"document": b""}, "0 bytes"),
        ({"document": bytes(DOCUMENT_BYTES_MAX + 1)}, "where the long one is kept"),
        ({"statement": "x", "expires": datetime.now(UTC) - timedelta(days=1)}, "has passed"),
    ],
)
def test_what_cannot_be_attached_is_refused_with_what_to_do_and_leaves_nothing(
    changes: dict[str, Any], why: str, ledger: Ledger, artifacts: Artifacts, tmp_path: Path
) -> None:
    size = ledger.size
    with pytest.raises(InvalidInputError, match=why):
        attached(ledger, artifacts, **changes)
    assert ledger.size == size
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("text", ["tomorrow", "2027-02-30", "01.03.2027", ""])
def test_a_day_that_is_none_is_refused_with_the_form(text: str) -> None:
    with pytest.raises(InvalidInputError, match="write it as 2027-03-01"):
        day(text)
