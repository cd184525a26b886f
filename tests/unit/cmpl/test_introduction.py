"""What is said before a run begins."""

from dataclasses import replace

from cmpl import build
from cmpl.introduction import introduce
from cmpl.training.course import Schedule
from cmpl.training.ranks import Ranks
from cmpl.training.reporter import Reporter
from cmpl.training.runtime import settle
from tests.support.runs import config_of


def test_what_the_workers_decode_beside_nvdec_is_said(small_folder, monkeypatch):
    config = config_of(small_folder, **{"data.labeled": "1"})
    data = build.open_data(config)
    notes: list[str] = []
    reporter = Reporter()
    reporter.note = notes.append
    on_gpu = replace(settle(config.runtime), backend="gpu")
    for formats in ({"h264": ("yuv420p",)}, {}):
        monkeypatch.setattr("pipelines.loading.nvdec.PIXEL_FORMATS", {"mixed": formats})
        introduce(
            config,
            data,
            build.planners(config, data),
            schedule=Schedule(first_step=0, last_step=9),
            unusable={},
            runtime=on_gpu,
            ranks=Ranks(),
            reporter=reporter,
        )
    on_cpu = [note for note in notes if "decoded on the CPU" in note]
    assert on_cpu == [
        "4 of 4 videos (100.0 %) are decoded on the CPU: NVDEC does not take h264 yuv420p",
        "2 of 2 videos (100.0 %) are decoded on the CPU: NVDEC does not take h264 yuv420p",
    ]
