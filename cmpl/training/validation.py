"""Quick validation: what it logs, and what it says where confident predictions are often wrong."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from cmpl.methods.settings import MethodSettings

LOW_PRECISION = 0.6
"""Share of right ones below which confident predictions are said to be often wrong."""
LEAST_CONFIDENT = 20
"""Confident predictions without which nothing is said: of fewer, the share of right ones is chance."""
FROM_SHARE = 0.1
"""Share of training before which nothing is said: a network that has just begun is often wrong."""


def validation_metrics(scores: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """The metrics of a quick validation. scores: network -> what `accuracy` and `confidence` of cmpl.evaluate give.

    `val_top1` is the primary network's. `val_confident_share_*` and, where a prediction is confident,
    `val_confident_precision_*` are those of each network, where the method has a threshold.
    """
    metrics = {"val_top1": float(scores["primary"]["top1"])}
    for network, score in scores.items():
        for kind in ("share", "precision"):
            if f"confident_{kind}" in score:
                metrics[f"val_confident_{kind}_{network}"] = float(score[f"confident_{kind}"])
    return metrics


@dataclass
class Doubts:
    """Says once that a network's confident predictions on validation videos, which it was not taught, are often wrong.

    Such predictions are what unlabeled videos are learned by.
    """

    settings: MethodSettings
    is_said: bool = field(default=False, init=False)

    def line(self, scores: Mapping[str, Mapping[str, Any]], *, progress: float) -> str | None:
        """The remark of this validation, or None where there is nothing to say, or no more.

        progress: share of training that is done. Before pseudo-labels are learned nothing is said.
        """
        settings = self.settings
        learned_from = settings.pseudo_labels_from
        threshold = settings.least_confidence
        if self.is_said or learned_from is None or threshold is None or progress < max(FROM_SHARE, learned_from):
            return None
        often_wrong = [
            f"{network} {score['confident_precision']:.0%} right of {score['num_confident']}"
            for network, score in scores.items()
            if score["num_confident"] >= LEAST_CONFIDENT and score["confident_precision"] < LOW_PRECISION
        ]
        if not often_wrong:
            return None
        self.is_said = True
        return (
            f"predictions on validation videos with a confidence of {threshold:g} (method.threshold) or more are often "
            f"wrong: {', '.join(often_wrong)}. Unlabeled videos are learned by such predictions. What may help: more "
            "labels, a higher method.threshold, --init with trained weights, a later start by method.unlabeled_delay"
        )
