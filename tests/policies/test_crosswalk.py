from policies.crosswalk import EVENTS, Automation, Control, crosswalk
from pruneguard.ledger.events import CATALOGUE, Entry, Event


def entry(kind: str) -> Entry:
    refs, data = CATALOGUE[kind]
    return Entry(Event(kind, "ada", dict.fromkeys(data, "x"), dict.fromkeys(refs, "x")), None)


def walk(*kinds: str) -> dict[str, Control]:
    return {control.id: control for control in crosswalk(enumerate(entry(kind) for kind in kinds))}


def test_all_72_subcategories_are_listed_whatever_the_ledger_holds() -> None:
    assert len(walk()) == len(walk("verdict.given")) == 72


def test_every_subcategory_and_event_of_the_table_exists() -> None:
    assert EVENTS.keys() <= walk().keys()
    assert {kind for kinds in EVENTS.values() for kind in kinds} <= CATALOGUE.keys()


def test_an_empty_ledger_evidences_nothing() -> None:
    assert not any(control.entries for control in walk().values())


def test_an_event_evidences_its_subcategories_by_position() -> None:
    controls = walk("policy.adopted", "verdict.given", "release.rolled_back", "verdict.given")
    assert controls["MEASURE 2.5"].entries == (1, 3)
    assert controls["MANAGE 2.4"].entries == (2,)
    assert controls["MANAGE 2.4"].status == "1 event"


def test_missing_evidence_is_said_in_words() -> None:
    controls = walk()
    assert controls["MEASURE 2.5"].status == "no evidence yet"
    assert controls["MEASURE 2.12"].status == "no event of this service evidences it"


def test_a_shared_subcategory_is_never_evidenced_by_the_system_alone() -> None:
    controls = walk("data.admitted")
    assert controls["MAP 2.3"].automation is Automation.SHARED
    assert controls["MAP 2.3"].status.endswith("a person states the rest")


def test_a_human_process_is_never_evidenced_by_events() -> None:
    controls = walk(*CATALOGUE)
    human = [control for control in controls.values() if control.automation is Automation.HUMAN]
    assert len(human) == 14
    assert {control.status for control in human} == {"a person attaches a document"}
    assert not any(control.entries for control in human)
