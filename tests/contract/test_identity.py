"""A run knows its data: others are refused by name, the same ones are known wherever they lie."""

import json
import shutil
from pathlib import Path

import pytest

from cmpl.evaluation import evaluate_run
from cmpl.session import train
from cmpl.training.checkpoint import checkpoints
from cmpl.training.reporter import Reporter
from pipelines.errors import InputError
from tests.support.runs import NUM_STEPS, Heard, config_of, weights


@pytest.fixture
def moved(folder, finished, tmp_path) -> tuple[Path, Path]:
    """A copy of the data and one of the finished run, to be changed."""
    shutil.copytree(folder, tmp_path / "data")
    shutil.copytree(finished, tmp_path / "run")
    return tmp_path / "data", tmp_path / "run"


def rename_a_class(data: Path) -> None:
    for part in ("train", "val"):
        (data / part / "clap").rename(data / part / "zap")


def exchange_a_file(data: Path) -> None:
    shutil.copy(data / "train" / "wave" / "wave0.mp4", data / "train" / "wave" / "wave3.mp4")


def add_a_file(data: Path) -> None:
    shutil.copy(data / "train" / "wave" / "wave0.mp4", data / "train" / "wave" / "more.mp4")


def remove_from_validation(data: Path) -> None:
    (data / "val" / "wave" / "wave1.mp4").unlink()


CHANGES = [
    (rename_a_class, "classes: 2 there, 2 now; gone 'clap', new 'zap'"),
    (exchange_a_file, "unlabeled videos: 10 there, 10 now; of another size: 'train/wave/wave3.mp4'"),
    (add_a_file, "unlabeled videos: 10 there, 11 now; new: 'train/wave/more.mp4'"),
    (remove_from_validation, "validation videos: 4 there, 3 now; gone: 'val/wave/wave1.mp4'"),
]


@pytest.mark.parametrize(("change", "difference"), CHANGES)
@pytest.mark.parametrize("is_finished", [True, False])
def test_other_data_are_refused_by_name(moved, change, difference, is_finished):
    data, run = moved
    change(data)
    if not is_finished:
        (run / "result.json").unlink()
        shutil.rmtree(checkpoints(run / "checkpoints")[-1])
    before = sorted(run.rglob("*"))
    with pytest.raises(InputError) as caught:
        train(config_of(data), path=run, reporter=Reporter())
    assert f"{run} holds a run on other data:" in str(caught.value)
    assert difference in str(caught.value)
    assert f"--out for a new run; --init {run} starts that one" in str(caught.value)
    assert sorted(run.rglob("*")) == before


def test_a_checkpoint_says_what_it_was_trained_on(finished, folder):
    state = json.loads((checkpoints(finished / "checkpoints")[-1] / "state.json").read_text())
    assert state["classes"] == ["clap", "wave"]
    assert (state["geometry"]["crop_size"], state["geometry"]["primary"]["num_frames"]) == (24, 4)
    assert state["normalization"] == {"mean": 0.45 * 255, "deviation": 0.225 * 255}
    assert {part: videos["number"] for part, videos in state["videos"].items()} == {
        "labeled": 4,
        "unlabeled": 10,
        "validation": 4,
    }
    assert json.loads((finished / "run.json").read_text())["videos"] == state["videos"]


def test_the_same_data_elsewhere_are_the_same_run(moved):
    """Also on another device and with other workers; the folder then names the new place."""
    data, run = moved
    (run / "result.json").unlink()
    result = train(
        config_of(data, **{"runtime.device": "cpu", "runtime.torch_threads": "2"}), path=run, reporter=Reporter()
    ).result
    assert result["steps"] == NUM_STEPS
    assert json.loads((run / "config.json").read_text())["data"]["root"] == str(data)


def test_evaluation_finds_moved_data_and_refuses_other_classes(moved):
    data, run = moved
    result = json.loads((run / "result.json").read_text())
    again = evaluate_run(run, clips=None, crops=None, reporter=Reporter(), data_root=str(data))
    assert again["primary"] == result["primary"]
    rename_a_class(data)
    with pytest.raises(InputError, match="not those of the run: classes: 2 there, 2 now; gone 'clap', new 'zap'"):
        evaluate_run(run, clips=None, crops=None, reporter=Reporter(), data_root=str(data), other_videos=True)


def test_evaluation_on_other_videos_is_asked_for(moved):
    data, run = moved
    remove_from_validation(data)
    with pytest.raises(InputError, match=r"not the run's validation: .*gone: 'val/wave/wave1.mp4'.*--other-videos"):
        evaluate_run(run, clips=1, crops=1, reporter=Reporter(), data_root=str(data))
    heard = Heard()
    result = evaluate_run(run, clips=1, crops=1, reporter=heard, data_root=str(data), other_videos=True)
    assert result["num_evaluated"] == 3
    assert any("gone: 'val/wave/wave1.mp4'" in note for note in heard.notes)


def test_evaluation_takes_the_checkpoint_before_a_broken_one(moved):
    _, run = moved
    (checkpoints(run / "checkpoints")[-1] / "model.safetensors").write_bytes(b"cut off")
    heard = Heard()
    assert evaluate_run(run, clips=1, crops=1, reporter=heard)["step"] == 12
    assert any("step-00000014" in note for note in heard.notes)


def test_a_run_of_an_older_version_goes_on(moved):
    """Without run.json, and with checkpoints that name the classes alone."""
    data, run = moved
    for name in ("run.json", "videos.jsonl.gz", "result.json"):
        (run / name).unlink()
    for path in checkpoints(run / "checkpoints"):
        state = json.loads((path / "state.json").read_text())
        for key in ("sha256", "videos", "geometry", "normalization", "best_step", "is_validated"):
            del state[key]
        (path / "state.json").write_text(json.dumps(state))
    assert train(config_of(data), path=run, reporter=Reporter()).result["steps"] == NUM_STEPS
    assert (run / "run.json").exists()


def test_a_finished_run_is_continued_with_a_schedule_of_its_own(moved):
    data, run = moved
    heard = Heard()
    result = train(config_of(data, **{"optim.steps": "18"}), path=run, reporter=heard).result
    assert result["steps"] == 18
    assert any("continues a finished run with a fresh schedule: from step 14" in note for note in heard.notes)
    assert json.loads((run / "result-step-00000014.json").read_text())["steps"] == 14
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(2, 19, 2))
    rates = {line["step"]: line["learning_rate"] for line in lines}
    assert rates[16] > 0.5 * rates[2] > 4 * rates[14]
    with pytest.raises(InputError, match="optim.steps: received 14, but the run has 18; accepted: more than 18, or 18"):
        train(config_of(data), path=run, reporter=Reporter())
    again = train(config_of(data, **{"optim.steps": "18"}), path=run, reporter=Reporter()).result
    assert again == result


def test_a_run_under_way_keeps_its_length(moved):
    data, run = moved
    (run / "result.json").unlink()
    with pytest.raises(InputError, match="optim.steps: received 18, but the run has 14; accepted: 14, to which"):
        train(config_of(data, **{"optim.steps": "18"}), path=run, reporter=Reporter())


def test_forward_passes_make_up_for_smaller_batches(moved):
    """2 + 3 videos once are not 1 + 3 twice; what fits is named."""
    data, run = moved
    with pytest.raises(InputError, match=r"batch: received 1 rank x \(1 labeled \+ 3 .* the run has 2 \+ 3"):
        train(config_of(data, **{"batch.labeled": "1"}), path=run, reporter=Reporter())


def test_a_batch_is_split_where_it_does_not_fit_and_stays_split(folder, tmp_path, monkeypatch):
    """Four + six videos as two passes of two + three: said aloud, and the same when the run goes on."""
    config = config_of(folder, **{"batch.labeled": "4", "batch.unlabeled": "6", "optim.steps": "4"})
    heard, run = Heard(), tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr("cmpl.start.fitting_split", lambda *_, **__: (2, "memory is short"))
        train(config, path=run, reporter=heard)
    said = "a forward pass is split into 2 ({}): 2 + 3 videos x 2 a step, as many videos as before"
    assert any(note.startswith(said.format("memory is short")) for note in heard.notes)
    assert any("10 videos (1 rank x 2 labeled + 3 unlabeled x 2)" in note for note in heard.notes)
    (run / "result.json").unlink()
    shutil.rmtree(checkpoints(run / "checkpoints")[-1])
    heard = Heard()
    train(config, path=run, reporter=heard)
    assert any(note.startswith(said.format("as the run began")) for note in heard.notes)
    by_hand = config_of(
        folder, **{"batch.labeled": "2", "batch.unlabeled": "3", "batch.accumulate": "2", "optim.steps": "4"}
    )
    train(by_hand, path=tmp_path / "by hand", reporter=Reporter())
    assert weights(run) == weights(tmp_path / "by hand")
