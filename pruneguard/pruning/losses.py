"""What a network is trained to make small: what the labels are says which."""

import torch
import torch.nn.functional as F


def loss(answers: torch.Tensor, y: torch.Tensor, *, label_smoothing: float = 0.0) -> torch.Tensor:
    """The cross entropy of logits [n, classes] where `y` [n] holds classes; the mean squared error of answers [n, 1] or
    [n] where it holds numbers. `label_smoothing` is for classes.
    """
    if y.is_floating_point():
        return F.mse_loss(answers.reshape(len(y)), y)
    return F.cross_entropy(answers, y, label_smoothing=label_smoothing)


def imitation(answers: torch.Tensor, taught: torch.Tensor, y: torch.Tensor, *, temperature: float) -> torch.Tensor:
    """How far the answers are from a teacher's, on the scale of `loss`.

    Of classes the divergence of both distributions, softened by `temperature` (Hinton et al. 2015, arXiv 1503.02531);
    of numbers, which have nothing to soften, the mean squared difference.
    """
    if y.is_floating_point():
        return F.mse_loss(answers, taught)
    softened, target = (F.log_softmax(each / temperature, 1) for each in (answers, taught))
    return temperature**2 * F.kl_div(softened, target, log_target=True, reduction="batchmean")
