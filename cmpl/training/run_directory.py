"""A run's folder: config.json, metrics.jsonl, result.json, problems.json, checkpoints/."""

import json
from pathlib import Path

from cmpl.config import Config, differences, from_json, to_json
from pipelines.errors import InputError
from pipelines.files import written_whole


class RunDirectory:
    """Files of one run. Every file is written whole or not at all."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoints = path / "checkpoints"

    def check(self, config: Config) -> None:
        """Raises InputError where something else lives in the folder: another configuration, showing what differs, or
        no run at all."""
        if (self.path / "config.json").exists():
            changed = differences(self.config(), config)
            if changed:
                raise InputError(
                    f"{self.path} holds a run with another configuration:\n  "
                    + "\n  ".join(changed)
                    + "\nGive the same settings to go on with it, or --out for a new folder."
                )
        elif self.path.exists() and any(self.path.iterdir()):
            raise InputError(f"{self.path}: not empty and not a run; give --out another folder")

    def claim(self, config: Config) -> None:
        """Makes the folder for this configuration, or takes it up again. Raises InputError as `check` does."""
        self.check(config)
        if (self.path / "config.json").exists():
            return
        self.checkpoints.mkdir(parents=True, exist_ok=True)
        self._write("config.json", to_json(config))

    def config(self) -> Config:
        """The run's configuration. Raises InputError where there is none."""
        if not (self.path / "config.json").exists():
            raise InputError(f"{self.path}: no run is there; accepted: a folder that `cmpl train` made")
        return from_json(read_json(self.path / "config.json"))

    def result(self) -> dict | None:
        """What result.json says, or None while there is none."""
        path = self.path / "result.json"
        return read_json(path) if path.exists() else None

    def write_result(self, result: dict) -> None:
        """Writes result.json."""
        self._write("result.json", result)

    def problems(self) -> dict[str, str]:
        """Videos set aside in this run: path -> reason."""
        path = self.path / "problems.json"
        return read_json(path) if path.exists() else {}

    def write_problems(self, problems: dict[str, str]) -> None:
        """Writes problems.json, where there is anything to say."""
        if problems:
            self._write("problems.json", problems)

    def _write(self, name: str, content: dict) -> None:
        with written_whole(self.path / name) as draft:
            draft.write_text(json.dumps(content, indent=1) + "\n")


def default_run_path(config: Config, *, runs: Path) -> Path:
    """runs/<dataset>-<labeled>-<method>-s<seed>; a list of labeled videos by its file's name, a split seed where it
    is not 0."""
    labeled = Path(config.data.labeled).stem if "/" in config.data.labeled else config.data.labeled
    split = f"-split{config.data.split_seed}" if config.data.split_seed else ""
    return runs / f"{config.data.dataset}-{labeled}{split}-{config.method.name}-s{config.seed}"


def read_json(path: Path) -> dict:
    """A JSON object from a file; InputError where it is none."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as JSON ({error})") from error


def newest_run(folder: Path) -> Path:
    """The run under `folder` that was written to last. Raises InputError where there is none."""
    runs = [path.parent for path in folder.glob("*/config.json")]
    if not runs:
        raise InputError(f"{folder}: holds no run; start one with `cmpl train`, or name a run's folder")
    return max(runs, key=lambda run: max(path.stat().st_mtime for path in (run, *run.glob("*.json*"))))
