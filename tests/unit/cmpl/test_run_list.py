"""`cmpl runs` and `cmpl diff`: what became of runs, by their files and locks."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from cli.main import main
from cmpl.config import to_json, with_settings
from cmpl.recipes.demo import demo
from cmpl.run_diff import diff_of
from cmpl.run_list import runs_under, summary_of
from cmpl.training.identity import Identity, Row, Videos, write_listing
from cmpl.training.lock import holder_of, locked
from pipelines.errors import InputError

RESULT = {
    "primary": {"top1": 0.5, "top5": 1.0, "per_class": {"run": 0.25, "walk": 0.75}},
    "auxiliary": {"top1": 0.25, "top5": 1.0, "per_class": {"run": 0.5, "walk": 0.0}},
    "steps": 20,
    "train_seconds": 90.0,
}


def make_run(
    path: Path, *, result: dict[str, Any] | None = None, end: str | None = None, last_step: int = 20, **settings: str
) -> Path:
    path.mkdir(parents=True)
    config = with_settings(demo(), {"data.dataset": "folder", "data.root": "/x/own"} | settings)
    (path / "config.json").write_text(json.dumps(to_json(config)))
    listing = {"labeled": [Row("a.mp4", 3, 0)], "unlabeled": [Row("b.mp4", 3, -1)], "validation": [Row("c.mp4", 3, 1)]}
    if "seed" in settings:
        listing["unlabeled"].append(Row("d.mp4", 4, -1))
    write_listing(path / "videos.jsonl.gz", listing)
    videos = {part: Videos(number=len(rows), sha256=repr(rows)) for part, rows in listing.items()}
    identity = Identity(classes=("run", "walk"), videos=videos).to_json()
    course = {"videos_per_step": [4, 20], "schedules": [[0, last_step]], "split": 1}
    (path / "run.json").write_text(json.dumps({**identity, **course}))
    lines = [{"step": 5, "loss": 2.0}, {"step": 10, "val_top1": 0.75}, {"step": 15, "val_top1": 0.5}]
    (path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"step": 2')
    if result:
        (path / "result.json").write_text(json.dumps(result))
    if end:
        (path / "end.json").write_text(json.dumps({"how": end, "step": 15, "why": "loss: received nan"}))
    return path


@pytest.mark.parametrize(
    ("made", "state"),
    [
        ({"result": RESULT}, "finished"),
        ({"result": RESULT, "last_step": 40}, "killed"),  # continued to more steps
        ({}, "killed"),
        ({"end": "stopped"}, "stopped"),
        ({"end": "diverged"}, "diverged"),
        ({"end": "failed"}, "failed"),
    ],
)
def test_the_state_of_a_run(tmp_path, made, state):
    run = summary_of(make_run(tmp_path / "run", **made))
    assert (run.state, run.step, run.method, run.dataset, run.labeled) == (state, 15, "cmpl", "own", "1")
    assert (run.best_val_top1, run.best_val_step) == (0.75, 10)
    assert run.top1 == ({"primary": 0.5, "auxiliary": 0.25} if "result" in made else {})


HOLD = """
import sys
from pathlib import Path
from cmpl.training.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_run_whose_lock_is_held_is_running_and_stays_locked(tmp_path):
    path = make_run(tmp_path / "run")
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        run = summary_of(path)
        assert run.state == "running"
        assert run.detail.startswith(f"process {process.pid} on ")
        with pytest.raises(InputError, match=f"process {process.pid} on .* trains here"), locked(path):
            pass  # asking has freed nothing
        process.kill()
    assert summary_of(path).state == "killed"


def test_asking_for_the_holder_does_not_free_ones_own_lock(tmp_path):
    assert holder_of(tmp_path) is None
    with locked(tmp_path):
        assert holder_of(tmp_path) is not None
        asked = "import sys; from pathlib import Path; from cmpl.training.lock import holder_of; "
        asked += "print(holder_of(Path(sys.argv[1])) is None)"
        command = [sys.executable, "-c", asked, str(tmp_path)]
        said = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[3])
        assert said.stdout == "False\n"


def test_runs_are_found_below_a_folder_and_damaged_ones_are_listed(tmp_path):
    make_run(tmp_path / "one", result=RESULT)
    make_run(tmp_path / "several" / "subset-0")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "config.json").write_text("{")
    found = {run.path.removeprefix(f"{tmp_path}/"): run.state for run in runs_under(tmp_path)}
    assert found == {"one": "finished", "several/subset-0": "killed", "bad": "unreadable"}
    with pytest.raises(InputError, match="no such folder; accepted: a folder of runs"):
        runs_under(tmp_path / "none")


def test_the_command_lists_runs(tmp_path):
    make_run(tmp_path / "one", result=RESULT)
    make_run(tmp_path / "two", end="diverged")
    shown = CliRunner().invoke(main, ["runs", str(tmp_path)], env={"COLUMNS": "160"})
    assert shown.exit_code == 0
    assert "finished" in shown.stdout
    assert "50.0 %" in shown.stdout
    assert "1:30" in shown.stdout
    assert f"{tmp_path}/two: diverged: loss: received nan" in shown.stdout
    told = json.loads(CliRunner().invoke(main, ["runs", str(tmp_path), "--state", "diverged", "--json"]).stdout)
    assert [run["path"] for run in told] == [f"{tmp_path}/two"]
    refused = CliRunner().invoke(main, ["runs", str(tmp_path), "--state", "dverged"])
    assert "--state: received 'dverged'; did you mean 'diverged'?" in refused.output


def test_listing_runs_does_without_torch():
    code = "import sys, cmpl.run_list; print('torch' in sys.modules)"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=Path(__file__).parents[3])
    assert said.stdout == "False\n"


def test_two_runs_side_by_side(tmp_path):
    better = {**RESULT, "primary": {"top1": 0.75, "top5": 1.0, "per_class": {"run": 0.75, "walk": 0.75}}}
    a = make_run(tmp_path / "a", result=RESULT)
    b = make_run(tmp_path / "b", result=better, **{"seed": "1", "optim.lr": "0.01"})
    found = diff_of(a, b)
    assert found.fields == {"seed": (0, 1), "optim.lr": (0.05, 0.01)}
    assert found.data == ["unlabeled videos: 1 in A, 2 in B; new: 'd.mp4'"]
    assert found.scores["primary top1"] == (0.5, 0.75)
    assert found.classes == {"run": (0.25, 0.75)}
    shown = CliRunner().invoke(main, ["diff", str(a), str(b)], env={"COLUMNS": "120"})
    assert shown.exit_code == 0
    assert "+25.0" in shown.stdout
    assert json.loads(CliRunner().invoke(main, ["diff", str(a), str(b), "--json"]).stdout)["fields"]["seed"] == [0, 1]
    with pytest.raises(InputError, match="no run is there; accepted"):
        diff_of(a, tmp_path / "none")


def test_of_a_run_and_itself_nothing_differs(tmp_path):
    a = make_run(tmp_path / "a")
    found = diff_of(a, a)
    assert (found.fields, found.data, found.classes) == ({}, [], {})
