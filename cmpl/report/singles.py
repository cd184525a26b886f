"""Single videos of a run as frame strips: where it is surely wrong, and where it is unsure."""

from collections.abc import Sequence

from cmpl.evaluation_file import EvaluatedVideo
from cmpl.report.markup import Gallery, box, paragraph, text
from cmpl.report.strips import Strips, confident_mistakes, most_uncertain
from cmpl.report.values import RunValues
from pipelines.errors import VideoError


def singles(run: RunValues, prefix: str, gallery: Gallery, *, number: int, strips: Strips) -> str:
    """Two sections of at most `number` videos each."""
    kinds = {
        "mistake": ("Most confident mistakes", confident_mistakes(run.videos, number=number)),
        "uncertain": ("Most uncertain videos", most_uncertain(run.videos, number=number)),
    }
    parts = []
    if strips.reason:
        parts.append(paragraph(f"Videos cannot be shown: {strips.reason}", kind="soft"))
    for kind, (title, videos) in kinds.items():
        parts.append(f"<h3>{title}</h3>")
        if not videos:
            parts.append(paragraph("None: every video is named rightly."))
        shown = [
            _strip(video, strips, gallery, name=f"{prefix}-{kind}-{place}") for place, video in enumerate(videos, 1)
        ]
        parts.append(f'<div class="strips">{"".join(shown)}</div>')
    return "".join(parts)


def _strip(video: EvaluatedVideo, strips: Strips, gallery: Gallery, *, name: str) -> str:
    try:
        image = gallery.photo(strips.of(video.path), name=name, about=f"frames of {video.path}")
        picture = box(image, name=f"frames of {video.path}")
    except VideoError as error:
        picture = "" if strips.reason else f'<div class="none">{text(f"not shown: {error}")}</div>'
    return (
        f'<div class="strip">{picture}<p><strong>{text(video.truth)}</strong>{_named(video)}</p>'
        f'<p class="path">{text(video.path)}</p></div>'
    )


def _named(video: EvaluatedVideo) -> str:
    others = [f"{name} {share:.0%}" for name, share in _next(video)]
    words = f", named {video.named} ({video.confidence:.0%}"
    words += f"; then {', '.join(others)})" if others else ")"
    if video.auxiliary is not None:
        name, share = video.auxiliary
        words += f"; auxiliary: {name} ({share:.0%})"
    return text(words)


def _next(video: EvaluatedVideo) -> Sequence[tuple[str, float]]:
    """The two next likely classes, where they count at all."""
    return [(name, share) for name, share in video.ranked[1:3] if share >= 0.01]
