from typing import Any

from dashboards import charts


def domain(chart: Any, layer: int = 0) -> list[float]:
    """The y axis that a layer of a plot was given."""
    return next(
        part["encoding"]["y"]["scale"]["domain"]
        for part in charts_of(chart.to_dict())
        if part.get("encoding", {}).get("y", {}).get("scale")
    )


def charts_of(document: dict[str, Any]) -> list[dict[str, Any]]:
    return [document, *(found for part in document.get("layer", []) for found in charts_of(part))]


def point(accuracy: float, verdict: str) -> dict[str, Any]:
    return {"kept": 30.0, "accuracy": accuracy, "low": accuracy - 1, "high": accuracy + 1, "verdict": verdict}


def test_a_loss_of_three_points_fills_the_axis() -> None:
    low, high = domain(charts.tradeoff([point(97, "passed"), point(94, "rejected")], twin_accuracy=97.5))
    assert 92 < low < 93  # the lower end of the worst interval, and some room
    assert 98 < high < 99


def test_verdicts_differ_in_shape_as_well_as_in_colour() -> None:
    points = next(part for part in charts_of(charts.tradeoff([point(97, "passed")], twin_accuracy=None).to_dict())
                  if "shape" in part.get("encoding", {}))  # fmt: skip
    assert points["encoding"]["shape"]["scale"]["range"] == ["circle", "cross"]


def test_the_threshold_is_inside_the_plot_although_no_value_came_near() -> None:
    rows = [{"batch": 1, "version": "version 1", "log10": -0.2, "rows": 10, "time": ""}]
    low, high = domain(charts.evalue(rows, threshold=100, versions=["version 1"]))
    assert low < -0.2
    assert high > 2


def test_a_version_has_the_same_colour_in_every_plot() -> None:
    versions = ["version 1", "version 2"]
    rows = [{"batch": 3, "version": "version 2", "log10": 1.0, "flips": 4.0, "rows": 10, "time": ""}]
    plots = (
        charts.evalue(rows, threshold=None, versions=versions),
        charts.flips(rows, certified=None, versions=versions),
    )
    scales = [
        part["encoding"]["color"]["scale"]
        for plot in plots
        for part in charts_of(plot.to_dict())
        if "color" in part.get("encoding", {})
    ]
    assert scales
    assert all(scale == scales[0] and scale["domain"] == versions for scale in scales)
