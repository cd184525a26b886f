"""The networks' answers to one video, as a value and as a row of a csv file (leaf).

Legend: N videos, K classes, D features.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

NUM_RANKED = 5
"""Classes named of each video, at most."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Prediction:
    """The answers to one video."""

    path: str  # as asked for, or as a data set's list names it
    probabilities: dict[str, np.ndarray]  # network -> (K,) float32, the mean over views; none where it is broken
    features: np.ndarray | None = None  # (D,) float32 of the primary, the mean over views, where asked for
    reason: str = ""  # why there is no answer
    damage: str = ""  # what is wrong with a video that has one: it was shown with gaps filled

    def ranked(self, network: str = "primary") -> np.ndarray:
        """Returns the K classes, the likeliest first; of equal ones the earlier class."""
        return np.argsort(-self.probabilities[network], kind="stable")

    @property
    def agreement(self) -> bool | None:
        """Tells if all networks name the same class; None for a single network, and where there is no answer."""
        named = {int(self.ranked(network)[0]) for network in self.probabilities}
        return len(named) == 1 if len(self.probabilities) > 1 else None

    @property
    def entropy(self) -> float:
        """Returns the entropy, in nats, of the mean of the networks' answers.

        That is the mean of their own entropies plus their disagreement, the Jensen-Shannon divergence.
        """
        mean = np.stack(list(self.probabilities.values())).astype(np.float64).mean(axis=0)
        positive = mean[mean > 0]
        return max(0.0, -float((positive * np.log(positive)).sum()))


def titles(num_classes: int) -> tuple[str, ...]:
    """The columns: after the first two and `confidence`, the next likely classes, the auxiliary's, how sure, and why
    there is no answer or what is damaged."""
    ranked = [
        f"{word}_{rank}" for rank in range(2, min(NUM_RANKED, num_classes) + 1) for word in ("class", "confidence")
    ]
    of_auxiliary = ("auxiliary_class", "auxiliary_confidence", "agreement")
    return ("path", "class", "confidence", *ranked, *of_auxiliary, "entropy", "reason")


def fields(prediction: Prediction, classes: Sequence[str]) -> list[str]:
    """One row. Numbers have as many digits as float32 needs to be read back the same."""
    if prediction.reason:
        return [prediction.path, *[""] * (len(titles(len(classes))) - 2), prediction.reason]

    def ranked(network: str, number: int) -> list[str]:
        values = prediction.probabilities[network]
        return [text for k in prediction.ranked(network)[:number] for text in (classes[k], digits(values[k]))]

    has_auxiliary = "auxiliary" in prediction.probabilities
    of_auxiliary = [*ranked("auxiliary", 1), "yes" if prediction.agreement else "no"] if has_auxiliary else [""] * 3
    entropy = digits(np.float32(prediction.entropy))
    return [prediction.path, *ranked("primary", NUM_RANKED), *of_auxiliary, entropy, prediction.damage]


def digits(value: np.floating) -> str:
    """The shortest decimal number that is read back as the same float32."""
    return str(np.float32(value))


def as_json_row(row: Sequence[str], columns: Sequence[str]) -> dict[str, Any]:
    """A row as JSON values by column: numbers as numbers, agreement as true or false, nothing as null."""
    values: dict[str, Any] = {}
    for title, text in zip(columns, row, strict=True):
        if not text:
            values[title] = None
        elif title == "agreement":
            values[title] = text == "yes"
        else:
            values[title] = float(text) if title.startswith(("confidence", "auxiliary_conf", "entropy")) else text
    return values


def uncertain_first(labels: Sequence[int], entropies: Sequence[float]) -> list[int]:
    """Returns an order of N videos in which a person should label them.

    labels: (N,) predicted classes. The most uncertain video of each class comes first, then the second of each, ...;
    in each round the greater entropy goes first. So no class fills the top. Equal ones stay in order.
    """
    seen: dict[int, int] = {}
    rounds = np.zeros(len(labels), dtype=np.int64)
    for index in np.argsort(-np.asarray(entropies, dtype=np.float64), kind="stable").tolist():
        rounds[index] = seen.get(labels[index], 0)
        seen[labels[index]] = int(rounds[index]) + 1
    return sorted(range(len(labels)), key=lambda index: (rounds[index], -entropies[index]))
