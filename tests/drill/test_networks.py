"""What faults are put together from does what it says, and nothing else."""

import copy

import torch

from pruneguard.drill.networks import Reanswer, Reread, changed, drawn, network, widened, wrong_where

ROWS = torch.rand((200, 1, 8, 8), generator=torch.Generator().manual_seed(0))


def small() -> torch.nn.Sequential:
    torch.manual_seed(0)
    return network(4, 6, classes=10).eval()


def bright(x: torch.Tensor) -> torch.Tensor:
    return x.mean((1, 2, 3)) > 0.5


def test_marked_rows_get_the_next_answer_and_others_their_own() -> None:
    inner = small()
    with torch.no_grad():
        right, wrong = inner(ROWS), wrong_where(inner, bright)(ROWS)
    assert 0 < bright(ROWS).sum() < 200
    assert torch.equal(wrong[~bright(ROWS)], right[~bright(ROWS)])
    assert torch.equal(wrong[bright(ROWS)].argmax(1), (right[bright(ROWS)].argmax(1) + 1) % 10)


def test_a_drawn_share_is_of_the_marked_rows_alone() -> None:
    few = drawn(bright, ROWS, share=0.25, seed=1)(ROWS)
    assert not (few & ~bright(ROWS)).any()
    assert abs(int(few.sum()) - int(bright(ROWS).sum()) / 4) <= 1


def test_a_widened_network_answers_as_before() -> None:
    narrow = small()
    wide = widened(narrow, network(8, 16, classes=10))
    assert sum(p.numel() for p in wide.parameters()) > 2 * sum(p.numel() for p in narrow.parameters())
    with torch.no_grad():
        assert torch.allclose(wide(ROWS), narrow(ROWS), atol=1e-6)


def test_a_change_is_done_to_a_copy() -> None:
    model = small()
    before = copy.deepcopy(model.state_dict())
    with changed(model) as broken:
        broken.get_submodule("second").weight.zero_()
    assert not broken.get_submodule("second").weight.any()
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_what_is_around_a_network_sees_its_rows_and_its_answers() -> None:
    inner = small()
    with torch.no_grad():
        assert torch.equal(Reread(lambda x: x / 2, inner)(ROWS), inner(ROWS / 2))
        assert torch.equal(Reanswer(inner, lambda logits, x: logits + x.amax())(ROWS), inner(ROWS) + ROWS.amax())
