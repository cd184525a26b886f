"""What goes wrong on a machine while a run is under way: one line, nothing lost, and the run goes on later."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cmpl.session import train
from cmpl.training.checkpoint import checkpoints
from cmpl.training.reporter import Reporter
from pipelines.errors import InputError
from tests.support.runs import ROOT, SMALL, config_of

OPEN = Path.open
COMMAND = ["--dataset", "folder", "--labeled", "2", "--preset", "cpu", "--steps", "100000"]


def command(folder: Path, run: Path) -> list[str]:
    settings = [f"{key}={value}" for key, value in SMALL.items() if key not in ("optim.steps", "data.dataset")]
    words = [word for setting in [*settings, "runtime.log_every_steps=1"] for word in ("--set", setting)]
    return [sys.executable, "-m", "cli.main", "train", *COMMAND, "--data-root", folder, "--out", run, *words]


def test_a_reader_that_leaves_ends_the_run_with_a_checkpoint_and_a_line(folder, tmp_path):
    """As in `cmpl train ... | head`."""
    run = tmp_path / "run"
    process = subprocess.Popen(
        command(folder, run), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ
    )
    while not process.stdout.readline().startswith("step 2 of"):
        assert process.poll() is None
    process.stdout.close()
    told = process.stderr.read()
    assert process.wait(60) == 2, told
    assert "Error: output: its reader is gone (a closed pipe); the same command goes on from step " in told
    assert "Traceback" not in told
    assert checkpoints(run / "checkpoints")


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_full_disk_under_the_log_is_one_line_and_leaves_no_folder(folder, tmp_path, unbuffered):
    with open("/dev/full", "w") as full:
        process = subprocess.run(
            command(folder, tmp_path / "run"),
            cwd=ROOT,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
        )
    assert process.returncode == 2
    assert "Error: output: cannot be written (No space left on device)" in process.stderr
    assert "Traceback" not in process.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("words", [["--help"], ["doctor"], ["recipes"]])
def test_a_full_disk_under_any_output_is_one_line(words):
    with open("/dev/full", "w") as full:
        process = subprocess.run(
            [sys.executable, "-m", "cli.main", *words],
            cwd=ROOT,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONUNBUFFERED": ""},
        )
    assert process.returncode == 2
    (line,) = process.stderr.splitlines()
    assert line.startswith("Error: ")
    assert "No space left on device" in line


def full_disk(first: object, mode: object = "r", *rest: object, **more: object) -> object:
    """Stands for writing (a checkpoint; a line at a file's end) on a full disk."""
    if isinstance(first, Path) and mode != "a":
        return OPEN(first, mode, *rest, **more)
    raise OSError(28, "No space left on device")


@pytest.mark.parametrize("where", ["cmpl.training.checkpoint.save_file", "cmpl.training.metrics.Path.open"])
def test_a_full_disk_keeps_the_older_checkpoint_and_the_run_goes_on(finished, folder, tmp_path, monkeypatch, where):
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    (run / "result.json").unlink()
    shutil.rmtree(checkpoints(run / "checkpoints")[-1])
    with monkeypatch.context() as patch:
        patch.setattr(where, full_disk)
        with pytest.raises(InputError, match=r"cannot be written \(No space left on device\)"):
            train(config_of(folder), path=run, reporter=Reporter())
    assert [path.name for path in (run / "checkpoints").iterdir()] == ["step-00000012"]
    train(config_of(folder), path=run, reporter=Reporter())
    newest = [checkpoints(path / "checkpoints")[-1] / "model.safetensors" for path in (run, finished)]
    assert newest[0].read_bytes() == newest[1].read_bytes()


class Vandal(Reporter):
    """Damages files once the data set is open, behind the prober's back."""

    def __init__(self, files: list[Path]) -> None:
        self.files, self.notes = files, []

    def note(self, text: str) -> None:
        self.notes.append(text)
        if "unlabeled videos" in text:
            for path in self.files:
                times = path.stat()
                path.write_bytes(b"\0" * times.st_size)
                os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))


def labeled(folder: Path, name: str) -> list[Path]:
    """The labeled videos of a class, all that there are."""
    return sorted((folder / "train" / name).glob(f"{name}*.mp4"))


def test_a_class_without_a_decodable_label_is_named(folder, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(folder, data)
    vandal = Vandal(labeled(data, "wave"))
    config = config_of(data, **{"data.labeled": "all", "optim.steps": "12"})
    result = train(config, path=tmp_path / "run", reporter=vandal).result
    said = "class 'wave': none of its 5 labeled videos can be decoded, so it is learned from no label"
    assert vandal.notes.count(said) == 1
    assert result["classes_without_labels"] == ["wave"]


def test_when_no_video_decodes_the_last_is_named(folder, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(folder, data)
    vandal = Vandal([*labeled(data, "wave"), *labeled(data, "clap")])
    with pytest.raises(InputError, match=r"labeled videos: \d+ in a row cannot be decoded; the last: .*\.mp4: "):
        train(config_of(data, **{"data.labeled": "all"}), path=tmp_path / "run", reporter=vandal)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["problems.json"]  # it tells why
    assert len(json.loads((tmp_path / "run" / "problems.json").read_text())) >= 10


def test_a_class_of_empty_files_is_named_with_one_of_them(folder, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(folder, data)
    for path in labeled(data, "wave"):
        path.write_bytes(b"")
    with pytest.raises(InputError, match="none of the 5 training videos of class 'wave' is usable; the first"):
        train(config_of(data), path=tmp_path / "run", reporter=Reporter())


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.json", "[]", "config.json: received a JSON list; accepted: an object"),
        ("config.json", '{"seed": "abc"}', "config.json: seed: received 'abc'; accepted: int"),
        ("result.json", "[]", "result.json: received a JSON list; accepted: an object"),
        ("result.json", "{}", "result.json: not what was written"),
        ("run.json", '{"classes": 5}', "run.json: not what was written"),
        ("run.json", "{", "run.json: cannot be read as JSON"),
        ("problems.json", "[]", None),
        ("metrics.jsonl", "5\n{}", None),
        ("videos.jsonl.gz", "nothing", None),
    ],
)
def test_files_of_a_run_that_are_damaged_are_one_line_or_do_not_matter(
    finished, folder, tmp_path, name, content, message
):
    run = tmp_path / "run"
    shutil.copytree(finished, run)
    (run / name).write_text(content)
    if message is None:
        (run / "result.json").unlink()
        assert train(config_of(folder), path=run, reporter=Reporter()).result
    else:
        with pytest.raises(InputError, match=message):
            train(config_of(folder), path=run, reporter=Reporter())
