"""`cmpl sweep`: which runs a table is, in what order, and what is passed over. Training itself is replaced."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from cli.main import main
from cmpl import session
from cmpl.config import Config, to_json
from cmpl.recipes.registry import row_config
from cmpl.session import Outcome
from cmpl.sweep import SweepRun, runs_of, sweep
from cmpl.training.reporter import Reporter
from pipelines.errors import InputError
from pipelines.shares import Share


def config_for(run: SweepRun) -> Config:
    return row_config(run.row.name, dataset="demo")


@pytest.fixture
def trained(monkeypatch) -> list[str]:
    """Paths of the runs that training was called for; each is finished at once, but those named `bad` or `stopped`."""
    calls: list[str] = []

    def train(config: Config, *, path: Path, reporter: Reporter, **_: Any) -> Outcome:
        calls.append(str(path))
        if (path / "bad").exists():
            raise InputError("training diverged")
        if (path / "stopped").exists():
            return Outcome(path=path, result=None)
        result = {"primary": {"top1": 0.5, "top5": 0.75, "per_class": {}}, "steps": config.optim.steps}
        path.mkdir(parents=True, exist_ok=True)
        (path / "config.json").write_text(json.dumps(to_json(config)))
        (path / "result.json").write_text(json.dumps(result))
        return Outcome(path=path, result=result)

    monkeypatch.setattr(session, "train", train)
    return calls


def test_a_table_is_its_rows_over_the_labeled_subsets(tmp_path):
    name, runs = runs_of("table2", num_subsets=3, out=tmp_path, has_weights=False)
    assert name == "2"
    assert len(runs) == 18
    assert [run.split_seed for run in runs[:4]] == [0, 1, 2, 0]
    assert runs[4].path == tmp_path / "table2-fixmatch-frame-rates" / "subset-1"
    assert len({run.path for run in runs}) == 18
    with pytest.raises(InputError, match="table: received 'table22'"):
        runs_of("table22", num_subsets=1, out=tmp_path, has_weights=False)


def test_rows_that_start_from_weights_want_such(tmp_path):
    names = {run.row.name for run in runs_of("tableA1", num_subsets=1, out=tmp_path, has_weights=False)[1]}
    every = {run.row.name for run in runs_of("tableA1", num_subsets=1, out=tmp_path, has_weights=True)[1]}
    assert every - names == {"tablea1-imagenet-init"}


def test_a_finished_run_is_passed_over_and_another_configuration_is_refused(tmp_path, trained):
    _, runs = runs_of("table2", num_subsets=1, out=tmp_path, has_weights=False)
    assert len(sweep(runs[:2], config_for, reporter=Reporter()).finished) == 2
    outcome = sweep(runs[:3], config_for, reporter=Reporter())
    assert trained == [str(run.path) for run in runs[:3]]
    assert outcome.finished == tuple(runs[:3])
    (tmp_path / runs[0].row.name / "subset-0" / "config.json").write_text(
        json.dumps(to_json(row_config("table2-fixmatch", dataset="demo", labeled="5")))
    )
    ((run, why),) = sweep(runs[:2], config_for, reporter=Reporter()).failed
    assert (run, "another configuration" in why) == (runs[0], True)


def test_a_run_that_fails_does_not_end_the_sweep_and_a_signal_does(tmp_path, trained):
    _, runs = runs_of("table2", num_subsets=1, out=tmp_path, has_weights=False)
    for index, name in ((1, "bad"), (3, "stopped")):
        runs[index].path.mkdir(parents=True)
        (runs[index].path / name).touch()
    outcome = sweep(runs, config_for, reporter=Reporter())
    assert trained == [str(run.path) for run in runs[:4]]
    assert outcome.finished == (runs[0], runs[2])
    assert outcome.failed == ((runs[1], "training diverged"),)
    assert outcome.is_stopped


def test_the_command_ends_with_the_table(tmp_path, trained, monkeypatch):
    words = ["sweep", "table2", "--dataset", "demo", "--subsets", "1", "--steps", "3", "--out", str(tmp_path)]
    shown = CliRunner().invoke(main, words, env={"COLUMNS": "120"})
    assert shown.exit_code == 0, shown.output
    assert len(trained) == 6
    assert "50.00" in shown.output
    assert "6 of 6 runs are finished" in shown.output
    told = json.loads(CliRunner().invoke(main, [*words, "--json"]).stdout)
    assert {row["measured_top1"] for row in told["rows"] if row["dataset"] == "demo"} == {50.0}
    assert len(trained) == 6


def test_tasks_of_an_array_share_the_runs(tmp_path, trained):
    words = ["sweep", "table2", "--dataset", "demo", "--subsets", "1", "--steps", "3", "--out", str(tmp_path)]
    array = {"SLURM_ARRAY_TASK_MIN": "0", "SLURM_ARRAY_TASK_MAX": "3", "SLURM_ARRAY_TASK_COUNT": "4"}
    for task in range(4):
        before = len(trained)
        shown = CliRunner().invoke(main, words, env={**array, "SLURM_ARRAY_TASK_ID": str(task)})
        assert shown.exit_code == 0, shown.output
        assert len(trained) - before == len(Share(index=task, number=4).of(range(6)))
    assert len(set(trained)) == 6
