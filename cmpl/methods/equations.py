"""The paper's losses in its own symbols (Sec. 3, Appendix A).

Legend: B_l labeled and B_u unlabeled videos, K classes; z logits, p = softmax(z), y true and y_hat pseudo-label
classes; subscripts F (primary backbone) and A (auxiliary network); l_F and l_A are the distributions that F's and A's
pseudo-labels come from. Everything is computed in float32.
"""

import torch
import torch.nn.functional as functional
from torch import Tensor


def supervised_loss(z: Tensor, y: Tensor) -> Tensor:
    """L_s, Eq. 2 and 3: mean over B_l of H(y, z). z (B_l, K), y (B_l,) int64."""
    return functional.cross_entropy(z.float(), y)


def pseudo_labels(l: Tensor, tau: float) -> tuple[Tensor, Tensor]:  # noqa: E741 (the paper's symbol)
    """y_hat = arg max l and the indicator 1(max l >= tau) of Eq. 1, 4, 5. l (B_u, K) -> (B_u,) int64, (B_u,) bool."""
    confidence, y_hat = l.max(dim=1)
    return y_hat, confidence >= tau


def unsupervised_loss(z_strong: Tensor, y_hat: Tensor, confident: Tensor) -> Tensor:
    """L_u, Eq. 1, 4, 5: 1/B_u sum 1(confident) H(y_hat, z_strong). The mean is over all B_u, not over the confident."""
    losses = functional.cross_entropy(z_strong.float(), y_hat, reduction="none")
    return (losses * confident).mean()


SCHEMES = ("cross", "self-first", "opposite-first", "maximum", "average")


def label_distributions(p_F: Tensor, p_A: Tensor, *, scheme: str, tau: float) -> tuple[Tensor, Tensor]:
    """(l_F, l_A) of Appendix A: what F and A are taught by. p_F, p_A, l_F, l_A (B_u, K).

    tau still applies to the chosen distribution (in `pseudo_labels`).
    """
    if scheme == "cross":
        return p_A, p_F
    if scheme == "average":
        mean = (p_F + p_A) / 2
        return mean, mean
    max_F, max_A = p_F.amax(dim=1, keepdim=True), p_A.amax(dim=1, keepdim=True)
    if scheme == "self-first":
        return torch.where(max_F >= tau, p_F, p_A), torch.where(max_A >= tau, p_A, p_F)
    if scheme == "opposite-first":
        return torch.where(max_A >= tau, p_A, p_F), torch.where(max_F >= tau, p_F, p_A)
    if scheme == "maximum":
        highest = torch.where(max_F >= max_A, p_F, p_A)
        return highest, highest
    raise ValueError(f"scheme: received {scheme!r}; accepted: cross, self-first, opposite-first, maximum, average")


def total_loss(L_s_F: Tensor, L_s_A: Tensor, L_u_F: Tensor, L_u_A: Tensor, *, lambda_: float) -> Tensor:
    """L = (L_s^F + L_s^A) + lambda (L_u^F + L_u^A), Eq. 6."""
    return (L_s_F + L_s_A) + lambda_ * (L_u_F + L_u_A)
