from pathlib import Path

from pruneguard import home
from pruneguard.settings import Settings
from tests.dashboards.stage import open_app, shown
from tests.ledgers import edit


def test_the_worst_model_comes_first_with_words_and_symbol(settings: Settings) -> None:
    table = open_app(settings, "fleet").table[0].value
    assert list(table["Model"]) == ["**digits**", "**spam**", "**voice**", "**signs**"]
    states = ["↩ rolled back", "✎ awaiting approval", "◐ canary", "● healthy"]
    assert [state.partition("[")[2].rstrip("]") for state in table["State"]] == states


def test_a_card_says_why_and_who_can_act(settings: Settings) -> None:
    text = shown(open_app(settings, "fleet"))
    assert "version 1 answers; the pruned artefact is at fault" in text
    assert "Version 2 needs 1 approval from\\: grace" in text


def test_traffic_is_the_sum_of_the_sealed_batches(settings: Settings) -> None:
    table = open_app(settings, "fleet").table[0].value.set_index("Model")
    assert table.loc["**voice**", "Requests"] == "1\u2009120"  # two batches of 500, one of 120
    assert table.loc["**voice**", "Canary"] == "version 2  \n10 % of traffic"


def test_an_empty_ledger_says_which_command_comes_next(empty: Settings) -> None:
    app = open_app(empty, "fleet")
    assert "No model yet" in shown(app)
    assert app.code[0].value.startswith("pruneguard run examples/")


def test_an_absent_ledger_is_a_banner_and_no_traceback(tmp_path: Path) -> None:
    app = open_app(Settings(home=tmp_path / "nowhere"), "fleet")
    assert not app.exception
    assert "The ledger cannot be read" in app.error[0].value
    assert "pruneguard init" in app.error[0].value


def test_an_edited_ledger_is_a_banner_on_every_page(settings: Settings) -> None:
    edit(settings, index=20)
    for page in ("fleet", "model", "monitoring", "releases", "audit_trail"):
        app = open_app(settings, page)
        assert not app.exception
        assert "The ledger was changed" in app.error[0].value
        assert "entry 20" in app.error[0].value


def test_a_file_that_is_no_database_is_a_banner_too(settings: Settings) -> None:
    (settings.home / "ledger.sqlite").write_bytes(b"not a database at all")
    app = open_app(settings, "fleet")
    assert not app.exception
    assert "is not a database" in app.error[0].value


def test_what_happens_later_shows_on_the_next_refresh(settings: Settings) -> None:
    app = open_app(settings, "fleet")
    ledger = home.open_ledger(settings)
    from pruneguard import releases

    releases.roll_back(ledger, model="voice", reason="errors in the log", actor="otto")
    ledger.close()
    table = app.run().table[0].value.set_index("Model")
    assert "rolled back" in table.loc["**voice**", "State"]
