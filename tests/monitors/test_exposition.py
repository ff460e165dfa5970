"""What Prometheus sees."""

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
