"""FixMatch whose pseudo-label comes from another clip of the video: a control that has CMPL's clips and one network."""

from torch import Tensor

from cmpl.methods.fixmatch import FixMatch
from pipelines.batch import UnlabeledBatch
from pipelines.plan.geometry import ClipShape


class Elsewhere(FixMatch):
    """The weak clip starts up to `clip.max_offset_seconds` from the strong one, as CMPL's two clips do.

    Not in the paper. What it gains over FixMatch is due to the place of the clips alone.
    """

    offsets_auxiliary_clip = True

    @staticmethod
    def auxiliary_shape(primary: ClipShape, auxiliary: ClipShape) -> ClipShape:
        return primary

    def taught_by(self, unlabeled: UnlabeledBatch) -> Tensor:
        assert unlabeled.weak.auxiliary is not None
        return unlabeled.weak.auxiliary
