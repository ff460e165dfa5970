from pruneguard.evaluation.correctness.potential import Potential, potentials
from pruneguard.evidence import Estimate, PairedTable


def lost(rows, n=1000):
    return PairedTable(n - rows, 0, rows, 0)


def test_the_potential_is_the_largest_ratio_within_the_margin_on_each_distribution():
    found = potentials(
        [
            (0.9, {"quality.paired": lost(10), "robustness.fog.paired": lost(60)}),
            (0.5, {"quality.paired": lost(0), "robustness.fog.paired": lost(2)}),
            (0.95, {"quality.paired": lost(11)}),
        ],
        margin=0.01,
    )
    assert found == {
        "quality": Potential(measured=0.9, shown=0.5, candidates=3),
        "robustness.fog": Potential(measured=0.5, shown=0.5, candidates=2),
    }


def test_where_every_candidate_loses_too_much_the_dense_network_is_left():
    found = potentials([(0.5, {"quality.paired": lost(100)})], margin=0.01)
    assert found == {"quality": Potential(measured=0.0, shown=0.0, candidates=1)}


def test_slices_numbers_and_tables_without_rows_are_no_distribution():
    odd = {
        "quality.paired.slice.class=1": lost(0),
        "quality.paired": Estimate(0.0),
        "ood.paired": PairedTable(0, 0, 0, 0),
    }
    assert potentials([(0.5, odd)], margin=0.01) == {}
    assert potentials([], margin=0.01) == {}
