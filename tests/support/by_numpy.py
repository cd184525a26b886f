"""One step of CMPL and of FixMatch from given logits, in plain numpy, video by video in float64.

Written from the paper (Eq. 1 to 6, Appendix A) and from the definition of BatchNorm; nothing of cmpl is used.

Legend: B_l labeled and B_u unlabeled videos, K classes; z logits, p = softmax(z).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Views:
    """Numbers of one network for the three views: logits, or gradients of the loss by them."""

    labeled: Array  # (B_l, K)
    weak: Array  # (B_u, K)
    strong: Array  # (B_u, K)

    def zeros(self) -> "Views":
        """The same shapes, filled with zeros."""
        return Views(np.zeros_like(self.labeled), np.zeros_like(self.weak), np.zeros_like(self.strong))


@dataclass(frozen=True)
class Taught:
    """What one network learns from: a class and whether it counts, for each unlabeled video."""

    classes: NDArray[np.int64]  # (B_u,)
    counts: NDArray[np.bool_]  # (B_u,)


@dataclass(frozen=True)
class Step:
    """A step's loss, the gradients of its logits, and the pseudo-labels that taught each network."""

    loss: float
    gradients: dict[str, Views]
    taught: dict[str, Taught]


def softmax(z: Array) -> Array:
    """p of one video, (K,)."""
    exponentials = np.exp(z - z.max())
    return exponentials / exponentials.sum()


def cross_entropy(z: Array, y: int) -> tuple[float, Array]:
    """H(y, z) of one video and its gradient, p - onehot(y)."""
    gradient = softmax(z)
    loss = np.log(np.exp(z - z.max()).sum()) + z.max() - z[y]
    gradient[y] -= 1
    return float(loss), gradient


def teacher(own: Array, other: Array, *, scheme: str, tau: float, own_is_primary: bool) -> Array:
    """The distribution that teaches one network of one video (Appendix A). own: its p; other: its companion's."""
    if scheme == "cross":
        return other
    if scheme == "self-first":  # its own where that is confident
        return own if own.max() >= tau else other
    if scheme == "opposite-first":
        return other if other.max() >= tau else own
    if scheme == "maximum":  # the surer of the two; the primary's where they are equally sure
        if own.max() == other.max():
            return own if own_is_primary else other
        return own if own.max() > other.max() else other
    assert scheme == "average"
    return (own + other) / 2


def supervised(z: Views, labels: list[int], gradients: Views, *, weight: float) -> float:
    """Adds weight * L_s (Eq. 2, 3) to the gradients; returns its value."""
    total = 0.0
    for i, y in enumerate(labels):
        loss, gradient = cross_entropy(z.labeled[i], y)
        total += weight * loss / len(labels)
        gradients.labeled[i] += weight * gradient / len(labels)
    return total


def unsupervised(z: Views, taught: Taught, gradients: Views, *, weight: float) -> float:
    """Adds weight * L_u (Eq. 1, 4, 5) to the gradients; returns its value. Divides by all B_u videos."""
    total, num_videos = 0.0, len(z.strong)
    for i in range(num_videos):
        if not taught.counts[i]:
            continue
        loss, gradient = cross_entropy(z.strong[i], int(taught.classes[i]))
        total += weight * loss / num_videos
        gradients.strong[i] += weight * gradient / num_videos
    return total


def taught_by(distributions: list[Array], *, tau: float) -> Taught:
    """Hard labels and masks of B_u distributions."""
    classes = np.array([int(p.argmax()) for p in distributions], dtype=np.int64)
    return Taught(classes, np.array([bool(p.max() >= tau) for p in distributions]))


def cmpl_step(
    primary: Views,
    auxiliary: Views,
    labels: list[int],
    *,
    scheme: str,
    tau: float,
    lambda_: float,
    auxiliary_supervised: bool = True,
    auxiliary_unsupervised: bool = True,
) -> Step:
    """Eq. 6 with the switches of Table 6. With lambda_ 0 the unlabeled videos count for nothing."""
    z = {"primary": primary, "auxiliary": auxiliary}
    gradients = {name: views.zeros() for name, views in z.items()}
    taught = {}
    for name, other in (("primary", "auxiliary"), ("auxiliary", "primary")):
        pairs = [(softmax(a), softmax(b)) for a, b in zip(z[name].weak, z[other].weak, strict=True)]
        is_primary = name == "primary"
        rows = [teacher(a, b, scheme=scheme, tau=tau, own_is_primary=is_primary) for a, b in pairs]
        taught[name] = taught_by(rows, tau=tau)
    loss = supervised(primary, labels, gradients["primary"], weight=1)
    loss += unsupervised(primary, taught["primary"], gradients["primary"], weight=lambda_)
    if auxiliary_supervised:
        loss += supervised(auxiliary, labels, gradients["auxiliary"], weight=1)
    if auxiliary_unsupervised:
        loss += unsupervised(auxiliary, taught["auxiliary"], gradients["auxiliary"], weight=lambda_)
    return Step(loss, gradients, taught)


def fixmatch_step(z: Views, labels: list[int], *, tau: float, lambda_: float) -> Step:
    """L_s + lambda L_u with L_u of Eq. 1."""
    gradients = z.zeros()
    taught = taught_by([softmax(row) for row in z.weak], tau=tau)
    loss = supervised(z, labels, gradients, weight=1)
    loss += unsupervised(z, taught, gradients, weight=lambda_)
    return Step(loss, {"primary": gradients}, {"primary": taught})


@dataclass
class BatchNorm:
    """BatchNorm in training over rows (N, C), by its definition, with torch's momentum 0.1 and epsilon 1e-5.

    `groups` are the row numbers of each forward pass, in order: statistics are those of a group's rows, and each pass
    moves the running ones by a tenth of the way, the variance's with N - 1.
    """

    scale: Array
    shift: Array
    running_mean: Array
    running_var: Array

    def forward(self, x: Array, groups: list[list[int]]) -> Array:
        """(N, C) -> (N, C), every row within its group."""
        output = np.empty_like(x)
        for rows in groups:
            for c in range(x.shape[1]):
                values = x[rows, c]
                mean = values.sum() / len(rows)
                var = ((values - mean) ** 2).sum() / len(rows)
                output[rows, c] = (values - mean) / np.sqrt(var + 1e-5) * self.scale[c] + self.shift[c]
                unbiased = var * len(rows) / (len(rows) - 1)
                self.running_mean[c] = 0.9 * self.running_mean[c] + 0.1 * mean
                self.running_var[c] = 0.9 * self.running_var[c] + 0.1 * unbiased
        return output

    def backward(self, x: Array, gradient: Array, groups: list[list[int]]) -> Array:
        """The gradient by the rows x of a loss with this gradient by the output; `groups` that learn, alone."""
        result = np.zeros_like(x)
        for rows in groups:
            for c in range(x.shape[1]):
                values, dy = x[rows, c], gradient[rows, c]
                deviation = np.sqrt(values.var() + 1e-5)
                normal = (values - values.mean()) / deviation
                through_statistics = dy.mean() + normal * (dy * normal).mean()
                result[rows, c] = self.scale[c] / deviation * (dy - through_statistics)
        return result
