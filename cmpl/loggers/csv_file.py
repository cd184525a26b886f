"""Metrics as a csv file: a row a step, a column a metric."""

import csv
from collections.abc import Mapping

from cmpl.loggers.logger import LoggedRun, grouped
from cmpl.training.metrics_file import read_metrics
from pipelines.files import written_whole


class CsvLogger:
    """Writes `metrics.csv` in the run's folder. A metric that is new gets a column, and the file is written anew."""

    def begin(self, run: LoggedRun) -> str:
        self._run, self._columns = run, ["step"]
        self._write_anew()
        return f"csv ({self._file})"

    @property
    def _file(self) -> str:
        return str(self._run.path / "metrics.csv")

    def write(self, step: int, metrics: Mapping[str, float]) -> None:
        if not set(metrics) <= set(self._columns):
            self._columns += [name for name in metrics if name not in self._columns]
            self._write_anew()
            return
        with open(self._file, "a", newline="") as file:
            csv.DictWriter(file, self._columns).writerow({"step": step, **metrics})

    def _write_anew(self) -> None:
        """Writes all rows as metrics.jsonl has them, the newest included."""
        rows = [
            {name if name == "step" else grouped(name): value for name, value in line.items()}
            for line in read_metrics(self._run.path)
        ]
        self._columns += list(dict.fromkeys(name for row in rows for name in row if name not in self._columns))
        with written_whole(self._file) as draft, open(draft, "w", newline="") as file:
            writer = csv.DictWriter(file, self._columns)
            writer.writeheader()
            writer.writerows(rows)

    def finish(self, scores: Mapping[str, float]) -> None:
        """Nothing: result.json has them."""

    def close(self) -> None:
        """Nothing is open."""
