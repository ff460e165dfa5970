import shutil
from contextlib import closing
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from dashboards import reading
from dashboards.reading import Book
from pruneguard import home, releases
from pruneguard.errors import IntegrityError, InvalidInputError
from pruneguard.ledger.trust import TrustPolicy
from pruneguard.settings import Settings
from pruneguard.witness import keys
from pruneguard.witness.cosigned import Cosigned
from pruneguard.witness.pushing import push
from pruneguard.witness.server import Witness, WitnessServer
from pruneguard.witness.state import State
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
    assert "Signed by grace with an Ed25519 key registered for them" in text
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
    assert "Entry #40 cannot be proven" in text
    assert "was changed in entry 40" in text


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


def test_an_old_backup_that_was_appended_to_is_a_changed_ledger_on_every_page(
    settings: Settings, template: Path, tmp_path: Path
) -> None:
    Book(settings).roll_back(model="voice", reason="errors", actor="otto")
    assert Book(settings).now().trouble is None  # this dashboard has now seen 82 entries
    shutil.copytree(template, tmp_path / "backup")
    restored = settings.model_copy(update={"home": tmp_path / "backup"})
    trouble = Book(restored).now().trouble
    assert trouble is not None
    assert trouble.edited
    assert "ends at 81 entries, and 82 were seen before" in trouble.found

    book = Book(restored)
    with pytest.raises(IntegrityError, match="nothing was rolled back"):
        book.roll_back(model="voice", reason="other errors", actor="otto")
    assert "82 were seen before" in str(book.verify().trouble)
    elsewhere = restored.model_copy(update={"held_dir": tmp_path / "saw nothing"})
    with closing(home.open_ledger(elsewhere)) as ledger:
        releases.roll_back(ledger, model="voice", reason="other errors", actor="otto")
    trouble = book.verify().trouble
    assert trouble is not None
    assert "history was rewritten" in trouble.found


def controls(app: AppTest) -> dict[str, dict[str, str]]:
    """The rows of the table of controls, by id."""
    rows = app.table[-1].value.to_dict("records")
    return {row["Control"].split("**")[1].replace("\\", ""): row for row in rows}


def test_controls_have_a_state_and_the_positions_of_their_entries(settings: Settings) -> None:
    app = open_app(settings, "audit_trail", **{"for": "digits"})
    rows = controls(app)
    assert len(rows) == 19  # GOVERN
    assert rows["GOVERN 1.6"]["State"] == ":green-badge[● evidenced]"
    assert all(part.startswith("#") for part in rows["GOVERN 1.6"]["Entries"].split(", "))
    assert rows["GOVERN 1.1"]["State"] == ":gray-badge[– none]"
    assert "a document that a person attaches" in rows["GOVERN 1.1"]["What they show"]
    assert "Neither a certification nor legal advice, and no score" in shown(app).replace("\\", "")


def test_controls_of_a_model_do_not_count_another_s_entries(settings: Settings) -> None:
    rolled_back = Book(settings).find(types=["release.rolled_back"]).indices[0]
    assert (
        f"#{rolled_back}" in controls(open_app(settings, "audit_trail", **{"for": "digits"}))["GOVERN 6.2"]["Entries"]
    )
    assert controls(open_app(settings, "audit_trail", **{"for": "signs"}))["GOVERN 6.2"]["Entries"] == "–"


def test_another_framework_is_chosen_by_its_name_and_shown_part_by_part(settings: Settings) -> None:
    app = open_app(settings, "audit_trail", framework="eu-ai-act")
    assert "Art. 12" in controls(app)
    app.selectbox(key="part-eu-ai-act").set_value("Annex IV").run()
    assert "Annex IV.8" in controls(app)


def test_the_page_names_the_witnesses_and_no_more_than_they_saw(settings: Settings, tmp_path: Path) -> None:
    own = keys.new(tmp_path / "w.key", "city.example/w")
    with closing(home.read_ledger(settings)) as ledger:
        witness = Witness(State(tmp_path / "w.sqlite"), [own], [ledger.verifier])
        with WitnessServer(witness) as server:
            text = f"witness city {own.verifier.vkey} {server.url}\nquorum city\n"
            (settings.home / "trust-policy.txt").write_text(text)
            assert "self-signed only" in shown(open_app(settings, "audit_trail"))
            push(ledger, TrustPolicy.parse(text.encode()), Cosigned(settings.cosigned))
    said = shown(open_app(settings, "audit_trail"))
    assert "Guarantee: witnessed in the same trust domain." in said
    assert "city: cosigned at" in said.replace("\\", "")
    settings.cosigned.write_bytes(settings.cosigned.read_bytes().replace(b"\n81\n", b"\n80\n"))
    app = open_app(settings, "audit_trail")
    assert "cannot be read" in app.warning[0].value
    assert not app.exception
