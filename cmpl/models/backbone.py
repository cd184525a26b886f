"""What a method asks of a network, and a wrapper that gives any network these members."""

from collections.abc import Callable
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from cmpl.config import NetworkConfig
from pipelines.errors import InputError


class Backbone(Protocol):
    """A network for clips: a trunk, dropout and a head. It is a `torch.nn.Module`, too.

    Legend: B clips, T frames, S crop side, K classes. Clips are (B, 3, T, S, S) float32 of mean 0 and deviation 1, in
    channels_last_3d memory order; in a training step with `runtime.narrow_clips` they are of autocast's type.
    `forward(clips)` is `head(dropout(features(clips)))`, logits (B, K).
    Most methods call the network alone; those with a second head (s4l, videossl) ask for its parts.
    """

    @property
    def num_features(self) -> int:
        """Length of what `features` gives."""

    @property
    def dropout(self) -> nn.Module:
        """(B, num_features) -> the same shape."""

    @property
    def head(self) -> nn.Module:
        """(B, num_features) -> logits (B, K)."""

    def features(self, clips: Tensor) -> Tensor:
        """(B, 3, T, S, S) -> (B, num_features)."""

    def __call__(self, clips: Tensor) -> Tensor:
        """(B, 3, T, S, S) -> logits (B, K)."""


class BackboneBuilder(Protocol):
    """What `register_backbone` takes: a function that builds a network with a head of K classes.

    Raises InputError for settings that it does not build, beginning with the field's name ("depth: received ...").
    """

    def __call__(self, network: NetworkConfig, *, num_classes: int) -> Backbone: ...


class AdaptedBackbone(nn.Module):
    """A backbone of any feature extractor, such as a video network of torchvision without its last layer.

    extractor: (B, 3, T, S, S) -> (B, num_features), or (B, num_features, T', H', W'), which is averaged.
    dropout: probability, before the head. The head starts at zero but for small noise, as those built in do.
    """

    def __init__(self, extractor: nn.Module, *, num_features: int, num_classes: int, dropout: float = 0.5) -> None:
        super().__init__()
        self.extractor = extractor
        self.num_features = num_features
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(num_features, num_classes)
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.zeros_(self.head.bias)

    def features(self, clips: Tensor) -> Tensor:
        """(B, 3, T, S, S) -> (B, num_features). Raises InputError where the extractor gives another shape."""
        found = self.extractor(clips)
        if found.ndim == 5:
            found = found.mean(dim=(2, 3, 4))
        if found.shape != (len(clips), self.num_features):
            raise InputError(
                f"backbone: received features {tuple(found.shape)} of {len(clips)} clips; accepted: "
                f"{(len(clips), self.num_features)}, or that with time, height and width behind"
            )
        return found

    def forward(self, clips: Tensor) -> Tensor:
        """(B, 3, T, S, S) -> logits (B, K)."""
        return self.head(self.dropout(self.features(clips)))


def checked_backbone(network: object, *, num_classes: int, field: str) -> Backbone:
    """The same network, once it is seen to have what methods ask.

    Raises InputError, beginning with `field`, for a member that is missing and for a head of other sizes.
    """
    if not isinstance(network, nn.Module):
        raise InputError(f"{field}: received {type(network).__name__} from the builder; accepted: a torch.nn.Module")
    members: dict[str, Callable[[Any], bool]] = {
        "num_features": lambda value: isinstance(value, int) and value > 0,
        "features": callable,
        "dropout": lambda value: isinstance(value, nn.Module),
        "head": lambda value: isinstance(value, nn.Module),
    }
    missing = [name for name, fits in members.items() if not fits(getattr(network, name, None))]
    if missing:
        raise InputError(
            f"{field}: received {type(network).__name__} without {', '.join(missing)}; accepted: a network with "
            f"{', '.join(members)}, or one in AdaptedBackbone"
        )
    backbone = cast(Backbone, network)
    _check_head(backbone, num_classes=num_classes, field=field)
    return backbone


def _check_head(backbone: Backbone, *, num_classes: int, field: str) -> None:
    parameter = next(backbone.head.parameters(), torch.empty(0))
    features = torch.zeros(1, backbone.num_features, device=parameter.device, dtype=parameter.dtype)
    wanted = f"accepted: a head from {backbone.num_features} features to {num_classes} classes"
    try:
        with torch.no_grad():
            shape = tuple(backbone.head(features).shape)
    except RuntimeError as error:
        raise InputError(f"{field}: received a head that fails ({str(error).splitlines()[0]}); {wanted}") from error
    if shape != (1, num_classes):
        raise InputError(f"{field}: received a head whose logits are {shape}; {wanted}")
