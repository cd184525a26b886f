"""The settings of methods: what every method has, and what several share. Torch is not imported."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Self

from cmpl.bounds import Within, check_bounds
from cmpl.checks import one_of

BATCH_NORMS = ("joint", "weak-no-grad", "separate")
FILE = {"is_file": True}
"""`field(metadata=FILE)`: the path of a file. The command line makes it absolute, and tables of results ignore it."""


@dataclass(frozen=True, kw_only=True)
class MethodSettings:
    """The `method` section of a configuration: what every method has. A method adds fields in a subclass.

    The properties tell the builders what a method's own fields mean for them.
    """

    name: str = ""
    """The method's registered name, or `module:class`; empty where no configuration is in play."""
    unlabeled_weight: Annotated[float, Within(0)] = 5.0
    """lambda of Eq. 6: 5 with 1 % of labels, 2 with 10 %. s4l, videossl: w, 1 there; tcl: gamma, 9 there."""
    unlabeled_delay: Annotated[float, Within(0, 1)] = 0.0
    """Share of training before the unlabeled losses are switched on."""

    @property
    def wants_flow(self) -> bool:
        """Whether optical flow of the second clip is a view of its own (`batch.*.flow`)."""
        return False

    @property
    def shares_networks(self) -> bool:
        """Whether the primary network is its own auxiliary."""
        return False

    @property
    def weak_has_gradient(self) -> bool:
        """Whether weak clips go backward, too: a cost estimate asks."""
        return True

    @property
    def least_confidence(self) -> float | None:
        """Confidence from which on a prediction is a pseudo-label; None where there are none."""
        return None

    @property
    def pseudo_labels_from(self) -> float | None:
        """Share of training from which on pseudo-labels are learned; None where they never are."""
        return None

    def check(self) -> None:
        """Raises InputError for the first field that cannot be: those outside of their type's bounds (`Annotated[float,
        Within(0, 1)]`), then what a subclass checks besides."""
        check_bounds(self, prefix="method.")

    def taking(self, values: Mapping[str, Any]) -> Self:
        """The same with those of the values for which there is a field."""
        own = self.field_names()
        return dataclasses.replace(self, **{name: value for name, value in values.items() if name in own})

    @classmethod
    def field_names(cls) -> tuple[str, ...]:
        """The fields' names, those of every method first."""
        return tuple(item.name for item in dataclasses.fields(cls))

    @classmethod
    def file_fields(cls) -> tuple[str, ...]:
        """Names of the fields that hold a file's path."""
        return tuple(item.name for item in dataclasses.fields(cls) if item.metadata.get("is_file"))


@dataclass(frozen=True, kw_only=True)
class PseudoLabelSettings(MethodSettings):
    """The settings of methods that learn from their confident predictions on weak views."""

    threshold: Annotated[float, Within(0, 1)] = 0.9
    """tau: least confidence of a pseudo-label (Eq. 4, 5)."""

    @property
    def least_confidence(self) -> float | None:
        return self.threshold

    @property
    def pseudo_labels_from(self) -> float | None:
        return self.unlabeled_delay if self.unlabeled_weight > 0 else None


@dataclass(frozen=True, kw_only=True)
class ThreeViewSettings(PseudoLabelSettings):
    """The settings of methods that see labeled, weak and strong clips in one step (`methods.views`)."""

    batch_norm: str = "joint"
    """joint: one forward over labeled, weak and strong. weak-no-grad: weak clips apart, without gradients.
    separate: each of the three apart."""

    @property
    def weak_has_gradient(self) -> bool:
        return self.batch_norm == "joint"

    def check(self) -> None:
        super().check()
        one_of("method.batch_norm", self.batch_norm, BATCH_NORMS)
