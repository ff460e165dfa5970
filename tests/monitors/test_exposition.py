"""What Prometheus sees."""

import re

from prometheus_client.parser import text_string_to_metric_families

from monitors.exposition import Metrics


def sampled(metrics: Metrics) -> dict[tuple[str, ...], float]:
    """Name and label values, ordered by label, of every line -> its value, read by Prometheus' own parser."""
    text = metrics.render()[0].decode()
    families = text_string_to_metric_families(text)
    return {
        (s.name, *(s.labels[name] for name in sorted(s.labels))): s.value for family in families for s in family.samples
    }


def test_answers_and_refusals_are_counted_apart():
    metrics = Metrics()
    metrics.answered(("digits", 2), seconds=0.003)
    metrics.answered(("digits", 2), seconds=0.3)
    metrics.refused("digits", reason="invalid request")
    found = sampled(metrics)
    assert found["pruneguard_requests_total", "digits", "answered", "2"] == 2
    assert found["pruneguard_requests_total", "digits", "invalid request", ""] == 1
    assert found["pruneguard_request_seconds_bucket", "0.005", "digits", "2"] == 1
    assert found["pruneguard_request_seconds_count", "digits", "2"] == 2


def test_two_gateways_in_one_process_do_not_share_a_registry():
    first, second = Metrics(), Metrics()
    first.dropped()
    name = ("pruneguard_observations_dropped_total",)
    assert (sampled(first)[name], sampled(second)[name]) == (1, 0)


def test_a_twin_that_is_expected_and_silent_shows_as_zero():
    metrics = Metrics()
    metrics.expect_twin(("digits", 2), share=0.1)
    found = sampled(metrics)
    assert found["pruneguard_twin_share", "digits", "2"] == 0.1
    assert found["pruneguard_twin_runs_total", "digits", "2"] == 0


def test_a_release_that_left_takes_its_gauges_along_and_leaves_its_counters():
    metrics = Metrics()
    metrics.expect_twin(("digits", 2), share=0.1)
    metrics.decay(("digits", 2), evalue_log10=1.5, loss_max=0.02)
    metrics.compared(("digits", 2), flip=True)
    metrics.forget(("digits", 2))
    names = {key[0] for key in sampled(metrics) if key[1:2] == ("digits",)}
    assert "pruneguard_twin_flips_total" in names
    assert not names & {"pruneguard_twin_share", "pruneguard_decay_evalue_log10", "pruneguard_decay_accuracy_lost_max"}


def test_the_content_type_is_one_that_prometheus_reads():
    assert Metrics().render()[1].startswith("text/plain; version=")


def test_findings_and_traffic_have_bounded_labels():
    metrics = Metrics()
    metrics.findings(("digits", 2), {"passed": 11, "waived": 1})
    metrics.traffic("digits", live=1, canary_share=0.1)
    found = sampled(metrics)
    assert found["pruneguard_gate_findings", "digits", "passed", "2"] == 11
    assert found["pruneguard_live_version", "digits"] == 1
    assert found["pruneguard_canary_share", "digits"] == 0.1


def test_what_others_count_is_read_whenever_metrics_are():
    metrics, failures, cut_off = Metrics(), [3], [False]
    metrics.reads(observer_failures=lambda: failures[0], cut_off=lambda: cut_off[0], age_s=lambda: 0.25)
    assert sampled(metrics)["pruneguard_observer_failures_total",] == 3
    failures[0], cut_off[0] = 5, True
    found = sampled(metrics)
    assert found["pruneguard_observer_failures_total",] == 5
    assert found["pruneguard_gateway_cut_off",] == 1
    assert found["pruneguard_gateway_proved_age_seconds",] == 0.25


def test_labels_are_counted_by_what_became_of_them_and_those_that_wait_apart():
    metrics = Metrics()
    metrics.labels("digits", {"accepted": 4, "unknown": 1, "waiting": 2})
    found = sampled(metrics)
    assert found["pruneguard_labels_total", "digits", "accepted"] == 4
    assert found["pruneguard_labels_total", "digits", "unknown"] == 1
    assert found["pruneguard_labels_waiting", "digits"] == 2


def test_what_the_twin_was_spared_and_what_it_took_are_told_by_release():
    metrics = Metrics()
    metrics.expect_twin(("digits", 2), share=0.1)
    assert sampled(metrics)["pruneguard_twin_skipped_total", "digits", "2"] == 0
    metrics.twin_skipped(("digits", 2), rows=3)
    metrics.twin_asked(("digits", 2), seconds=0.02)
    found = sampled(metrics)
    assert found["pruneguard_twin_skipped_total", "digits", "2"] == 3
    assert found["pruneguard_twin_seconds_sum", "digits", "2"] == 0.02


LABELS = {"model", "version", "outcome", "witness", "le"}
"""All that a line may be told apart by: names out of the ledger, and closed sets of words."""


def test_names_say_their_unit_and_nothing_that_a_client_sends_is_a_label():
    metrics = Metrics()
    metrics.reads(observer_failures=lambda: 0, cut_off=lambda: False, age_s=lambda: 0.0)
    metrics.answered(("digits", 2), seconds=0.1)
    metrics.refused("digits", reason="invalid request")
    metrics.expect_twin(("digits", 2), share=0.1)
    metrics.twin_asked(("digits", 2), seconds=0.1)
    metrics.labels("digits", {"accepted": 1, "waiting": 1})
    metrics.witnessed(size=3, cosigned=["city"], failed=["bank"])
    for family in text_string_to_metric_families(metrics.render()[0].decode()):
        assert re.fullmatch(r"pruneguard_[a-z0-9_]+", family.name)
        assert not re.search(r"_(ms|millis|minutes|kb|mb|percent)(_|$)", family.name)
        assert family.documentation.endswith(".")
        for sample in family.samples:
            assert sample.labels.keys() <= LABELS
            if family.type == "counter":
                assert sample.name.endswith(("_total", "_created"))
