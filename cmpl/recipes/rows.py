"""What a row of the paper's tables is, as a recipe: its name, its figures, what it changes in a data set's recipe."""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

from cmpl.config import Config, NetworkConfig
from cmpl.config import changed as changed
from cmpl.recipes.demo import demo

TABLES = ("1", "2", "3", "4", "5", "6", "A1", "A2", "A3", "Fig. 4")

Expected = dict[tuple[str, str], float]
"""(data set, labeled share) -> top-1 in per cent, as printed."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of a table or point of a figure. `apply` turns a data set's recipe into this experiment's."""

    name: str
    table: str
    label: str
    expected: Expected
    apply: Callable[[Config], Config]
    dataset: str
    labeled: str
    starts_from_weights: bool
    top5: float | None
    """The printed top-5 on the row's own data, which Table 6 alone has."""

    @property
    def about(self) -> str:
        """What the recipe's docstring says."""
        return " ".join((self.apply.__doc__ or "").split())

    @property
    def top1(self) -> float | None:
        """The printed figure on the row's own data, or None where there is none."""
        return self.expected.get((self.dataset, self.labeled))

    def config(self, base: Config) -> Config:
        """The experiment on the data of `base`, a data set's recipe."""
        return dataclasses.replace(self.apply(base), recipe=self.name)

    def demo_config(self, base: Config, *, labeled: str | None = None) -> Config:
        """The same shrunk to the demo data; `base` is the recipe of the row's own data set."""
        share = labeled or ("all" if self.labeled == "all" else demo().data.labeled)
        return dataclasses.replace(shrunk(self.apply(base), labeled=share), recipe=self.name)


def row(
    table: str,
    label: str,
    *,
    top1: float | None = None,
    top5: float | None = None,
    expected: Expected | None = None,
    name: str | None = None,
    dataset: str = "k400",
    labeled: str = "1pct",
    starts_from_weights: bool = False,
) -> Callable:
    """Makes a function a row (its attribute `row`). Its name gives the recipe's: table3_aux_r18 is table3-aux-r18.

    `top1` is the figure on the row's own data; `expected` has those of several.
    """

    def register(function: Callable[[Config], Config]) -> Callable[[Config], Config]:
        made = Row(
            name=name or function.__name__.replace("_", "-"),
            table=table,
            label=label,
            expected=expected or ({} if top1 is None else {(dataset, labeled): top1}),
            apply=function,
            dataset=dataset,
            labeled=labeled,
            starts_from_weights=starts_from_weights,
            top5=top5,
        )
        function.row = made
        return function

    return register


def rows_of(*modules: ModuleType) -> dict[str, Row]:
    """The rows that the modules' functions are, by name, in the paper's order. Raises ValueError for a name that two
    bear."""
    rows = [value.row for module in modules for value in vars(module).values() if hasattr(value, "row")]
    rows.sort(key=lambda one: TABLES.index(one.table))
    named = {one.name: one for one in rows}
    if len(named) < len(rows):
        raise ValueError("two recipes bear one name")
    return named


def shrunk(config: Config, *, labeled: str) -> Config:
    """The experiment on the demo data: its method, and the proportions of its clips, widths and batch, in the demo's
    size, depth and length. It shows that a recipe runs and is quick, not what it reaches."""
    small = demo(labeled)
    ratio = config.batch.unlabeled / config.batch.labeled
    return dataclasses.replace(
        small,
        init=config.init,
        data=dataclasses.replace(small.data, split_scheme=config.data.split_scheme),
        clip=dataclasses.replace(
            small.clip,
            primary=_halved(config.clip.primary),
            auxiliary=_halved(config.clip.auxiliary),
            max_offset_seconds=config.clip.max_offset_seconds / 20,  # the demo's videos are that much shorter
        ),
        primary=_small(config.primary),
        auxiliary=_small(config.auxiliary),
        method=config.method.taking(
            {
                "batch_norm": vars(small.method)["batch_norm"],
                "unlabeled_delay": max(small.method.unlabeled_delay, config.method.unlabeled_delay),
            }
        ),
        optim=dataclasses.replace(small.optim, clip_gradient_norm=config.optim.clip_gradient_norm),
        batch=dataclasses.replace(small.batch, unlabeled=round(ratio * small.batch.labeled)),
    )


def _halved(shape: str) -> str:
    """Half the frames over the same span: 8x8 is 4x16."""
    num_frames, stride = map(int, shape.split("x"))
    return f"{max(1, num_frames // 2)}x{2 * stride}"


def _small(network: NetworkConfig) -> NetworkConfig:
    """A quarter of the width; of 3D-ResNets the demo's depth, stem and start. SlowFast stays 50 deep, and with it that
    its blocks start as shortcuts: without, its first steps at the demo's learning rate multiply the loss."""
    width = max(network.width / 4, 1 / 32)
    if network.architecture == "slowfast":
        return dataclasses.replace(network, width=width, dropout=0.0)
    return dataclasses.replace(demo().primary, width=width)
