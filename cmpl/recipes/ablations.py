"""The paper's studies: a row for each of Tables 2 to 6, A2 and A3, and one for each point of Fig. 4.

All are of Kinetics-400 with 1 % of labels and 50 epochs; `top1` is the paper's figure in percent. Of Fig. 4 the text
at hand has ticks and figures, but not which belong together. `top1` is given where the paper's words settle it: (a)
three ticks and figures that rise with tau; (b) 5 alone; (c) 5 the best, 1 and 10 about 2 % below, so 2 the fourth.
"""

import dataclasses
import functools
from collections.abc import Iterator

from cmpl.config import NetworkConfig, changed
from cmpl.recipes.rows import Change, Row


def _fields(section: str, **values: object) -> Change:
    """Replaces fields of one section."""
    return lambda config: changed(config, section, **values)


clip = functools.partial(_fields, "clip")
data = functools.partial(_fields, "data")
method = functools.partial(_fields, "method")


def network(*, depth: int = 50, width: float = 1.0) -> Change:
    """Takes another 3D-ResNet as the auxiliary network."""
    return lambda config: dataclasses.replace(config, auxiliary=NetworkConfig(depth=depth, width=width))


def per_labeled(ratio: int) -> Change:
    """Takes so many unlabeled videos for each labeled one of a batch."""
    return lambda config: changed(config, "batch", unlabeled=ratio * config.batch.labeled)


ABLATION = (_fields("optim", epochs=50.0), clip(max_offset_seconds=0.0))
"""What Sec. 4.3 changes in the main setting: 50 epochs; both clips start together unless a row says otherwise."""
FIXMATCH = method(name="fixmatch")
SHARED = method(shared_weights=True)
"""FixMatch at two frame rates: the primary network is its own auxiliary, with 16 frames."""
APART = clip(max_offset_seconds=10.0)


def _study(
    name: str, label: str, about: str, *changes: Change, top1: float | None = None, top5: float | None = None
) -> Row:
    return Row(
        name=name,
        table="",
        label=label,
        about=about,
        changes=(*ABLATION, *changes),
        expected={} if top1 is None else {("k400", "1pct"): top1},
        top5=top5,
    )


def _table(table: str, prefix: str, *rows: Row) -> Iterator[Row]:
    """The rows with their table, their names with its prefix."""
    return (dataclasses.replace(row, table=table, name=prefix + row.name) for row in rows)


# fmt: off
ROWS = (
    *_table(
        "2", "table2-",
        _study("fixmatch", "FixMatch", "One network, one clip.", FIXMATCH, top1=6.78),
        _study("fixmatch-frame-rates", "FixMatch, frame rates",
               "One network, clips at two frame rates.", SHARED, top1=7.12),
        _study("fixmatch-temporal-loc", "FixMatch, frame rates, temporal loc",
               "One network, clips at two frame rates and up to 10 s apart.", SHARED, APART, top1=7.68),
        _study("auxiliary", "auxiliary", "Two networks, the same clip.", clip(auxiliary="8x8"), top1=12.04),
        _study("frame-rates", "auxiliary, frame rates", "Two networks, clips at two frame rates.", top1=12.9),
        _study("temporal-loc", "auxiliary, frame rates, temporal loc",
               "All components: clips at two frame rates and up to 10 s apart.", APART, top1=13.71),
    ),
    *_table(
        "3", "table3-",
        _study("primary-8", "Primary, 8 frames",
               "The primary network as its own auxiliary, on the same clip: FixMatch.", FIXMATCH, top1=6.78),
        _study("primary-16", "Primary, 16 frames",
               "The primary network as its own auxiliary, on 16 frames.", SHARED, top1=7.12),
        _study("aux-r50", "3D-ResNet50", "A is a 3D-ResNet50, on 16 frames.", network(), top1=9.97),
        _study("aux-r18", "3D-ResNet18", "A is a 3D-ResNet18, on 16 frames.", network(depth=18), top1=10.63),
        _study("aux-r10", "3D-ResNet10", "A is a 3D-ResNet10, on 16 frames.", network(depth=10), top1=10.88),
        _study("aux-r50-half", "3D-ResNet50 x1/2",
               "A is a 3D-ResNet50 x1/2, on 16 frames.", network(width=0.5), top1=11.57),
        _study("aux-r50-quarter", "3D-ResNet50 x1/4",
               "A is a 3D-ResNet50 x1/4, on 16 frames.", network(width=0.25), top1=12.9),
        _study("aux-r50-eighth", "3D-ResNet50 x1/8",
               "A is a 3D-ResNet50 x1/8, on 16 frames.", network(width=0.125), top1=12.08),
    ),
    *_table(
        "4", "table4-",
        _study("8x8", "8x8", "A's clip is 8x8.", clip(auxiliary="8x8"), top1=12.04),
        _study("16x4", "16x4", "A's clip is 16x4.", clip(auxiliary="16x4"), top1=12.9),
        _study("32x2", "32x2", "A's clip is 32x2.", clip(auxiliary="32x2"), top1=12.94),
    ),
    *_table(
        "5", "table5-",
        _study("ts-1", "t_s = 1", "The two clips start up to 1 s apart.", clip(max_offset_seconds=1.0), top1=12.9),
        _study("ts-2", "t_s = 2", "The two clips start up to 2 s apart.", clip(max_offset_seconds=2.0), top1=12.64),
        _study("ts-5", "t_s = 5", "The two clips start up to 5 s apart.", clip(max_offset_seconds=5.0), top1=13.44),
        _study("ts-10", "t_s = 10", "The two clips start up to 10 s apart.", APART, top1=13.71),
    ),
    *_table(
        "6", "table6-",
        _study("fixmatch", "FixMatch", "No auxiliary network.", FIXMATCH, top1=6.78, top5=17.92),
        _study("supervised", "L_s^A",
               "A learns from labels alone.", method(auxiliary_unsupervised=False), top1=10.57, top5=25.53),
        _study("unsupervised", "L_u^A",
               "A learns from pseudo-labels alone.", method(auxiliary_supervised=False), top1=10.32, top5=24.46),
        _study("both", "L_s^A, L_u^A", "A learns from both.", top1=12.9, top5=28.19),
    ),
    *_table(
        "A2", "tablea2-",
        _study("fixmatch", "FixMatch", "Pseudo-labels of one network.", FIXMATCH, top1=6.78),
        _study("self-first", "Self-Confident",
               "Each network trusts itself first, then the other.", method(scheme="self-first"), top1=10.8),
        _study("opposite-first", "Opposite-Confident",
               "Each network trusts the other first, then itself.", method(scheme="opposite-first"), top1=11.13),
        _study("maximum", "Maximum",
               "Both learn from the more confident of the two.", method(scheme="maximum"), top1=11.85),
        _study("average", "Average", "Both learn from the mean of the two.", method(scheme="average"), top1=12.16),
        _study("cross", "Cross", "Each learns from the other.", method(scheme="cross"), top1=12.9),
    ),
    *_table(
        "A3", "tablea3-",
        _study("uniform", "Uniform", "As many labeled videos of each class.", data(split_scheme="uniform"), top1=12.9),
        _study("category-wise", "Category-Wise",
               "Labeled videos in proportion to the classes.", data(split_scheme="category-wise"), top1=12.68),
    ),
    *_table(
        "Fig. 4", "fig4-",
        _study("tau-0.3", "(a) tau = 0.3",
               "Pseudo-labels from a confidence of 0.3 on.", method(threshold=0.3), top1=9.53),
        _study("tau-0.7", "(a) tau = 0.7",
               "Pseudo-labels from a confidence of 0.7 on.", method(threshold=0.7), top1=11.47),
        _study("tau-0.9", "(a) tau = 0.9",
               "Pseudo-labels from a confidence of 0.9 on.", method(threshold=0.9), top1=12.9),
        _study("ratio-1", "(b) B_u / B_l = 1",
               "1 unlabeled video a labeled one. For 1, 2 and 10 the paper has 12.10, 11.75 and 11.07 in some order.",
               per_labeled(1)),
        _study("ratio-2", "(b) B_u / B_l = 2",
               "2 unlabeled videos a labeled one. For 1, 2 and 10 the paper has 12.10, 11.75 and 11.07 in some order.",
               per_labeled(2)),
        _study("ratio-5", "(b) B_u / B_l = 5", "5 unlabeled videos a labeled one.", per_labeled(5), top1=12.9),
        _study("ratio-10", "(b) B_u / B_l = 10",
               "10 unlabeled videos a labeled one. For 1, 2 and 10 the paper has 12.10, 11.75 and 11.07 in some order.",
               per_labeled(10)),
        _study("lambda-1", "(c) lambda = 1",
               "The unlabeled losses weigh 1. For 1 and 10 the paper prints 10.66 and 10.24 in some order.",
               method(unlabeled_weight=1.0)),
        _study("lambda-2", "(c) lambda = 2", "The unlabeled losses weigh 2.", method(unlabeled_weight=2.0), top1=11.73),
        _study("lambda-5", "(c) lambda = 5", "The unlabeled losses weigh 5.", method(unlabeled_weight=5.0), top1=12.9),
        _study("lambda-10", "(c) lambda = 10",
               "The unlabeled losses weigh 10. For 1 and 10 the paper prints 10.66 and 10.24 in some order.",
               method(unlabeled_weight=10.0)),
    ),
)
# fmt: on
"""Every row of the studies, in the paper's order."""
