"""A row of the paper's tables as a recipe: its name, its figures, what it changes in a data set's."""

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import ModuleType

from cmpl.config import Config, NetworkConfig
from cmpl.recipes.demo import demo

TABLES = ("1", "2", "3", "4", "5", "6", "A1", "A2", "A3", "Fig. 1", "Fig. 4", "Fig. 5")

Expected = dict[tuple[str, str], float]
"""(data set, labeled share) -> top-1 in percent, as printed."""


Change = Callable[[Config], Config]
"""Turns a configuration into another one."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of a table or point of a figure. Its `changes` turn a data set's recipe into this experiment's."""

    name: str
    table: str
    label: str
    about: str
    changes: tuple[Change, ...]
    expected: Expected
    dataset: str = "k400"
    labeled: str = "1pct"
    starts_from_weights: bool = False
    top5: float | None = None
    """The printed top-5 on the row's own data, which Table 6 alone has."""

    @property
    def top1(self) -> float | None:
        """The printed figure on the row's own data, or None where there is none."""
        return self.expected.get((self.dataset, self.labeled))

    def config(self, base: Config) -> Config:
        """The experiment on the data of `base`, a data set's recipe."""
        return dataclasses.replace(self._applied(base), recipe=self.name)

    def demo_config(self, base: Config, *, labeled: str | None = None) -> Config:
        """The same shrunk to the demo data; `base` is the recipe of the row's own data set."""
        share = labeled or ("all" if self.labeled == "all" else demo().data.labeled)
        return dataclasses.replace(shrunk(self._applied(base), labeled=share), recipe=self.name)

    def _applied(self, config: Config) -> Config:
        for change in self.changes:
            config = change(config)
        return config


def row(
    table: str,
    label: str,
    *,
    top1: float | None = None,
    expected: Expected | None = None,
    dataset: str = "k400",
    labeled: str = "1pct",
    starts_from_weights: bool = False,
) -> Callable[[Change], Row]:
    """Makes a function a row. Its name gives the recipe's (table1_s4l is table1-s4l), its docstring what it is about.

    `top1` is the figure on the row's own data; `expected` has those of several.
    """

    def made(function: Change) -> Row:
        return Row(
            name=function.__name__.replace("_", "-"),
            table=table,
            label=label,
            about=" ".join((function.__doc__ or "").split()),
            changes=(function,),
            expected=expected or ({} if top1 is None else {(dataset, labeled): top1}),
            dataset=dataset,
            labeled=labeled,
            starts_from_weights=starts_from_weights,
        )

    return made


def rows_of(*modules: ModuleType) -> tuple[Row, ...]:
    """The rows that functions of the modules were made, in the order of the files."""
    return tuple(value for module in modules for value in vars(module).values() if isinstance(value, Row))


def by_name(rows: Iterable[Row]) -> dict[str, Row]:
    """The rows by name, in the paper's order. Raises ValueError for a name that two bear."""
    ordered = sorted(rows, key=lambda one: TABLES.index(one.table))
    named = {one.name: one for one in ordered}
    if len(named) < len(ordered):
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
            primary=_short(config.clip.primary),
            auxiliary=_short(config.clip.auxiliary),
            max_offset_seconds=config.clip.max_offset_seconds / 4,  # the demo's videos are that much shorter
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


def _short(shape: str) -> str:
    """Half the frames over an eighth of the span, as the demo's shots are short: 8x8 is 4x2, 16x4 is 8x1."""
    num_frames, stride = map(int, shape.split("x"))
    return f"{max(1, num_frames // 2)}x{max(1, stride // 4)}"


def _small(network: NetworkConfig) -> NetworkConfig:
    """A quarter of the width; of 3D-ResNets and TSM the demo's depth, stem and start. SlowFast stays 50 deep, and its
    blocks start as shortcuts: without that, its first steps at the demo's learning rate multiply the loss."""
    width = max(network.width / 4, 1 / 32)
    if network.architecture == "slowfast":
        return dataclasses.replace(network, width=width, dropout=0.0)
    return dataclasses.replace(demo().primary, architecture=network.architecture, width=width)
