"""The arms of the method check: what each changes in the demo's recipe, and for how many steps it trains."""

from collections.abc import Mapping
from dataclasses import dataclass

from cmpl.config import Config, with_settings
from cmpl.recipes.demo import demo
from cmpl.registries import METHODS, method_class

CHANGES: Mapping[str, Mapping[str, str]] = {
    "supervised": {"method.name": "supervised"},
    "fixmatch": {"method.name": "fixmatch"},
    "cmpl": {"method.name": "cmpl"},
    # One network, CMPL's clips.
    "elsewhere": {"method.name": "benchmarks.training.elsewhere:Elsewhere"},
    # CMPL, both clips starting with the same frame (Table 5 the other way round).
    "same-start": {"method.name": "cmpl", "clip.max_offset_seconds": "0"},
    # CMPL, the primary network being its own auxiliary (Table 3, second row).
    "shared-weights": {"method.name": "cmpl", "method.shared_weights": "true"},
    # CMPL, the auxiliary network as wide as the primary (Table 3, third row).
    "equal-auxiliary": {"method.name": "cmpl", "auxiliary.width": "0.25"},
}
MAIN = ("supervised", "fixmatch", "cmpl", "elsewhere")
"""The arms of the main question; the others say what CMPL's gain is due to."""
ONE_PROCESS = {"runtime.workers": "0", "runtime.torch_threads": "1", "runtime.loader_threads": "1"}


@dataclass(frozen=True)
class Arm:
    """One column: an entry of `CHANGES` trained for a number of steps."""

    name: str
    steps: int

    def __str__(self) -> str:
        return f"{self.name}@{self.steps}"


def config_of(arm: Arm, *, subset: int, labeled: str, settings: Mapping[str, str]) -> Config:
    """The demo recipe with this arm's changes and steps; `subset` seeds the labeled draw and the run.

    Settings that only other methods have are left out.
    """
    changes = CHANGES[arm.name]
    own = method_fields(changes["method.name"])
    of_others = {field for method in METHODS.built_in for field in method_fields(method)} - own
    asked = {key: text for key, text in settings.items() if key not in of_others}
    seeds = {"data.split_seed": str(subset), "seed": str(subset), "optim.steps": str(arm.steps)}
    return with_settings(demo(labeled), {**ONE_PROCESS, **seeds, **asked, **changes})


def method_fields(method: str) -> set[str]:
    """The keys of --set that a method has."""
    return {f"method.{name}" for name in method_class(method).Settings.field_names()}


def training_cost(config: Config) -> float:
    """Multiply-adds of one step, averaged over training: a backward pass counts as two forward ones."""
    from cmpl.recipes.cost import multiply_adds, passes_a_video

    labeled, unlabeled = passes_a_video(config.method)
    # Before the unlabeled losses are switched on, unlabeled clips are not looked at.
    share = 1 - config.method.unlabeled_delay
    passes = labeled * config.batch.labeled + share * unlabeled * config.batch.unlabeled
    return passes * multiply_adds(config, num_classes=10)


def main_arms(steps: int, *, labeled: str, settings: Mapping[str, str]) -> list[Arm]:
    """The main arms for `steps`, and FixMatch for as many steps as cost what CMPL's cost."""
    fixmatch, cmpl = (
        training_cost(config_of(Arm(name, steps), subset=0, labeled=labeled, settings=settings))
        for name in ("fixmatch", "cmpl")
    )
    equal_steps = [Arm(name, steps) for name in MAIN]
    return [*equal_steps, Arm("fixmatch", round(steps * cmpl / fixmatch))]


def further_arms(steps: int) -> list[Arm]:
    """The arms that take CMPL apart."""
    return [Arm(name, steps) for name in CHANGES if name not in MAIN]
