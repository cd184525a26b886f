"""The paper's empirical analysis (Sec. 4.4): runs of Figures 1, 5 and 7 that no table has, with 1 % of Kinetics-400.

The auxiliary network learns alone there, from labels. The paper has no top-1 for it.
"""

import dataclasses

from cmpl.config import Config, NetworkConfig, changed
from cmpl.recipes.rows import row


@row("Fig. 1", "Supervised, 3D-ResNet50 x1/4, 16 frames")
def fig1_auxiliary(base: Config) -> Config:
    """The auxiliary network alone, from labels, with 16 frames: Figures 1 and 7."""
    return changed(_alone(base), "clip", primary="16x4")


@row("Fig. 5", "Supervised, 3D-ResNet50 x1/4, 8 frames")
def fig5_auxiliary(base: Config) -> Config:
    """The auxiliary network alone, from labels, with 8 frames as the primary."""
    return _alone(base)


def _alone(base: Config) -> Config:
    return changed(dataclasses.replace(base, primary=NetworkConfig(width=0.25)), "method", name="supervised")
