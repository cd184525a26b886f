"""The paper's main results: a function for each row of Tables 1 and A1 (others: ablations.py).

Each turns a data set's recipe (Sec. 4.1) into the row's. Figures are the paper's top-1 in percent. A row of Table 1 is
of Kinetics-400 with 1 % of labels where it has a figure there, else of the data that it has one for. Of Table A1, the
rows that quote other papers' self-supervised training are left out.
"""

import dataclasses

from cmpl.config import Config, NetworkConfig, changed
from cmpl.recipes.rows import Expected, row

R18 = NetworkConfig(depth=18)
SLOWFAST = NetworkConfig(architecture="slowfast")
TSM_R18 = NetworkConfig(architecture="tsm", depth=18)


def table1_figures(
    ucf1: float | None = None, ucf10: float | None = None, k1: float | None = None, k10: float | None = None
) -> Expected:
    """A row of Table 1 in the order of its columns."""
    columns = {("ucf101", "1pct"): ucf1, ("ucf101", "10pct"): ucf10, ("k400", "1pct"): k1, ("k400", "10pct"): k10}
    return {where: top1 for where, top1 in columns.items() if top1 is not None}


@row("1", "Supervised, 3D-ResNet50", expected=table1_figures(6.5, 32.4, 4.4, 36.2))
def table1_supervised(base: Config) -> Config:
    """The labeled videos alone."""
    return changed(base, "method", name="supervised")


@row("1", "S4L, 3D-ResNet18", expected=table1_figures(ucf10=29.1), dataset="ucf101", labeled="10pct")
def table1_s4l(base: Config) -> Config:
    """S4L with rotations, w = 1, 16 frames."""
    base = dataclasses.replace(base, primary=R18)
    return changed(changed(base, "clip", primary="16x4"), "method", name="s4l", unlabeled_weight=1.0)


@row("1", "FixMatch, 3D-ResNet50", expected=table1_figures(14.8, 49.8, 8.6, 46.9))
def table1_fixmatch_r50(base: Config) -> Config:
    """FixMatch in the settings of CMPL."""
    return changed(base, "method", name="fixmatch")


@row("1", "FixMatch, SlowFast-R50", expected=table1_figures(16.1, 55.1, 10.1, 49.4))
def table1_fixmatch_slowfast(base: Config) -> Config:
    """FixMatch with slow 8x8 and fast 32x2 pathways."""
    base = changed(dataclasses.replace(base, primary=SLOWFAST), "clip", primary="32x2")
    return changed(base, "method", name="fixmatch")


@row("1", "VideoSSL, 3D-ResNet18", expected=table1_figures(ucf10=42.0), dataset="ucf101", labeled="10pct")
def table1_videossl(base: Config) -> Config:
    """VideoSSL, 16 frames. It wants the weights of an ImageNet classifier: --set method.teacher=FILE."""
    base = changed(dataclasses.replace(base, primary=R18), "clip", primary="16x4")
    return changed(base, "method", name="videossl", unlabeled_weight=1.0)


@row("1", "TCL, TSM-R18", expected=table1_figures(k1=8.5))
def table1_tcl(base: Config) -> Config:
    """TCL, 8 and 4 frames: gamma 9, gamma_ft 1, tau 0.8, learning rate 0.02, weight decay 1e-4; a tenth of training for
    warm-up and the last fifth with pseudo-labels."""
    base = dataclasses.replace(base, primary=TSM_R18)
    base = changed(base, "method", name="tcl", unlabeled_weight=9.0, unlabeled_delay=0.1, threshold=0.8)
    return changed(base, "optim", lr=0.02, weight_decay=1e-4, clip_gradient_norm=20.0)


@row("1", "MvPL, 3D-ResNet50", expected=table1_figures(22.8, 80.5, 17.0, 58.2))
def table1_mvpl(base: Config) -> Config:
    """MvPL on RGB and temporal gradient, tau 0.3. The printed figures are with optical flow as a third
    view: --set method.flow=true."""
    return changed(base, "method", name="mvpl", threshold=0.3, unlabeled_weight=1.0)


@row("1", "CMPL, 3D-ResNet18", expected=table1_figures(23.8, 67.6, 16.5, 53.7))
def table1_cmpl_r18(base: Config) -> Config:
    """CMPL with a 3D-ResNet18. The paper does not name its auxiliary network: 3D-ResNet18 x1/4 is taken."""
    return dataclasses.replace(base, primary=R18, auxiliary=NetworkConfig(depth=18, width=0.25))


@row("1", "CMPL, 3D-ResNet50", expected=table1_figures(25.1, 79.1, 17.6, 58.4))
def table1_cmpl_r50(base: Config) -> Config:
    """CMPL as it is: what a data set's own recipe does."""
    return base


def fully_supervised(base: Config) -> Config:
    """200 passes over the labeled videos, 12 of them a GPU where CMPL has 2 + 10. `batch.unlabeled` counts epochs."""
    return changed(changed(base, "method", name="supervised"), "batch", labeled=12, unlabeled=12)


@row("A1", "Random Init, 3D-ResNet50", top1=61.1, dataset="ucf101", labeled="all")
def tablea1_random_init(base: Config) -> Config:
    """All of UCF-101 with labels, from scratch: the whole batch of 192 is labeled."""
    return fully_supervised(base)


@row("A1", "ImageNet Init, 3D-ResNet50", top1=86.2, dataset="ucf101", labeled="all", starts_from_weights=True)
def tablea1_imagenet_init(base: Config) -> Config:
    """All of UCF-101 with labels, from a 2D ResNet-50's ImageNet weights, inflated: --init FILE."""
    return fully_supervised(base)


@row("A1", "CMPL, 3D-ResNet50", top1=88.9, dataset="ucf101", labeled="all")
def tablea1_cmpl(base: Config) -> Config:
    """All of UCF-101 with labels, Kinetics-400 without: --unlabeled-root says where it lies. The paper names no lambda
    for it; that of 1 % is taken."""
    return changed(base, "data", unlabeled="k400")
