"""How batches are made: what workers hand over, on which device, with how many processes and threads."""

from dataclasses import dataclass

from pipelines.errors import InputError, nearest
from pipelines.loading.sample import Media

DECODERS = ("mixed", "cpu")


@dataclass(frozen=True, kw_only=True)
class Engine:
    """One machine's settings of a loader. Raises InputError where they contradict each other."""

    media: Media = Media.VIEWS
    device_index: int | None = None
    """CUDA device of the graph; None: DALI's CPU operators."""
    num_workers: int = 0
    """Processes that read (and decode, and make views); 0: the trainer's own process."""
    num_threads: int = 1
    """DALI's own threads."""
    prefetch_batches: int = 2
    held_mib: int = 256
    """Memory of a worker for decoded pictures, with views as media: kept where those of all videos fit."""
    cpu_share: float | None = 0.0
    """Share of the videos, with cuts as media, that the workers decode although the graph's decoder could. None: a
    loader decides it by a trial (`loading.who_decodes`)."""
    decoder: str = "mixed"
    """Decoder of cuts. mixed: NVDEC, fed from the host. cpu: DALI's software decoder (VP8, VP9, MJPEG), for tests."""

    def __post_init__(self) -> None:
        if self.media not in tuple(Media):
            raise InputError(
                f"media: received {self.media!r}{nearest(str(self.media), [kind.value for kind in Media])}"
            )
        object.__setattr__(self, "media", Media(self.media))
        if self.decoder not in DECODERS:
            raise InputError(f"decoder: received {self.decoder!r}{nearest(self.decoder, DECODERS)}")
        if self.media.has_cuts and self.decoder == "mixed" and self.device_index is None:
            raise InputError(
                f"media: received {self.media.value!r} without a GPU, which decodes them; accepted: views, frames"
            )
        if self.media is Media.VIEWS and self.device_index is not None:
            raise InputError("media: received 'views' with a GPU, which makes the views itself; accepted: frames, cuts")
        if self.cpu_share is not None and not 0 <= self.cpu_share < 1:
            raise InputError(
                f"cpu_share: received {self.cpu_share}; accepted: 0 up to 1, without 1, which is media=frames"
            )
        for name, least in (("num_workers", 0), ("num_threads", 1), ("prefetch_batches", 1), ("held_mib", 0)):
            if getattr(self, name) < least:
                raise InputError(f"{name}: received {getattr(self, name)}; accepted: {least} or more")
