"""Methods as a whole: which network learns from what, on linear networks whose losses are easy to follow."""

import itertools

import pytest
import torch
from torch import nn

from cmpl.methods.cross_model import CrossModel
from cmpl.methods.equations import SCHEMES, label_distributions, pseudo_labels, supervised_loss, unsupervised_loss
from cmpl.methods.fixmatch import FixMatch
from cmpl.methods.settings import BATCH_NORMS
from cmpl.methods.supervised import Supervised
from cmpl.methods.views import forward_views, normalized
from pipelines.batch import ClipBatch, LabeledBatch, SemiBatch, UnlabeledBatch
from tests.support.tiny import K, Linear, clips


def batch() -> SemiBatch:
    def both(num_videos: int, seed: int) -> ClipBatch:
        return ClipBatch(primary=clips(num_videos, 2, seed), auxiliary=clips(num_videos, 4, seed + 1))

    return SemiBatch(
        labeled=LabeledBatch(standard=both(3, 0), labels=torch.tensor([0, 1, 3])),
        unlabeled=UnlabeledBatch(weak=both(8, 10), strong=both(8, 20), truth=torch.tensor([0, 1, 2, 3, -1, 0, 1, 2])),
    )


def cross_model(**options) -> CrossModel:
    return CrossModel(primary=Linear(1), auxiliary=Linear(2), settings=CrossModel.Settings(threshold=0.7, **options))


def gradients(network: nn.Module) -> float:
    return sum(float(p.grad.abs().sum()) for p in network.parameters() if p.grad is not None)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_cmpl_is_equation_6(scheme):
    method, b = cross_model(scheme=scheme), batch()
    loss, terms = method(b, unlabeled_weight=5.0)
    p_F = torch.softmax(method.primary(normalized(b.unlabeled.weak.primary)), dim=1).detach()
    p_A = torch.softmax(method.auxiliary(normalized(b.unlabeled.weak.auxiliary)), dim=1).detach()
    l_F, l_A = label_distributions(p_F, p_A, scheme=scheme, tau=0.7)
    expected = 0.0
    for network, name, l in ((method.primary, "primary", l_F), (method.auxiliary, "auxiliary", l_A)):  # noqa: E741
        L_s = supervised_loss(network(normalized(getattr(b.labeled.standard, name))), b.labeled.labels)
        L_u = unsupervised_loss(network(normalized(getattr(b.unlabeled.strong, name))), *pseudo_labels(l, 0.7))
        assert terms[f"loss_supervised_{name}"].item() == pytest.approx(L_s.item(), rel=1e-5)
        assert terms[f"loss_unsupervised_{name}"].item() == pytest.approx(L_u.item(), rel=1e-5)
        expected = expected + L_s + 5 * L_u
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert terms["loss_unsupervised_primary"] > 0


def test_networks_do_not_learn_through_each_others_pseudo_labels():
    """The stop-gradient of Fig. 3: L_u^F moves F alone, L_u^A moves A alone."""
    method, b = cross_model(), batch()
    z = {
        name: forward_views(
            getattr(method, name),
            *(getattr(v, name) for v in (b.labeled.standard, b.unlabeled.weak, b.unlabeled.strong)),
            batch_norm="joint",
        )
        for name in ("primary", "auxiliary")
    }
    y_hat, confident = pseudo_labels(torch.softmax(z["auxiliary"].weak, dim=1), 0.7)
    unsupervised_loss(z["primary"].strong, y_hat, confident).backward()
    assert gradients(method.primary) > 0
    assert gradients(method.auxiliary) == 0


@pytest.mark.parametrize(("supervised", "unsupervised"), [(True, False), (False, True)])
def test_table_6_switches(supervised, unsupervised):
    method = cross_model(auxiliary_supervised=supervised, auxiliary_unsupervised=unsupervised)
    _, terms = method(batch(), unlabeled_weight=5.0)
    assert (terms["loss_supervised_auxiliary"] > 0) == supervised
    assert (terms["loss_unsupervised_auxiliary"] > 0) == unsupervised
    assert terms["loss_supervised_primary"] > 0
    assert terms["loss_unsupervised_primary"] > 0


def test_before_the_unlabeled_losses_only_labels_count():
    method, b = cross_model(), batch()
    loss, terms = method(b, unlabeled_weight=0.0)
    expected = sum(
        supervised_loss(n(normalized(c)), b.labeled.labels)
        for n, c in (
            (method.primary, b.labeled.standard.primary),
            (method.auxiliary, b.labeled.standard.auxiliary),
        )
    )
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    assert not any("unsupervised" in name for name in terms)


def test_fixmatch_is_cmpl_with_shared_weights_and_the_same_clips():
    """Table 3: with the primary as its own auxiliary, on the same frames, CMPL is FixMatch twice."""
    network, b = Linear(1), batch()
    same = SemiBatch(
        labeled=LabeledBatch(
            standard=ClipBatch(primary=b.labeled.standard.primary, auxiliary=b.labeled.standard.primary),
            labels=b.labeled.labels,
        ),
        unlabeled=UnlabeledBatch(
            weak=ClipBatch(primary=b.unlabeled.weak.primary, auxiliary=b.unlabeled.weak.primary),
            strong=ClipBatch(primary=b.unlabeled.strong.primary, auxiliary=b.unlabeled.strong.primary),
            truth=b.unlabeled.truth,
        ),
    )
    shared = CrossModel(primary=network, auxiliary=network, settings=CrossModel.Settings(threshold=0.7))
    alone = FixMatch(primary=network, settings=FixMatch.Settings(threshold=0.7))
    assert shared(same, unlabeled_weight=2.0)[0].item() == pytest.approx(
        2 * alone(same, unlabeled_weight=2.0)[0].item(), rel=1e-5
    )


def test_supervised_is_equation_2():
    method, b = Supervised(primary=Linear(1)), batch()
    expected = supervised_loss(method.primary(normalized(b.labeled.standard.primary)), b.labeled.labels)
    assert method(b, unlabeled_weight=5.0)[0].item() == pytest.approx(expected.item())


def test_the_truth_changes_metrics_and_no_loss():
    """Whatever the truth, the loss is the same; over all possible truths, every confident label is right once."""
    b, method = batch(), cross_model()

    def with_truth(label: int) -> tuple[float, dict]:
        truth = torch.full_like(b.unlabeled.truth, label)
        unlabeled = UnlabeledBatch(weak=b.unlabeled.weak, strong=b.unlabeled.strong, truth=truth)
        loss, terms = method(SemiBatch(labeled=b.labeled, unlabeled=unlabeled), unlabeled_weight=5.0)
        return loss.item(), terms

    answers = [with_truth(label) for label in range(-1, K)]
    assert len({loss for loss, _ in answers}) == 1
    for name in ("primary", "auxiliary"):
        right = [terms[f"pseudo_right_{name}"].item() for _, terms in answers]
        assert right[0] == 0  # unknown
        assert sum(right) == pytest.approx(answers[0][1][f"pseudo_share_{name}"].item())
        assert sum(right) > 0


@pytest.mark.parametrize(("first", "second"), list(itertools.combinations(BATCH_NORMS, 2)))
def test_batch_norm_groups_differ_only_in_statistics(first, second):
    """Without BatchNorm all groupings agree; with it they do not."""
    views = [clips(n, 2, seed) for n, seed in ((3, 0), (8, 10), (8, 20))]
    plain = Linear(1)
    a, b = (forward_views(plain, *views, batch_norm=mode) for mode in (first, second))
    for name in ("labeled", "weak", "strong"):
        torch.testing.assert_close(getattr(a, name), getattr(b, name))
    normed = nn.Sequential(nn.BatchNorm3d(3), Linear(1))
    a, b = (forward_views(normed, *views, batch_norm=mode) for mode in (first, second))
    assert not torch.allclose(a.strong, b.strong) or not torch.allclose(a.weak, b.weak)
    assert not a.weak.requires_grad


def test_joint_batch_norm_is_one_forward_over_all_views():
    views = [clips(n, 2, seed) for n, seed in ((3, 0), (8, 10), (8, 20))]
    network = nn.Sequential(nn.BatchNorm3d(3), Linear(1))
    z = forward_views(network, *views, batch_norm="joint")
    whole = normalized(torch.cat(views))
    mean, var = whole.mean(dim=(0, 2, 3, 4), keepdim=True), whole.var(dim=(0, 2, 3, 4), keepdim=True, unbiased=False)
    expected = network[1]((whole - mean) / (var + 1e-5).sqrt())
    torch.testing.assert_close(torch.cat([z.labeled, z.weak, z.strong]), expected)


def test_batches_check_their_shapes():
    with pytest.raises(ValueError, match=r"expected \(B, 3, T, H, W\), got \(2, 3, 4, 5\)"):
        ClipBatch(primary=torch.zeros(2, 3, 4, 5))
    with pytest.raises(ValueError, match="labels: expected"):
        LabeledBatch(standard=ClipBatch(primary=clips(2, 2, 0)), labels=torch.zeros(3))
    with pytest.raises(ValueError, match="truth: expected 2"):
        UnlabeledBatch(
            weak=ClipBatch(primary=clips(2, 2, 0)), strong=ClipBatch(primary=clips(2, 2, 0)), truth=torch.zeros(1)
        )
