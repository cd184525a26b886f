"""One step of CMPL and FixMatch against an implementation in plain numpy: losses, masks, gradients, BatchNorm.

A network here answers a clip with the row of numbers whose index is the clip's color, so that logits are given and
autograd's gradient by each of them can be read.
"""

import itertools
from dataclasses import fields

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from cmpl.methods.cross_model import CrossModel
from cmpl.methods.equations import SCHEMES
from cmpl.methods.fixmatch import FixMatch
from cmpl.methods.method import Terms
from cmpl.methods.settings import BATCH_NORMS
from cmpl.methods.views import PIXEL_MEAN, PIXEL_STD
from pipelines.batch import ClipBatch, LabeledBatch, SemiBatch, UnlabeledBatch
from tests.support.by_numpy import Array, BatchNorm, Step, Views, cmpl_step, fixmatch_step

K, NUM_LABELED, NUM_UNLABELED = 5, 3, 24
NUM_ROWS = NUM_LABELED + 2 * NUM_UNLABELED
LABELED, WEAK, STRONG = (
    list(range(NUM_LABELED)),
    list(range(NUM_LABELED, NUM_LABELED + NUM_UNLABELED)),
    list(range(NUM_LABELED + NUM_UNLABELED, NUM_ROWS)),
)
LABELS = [4, 0, 2]
TRUTH = [i % (K + 1) - 1 for i in range(NUM_UNLABELED)]  # -1 is unknown


class Given(nn.Module):
    """Clips of color i -> row i of `rows`, normalized over the clips of a pass where there is a `norm`."""

    def __init__(self, rows: Array, norm: nn.BatchNorm1d | None = None) -> None:
        super().__init__()
        self.rows = nn.Parameter(torch.tensor(rows, dtype=torch.float32))
        self.norm = norm or nn.Identity()

    def forward(self, clips: Tensor) -> Tensor:
        index = (clips[:, 0, 0, 0, 0] * PIXEL_STD + PIXEL_MEAN).round().long()
        return self.norm(self.rows[index])


def rows_of(seed: int) -> Array:
    """Logits of a step, (B_l + 2 B_u, K), as float32 has them: some sure, some not, two saturated."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(NUM_ROWS, K)) * rng.choice([0.5, 2.0, 5.0], size=(NUM_ROWS, 1))
    rows[WEAK[0]] = [200, 0, 0, 0, 0]  # p is exactly 1: tau = 1 still takes it
    rows[WEAK[1]] = np.eye(K)[seed % K] * 200
    return rows.astype(np.float32).astype(np.float64)


def views_of(rows: Array) -> Views:
    return Views(rows[LABELED], rows[WEAK], rows[STRONG])


def batch(auxiliary_offset: int = 0) -> SemiBatch:
    """Clips whose colors are the rows; the auxiliary's count from `auxiliary_offset`."""

    def clips(indices: list[int]) -> ClipBatch:
        color = torch.tensor(indices, dtype=torch.uint8)[:, None, None, None, None].expand(-1, 3, 1, 1, 1)
        return ClipBatch(primary=color, auxiliary=color + auxiliary_offset)

    return SemiBatch(
        labeled=LabeledBatch(standard=clips(LABELED), labels=torch.tensor(LABELS)),
        unlabeled=UnlabeledBatch(weak=clips(WEAK), strong=clips(STRONG), truth=torch.tensor(TRUTH)),
    )


def check_gradients(got: Tensor | None, expected: Views) -> None:
    assert got is not None
    for view, part in zip(fields(expected), got.split([NUM_LABELED, NUM_UNLABELED, NUM_UNLABELED]), strict=True):
        np.testing.assert_allclose(part.numpy(), getattr(expected, view.name), rtol=1e-4, atol=1e-6, err_msg=view.name)


def check_terms(terms: Terms, expected: Step) -> None:
    """The logged shares of confident, judged and right pseudo-labels, counted one by one."""
    for name, taught in expected.taught.items():
        counts = list(zip(taught.classes, taught.counts, TRUTH, strict=True))
        shares = {
            "share": sum(bool(counted) for _, counted, _ in counts),
            "judged": sum(bool(counted) and truth != -1 for _, counted, truth in counts),
            "right": sum(bool(counted) and truth == label for label, counted, truth in counts),
        }
        for kind, number in shares.items():
            assert terms[f"pseudo_{kind}_{name}"].item() == pytest.approx(number / NUM_UNLABELED), (kind, name)


TAUS = (0.0, 0.5, 0.9, 1.0)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("tau", TAUS)
def test_the_given_logits_fall_on_both_sides_of_the_threshold(scheme, tau):
    """Else a wrong mask could hide: some videos count and some do not, in both networks."""
    step = cmpl_step(views_of(rows_of(1)), views_of(rows_of(2)), LABELS, scheme=scheme, tau=tau, lambda_=1)
    for taught in step.taught.values():
        number = taught.counts.sum()
        assert number == NUM_UNLABELED if tau == 0 else 0 < number < NUM_UNLABELED


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("tau", TAUS)
@pytest.mark.parametrize("lambda_", [0.5, 5.0])
@pytest.mark.parametrize("batch_norm", BATCH_NORMS)
def test_cmpl(scheme, tau, lambda_, batch_norm):
    F, A = Given(rows_of(1)), Given(rows_of(2))
    settings = CrossModel.Settings(scheme=scheme, threshold=tau, batch_norm=batch_norm)
    loss, terms = CrossModel(primary=F, auxiliary=A, settings=settings)(batch(), unlabeled_weight=lambda_)
    loss.backward()
    expected = cmpl_step(views_of(rows_of(1)), views_of(rows_of(2)), LABELS, scheme=scheme, tau=tau, lambda_=lambda_)
    assert loss.item() == pytest.approx(expected.loss, rel=1e-5)
    check_gradients(F.rows.grad, expected.gradients["primary"])
    check_gradients(A.rows.grad, expected.gradients["auxiliary"])
    check_terms(terms, expected)


@pytest.mark.parametrize(("supervised", "unsupervised"), [(True, False), (False, True)])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_cmpl_with_the_switches_of_table_6(scheme, supervised, unsupervised):
    F, A = Given(rows_of(3)), Given(rows_of(4))
    switches = {"auxiliary_supervised": supervised, "auxiliary_unsupervised": unsupervised}
    settings = CrossModel.Settings(scheme=scheme, threshold=0.6, **switches)
    loss, _ = CrossModel(primary=F, auxiliary=A, settings=settings)(batch(), unlabeled_weight=2.0)
    loss.backward()
    expected = cmpl_step(
        views_of(rows_of(3)), views_of(rows_of(4)), LABELS, scheme=scheme, tau=0.6, lambda_=2.0, **switches
    )
    assert loss.item() == pytest.approx(expected.loss, rel=1e-5)
    check_gradients(F.rows.grad, expected.gradients["primary"])
    check_gradients(A.rows.grad, expected.gradients["auxiliary"])


@pytest.mark.parametrize("auxiliary_supervised", [True, False])
def test_cmpl_before_the_unlabeled_losses(auxiliary_supervised):
    F, A = Given(rows_of(1)), Given(rows_of(2))
    settings = CrossModel.Settings(auxiliary_supervised=auxiliary_supervised)
    loss, _ = CrossModel(primary=F, auxiliary=A, settings=settings)(batch(), unlabeled_weight=0.0)
    loss.backward()
    expected = cmpl_step(
        views_of(rows_of(1)),
        views_of(rows_of(2)),
        LABELS,
        scheme="cross",
        tau=0.9,
        lambda_=0.0,
        auxiliary_supervised=auxiliary_supervised,
    )
    assert loss.item() == pytest.approx(expected.loss, rel=1e-5)
    check_gradients(F.rows.grad, expected.gradients["primary"])
    check_gradients(A.rows.grad, expected.gradients["auxiliary"])


@pytest.mark.parametrize("scheme", SCHEMES)
def test_cmpl_with_one_network_as_its_own_auxiliary(scheme):
    """Table 3: the gradient of both losses meets in one network, each at its own clips."""
    network = Given(np.concatenate([rows_of(1), rows_of(2)]))
    settings = CrossModel.Settings(scheme=scheme, threshold=0.8, shared_weights=True)
    method = CrossModel(primary=network, auxiliary=network, settings=settings)
    loss, _ = method(batch(auxiliary_offset=NUM_ROWS), unlabeled_weight=2.0)
    loss.backward()
    expected = cmpl_step(views_of(rows_of(1)), views_of(rows_of(2)), LABELS, scheme=scheme, tau=0.8, lambda_=2.0)
    assert loss.item() == pytest.approx(expected.loss, rel=1e-5)
    check_gradients(network.rows.grad[:NUM_ROWS], expected.gradients["primary"])
    check_gradients(network.rows.grad[NUM_ROWS:], expected.gradients["auxiliary"])


@pytest.mark.parametrize("tau", TAUS)
@pytest.mark.parametrize("lambda_", [0.0, 0.5, 5.0])
@pytest.mark.parametrize("batch_norm", BATCH_NORMS)
def test_fixmatch(tau, lambda_, batch_norm):
    network = Given(rows_of(1))
    settings = FixMatch.Settings(threshold=tau, batch_norm=batch_norm)
    loss, terms = FixMatch(primary=network, settings=settings)(batch(), unlabeled_weight=lambda_)
    loss.backward()
    expected = fixmatch_step(views_of(rows_of(1)), LABELS, tau=tau, lambda_=lambda_)
    assert loss.item() == pytest.approx(expected.loss, rel=1e-5)
    check_gradients(network.rows.grad, expected.gradients["primary"])
    if lambda_ > 0:
        check_terms(terms, expected)


# Forward passes of a step in their order: whose rows share statistics.
PASSES = {
    "joint": [LABELED + WEAK + STRONG],
    "weak-no-grad": [WEAK, LABELED + STRONG],
    "separate": [WEAK, LABELED, STRONG],
}


@pytest.mark.parametrize("mode", BATCH_NORMS)
def test_batch_norm_of_the_three_views(mode):
    """Logits by each pass's own mean and variance, running ones moved pass by pass, gradients through statistics.

    Weak clips learn nothing, but in "joint" the loss moves with the statistics that they share.
    """
    rows = rows_of(5).clip(-8, 8) + np.repeat([3.0, -2.0, 1.0], [NUM_LABELED, NUM_UNLABELED, NUM_UNLABELED])[:, None]
    rows = rows.astype(np.float32).astype(np.float64)
    norm = nn.BatchNorm1d(K)
    scale, shift = np.array([3.0, 1.0, 2.0, 0.5, 4.0]), np.array([0.0, 1.0, -1.0, 0.5, 0.0])
    with torch.no_grad():
        norm.weight.copy_(torch.tensor(scale))
        norm.bias.copy_(torch.tensor(shift))
    network = Given(rows, norm)
    settings = FixMatch.Settings(threshold=0.7, batch_norm=mode)
    loss, _ = FixMatch(primary=network, settings=settings)(batch(), unlabeled_weight=2.0)
    loss.backward()

    plain = BatchNorm(scale, shift, running_mean=np.zeros(K), running_var=np.ones(K))
    z = views_of(plain.forward(rows, PASSES[mode]))
    expected = fixmatch_step(z, LABELS, tau=0.7, lambda_=2.0)
    assert 0 < expected.taught["primary"].counts.sum() < NUM_UNLABELED
    by_logits = expected.gradients["primary"]
    by_output = np.concatenate([by_logits.labeled, by_logits.weak, by_logits.strong])
    learning = [rows for rows in PASSES[mode] if rows != WEAK]
    by_rows = plain.backward(rows, by_output, learning)

    assert loss.item() == pytest.approx(expected.loss, rel=1e-4)
    np.testing.assert_allclose(norm.running_mean.numpy(), plain.running_mean, rtol=1e-5)
    np.testing.assert_allclose(norm.running_var.numpy(), plain.running_var, rtol=1e-5)
    assert network.rows.grad is not None
    np.testing.assert_allclose(network.rows.grad.numpy(), by_rows, rtol=1e-3, atol=1e-5)
    assert bool(network.rows.grad[WEAK].abs().sum() > 0) == (mode == "joint")


def test_the_order_of_passes_shows_in_running_statistics():
    """Else the test above could not tell one order from another."""
    rows = rows_of(5) + np.repeat([3.0, -2.0, 1.0], [NUM_LABELED, NUM_UNLABELED, NUM_UNLABELED])[:, None]
    means = []
    for groups in itertools.permutations(PASSES["separate"]):
        plain = BatchNorm(np.ones(K), np.zeros(K), running_mean=np.zeros(K), running_var=np.ones(K))
        plain.forward(rows, list(groups))
        means.append(plain.running_mean)
    assert all(not np.allclose(a, b, rtol=1e-3) for a, b in itertools.combinations(means, 2))
