import pytest
from streamlit.testing.v1 import AppTest

from dashboards import reading
from dashboards.reading import Book
from pruneguard.errors import InvalidInputError
from pruneguard.settings import Settings
from tests.dashboards.stage import open_app, shown
from tests.ledgers import edit


def verify(app: AppTest) -> AppTest:
    return next(button for button in app.button if button.label == "Verify now").click().run()


def test_the_newest_entries_come_first_in_pages(settings: Settings) -> None:
    app = open_app(settings, "audit_trail")
    table = app.table[0].value
    assert len(table) == 25
    assert table["Entry"][0] == "#80"
    app.number_input(key="page").set_value(4).run()
    assert list(app.table[0].value["Entry"])[-1] == "#0"


def test_filters_narrow_by_type_model_and_text(settings: Settings) -> None:
    app = open_app(settings, "audit_trail")
    app.multiselect[0].select("alarm.raised").run()
    assert list(app.table[0].value["Model"]) == ["digits"]
    app.multiselect[0].unselect("alarm.raised")
    app.selectbox[0].select("spam")
    app.text_input[0].input("SPAM-1").run()
    models = set(app.table[0].value["Model"])
    assert models == {"spam"}
    app.text_input[0].input("no such text").run()
    assert "No entry matches" in app.info[0].value


def test_text_inside_a_signed_envelope_is_found(settings: Settings) -> None:
    app = open_app(settings, "audit_trail", text="slices looked at")
    assert {"release\\.approved"} == set(app.table[0].value["Event"])


def test_an_entry_shows_its_signature_and_its_proof(settings: Settings) -> None:
    approved = Book(settings).find(types=["release.approved"]).indices[0]
    app = open_app(settings, "audit_trail", entry=str(approved))
    text = shown(app).replace("\\", "")
    assert ":green-badge[✓ verified] **Inclusion.**" in text
    assert "Signed by grace with their registered Ed25519 key" in text
    assert "c2sp.org/tlog-proof@v1" in text


def test_an_entry_that_is_not_there_is_said(settings: Settings) -> None:
    app = open_app(settings, "audit_trail", entry="999999")
    assert not app.exception
    assert "verified" in shown(app)


def test_verify_now_hashes_everything_and_names_the_guarantee(settings: Settings) -> None:
    app = verify(open_app(settings, "audit_trail"))
    assert "All 81 entries hash to the root" in app.success[0].value
    assert "self-signed only" in shown(app)


def test_verify_now_finds_an_edit_made_while_the_page_was_open(settings: Settings) -> None:
    app = open_app(settings, "audit_trail")
    edit(settings, index=40)
    verify(app)
    assert any("Verification failed" in error.value and "entry 40" in error.value for error in app.error)
    assert "The ledger was changed" in open_app(settings, "fleet").error[0].value


def test_one_edited_entry_fails_its_own_proof(settings: Settings) -> None:
    app = open_app(settings, "audit_trail", entry="40")
    edit(settings, index=40)
    text = shown(app.run())
    assert ":red-badge[✕ does not verify] **Inclusion.**" in text


def test_a_repaired_ledger_is_trusted_again_after_it_verified(settings: Settings) -> None:
    app = open_app(settings, "audit_trail")
    original = edit(settings, index=40)
    verify(app)
    edit(settings, index=40, body=original)
    verify(app)
    assert app.success
    assert not open_app(settings, "fleet").error


def test_a_text_search_stops_at_its_bound_and_says_where(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "SEARCHED_MAX", 10)
    found = Book(settings).find(text="rollback that never was")
    assert found.stopped_at == 71
    assert not found.indices


def test_no_entry_beyond_the_end(settings: Settings) -> None:
    book = Book(settings)
    book.now()
    with pytest.raises(InvalidInputError, match="0 to 80"):
        book.lines([81])


def test_what_a_page_was_given_does_not_change_under_it(settings: Settings) -> None:
    book = Book(settings)
    before = book.now().state
    book.roll_back(model="voice", reason="errors", actor="otto")
    assert before.models["voice"].canary is not None
    assert book.now().state.models["voice"].canary is None
