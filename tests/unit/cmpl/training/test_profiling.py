"""--profile: a trace of a few steps with the loader's stages as ranges, and no other numbers for it."""

import gzip
import json

from cmpl.session import TRACE, train
from cmpl.training.profiling import step_trace
from cmpl.training.reporter import Reporter
from pipelines.ranges import each_in_range, range_of, ranges_made_by
from tests.support.runs import config_of, weights

RANGES = {
    "loader: plan",
    "loader: read and decode",
    "loader: views of a video",
    "loader: labeled batch",
    "loader: unlabeled batch",
    "loader: hand-off",
    "step: forward",
    "step: backward",
    "step: optimizer",
}


def test_a_trace_has_the_step_s_parts_and_the_loader_s_stages(folder, tmp_path):
    said: list[str] = []

    class Listening(Reporter):
        def note(self, text: str) -> None:
            said.append(text)

    config = config_of(folder, **{"optim.steps": "6", "runtime.held_mib": "0"})
    train(config, path=tmp_path / "run", reporter=Listening(), profile=True)
    with gzip.open(tmp_path / "run" / TRACE) as file:
        events = json.load(file)["traceEvents"]
    names = [event["name"] for event in events if event.get("cat") == "user_annotation"]
    assert set(names) >= RANGES
    assert names.count("step: optimizer") == 3
    assert [line for line in said if str(tmp_path / "run" / TRACE) in line and "ui.perfetto.dev" in line]
    train(config, path=tmp_path / "plain", reporter=Reporter())
    assert weights(tmp_path / "run") == weights(tmp_path / "plain")


def test_a_file_that_cannot_be_written_does_not_stop_training(tmp_path):
    said: list[str] = []
    (tmp_path / "file").touch()
    with step_trace(tmp_path / "file" / "trace.json", note=said.append, num_steps=1) as step:
        step()
    assert len(said) == 1
    assert "no trace was written" in said[0]


def test_without_a_profiler_nothing_is_recorded():
    items = [1, 2]
    assert each_in_range(items, "x") is items
    seen: list[str] = []

    class Seen:
        def __init__(self, name: str) -> None:
            seen.append(name)

        def __enter__(self) -> None:
            pass

        def __exit__(self, *_: object) -> None:
            pass

    with ranges_made_by(Seen):
        assert list(each_in_range(items, "x")) == items
        with range_of("y"):
            pass
    with range_of("z"):
        pass
    assert seen == ["x", "x", "x", "y"]
