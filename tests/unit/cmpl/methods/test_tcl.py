"""TCL against a plain reading of its losses, pair by pair."""

import math

import pytest
import torch

from cmpl.methods.tcl import TCL, TEMPERATURE, group_loss, simclr_loss
from cmpl.methods.views import normalized
from pipelines.plan.geometry import ClipShape
from tests.support.tiny import Trunk, batch, cross_entropy, softmax


def made(**options) -> TCL:
    return TCL(
        primary=Trunk(),
        settings=TCL.Settings(**{"threshold": 0.6, "finetune_share": 0.25, "finetune_weight": 2.0} | options),
    )


def cosine(a, b) -> float:
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    return dot / math.sqrt(sum(x * x for x in a)) / math.sqrt(sum(x * x for x in b))


def simclr(fast: list, slow: list) -> float:
    """NT-Xent over 2N outputs, in plain floats."""
    rows, n, losses = fast + slow, len(fast), []
    if n == 0:
        return 0.0
    for i, a in enumerate(rows):
        partner = math.exp(cosine(a, rows[(i + n) % (2 * n)]) / TEMPERATURE)
        others = sum(math.exp(cosine(a, b) / TEMPERATURE) for j, b in enumerate(rows) if j != i)
        losses.append(-math.log(partner / others))
    return sum(losses) / len(losses)


def groups(fast: list, slow: list) -> float:
    means = []
    for view in (fast, slow):
        members: dict[int, list] = {}
        for p in view:
            members.setdefault(max(range(len(p)), key=p.__getitem__), []).append(p)
        means.append(
            {k: [sum(column) / len(rows) for column in zip(*rows, strict=True)] for k, rows in members.items()}
        )
    shared = sorted(means[0].keys() & means[1].keys())
    return max(0.0, simclr([means[0][k] for k in shared], [means[1][k] for k in shared]))


def random_views(seed: int, n: int = 6, k: int = 4) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(torch.softmax(2 * torch.randn(n, k, generator=generator), dim=1) for _ in range(2))


@pytest.mark.parametrize("seed", range(4))
def test_losses_between_views(seed):
    fast, slow = random_views(seed)
    assert simclr_loss(fast, slow).item() == pytest.approx(simclr(fast.tolist(), slow.tolist()), rel=1e-4)
    assert group_loss(fast, slow).item() == pytest.approx(groups(fast.tolist(), slow.tolist()), rel=1e-4, abs=1e-6)


def test_losses_are_in_float32_under_autocast():
    fast, slow = random_views(0)
    expected = simclr_loss(fast, slow), group_loss(fast, slow)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert (simclr_loss(fast, slow), group_loss(fast, slow)) == expected


def test_groups_without_a_partner_do_not_count():
    """All fast ones of class 0, all slow ones of class 1: no group is in both, and no gradient is NaN."""
    fast = torch.eye(3)[[0, 0]] * 0.8 + 0.1
    slow = (torch.eye(3)[[1, 1]] * 0.8 + 0.1).requires_grad_()
    loss = group_loss(fast, slow)
    loss.backward()
    assert loss.item() == 0
    assert not slow.grad.isnan().any()


def test_a_group_alone_has_nothing_to_be_told_from():
    fast, slow = torch.eye(3)[[0, 0]] * 0.8 + 0.1, torch.eye(3)[[0, 1]] * 0.8 + 0.1
    assert group_loss(fast, slow).item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize(("progress", "pseudo"), [(0.0, False), (0.74, False), (0.75, True), (0.99, True)])
def test_the_loss_is_the_formula(progress, pseudo):
    method, b = made(), batch(auxiliary_frames=2)
    loss, terms = method(b, unlabeled_weight=9.0, progress=progress)
    z = {
        "l": method.primary(normalized(b.labeled.standard.primary)).tolist(),
        "f": method.primary(normalized(b.unlabeled.weak.primary)).tolist(),
        "s": method.primary(normalized(b.unlabeled.weak.auxiliary)).tolist(),
    }
    fast, slow = [softmax(row) for row in z["f"]], [softmax(row) for row in z["s"]]
    expected = sum(cross_entropy(row, int(y)) for row, y in zip(z["l"], b.labeled.labels, strict=True)) / 3
    expected += 9 * simclr(fast, slow) + groups(fast, slow)
    own = sum(cross_entropy(z["f"][i], p.index(max(p))) for i, p in enumerate(fast) if max(p) >= 0.6) / len(fast)
    assert own > 0
    expected += 2 * own if pseudo else 0
    assert loss.item() == pytest.approx(expected, rel=1e-4)
    assert ("loss_pseudo_primary" in terms) == pseudo


def test_warm_up_is_the_labels_alone():
    method, b = made(), batch(auxiliary_frames=2)
    loss, terms = method(b, unlabeled_weight=0.0)
    assert terms.keys() == {"loss_supervised_primary"}
    assert loss.item() == pytest.approx(terms["loss_supervised_primary"].item())


def test_the_fast_view_teaches_and_does_not_learn():
    method, b = made(), batch(auxiliary_frames=2)
    seen = {}

    def keep(_module, _inputs, z) -> None:
        z.retain_grad()
        seen[len(z)] = z

    method.primary.register_forward_hook(keep)
    method(b, unlabeled_weight=9.0)[0].backward()
    assert seen[11].grad[3:].abs().sum() == 0  # three labeled, then the fast view
    assert seen[11].grad[:3].abs().sum() > 0
    assert seen[8].grad.abs().sum() > 0


def test_the_slow_view_has_half_the_frames_of_the_same_span():
    slow = TCL.auxiliary_shape(ClipShape(8, 8), ClipShape(16, 4))
    assert slow == ClipShape(4, 16)
    assert not TCL.offsets_auxiliary_clip
    fast_frames, slow_frames = (shape.frames(7, num_video_frames=200) for shape in (ClipShape(8, 8), slow))
    assert set(slow_frames) == set(fast_frames[::2])
