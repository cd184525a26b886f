"""Loggers: what each is told, that none stops training, and the real packages where they are installed."""

import csv
import json
from pathlib import Path

import pytest

from cmpl.config import flattened
from cmpl.loggers.logger import LoggedRun, Loggers, final_scores, grouped, loggers_of
from cmpl.recipes.demo import demo
from cmpl.session import train
from cmpl.training.reporter import Reporter
from pipelines.errors import InputError
from tests.support.runs import NUM_STEPS, config_of

RESULT = {
    "primary": {"top1": 0.5, "top5": 1.0, "per_class": {"a": 0.5}},
    "auxiliary": {"top1": 0.25, "top5": 1.0, "per_class": {"a": 0.25}},
    "steps": 3,
}
METRICS = [(1, {"loss": 2.0, "learning_rate": 0.1}), (2, {"loss": 1.0, "learning_rate": 0.05}), (2, {"val_top1": 0.75})]


def logged(path: Path, *names: str, first_step: int = 0, is_finished: bool = True) -> list[str]:
    """Logs a small run's metrics; what was said."""
    path.mkdir(exist_ok=True)
    said: list[str] = []
    loggers = loggers_of(names, note=said.append)
    loggers.begin(LoggedRun(path=path, first_step=first_step, config=flattened(demo())))
    for step, metrics in METRICS:
        if step > first_step:
            with (path / "metrics.jsonl").open("a") as file:
                file.write(json.dumps({"step": step, **metrics}) + "\n")
            loggers.write(step, metrics)
    if is_finished:
        loggers.finish(RESULT)
    loggers.close()
    return said


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("loss", "loss/total"),
        ("loss_supervised_primary", "loss/supervised_primary"),
        ("pseudo_share_auxiliary", "pseudo_labels/share_auxiliary"),
        ("val_top1", "validation/top1"),
        ("wait_share", "speed/wait_share"),
        ("learning_rate", "training/learning_rate"),
    ],
)
def test_metrics_come_in_groups(name, group):
    assert grouped(name) == group


def test_final_scores_are_those_of_both_networks():
    assert final_scores(RESULT) == {
        "final/primary_top1": 0.5,
        "final/primary_top5": 1.0,
        "final/auxiliary_top1": 0.25,
        "final/auxiliary_top5": 1.0,
    }


class Broken:
    """Fails at one of its calls."""

    def __init__(self, at: str) -> None:
        self.at, self.calls = at, []

    def _call(self, name: str) -> str:
        self.calls.append(name)
        if name == self.at:
            raise ConnectionError("no route")
        return name

    def begin(self, run):
        return self._call("begin")

    def write(self, step, metrics):
        self._call("write")

    def finish(self, scores):
        self._call("finish")

    def close(self):
        self._call("close")


@pytest.mark.parametrize("at", ["begin", "write", "finish", "close"])
def test_a_logger_that_fails_is_left_out_and_said_once(tmp_path, at):
    said: list[str] = []
    broken, whole = Broken(at), Broken("")
    loggers = Loggers(loggers={"broken": broken, "whole": whole}, note=said.append)
    loggers.begin(LoggedRun(path=tmp_path, first_step=0, config={}))
    for step, metrics in METRICS:
        loggers.write(step, metrics)
    loggers.finish(RESULT)
    loggers.close()
    assert whole.calls == ["begin", "write", "write", "write", "finish", "close"]
    assert broken.calls[-1] == at
    assert [line for line in said if "broken" in line] == [
        "broken: logs no more (ConnectionError: no route); training goes on"
    ]


def test_training_ends_well_though_its_logger_fails(folder, tmp_path, monkeypatch):
    from cmpl.loggers.csv_file import CsvLogger

    def fail(*_args: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(CsvLogger, "write", fail)
    said: list[str] = []

    class Listening(Reporter):
        def note(self, text: str) -> None:
            said.append(text)

    config = config_of(folder, **{"optim.steps": "4", "runtime.loggers": "csv"})
    assert train(config, path=tmp_path / "run", reporter=Listening()).result is not None
    assert [line for line in said if line.startswith("csv: logs no more")] == [
        "csv: logs no more (OSError: disk full); training goes on"
    ]


def test_training_says_where_metrics_go(folder, tmp_path):
    said: list[str] = []

    class Listening(Reporter):
        def note(self, text: str) -> None:
            said.append(text)

    config = config_of(folder, **{"runtime.loggers": "csv"})
    train(config, path=tmp_path / "run", reporter=Listening())
    assert f"metrics go to metrics.jsonl, csv ({tmp_path}/run/metrics.csv)" in said
    rows = list(csv.DictReader((tmp_path / "run" / "metrics.csv").open()))
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [int(row["step"]) for row in rows] == [line["step"] for line in lines]
    assert float(rows[-1]["loss/total"]) == lines[-1]["loss"]
    assert int(rows[-1]["step"]) == NUM_STEPS


def test_csv_gets_a_column_for_a_metric_that_is_new(tmp_path):
    logged(tmp_path / "run", "csv")
    rows = list(csv.DictReader((tmp_path / "run" / "metrics.csv").open()))
    assert [(row["loss/total"], row["validation/top1"]) for row in rows] == [("2.0", ""), ("1.0", ""), ("", "0.75")]


def test_names_that_are_refused(monkeypatch):
    with pytest.raises(InputError, match=r"runtime.loggers: received 'wandbb'; did you mean 'wandb'\?"):
        loggers_of(["wandbb"], note=print)
    with pytest.raises(InputError, match="received none, csv; accepted: none alone, or names"):
        loggers_of(["none", "csv"], note=print)
    assert loggers_of(["none"], note=print).loggers == {}
    import sys

    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(InputError, match=r"received 'wandb', which is not installed .*; accepted: pip install 'cmpl\["):
        loggers_of(["wandb"], note=print)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    assert loggers_of(["auto"], note=print).loggers == {}


def events(folder: Path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    return EventAccumulator(str(folder)).Reload()


def test_tensorboard_has_groups_configuration_and_scores(tmp_path):
    pytest.importorskip("tensorboard")
    said = logged(tmp_path / "run", "tensorboard")
    assert said == [f"metrics go to metrics.jsonl, TensorBoard ({tmp_path}/run/tensorboard)"]
    found = events(tmp_path / "run" / "tensorboard")
    assert [(e.step, e.value) for e in found.Scalars("loss/total")] == [(1, 2.0), (2, 1.0)]
    assert found.Scalars("final/primary_top1")[0].value == 0.5
    assert {"_hparams_/experiment", "_hparams_/session_start_info"} <= set(found.summary_metadata)
    text = found.Tensors("configuration/text_summary")[0].tensor_proto.string_val[0].decode()
    assert "| `optim.lr` | 0.05 |" in text


def test_a_run_that_goes_on_in_tensorboard_has_no_step_twice(tmp_path):
    pytest.importorskip("tensorboard")
    logged(tmp_path / "run", "tensorboard", is_finished=False)
    logged(tmp_path / "run", "tensorboard", first_step=1)
    found = events(tmp_path / "run" / "tensorboard")
    assert [e.step for e in found.Scalars("loss/total")] == [1, 2]


def test_mlflow_in_a_local_folder(tmp_path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    logged(tmp_path / "run", "mlflow", is_finished=False)
    said = logged(tmp_path / "run", "mlflow", first_step=1)
    assert said == [f"metrics go to metrics.jsonl, MLflow (file://{tmp_path}/mlruns)"]
    client = mlflow.MlflowClient(tracking_uri=(tmp_path / "mlruns").as_uri())
    experiment = client.get_experiment_by_name("cmpl")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.params["optim.lr"] == "0.05"
    assert run.data.metrics["final/primary_top1"] == 0.5
    assert run.data.metrics["validation/top1"] == 0.75
    assert {m.step for m in client.get_metric_history(run.info.run_id, "loss/total")} == {1, 2}


@pytest.mark.slow
def test_wandb_offline(tmp_path, monkeypatch):
    """Starts wandb's own service: some seconds."""
    pytest.importorskip("wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    said = logged(tmp_path / "run", "wandb")
    assert len(said) == 1
    assert "Weights & Biases (offline, " in said[0]
    (file,) = (tmp_path / "run" / "wandb").glob("offline-run-*/run-*.wandb")
    content = file.read_bytes()
    for text in (b"loss/total", b"validation/top1", b"final/primary_top1", b"optim.lr"):
        assert text in content
    identity = (tmp_path / "run" / "wandb-id").read_text()
    assert identity in file.name
