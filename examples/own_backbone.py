"""A backbone of one's own: R(2+1)D-18 of torchvision as the primary network.

Run it: `cmpl train --plugin examples/own_backbone.py --set primary.architecture=r2plus1d --dataset demo`
"""

from torch import nn
from torchvision.models.video import r2plus1d_18

import cmpl


@cmpl.register_backbone("r2plus1d")
def r2plus1d(network: cmpl.NetworkConfig, *, num_classes: int) -> cmpl.Backbone:
    """The network without its last layer, with a head of `num_classes`."""
    extractor = r2plus1d_18()
    num_features = extractor.fc.in_features
    extractor.fc = nn.Identity()
    return cmpl.AdaptedBackbone(extractor, num_features=num_features, num_classes=num_classes, dropout=network.dropout)
