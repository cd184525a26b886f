"""A run's folder: configuration, identity, metrics, result, problems, checkpoints, and the lock of its one writer."""

import contextlib
import functools
import hashlib
import json
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cmpl.config import COMPARED_IN_RUN, FREE_TO_CHANGE, Config, changed, differences, flattened, from_json, to_json
from cmpl.training import identity as identities
from cmpl.training import lock
from cmpl.training.checkpoint import checkpoints
from cmpl.training.course import Course
from cmpl.training.identity import Identity, Listing, read_listing, write_listing
from cmpl.training.problems import ProblemsFile
from pipelines.errors import InputError
from pipelines.files import written_whole

LISTING, PROBLEMS = "videos.jsonl.gz", "problems.json"
EVALUATION = "evaluation.csv"
EVALUATIONS = "evaluations"
MOST_FIELDS_NAMED, MOST_LETTERS = 3, 60
"""Changed fields, and letters for them, in a run's name; more are counted, with a digest."""
END = "end.json"
"""How the last call ended that did not finish the run; while it is under way there is none."""
_OF_A_START = ("run.json", LISTING, PROBLEMS, "autotune.json", lock.NAME, ".DS_Store")
"""What a start that was killed may leave beside drafts and an empty `checkpoints`."""


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """What a run is, beside its configuration."""

    identity: Identity
    course: Course

    def to_json(self) -> dict[str, Any]:
        """As run.json holds it."""
        return {**self.identity.to_json(), **self.course.to_json()}


class RunDirectory:
    """Files of one run. Every file is written whole or not at all."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoints = path / "checkpoints"

    @contextlib.contextmanager
    def locked(self) -> Iterator[str | None]:
        """Makes the folder and holds its lock for the block; yields why it cannot be locked, or None.

        Raises InputError where another process holds it, or the folder cannot be written. A folder that nothing was
        written to is removed again.
        """
        missing = [path for path in (self.path, *self.path.parents) if not path.exists()]
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            with lock.locked(self.path) as problem:
                yield problem
        except OSError as error:
            if error.filename is None or not str(error.filename).startswith(str(self.path)):
                raise
            raise unwritable(self.path, error) from error
        finally:
            with contextlib.suppress(OSError):  # not empty: a run is there now
                for path in missing:
                    path.rmdir()

    def has_begun(self) -> bool:
        """Whether there is anything to lose: a checkpoint, metrics, or a result."""
        metrics = self.path / "metrics.jsonl"
        written = metrics.exists() and metrics.stat().st_size > 0
        return bool(checkpoints(self.checkpoints)) or written or (self.path / "result.json").exists()

    def check(self, config: Config) -> None:
        """Raises InputError where something else lives in the folder: another configuration, showing what differs, or
        no run at all. What a start left that came to nothing is not in the way."""
        if self.path.exists() and not self.path.is_dir():
            raise InputError(f"--out: received {self.path}, a file; accepted: a folder, or a name that is free")
        if not (self.path / "config.json").exists():
            if self.path.exists() and not all(map(self._is_of_a_start, self.path.iterdir())):
                raise InputError(f"{self.path}: not empty and not a run; give --out another folder")
        elif self.has_begun():
            changed = differences(self.config(), config, without=COMPARED_IN_RUN)
            if changed:
                raise InputError(
                    f"{self.path} holds a run with another configuration:\n  "
                    + "\n  ".join(changed)
                    + "\nGive the same settings to go on with it, or --out for a new folder."
                )

    def _is_of_a_start(self, path: Path) -> bool:
        if path == self.checkpoints:
            return path.is_dir() and not any(path.iterdir())
        return path.name in _OF_A_START or (path.name.startswith(".") and path.name.endswith(".part"))

    def claim(self, config: Config, facts: RunFacts | None = None, listing: Listing | None = None) -> None:
        """Makes the folder this run's, or takes it up again: to be called under the lock, after the checks.

        The configuration is written last: where it is, all else is. Raises InputError as `check` does, and where the
        folder cannot be written.
        """
        self.check(config)
        begun = self.has_begun()
        try:
            self.checkpoints.mkdir(parents=True, exist_ok=True)
            (self.path / END).unlink(missing_ok=True)
            if facts is not None:
                if listing is not None and not (begun and (self.path / LISTING).exists()):
                    write_listing(self.path / LISTING, listing)
                self._write("run.json", facts.to_json())
            if not begun:
                (self.path / PROBLEMS).unlink(missing_ok=True)  # of a start that came to nothing
                self._write("config.json", to_json(config))
        except OSError as error:
            raise unwritable(self.path, error) from error

    def moved(self, config: Config) -> None:
        """Has the folder say where the data lies now, and how many steps there are."""
        old = self.config()
        data = replace(
            old.data, root=config.data.root, unlabeled_root=config.data.unlabeled_root, labeled=config.data.labeled
        )
        optim = replace(old.optim, steps=config.optim.steps, epochs=config.optim.epochs)
        if (old.data, old.optim) != (data, optim):
            self._write("config.json", to_json(replace(old, data=data, optim=optim)))

    def abandon(self) -> None:
        """Removes what a start wrote that came to nothing, but for problems.json: it may tell why."""
        if self.has_begun():
            return
        for name in ("config.json", "run.json", LISTING, "metrics.jsonl", "metrics.csv", "autotune.json"):
            (self.path / name).unlink(missing_ok=True)
        for name in ("tensorboard", "pseudo_labels"):
            shutil.rmtree(self.path / name, ignore_errors=True)
        with contextlib.suppress(OSError):
            self.checkpoints.rmdir()

    def config(self) -> Config:
        """The run's configuration. Raises InputError where there is none."""
        if not (self.path / "config.json").exists():
            raise InputError(f"{self.path}: no run is there; accepted: a folder that `cmpl train` made")
        return from_json(read_json(self.path / "config.json"))

    def facts(self) -> RunFacts | None:
        """What run.json says; None in a folder of an older version. Raises InputError where it is damaged."""
        path = self.path / "run.json"
        if not path.exists():
            return None
        values = read_json(path)
        try:
            return RunFacts(identity=Identity.from_json(values), course=Course.from_json(values))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise InputError(f"{path}: not what was written ({error!r}); accepted: the file as it was") from error

    def listing(self) -> Listing | None:
        """Every video of the run; None where the file is missing or damaged."""
        return read_listing(self.path / LISTING)

    def check_identity(self, known: Identity, now: Identity, listing: Listing) -> None:
        """Raises InputError naming what differs between the run's videos and classes and those that are there now."""
        before = self.listing() if known.videos != now.videos else None
        changed = identities.differences(known, now, listings=(before, listing))
        if changed:
            raise InputError(
                f"{self.path} holds a run on other data:\n  "
                + "\n  ".join(changed)
                + f"\nGive the data as it was to go on with it, or --out for a new run; --init {self.path} starts that "
                "one from these weights."
            )

    def result(self) -> dict[str, Any] | None:
        """What result.json says, or None while there is none. Raises InputError where it is damaged."""
        path = self.path / "result.json"
        if not path.exists():
            return None
        result = read_json(path)
        if not isinstance(result.get("primary"), dict):
            raise InputError(
                f"{path}: not what was written; accepted: the file as it was, or none: the run is evaluated again"
            )
        return result

    def write_result(self, result: dict[str, Any]) -> None:
        """Writes result.json."""
        self._write("result.json", result)

    def keep_result(self) -> None:
        """Gives the result of a run that is continued the name of its step."""
        result = self.result()
        if result is not None and "steps" in result:
            (self.path / "result.json").rename(self.path / f"result-step-{result['steps']:08d}.json")
            if self.evaluation.exists():
                self.evaluation.rename(self.path / f"evaluation-step-{result['steps']:08d}.csv")

    @property
    def evaluation(self) -> Path:
        """The file of what training's own evaluation found of each video."""
        return self.path / EVALUATION

    def later_evaluation(self, *, step: int, clips: int, crops: int, clip_stride: int) -> Path:
        """The file of one of `cmpl eval`: a csv, its result beside it as .json."""
        stride = f"-stride-{clip_stride}" if clip_stride > 1 else ""
        return self.path / EVALUATIONS / f"step-{step:08d}-{clips}x{crops}{stride}.csv"

    def later_evaluations(self) -> list[tuple[Path, dict[str, Any]]]:
        """(csv file, result) of each of `cmpl eval`, the newest last; those that cannot be read are passed over."""
        found = []
        files = (self.path / EVALUATIONS).glob("*.json")
        for path in sorted(files, key=lambda path: (path.stat().st_mtime, path.name)):
            with contextlib.suppress(InputError):
                found.append((path.with_suffix(".csv"), read_json(path)))
        return found

    def write_end(self, how: str, *, step: int, why: str = "") -> None:
        """Says how a call ended that did not finish the run: stopped, diverged or failed."""
        if self.has_begun():
            self._write(END, {"how": how, "step": step, "why": why})

    def problems(self) -> dict[str, str]:
        """Returns the videos set aside in this run: path -> reason."""
        return dict(self._problems.content)

    def note_problems(self, problems: Mapping[str, str], *, at_once: bool = False) -> None:
        """Adds videos to problems.json as `ProblemsFile.note` does. Raises InputError where it cannot be written."""
        try:
            self._problems.note(problems, at_once=at_once)
        except OSError as error:
            raise unwritable(self.path / PROBLEMS, error) from error

    @functools.cached_property
    def _problems(self) -> ProblemsFile:
        return ProblemsFile(self.path / PROBLEMS)

    def _write(self, name: str, content: dict[str, Any]) -> None:
        try:
            with written_whole(self.path / name) as draft:
                draft.write_text(json.dumps(content, indent=1) + "\n")
        except OSError as error:
            raise unwritable(self.path / name, error) from error


def unwritable(path: Path, error: OSError) -> InputError:
    """What to tell the user whose folder cannot be written."""
    reason = error.strerror or type(error).__name__
    return InputError(
        f"{path}: cannot be written ({reason}); accepted: a folder with room that may be written; the same command "
        "goes on from the last checkpoint"
    )


def default_run_path(config: Config, *, runs: Path, base: Config) -> Path:
    """runs/<data>-<labeled>-<method>-s<seed>, and what else differs from `base`, the recipe: -threshold0.5.

    A folder goes by its own name, a list of labeled videos by its file's; a split seed is named where it is not 0.
    Of `module:name` the name is taken. The length is not named: the same command with more steps continues a run.
    """
    data = config.data
    dataset, method = (text.rpartition(":")[2] for text in (data.dataset, config.method.name))
    name = Path(data.root).name if data.dataset == "folder" and data.root else dataset
    labeled = Path(data.labeled).stem if "/" in data.labeled else data.labeled
    split = f"-split{data.split_seed}" if data.split_seed else ""
    preset = f"-{config.preset}" if config.preset else ""
    changed = _changed_fields(config, base)
    return runs / f"{_plain(name)}-{_plain(labeled)}{split}-{_plain(method)}{preset}-s{config.seed}{changed}"


def _changed_fields(config: Config, base: Config) -> str:
    """The fields that differ from the recipe, in a few words that differ where they do."""
    named = {"recipe", "preset", "seed", "method.name", "data.dataset", "data.labeled", "data.split_seed"}
    passed_over = {*named, *FREE_TO_CHANGE, "optim.steps", "optim.epochs"}
    before, after = flattened(changed(base, "method", name=config.method.name)), flattened(config)
    keys = [key for key in after if after[key] != before[key] and key not in passed_over]
    shown = [
        f"-{key if sum(other.endswith(f'.{short}') for other in after) > 1 else short}{_plain(str(after[key]))}"
        for key, short in ((key, key.rpartition(".")[2]) for key in keys)
    ]
    text = "".join(shown)
    if len(shown) <= MOST_FIELDS_NAMED and len(text) <= MOST_LETTERS:
        return text
    return f"-{len(shown)}-fields-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _plain(text: str) -> str:
    """Text as a part of a folder's name."""
    return re.sub(r"[^\w.+=-]+", "_", text).strip("_")


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file; InputError where it is none."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as JSON ({error})") from error
    if not isinstance(content, dict):
        raise InputError(f"{path}: received a JSON {type(content).__name__}; accepted: an object")
    return content


def newest_run(folder: Path) -> Path:
    """The run under `folder` that was written to last. Raises InputError where there is none."""
    runs = [path.parent for path in folder.glob("*/config.json")]
    if not runs:
        raise InputError(f"{folder}: holds no run; start one with `cmpl train`, or name a run's folder")
    return max(runs, key=lambda run: max(path.stat().st_mtime for path in (run, *run.glob("*.json*"))))
