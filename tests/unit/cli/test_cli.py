"""The command line: errors, laziness, reporters, and one small run from `train` to `eval`."""

import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from click.testing import CliRunner
from rich.console import Console

from cli import doctor, options
from cli.display import LiveReporter, Pace, PlainReporter, console_of, duration, result_lines, show_result
from cli.main import COMMANDS, LazyGroup, main
from cmpl.recipes.presets import has_preset_length
from cmpl.recipes.registry import RECIPES, recipe_for
from cmpl.training.reporter import StepReport
from pipelines.errors import InputError
from tests.support.commands import SMALL, small
from tests.support.runs import ROOT


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    """Runs, pictures and caches of a test stay in its own folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CMPL_CACHE", str(tmp_path / "cache"))
    for name in ("CMPL_DATA", "RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)


def call(*arguments: str):
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def config(**given):
    values = {"dataset": "demo", "data_root": None, "settings": (), **given}
    return options.config_of(**values)


def test_train_then_eval(small_folder):
    trained = call("train", *small(small_folder), "--steps", "2", "--workers", "0", "--out", "run", "--json")
    assert trained.exit_code == 0, trained.output
    result = json.loads(trained.stdout)
    assert (result["run"], result["steps"], result["num_evaluated"], result["num_labeled"]) == ("run", 2, 2, 2)
    assert "step 2 of 2, loss" in trained.stderr

    evaluated = call("eval", "run", "--clips", "1", "--crops", "1", "--json")
    assert evaluated.exit_code == 0, evaluated.output
    assert json.loads(evaluated.stdout)["clips"] == 1
    found = json.loads(evaluated.stdout)["primary"].keys() - {"confident_precision"}  # where one is confident
    assert found == {"top1", "top5", "per_class", "num_confident", "confident_share"}

    again = call("train", *small(small_folder), "--steps", "2", "--workers", "0", "--out", "run")
    assert again.exit_code == 0, again.output
    assert "run is finished" in again.stdout
    assert f"cmpl train --dataset {small_folder} --labeled 1" in again.stdout
    assert "--steps 2 --workers 0 --method supervised" in again.stdout


WITHOUT_DALI = """
import sys
sys.modules["nvidia"] = None  # as where it is not installed
from cli.main import main
if __name__ == "__main__":
    main(sys.argv[1:])
"""


def test_a_machine_without_a_gpu_trains_without_dali(small_folder, tmp_path):
    """With a worker, which is spawned: the script guards its main part."""
    script = tmp_path / "without_dali.py"
    script.write_text(WITHOUT_DALI)
    words = ["train", *small(small_folder), "--steps", "1", "--workers", "2", "--out", str(tmp_path / "run"), "--json"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, script, *words], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["steps"] == 1


def test_a_stopped_training_says_how_to_go_on(small_folder, monkeypatch):
    from cmpl import session

    monkeypatch.setattr(session, "train", lambda config, *, path, **_: session.Outcome(path=path, result=None))
    stopped = call("train", *small(small_folder))
    assert stopped.exit_code == 130
    assert "The same command goes on" in stopped.stdout


def test_ctrl_c_ends_without_a_traceback_and_a_bug_keeps_its_own(monkeypatch):
    def interrupted(**_options):
        raise KeyboardInterrupt

    def broken(**_options):
        raise ZeroDivisionError

    monkeypatch.setattr("cli.models.sizes", interrupted)
    result = call("models")
    assert (result.exit_code, result.stderr.strip()) == (130, "Interrupted.")
    monkeypatch.setattr("cli.models.sizes", broken)
    assert isinstance(call("models").exception, ZeroDivisionError)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trian"], "No such command 'trian'; did you mean 'train'?"),
        (["train", "--dataset", "dmeo"], "did you mean 'demo'?"),
        (["train", "--dataset", "no/such"], "'no/such': no such folder"),
        (["train", "--dataset", "folder", "--data-root", "nowhere"], "nowhere: no such folder"),
        (["train", "--dataset", "folder"], "data.root: received none"),
        (["train", "--dataset", "demo", "--set", "optim.rl=1"], "optim.rl: no such field; did you mean 'optim.lr'?"),
        (["train", "--dataset", "demo", "--set", "optim.steps=many"], "received 'many'; accepted: a whole number"),
        (["train", "--dataset", "demo", "--set", "optim.lr"], "received 'optim.lr'; accepted: key=value"),
        (["train", "--dataset", "demo", "--steps", "5", "--epochs", "1"], "--steps and --epochs: received both"),
        (["train", "--dataset", "demo", "--epochs", "0"], "optim.epochs: received 0"),
        (["eval"], "holds no run"),
        (["eval", "nowhere"], "nowhere"),
        (["show-batch", "--dataset", "demo", "--out", "no/such/batch.png"], "--out: received 'no/such/batch.png'"),
    ],
)
def test_errors_are_one_message_on_stderr(arguments, message):
    result = call(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stderr.count("Error: ") == 1
    assert "Traceback" not in result.output


def test_a_method_without_unlabeled_videos_has_no_batch_to_show(small_folder):
    result = call("show-batch", *small(small_folder), "--method", "supervised")
    assert result.exit_code == 2
    assert "has no unlabeled videos" in result.stderr


@pytest.mark.parametrize("arguments", [["--help"], *([name, "--help"] for name in COMMANDS)])
def test_help_imports_neither_torch_nor_dali(arguments):
    code = (
        "import sys, cli.main\n"
        f"try:\n    cli.main.main({arguments!r})\n"
        "except SystemExit as error:\n    assert error.code == 0\n"
        "print([name for name in ('torch', 'nvidia', 'nvidia.dali', 'rich', 'numpy', 'av') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[3], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("name", COMMANDS)
def test_the_listed_help_is_the_commands_own(name):
    command = LazyGroup().get_command(None, name)
    assert COMMANDS[name][1] == command.help.splitlines()[0]
    assert COMMANDS[name][1] in call("--help").stdout


def test_models_lists_the_sizes_counted_from_table_a4():
    *rows, slowfast, tsm = json.loads(call("models", "--json").stdout)
    assert (slowfast["architecture"], round(slowfast["num_parameters"] / 1e6, 1)) == ("slowfast", 34.6)
    assert (tsm["architecture"], tsm["depth"], round(tsm["num_parameters"] / 1e6, 2)) == ("tsm", 18, 11.38)
    assert round(tsm["multiply_adds_8_frames"] / 1e9, 1) == 14.5  # eight times torchvision's ResNet-18
    figures = {
        (row["depth"], row["width"]): (
            round(row["num_parameters"] / 1e6, 2),
            round(row["multiply_adds_8_frames"] / 1e9, 2),
            round(row["multiply_adds_16_frames"] / 1e9, 2),
        )
        for row in rows
    }
    assert figures == {
        (50, 1.0): (33.02, 51.48, 102.95),
        (50, 0.5): (8.49, 14.05, 28.10),
        (50, 0.25): (2.24, 4.10, 8.20),
        (50, 0.125): (0.62, 1.32, 2.64),
        (18, 1.0): (20.86, 30.31, 60.62),
        (10, 1.0): (8.32, 15.51, 31.02),
    }
    assert "3D-ResNet50 x1/4" in call("models").stdout


def test_show_batch_draws_what_the_plan_says(small_folder):
    shown = call("show-batch", *small(small_folder), "--step", "1", "--out", "batch.png")
    assert shown.exit_code == 0, shown.output
    assert shown.stdout.count("weak: rows") == 3  # one a video of the batch
    assert "/clap/clap" in shown.stdout
    assert "(wave)" in shown.stdout
    with av.open("batch.png") as container:
        picture = next(container.decode(video=0)).to_ndarray(format="rgb24")
    # 12 frames of 28 pixels and a line of 2 between the networks are 338 pixels: enlarged three times.
    assert picture.shape == (3 * (2 * 84 + 2) + 2 * 8, 3 * 338, 3)

    from cli.show_batch import planned_batch

    batch, _ = planned_batch(_small_config(small_folder), step=1, progress=lambda *_: None)
    enlarged = batch.weak.primary[0, :, 1].permute(1, 2, 0).numpy().repeat(3, axis=0).repeat(3, axis=1)
    np.testing.assert_array_equal(picture[:84, 84:168], enlarged)  # the second frame of the first video
    strong = batch.strong.auxiliary[2, :, 7].permute(1, 2, 0).numpy().repeat(3, axis=0).repeat(3, axis=1)
    np.testing.assert_array_equal(picture[-84:, -84:], strong)  # the last frame of the last


def test_show_batch_draws_flow_behind_its_pairs():
    import torch

    from cli.show_batch import sheet
    from pipelines.batch import ClipBatch, UnlabeledBatch

    def clips(level: int) -> ClipBatch:
        gray = [
            torch.full((1, 3, frames, 400, 400), level + k, dtype=torch.uint8) for k, frames in enumerate((1, 2, 1))
        ]
        return ClipBatch(primary=gray[0], auxiliary=gray[1], flow=gray[2])

    picture = sheet(UnlabeledBatch(weak=clips(10), strong=clips(50), truth=torch.tensor([-1])))
    assert picture.shape == (2 * 400 + 2, 4 * 400 + 2 * 2, 3)
    assert [picture[0, x, 0] for x in (0, 402, 1201, 1204, 1603)] == [10, 11, 11, 12, 12]
    assert picture[-1, -1, 0] == 52


def _small_config(folder: Path):
    return config(dataset=str(folder), labeled="1", device="cpu", settings=SMALL)


def test_wide_sheets_are_reduced_by_block_means():
    from cli.show_batch import _reduced

    picture = np.random.default_rng(0).integers(0, 256, (7, 9, 3), dtype=np.uint8)
    reduced = _reduced(picture, factor=2)
    assert reduced.shape == (3, 4, 3)
    assert reduced[1, 2, 0] == np.round(picture[2:4, 4:6, 0].mean())
    assert _reduced(picture, factor=1) is picture


def test_doctor_shows_what_is_missing_and_goes_on(monkeypatch):
    def absent():
        raise ImportError("no such module: dali")

    checks = [(name, absent if name == "DALI" else check) for name, check in doctor.CHECKS]
    monkeypatch.setattr(doctor, "CHECKS", checks)
    result = call("doctor")
    assert result.exit_code == 0, result.output
    assert "ImportError: no such module: dali" in result.stdout
    for text in ("FFmpeg", "decoding on the", "none under runs/", "not there yet"):
        assert text in result.stdout


def test_options_then_settings_change_the_recipe(tmp_path):
    assert config() == recipe_for("demo")()
    assert config(labeled="4", seed=3).data.labeled == "4"
    assert config(steps=7).optim.steps == 7
    assert config(epochs=2.0).optim.steps is None
    assert config(steps=7, settings=("optim.steps=9",)).optim.steps == 9
    assert config(dataset="k400", labeled="10pct").method.unlabeled_weight == 2
    assert config(dataset=str(tmp_path)).data.dataset == "folder"
    listed = tmp_path / "labels.csv"
    listed.write_text("a.mp4,wave\n")
    assert config(labeled="labels.csv").data.labeled == str(listed)


def test_the_data_folder_comes_from_the_option_or_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("CMPL_DATA", "/data")
    assert config(dataset="ucf101").data.root == "/data"
    assert config(dataset="ucf101", data_root="here").data.root == str(tmp_path / "here")
    assert config(dataset=str(tmp_path)).data.root == str(tmp_path)
    assert config(dataset="demo").data.root is None
    with pytest.raises(InputError, match="--dataset is a folder already"):
        config(dataset=str(tmp_path), data_root="here")


def test_every_recipe_is_found_by_its_data_set():
    for name in RECIPES:
        assert recipe_for(name)().recipe == name
    with pytest.raises(InputError, match="did you mean 'k400'"):
        recipe_for("k40")


def report(step: int = 20) -> StepReport:
    metrics = {
        "loss": 1.25,
        "loss_supervised_primary": 0.5,
        "loss_supervised_auxiliary": 0.75,
        "pseudo_share_primary": 0.4,
        "pseudo_share_auxiliary": 0.3,
        "pseudo_correct_primary": 0.91,
        "pseudo_correct_auxiliary": 0.8,
        "learning_rate": 0.05,
        "videos_per_second": 123.4,
        "wait_share": 0.02,
    }
    return StepReport(step=step, num_steps=80, metrics=metrics, seconds_left=65)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def test_plain_lines():
    clock, text = Clock(), io.StringIO()
    reporter = PlainReporter(Console(file=text, width=40), clock=clock)
    reporter.note("a note with a [path] in it that is much longer than the console is wide")
    reporter.step(report())
    for done in range(1, 21):
        clock.now = float(done)
        reporter.progress(done, 20, "probing")
    lines = text.getvalue().splitlines()
    assert lines[0].endswith("[path] in it that is much longer than the console is wide")
    assert lines[1] == (
        "step 20 of 80, loss 1.250, supervised 0.500/0.750, pseudo-labels 40 %/30 %, 91 %/80 % of them right, "
        "lr 0.05, 123 videos/s, waiting for data 2 %, 1:05 left"
    )
    assert lines[2] == "probing: 6 of 20, 0:14 left"
    assert lines[3:] == ["probing: 11 of 20, 0:09 left", "probing: 16 of 20, 0:04 left", "probing: 20 of 20"]


def test_the_live_display_keeps_notes_above_and_leaves_nothing_behind():
    text = io.StringIO()
    console = Console(file=text, force_terminal=True, width=100, height=30, color_system=None)
    with LiveReporter(console) as reporter:
        reporter.progress(3, 10, "probing videos")
        reporter.progress(10, 10, "probing videos")
        reporter.step(report())
        reporter.note("set aside: [b]x.mp4")
        with console.capture() as capture:
            console.print(reporter._drawn())
        reporter.step(report(step=80))
        assert "of them right" not in _drawn(console, reporter)
    drawn = capture.get()
    for part in ("primary", "auxiliary", "40 %", "91 %", "123 videos/s", "training", "20 of 80", "1:05 left"):
        assert part in drawn
    assert "probing" not in drawn  # finished
    assert "set aside: [b]x.mp4" in text.getvalue()
    assert text.getvalue().rstrip().endswith(("\x1b[2K", "\x1b[?25h"))  # the display wiped, the cursor back


def _drawn(console: Console, reporter: LiveReporter) -> str:
    with console.capture() as capture:
        console.print(reporter._drawn())
    return capture.get()


def test_time_left_starts_anew_with_the_work():
    clock = Clock()
    pace = Pace(clock)
    assert pace.seconds_left("evaluating", 1, 10) is None
    clock.now = 2.0
    assert pace.seconds_left("evaluating", 5, 10) == pytest.approx(2.5)
    clock.now = 100.0
    assert pace.seconds_left("evaluating", 1, 10) is None
    clock.now = 101.0
    assert pace.seconds_left("evaluating", 2, 10) == pytest.approx(8.0)


def test_a_result_in_words():
    per_class = {f"c{k}": k / 10 for k in range(8)}
    result = {
        "primary": {"top1": 0.35, "top5": 0.9, "per_class": per_class},
        "num_evaluated": 80, "clips": 10, "crops": 1, "num_set_aside": 1, "num_labeled": 8, "num_unlabeled": 200,
        "steps": 50, "train_seconds": 3725.0, "evaluation_seconds": 61.0,
    }  # fmt: skip
    assert result_lines(result) == [
        "80 videos evaluated, 10 clips x 1 crop each; 1 unusable video set aside, listed in problems.json",
        "8 labeled and 200 unlabeled videos, 50 steps in 1:02:05, evaluated in 1:01",
        "best classes: c7 70 %, c6 60 %, c5 50 %",
        "worst classes: c0 0 %, c1 10 %, c2 20 %",
    ]
    text = io.StringIO()
    show_result(Console(file=text, width=80), result, title="runs/x")
    assert "35.0 %" in text.getvalue()
    assert "90.0 %" in text.getvalue()
    assert duration(59.6) == "1:00"


def test_other_ranks_keep_silent(capsys, monkeypatch):
    console_of().print("first")
    monkeypatch.setenv("RANK", "1")
    console_of().print("second")
    assert capsys.readouterr().out == "first\n"


def test_the_first_run_on_own_data(small_folder, tmp_path, monkeypatch):
    """Without an option: all labels, the CPU's preset, and a remark on the learning rate."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    shutil.copytree(small_folder, tmp_path / "own")
    shutil.copytree(small_folder / "train" / "clap", tmp_path / "own" / "unlabeled")
    settings = ("primary.width=0.125", "evaluation.clips=1", "optim.lr=0.1", "runtime.torch_threads=1")
    words = [word for setting in settings for word in ("--set", setting)]
    first = call("train", "--dataset", "own", "--steps", "1", "--workers", "0", *words)
    assert first.exit_code == 0, first.output
    assert "4 labeled and 6 unlabeled videos" in first.stdout
    assert "all labels are used" in first.stdout
    assert "preset cpu: smaller networks and clips than the paper's; --preset full takes those" in first.stdout
    assert "--scale-lr would take 0.0063" in first.stdout
    assert "are a first result" not in first.stdout
    (run,) = (tmp_path / "runs").iterdir()
    assert run.name == "own-all-cmpl-cpu-s0-primary.width0.125-lr0.1-clips1"

    again = call("train", "--dataset", "own", "--steps", "1", "--out", run, *words)
    assert "is finished" in again.stdout, again.output


def test_a_preset_changes_the_recipe_and_is_changed_by_settings(tmp_path):
    small = config(preset="small", settings=("clip.crop_size=96",))
    assert (small.preset, small.clip.crop_size, small.primary.depth) == ("small", 96, 18)
    assert config(dataset="k400", preset="full") == config(dataset="k400")
    assert config(dataset=str(tmp_path), preset="full").primary.depth == 50
    assert config(dataset=str(tmp_path), device="cpu").preset == "cpu"
    own, paper = (config(dataset=dataset, preset="cpu") for dataset in (str(tmp_path), "ucf101"))
    assert (own.method.threshold, own.batch.labeled, own.optim.steps) == (0.95, 4, 300), "for few labels of one's own"
    assert (paper.method.threshold, paper.batch.labeled, paper.optim.steps) == (0.9, 2, None)
    assert has_preset_length(own)
    assert not has_preset_length(paper)
    assert not has_preset_length(config(dataset=str(tmp_path), preset="cpu", epochs=3))
    assert config(dataset=str(tmp_path), device="cpu", recipe="table6-both").preset is None
