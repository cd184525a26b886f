"""What NVDEC, DALI's operators on a GPU and a run on one do: `pytest -m gpu`, on a machine that has one."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from cmpl.evaluation import evaluate_run
from cmpl.session import train
from cmpl.training.reporter import Reporter, StepReport
from pipelines.catalog.pool import Pool
from pipelines.loading.engine import Engine
from pipelines.loading.nvdec import nvdec_problem
from pipelines.plan.geometry import ClipShape, Geometry
from tests.support.nvdec import close, loader, vp9_pool
from tests.support.runs import NUM_STEPS, config_of
from tests.support.videos import make_video

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(nvdec_problem() is not None, reason=f"no NVDEC: {nvdec_problem()}"),
]
KINDS = {
    "h264": {"width": 320, "height": 240, "gop": 30},
    "h264, cropped": {"width": 340, "height": 180, "gop": 30},
    "h264, keyframes alone": {"width": 320, "height": 240, "gop": 1},
    "h264, keyframes alone, cropped": {"width": 340, "height": 180, "gop": 1},
    "hevc": {"width": 320, "height": 240, "gop": 30, "codec": "libx265"},
}


def pool_of_kind(folder: Path, **form) -> Pool:
    paths = [make_video(folder / f"{k}.mp4", num_frames=80, seed=k, **form) for k in range(3)]
    codec = "hevc" if "codec" in form else "h264"
    sizes = {"width": np.full(3, form["width"]), "height": np.full(3, form["height"])}
    return Pool(**vars(vp9_pool(paths, num_frames=80)) | {"codings": (f"{codec} yuv420p",), **sizes})


@pytest.mark.parametrize("cpu_share", [0.0, 0.5])
@pytest.mark.parametrize("kind", KINDS)
def test_nvdec_gives_the_views_that_pyav_gives(tmp_path, kind, cpu_share, caplog):
    pool = pool_of_kind(tmp_path, **KINDS[kind])
    ours = loader(pool, Engine(media="cuts", device_index=0, cpu_share=cpu_share))
    decoded = loader(pool, Engine(media="frames"))
    with ours, decoded:
        for _ in range(3):
            a, b = next(ours), next(decoded)
            assert a.unlabeled.strong.primary.is_cuda
            assert torch.equal(a.labeled.labels.cpu(), b.labeled.labels)
            assert close(a.unlabeled.weak.primary, b.unlabeled.weak.primary)
            assert close(a.unlabeled.strong.auxiliary, b.unlabeled.strong.auxiliary)
    assert "decoded on the CPU" not in caplog.text
    assert ours.problems == {}


def test_a_trial_decides_who_decodes(tmp_path, caplog):
    pool = pool_of_kind(tmp_path, **KINDS["h264"])
    ours = loader(pool, Engine(media="cuts", device_index=0, num_workers=2, cpu_share=None))
    decoded = loader(pool, Engine(media="frames"))
    with ours, decoded:
        for _ in range(2):
            a, b = next(ours), next(decoded)
            assert a.unlabeled.weak.primary.is_cuda
            assert close(a.unlabeled.weak.primary, b.unlabeled.weak.primary)
    assert caplog.text.count("videos/s by the workers") == 1
    assert "failed" not in caplog.text


def test_the_optical_flow_unit_sees_a_picture_move(pool):
    geometry = Geometry(primary=ClipShape(2, 8), auxiliary=ClipShape(4, 8, pairs=True), flow=True)
    with loader(pool, Engine(media="frames", device_index=0), geometry) as made:
        batch = next(made)
        assert batch.unlabeled.weak.flow.is_cuda
        assert batch.unlabeled.weak.flow.shape == (4, 3, 2, 224, 224)
        assert batch.unlabeled.weak.flow[:, :2].float().std() > 1


class StopAt(Reporter):
    """Ends the run as a signal would, at a step."""

    def __init__(self, step: int) -> None:
        self.at = step

    def step(self, report: StepReport) -> None:
        if report.step >= self.at:
            raise KeyboardInterrupt


def test_a_run_goes_on_where_it_was_stopped_and_its_evaluation_repeats(folder, tmp_path):
    """Not to the last bit, as on a CPU: the GPU adds in another order each time."""
    config = config_of(folder, **{"runtime.device": "cuda", "runtime.workers": "2"})
    with pytest.raises(KeyboardInterrupt):
        train(config, path=tmp_path / "run", reporter=StopAt(8))
    outcome = train(config, path=tmp_path / "run", reporter=Reporter())
    assert outcome.result is not None
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(2, NUM_STEPS + 1, 2))
    again = evaluate_run(tmp_path / "run", clips=None, crops=None, reporter=Reporter())
    assert again["primary"]["top1"] == outcome.result["primary"]["top1"]
