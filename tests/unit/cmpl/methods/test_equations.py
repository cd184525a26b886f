"""The paper's losses against values worked out by hand and a plain-Python oracle."""

import math
import random

import pytest
import torch

from cmpl.methods.equations import (
    SCHEMES,
    label_distributions,
    pseudo_labels,
    supervised_loss,
    total_loss,
    unsupervised_loss,
)

LOG2, LOG3, LOG4 = math.log(2), math.log(3), math.log(4)


def oracle_softmax(z):
    exponentials = [math.exp(value) for value in z]
    return [value / sum(exponentials) for value in exponentials]


def oracle_unsupervised(p_teacher, z_student, tau):
    """Eq. 4, word for word."""
    total = 0.0
    for p, z in zip(p_teacher, z_student, strict=True):
        if max(p) >= tau:
            total += -math.log(oracle_softmax(z)[p.index(max(p))])
    return total / len(p_teacher)


def oracle_distribution(own, other, tau, scheme):
    """l of one network for one video (Appendix A): `own` is its prediction, `other` its companion's."""
    if scheme == "cross":
        return other
    if scheme == "self-first":
        return own if max(own) >= tau else other
    if scheme == "opposite-first":
        return other if max(other) >= tau else own
    if scheme == "maximum":
        return own if max(own) >= max(other) else other
    return [(a + b) / 2 for a, b in zip(own, other, strict=True)]


def test_supervised_loss_by_hand():
    z = torch.log(torch.tensor([[0.5, 0.25, 0.25], [0.25, 0.25, 0.5]]))
    assert supervised_loss(z, torch.tensor([0, 0])).item() == pytest.approx((LOG2 + LOG4) / 2)


def test_the_mean_is_over_all_videos_not_over_the_confident():
    p = torch.tensor([[0.95, 0.05], [0.6, 0.4], [0.1, 0.9], [0.5, 0.5]])
    y_hat, confident = pseudo_labels(p, 0.9)
    assert y_hat.tolist()[:3] == [0, 0, 1]
    assert confident.tolist() == [True, False, True, False]
    z = torch.log(torch.tensor([[0.5, 0.5], [0.9, 0.1], [0.75, 0.25], [0.9, 0.1]]))
    assert unsupervised_loss(z, y_hat, confident).item() == pytest.approx((LOG2 + LOG4) / 4)


def test_tau_itself_is_confident():
    assert pseudo_labels(torch.tensor([[0.75, 0.25]]), 0.75)[1].item()


def test_no_confident_video_gives_zero_and_no_gradient():
    z = torch.randn(3, 4, requires_grad=True)
    loss = unsupervised_loss(z, torch.zeros(3, dtype=torch.int64), torch.zeros(3, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0
    assert z.grad.abs().sum() == 0


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("tau", [0.5, 0.9])
def test_every_scheme_against_the_oracle(scheme, tau):
    rng = random.Random(7)
    p_F = [oracle_softmax([rng.gauss(0, 2.5) for _ in range(4)]) for _ in range(60)]
    p_A = [oracle_softmax([rng.gauss(0, 2.5) for _ in range(4)]) for _ in range(60)]
    z = [[rng.gauss(0, 1) for _ in range(4)] for _ in range(60)]
    l_F, l_A = label_distributions(
        torch.tensor(p_F, dtype=torch.float64), torch.tensor(p_A, dtype=torch.float64), scheme=scheme, tau=tau
    )
    for got, own, other in ((l_F, p_F, p_A), (l_A, p_A, p_F)):
        expected = [oracle_distribution(a, b, tau, scheme) for a, b in zip(own, other, strict=True)]
        torch.testing.assert_close(got, torch.tensor(expected, dtype=torch.float64))
        loss = unsupervised_loss(torch.tensor(z), *pseudo_labels(got, tau))
        assert loss.item() == pytest.approx(oracle_unsupervised(expected, z, tau), rel=1e-5)


def test_schemes_by_hand():
    """F is sure of class 0, A of class 1, a little less; tau lies between."""
    p_F, p_A = torch.tensor([[0.95, 0.05]]), torch.tensor([[0.15, 0.85]])

    def taught(scheme):
        return [l.argmax().item() for l in label_distributions(p_F, p_A, scheme=scheme, tau=0.9)]  # noqa: E741

    assert taught("cross") == [1, 0]
    assert taught("self-first") == [0, 0]
    assert taught("opposite-first") == [0, 0]
    assert taught("maximum") == [0, 0]
    l_F, l_A = label_distributions(p_F, p_A, scheme="average", tau=0.9)
    torch.testing.assert_close(l_F, torch.tensor([[0.55, 0.45]]))
    assert torch.equal(l_F, l_A)
    assert not pseudo_labels(l_F, 0.9)[1].item()  # tau applies to the mean


def test_total_loss_by_hand():
    assert total_loss(*map(torch.tensor, (1.0, 2.0, 3.0, 4.0)), lambda_=5).item() == 38


def test_unknown_scheme_is_named():
    p = torch.ones(1, 2) / 2
    with pytest.raises(ValueError, match="received 'self'"):
        label_distributions(p, p, scheme="self", tau=0.9)
