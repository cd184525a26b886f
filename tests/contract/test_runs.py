"""What a run promises: it ends in the same weights however often it is killed, on real encoded videos."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from cmpl.build import geometry_of, open_data
from cmpl.config import Config, with_settings
from cmpl.evaluation import evaluate_run
from cmpl.run import load_run
from cmpl.session import train
from cmpl.training.checkpoint import best_checkpoint, checkpoints
from cmpl.training.reporter import Reporter, StepReport
from pipelines.errors import InputError
from tests.support.processes import descendants, is_running
from tests.support.runs import NUM_STEPS, ROOT, RUN_IT, config_of, weights


def test_a_run_leaves_what_it_promises(finished, folder):
    result = json.loads((finished / "result.json").read_text())
    assert 0 <= result["primary"]["top1"] <= result["primary"]["top5"] <= 1
    assert result["primary"]["per_class"].keys() == {"clap", "wave"}
    assert "auxiliary" in result
    assert (result["num_evaluated"], result["num_labeled"], result["num_unlabeled"]) == (4, 4, 10)
    assert list(result["set_aside"]) == [str(folder / "train" / "clap" / "notes.mp4")]
    lines = [json.loads(line) for line in (finished / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(2, NUM_STEPS + 1, 2))
    assert {"loss", "learning_rate", "wait_share", "videos_per_second"} <= lines[0].keys()
    assert {"loss_unsupervised_primary", "pseudo_share_auxiliary", "pseudo_right_primary"} <= lines[-1].keys()
    assert [path.name for path in checkpoints(finished / "checkpoints")] == ["step-00000012", "step-00000014"]


def test_a_run_is_read_back_without_its_data(finished, tmp_path):
    """Weights, class names and shapes come from the run's folder alone."""
    copy = tmp_path / "copy"
    shutil.copytree(finished, copy)
    config = json.loads((copy / "config.json").read_text())
    config["data"]["root"] = str(tmp_path / "nowhere")
    (copy / "config.json").write_text(json.dumps(config))
    run = load_run(copy)
    assert run.classes == ("clap", "wave")
    assert (run.step, run.result) == (NUM_STEPS, json.loads((finished / "result.json").read_text()))
    assert run.geometry == geometry_of(run.config)
    stored = load_file(checkpoints(copy / "checkpoints")[-1] / "model.safetensors")
    assert run.networks.keys() == {"primary", "auxiliary"}
    for name, network in run.networks.items():
        assert not network.training
        for key, value in network.state_dict().items():
            assert torch.equal(value, stored[f"{name}.{key}"])


def test_a_checkpoint_without_class_names_is_refused_by_name(finished, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(finished, copy)
    state = checkpoints(copy / "checkpoints")[-1] / "state.json"
    content = json.loads(state.read_text())
    del content["classes"], content["sha256"]  # as an older version wrote it
    state.write_text(json.dumps(content))
    with pytest.raises(InputError, match="step-00000014: names no classes; accepted"):
        load_run(copy)


def start(folder: Path, run: Path, tmp_path: Path, *, seconds_a_report: float = 0, **more: str) -> subprocess.Popen:
    script = tmp_path / "run_it.py"
    script.write_text(RUN_IT)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "SECONDS_A_REPORT": str(seconds_a_report)}
    words = [sys.executable, str(script), str(folder), str(run), repr(more)]
    return subprocess.Popen(words, env=environment, preexec_fn=hear_hangups)


def hear_hangups() -> None:
    """Tests run under nohup, too, whose processes ignore a closed terminal; a run honors that."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def wait_for(condition, process: subprocess.Popen) -> None:
    while not condition() and process.poll() is None:
        time.sleep(0.01)


def test_killed_at_random_steps_it_ends_in_the_same_weights(finished, folder, tmp_path):
    run, rng = tmp_path / "killed", random.Random(0)
    metrics = run / "metrics.jsonl"
    for step in (rng.randrange(2, 6), rng.randrange(7, 11)):
        process = start(folder, run, tmp_path)
        wait_for(lambda step=step: metrics.exists() and f'"step": {step // 2 * 2}' in metrics.read_text(), process)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        assert not (run / "result.json").exists()
    train(config_of(folder), path=run, reporter=Reporter())
    assert weights(run) == weights(finished)
    steps = [json.loads(line)["step"] for line in metrics.read_text().splitlines()]
    assert steps == list(range(2, NUM_STEPS + 1, 2))


def test_workers_end_with_a_killed_trainer(folder, tmp_path):
    process = start(folder, tmp_path / "run", tmp_path, **{"runtime.workers": "2", "optim.steps": "100000"})
    wait_for((tmp_path / "run" / "metrics.jsonl").exists, process)
    workers = descendants(process.pid)
    assert len(workers) >= 2
    with pytest.raises(InputError, match=f"process {process.pid} on .* trains here since .*; accepted: one training"):
        train(config_of(folder, **{"optim.steps": "100000"}), path=tmp_path / "run", reporter=Reporter())
    process.kill()
    process.wait()
    deadline = time.monotonic() + 20
    while any(map(is_running, workers)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not [pid for pid in workers if is_running(pid)]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_saves_and_stops_and_workers_change_nothing(finished, folder, tmp_path, number):
    """Stopped with workers, taken up without: the same weights."""
    run = tmp_path / "stopped"
    process = start(folder, run, tmp_path, seconds_a_report=0.5, **{"runtime.workers": "2"})
    wait_for((run / "metrics.jsonl").exists, process)
    process.send_signal(number)
    assert process.wait(timeout=60) == 7
    assert checkpoints(run / "checkpoints")
    train(config_of(folder), path=run, reporter=Reporter())
    assert weights(run) == weights(finished)


@pytest.mark.parametrize(
    "method",
    [
        {"method.name": "supervised"},
        {"method.name": "fixmatch", "method.batch_norm": "joint"},
        {"method.name": "fixmatch", "method.batch_norm": "separate"},
    ],
)
def test_other_methods_train_too(folder, tmp_path, method):
    few = {"optim.steps": "2", "runtime.ema_decay": "0.9"}
    result = train(with_settings(config_of(folder), few | method), path=tmp_path / "run", reporter=Reporter()).result
    assert "auxiliary" not in result


class StopsAt(Reporter):
    """Sends this process a signal when a step is reported, as somebody at a terminal would."""

    def __init__(self, step: int) -> None:
        self.at = step

    def step(self, report: StepReport) -> None:
        if report.step == self.at:
            os.kill(os.getpid(), signal.SIGTERM)


def test_three_views_train_without_a_gpu_and_go_on_in_the_same_weights(folder, tmp_path):
    """MvPL on RGB, temporal gradient and optical flow; stopped behind its first step, and not."""
    three = {"method.name": "mvpl", "method.flow": "true", "method.threshold": "0.3", "method.unlabeled_delay": "0"}
    config = with_settings(config_of(folder), three | {"optim.steps": "3", "runtime.log_every_steps": "1"})
    whole = train(config, path=tmp_path / "whole", reporter=Reporter())
    assert "auxiliary" not in whole.result
    assert train(config, path=tmp_path / "stopped", reporter=StopsAt(1)).result is None
    assert train(config, path=tmp_path / "stopped", reporter=Reporter()).result is not None
    assert weights(tmp_path / "stopped") == weights(tmp_path / "whole")


def test_evaluation_of_a_run_repeats_its_result(finished):
    result = json.loads((finished / "result.json").read_text())
    again = evaluate_run(finished, clips=None, crops=None, reporter=Reporter())
    assert again["primary"] == result["primary"]
    assert again["auxiliary"] == result["auxiliary"]


def test_a_finished_run_is_not_done_again(finished, folder):
    before = weights(finished)
    outcome = train(config_of(folder), path=finished, reporter=Reporter())
    assert outcome.result["steps"] == NUM_STEPS
    assert weights(finished) == before


def test_a_run_that_cannot_start_leaves_no_folder(tmp_path):
    with pytest.raises(InputError, match="nowhere"):
        train(config_of(tmp_path / "nowhere"), path=tmp_path / "run", reporter=Reporter())
    assert not (tmp_path / "run").exists()


def test_videos_that_break_while_training_are_replaced_and_named(folder, tmp_path):
    """Files damaged after they were probed: training and evaluation go on, and say which."""
    mine = tmp_path / "folder"
    shutil.copytree(folder, mine)
    config = config_of(mine, **{"optim.steps": "4", "evaluation.every_steps": "2", "method.unlabeled_delay": "0"})
    broken = [mine / "train/wave/wave1.mp4", mine / "val/clap/clap0.mp4"]

    class Vandal(Reporter):
        """Damages the files once the data set is open."""

        def note(self, text: str) -> None:
            if "unlabeled videos" in text:
                for path in broken:
                    size, times = path.stat().st_size, path.stat()
                    path.write_bytes(b"\0" * size)
                    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))

    result = train(config, path=tmp_path / "run", reporter=Vandal()).result
    assert set(map(str, broken)) <= result["set_aside"].keys()
    assert result["num_evaluated"] == 3
    assert result["num_set_aside"] == 3
    assert best_checkpoint(tmp_path / "run" / "checkpoints")


def damaged_after_probing(config: Config, *paths: Path) -> None:
    """Opens the data set, so that it is probed, then zeroes the pictures of some files, whose size and time stay."""
    open_data(config)
    for path in paths:
        content, times = path.read_bytes(), path.stat()
        head = content.index(b"mdat") + 4
        path.write_bytes(content[:head] + bytes(len(content) - head))
        os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def test_a_killed_run_has_named_what_it_set_aside(folder, tmp_path):
    """What probing found and what training met, long before there is a checkpoint."""
    mine = tmp_path / "folder"
    shutil.copytree(folder, mine)
    settings = {"runtime.checkpoint_every_steps": "1000", "optim.steps": "1000", "data.labeled": "all"}
    broken = mine / "train/wave/wave1.mp4"
    damaged_after_probing(config_of(mine, **settings), broken)
    named = [str(path) for path in (mine / "train/clap/notes.mp4", broken)]
    problems = tmp_path / "run" / "problems.json"
    process = start(mine, tmp_path / "run", tmp_path, **settings)
    wait_for(lambda: problems.exists() and json.loads(problems.read_text()).keys() >= set(named), process)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert not checkpoints(tmp_path / "run" / "checkpoints")
    content = json.loads(problems.read_text())
    assert sorted(content) == sorted(named)
    assert content[named[0]].startswith("not a video")
    assert all(content[path] for path in named)


def test_an_evaluation_that_is_stopped_has_named_what_it_set_aside(finished, folder, tmp_path):
    mine, run = tmp_path / "folder", tmp_path / "run"
    shutil.copytree(folder, mine)
    shutil.copytree(finished, run)
    broken = mine / "val/clap/clap0.mp4"
    damaged_after_probing(config_of(mine), broken)

    class Impatient(Reporter):
        def progress(self, done: int, total: int, what: str) -> None:
            if what == "evaluating":
                raise KeyboardInterrupt

    before = set(json.loads((run / "problems.json").read_text()))
    with pytest.raises(KeyboardInterrupt):
        evaluate_run(run, clips=1, crops=1, data_root=str(mine), reporter=Impatient())
    assert set(json.loads((run / "problems.json").read_text())) - before == {str(broken)}
    assert set(evaluate_run(run, clips=1, crops=1, data_root=str(mine), reporter=Reporter())["set_aside"]) == {
        str(broken)
    }


def test_a_run_without_a_usable_video_tells_which_it_tried(folder, tmp_path):
    mine = tmp_path / "folder"
    shutil.copytree(folder, mine)
    config = config_of(mine, **{"data.labeled": "all"})
    broken = sorted((mine / "train").glob("*/*[0-9].mp4"))
    damaged_after_probing(config, *broken)
    with pytest.raises(InputError, match="in a row cannot be decoded; the last: .*the same command goes on"):
        train(config, path=tmp_path / "run", reporter=Reporter())
    assert set(json.loads((tmp_path / "run" / "problems.json").read_text())) >= set(map(str, broken))
    shutil.rmtree(mine)
    shutil.copytree(folder, mine)
    assert train(replace(config, optim=replace(config.optim, steps=1)), path=tmp_path / "run", reporter=Reporter())
    assert list(json.loads((tmp_path / "run" / "problems.json").read_text())) == [str(mine / "train/clap/notes.mp4")]


def test_divergence_is_an_error_not_a_result(folder, tmp_path):
    with pytest.raises(InputError, match="training diverged; a lower optim.lr"):
        train(config_of(folder, **{"optim.lr": "1e6"}), path=tmp_path / "run", reporter=Reporter())


def test_a_run_can_start_from_another_run_s_weights(finished, folder, tmp_path):
    """--init: the first checkpoint is not of fresh networks; taken up again, the file is not read any more."""
    still = {"optim.lr": "0", "optim.steps": "2", "optim.weight_decay": "0", "init": str(finished)}
    train(config_of(folder, **still), path=tmp_path / "run", reporter=Reporter())
    given = load_file(checkpoints(finished / "checkpoints")[-1] / "model.safetensors")
    taken = load_file(checkpoints(tmp_path / "run" / "checkpoints")[-1] / "model.safetensors")
    assert all(torch.equal(given[name], taken[name]) for name in given if name.endswith("weight") and "bn" not in name)
    with pytest.raises(InputError, match="nothing-here"):
        train(config_of(folder, init=str(tmp_path / "nothing-here")), path=tmp_path / "other", reporter=Reporter())
    assert not (tmp_path / "other").exists()
