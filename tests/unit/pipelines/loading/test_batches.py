"""What a graph's batches remember over several refusals, on a decoder made by hand."""

import dataclasses

import numpy as np
import pytest

from pipelines.loading import batches, graph
from pipelines.loading.engine import Engine
from pipelines.loading.nvdec import OnCpu
from pipelines.loading.sample import Media
from tests.support.pools import pool_like

POOL = pool_like([f"/{k}.mp4" for k in range(6)], width=340, height=256, codings=("h264 yuv420p",))
NOTHING = OnCpu()


@dataclasses.dataclass(frozen=True)
class Source:
    """One video a batch, in order."""

    first: int = 0
    on_cpu: OnCpu = NOTHING
    media: Media = Media.CUTS
    pool = POOL

    def after(self, num_batches: int) -> "Source":
        return dataclasses.replace(self, first=self.first + num_batches)

    def with_on_cpu(self, known: OnCpu) -> "Source":
        return dataclasses.replace(self, on_cpu=known, media=Media.MIXED)


@pytest.fixture
def started(monkeypatch):
    """GraphBatches over a decoder that refuses videos 1 and 3, and the sources that its pipelines began with."""
    begun: list[Source] = []

    class Pipeline:
        def __init__(self, source: Source) -> None:
            self.source, self.next = source, source.first
            begun.append(source)

        def run(self, stream) -> int:
            if self.next in (1, 3) and not self.source.on_cpu.must(POOL, self.next):
                raise RuntimeError("refused")
            self.next += 1
            return self.next - 1

    def refused(source, *, engine):
        video = source.first
        return ({video: "broken"} if video in (1, 3) else {}), {video}

    monkeypatch.setattr(graph, "refused", refused)
    monkeypatch.setattr(graph, "end", lambda pipeline: None)
    monkeypatch.setattr(batches, "batch_of", lambda number: batches.Batch((), np.array([number]), ()))
    made = batches.GraphBatches(
        Source(), engine=Engine(media="cuts", decoder="cpu"), make=lambda source, *, engine: Pipeline(source)
    )
    return made, begun


def test_a_second_refusal_keeps_the_first(started):
    made, begun = started
    assert [int(made.next().ids[0]) for _ in range(6)] == list(range(6)), "no batch is lost, none comes twice"
    assert [sorted(source.on_cpu.videos) for source in begun] == [[], [1], [1, 3]]
    assert [source.first for source in begun] == [0, 1, 3]


def test_a_failure_that_is_no_video_s_is_raised(started, monkeypatch):
    made, _ = started
    monkeypatch.setattr(graph, "refused", lambda source, *, engine: ({}, {source.first}))
    made.next()
    with pytest.raises(RuntimeError, match="refused"):
        made.next()
