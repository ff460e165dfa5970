"""Retention schedules as people write them: YAML in, `pruneguard.privacy.schedule.Schedule` out."""

from pathlib import Path

from pruneguard import documents
from pruneguard.errors import InvalidInputError
from pruneguard.privacy.schedule import FLOORS, Period, RecordClass, Schedule

SHIPPED = Path(__file__).with_name("retention.yaml")

_MONTHS_MAX = 1_200


def load_schedule(path: Path = SHIPPED) -> Schedule:
    """A schedule out of a YAML file.

    Raises InvalidInputError naming file, line and field, also where a class is missing or kept for less than its floor.
    """
    section = documents.read(path)
    periods: dict[RecordClass, Period] = {}
    for item in section.sections("classes"):
        record_class = item.choice("class", RecordClass)
        if record_class in periods:
            item.refuse("class", f"{record_class.value!r} stands above already; keep one of the two")
        months, floor = item.integer("months", 1, _MONTHS_MAX), FLOORS[record_class]
        if months < floor.months:
            item.refuse("months", f"{months} is below the floor of {floor.months} ({floor.source}); keep them longer")
        periods[record_class] = Period(months, item.text("because"))
        item.done()
    schedule = Schedule(
        section.text("schedule"), section.integer("version", 1, 1_000_000), section.text("purpose"), periods
    )
    section.done()
    if missing := sorted(set(RecordClass) - periods.keys()):
        raise InvalidInputError(
            f"{path}: classes: {[name.value for name in missing]} missing; every class has a period"
        )
    return schedule
