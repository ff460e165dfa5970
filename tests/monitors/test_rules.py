"""The alert rules, checked and run by Prometheus' own tool, and against what a gateway really exposes."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

import monitors
from monitors.exposition import Metrics

RULES = Path(monitors.__file__).parent / "rules"
PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed (Debian: prometheus)")


def whole() -> Metrics:
    """With everything that a service shows."""
    metrics = Metrics()
    metrics.reads(observer_failures=lambda: 0, cut_off=lambda: False, age_s=lambda: 0.0)
    metrics.labels("digits", {"accepted": 1, "waiting": 1})
    return metrics


def promtool(*arguments: object) -> str:
    done = subprocess.run([str(PROMTOOL), *map(str, arguments)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@needs_promtool
def test_prometheus_accepts_the_rules():
    assert "14 rules found" in promtool("check", "rules", RULES / "pruneguard.rules.yml")


@needs_promtool
def test_the_alerts_fire_when_they_should_and_only_then():
    assert "SUCCESS" in promtool("test", "rules", RULES / "pruneguard.rules.test.yml")


@needs_promtool
def test_prometheus_finds_nothing_wrong_with_the_metrics_names():
    exposition, _ = whole().render()
    done = subprocess.run([str(PROMTOOL), "check", "metrics"], input=exposition, capture_output=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_metric_that_a_rule_asks_for_is_exposed():
    asked = set(re.findall(r"pruneguard_[a-z0-9_]+", (RULES / "pruneguard.rules.yml").read_text()))
    families = re.findall(r"^# TYPE (\w+)", whole().render()[0].decode(), re.MULTILINE)
    assert asked <= set(families)
