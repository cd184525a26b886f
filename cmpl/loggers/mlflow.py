"""Metrics for MLflow: to MLFLOW_TRACKING_URI, or else to the folder `mlruns` beside the run's.

MLflow calls its folders old-fashioned and opens one only where MLFLOW_ALLOW_FILE_STORE says so. It is set here for a
folder: all that mlflow-skinny can write without a server or a database's packages.
"""

import os
import time
from collections.abc import Mapping

from cmpl.loggers.logger import LoggedRun

EXPERIMENT = "cmpl"
"""The experiment's name, where MLFLOW_EXPERIMENT_NAME gives none."""
ID_FILE = "mlflow-id"
MOST_LETTERS, AT_ONCE = 500, 100
"""MLflow's limits: letters of a parameter's value, parameters of a call."""


class MlflowLogger:
    """Logs a run under one id, kept in its folder, however often it was stopped.

    Raises ImportError where neither mlflow nor mlflow-skinny is installed.
    """

    def __init__(self) -> None:
        import mlflow
        from mlflow.entities import Metric, Param

        self._mlflow, self._metric, self._param = mlflow, Metric, Param
        self._is_finished = False

    def begin(self, run: LoggedRun) -> str:
        uri = os.environ.get("MLFLOW_TRACKING_URI") or (run.path.resolve().parent / "mlruns").as_uri()
        if uri.startswith("file:"):
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        self._client = self._mlflow.MlflowClient(tracking_uri=uri)
        file = run.path / ID_FILE
        if file.exists():
            self._id = file.read_text().strip()
            self._client.update_run(self._id, status="RUNNING")
        else:
            name = os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)
            experiment = self._client.get_experiment_by_name(name)
            number = experiment.experiment_id if experiment else self._client.create_experiment(name)
            self._id = self._client.create_run(number, run_name=run.path.name).info.run_id
            file.write_text(self._id)
            params = [self._param(key, str(value)[:MOST_LETTERS]) for key, value in run.config.items()]
            for first in range(0, len(params), AT_ONCE):
                self._client.log_batch(self._id, params=params[first : first + AT_ONCE])
        return f"MLflow ({uri})"

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        now = int(1000 * time.time())
        values = [self._metric(name, float(value), now, step) for name, value in metrics.items()]
        self._client.log_batch(self._id, metrics=values)

    def finish(self, scores: Mapping[str, float]) -> None:
        self.write(0, scores)
        self._is_finished = True

    def close(self) -> None:
        self._client.set_terminated(self._id, status="FINISHED" if self._is_finished else "KILLED")
