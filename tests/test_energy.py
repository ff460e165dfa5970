import subprocess
import sys
import time

from pruneguard.energy import Reading, used


def burn(seconds: float) -> None:
    """Keep one core busy for about this long, by its own clock."""
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass


def test_work_is_measured_by_the_clock_of_the_processor() -> None:
    began = Reading.now()
    burn(0.3)
    spent = used(began, watts_per_core=3600)
    assert 0.3 <= float(spent["cpu_seconds"]) < 5
    assert abs(float(spent["energy_wh_estimated"]) - float(spent["cpu_seconds"])) <= 0.06  # a watt-hour a second


def test_children_that_have_ended_count() -> None:
    began = Reading.now()
    busy = "import time\nwhile time.process_time() < 0.3: pass"
    subprocess.run([sys.executable, "-c", busy], check=True)
    assert float(used(began)["cpu_seconds"]) >= 0.3


def test_waiting_costs_time_and_no_energy() -> None:
    spent = used(Reading(5.0, 100.0), until=Reading(5.0, 160.0))
    assert (spent["cpu_seconds"], spent["wall_seconds"], spent["energy_wh_estimated"]) == ("0.0", "60.0", "0.0000")


def test_an_estimate_says_its_assumption_and_that_nothing_was_metered() -> None:
    assert "12 W for a busy core assumed; not metered" in used(Reading.now(), watts_per_core=12)["energy_basis"]
