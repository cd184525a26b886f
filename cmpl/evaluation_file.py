"""What an evaluation found of each video, as a csv file in the run's folder, and read back.

Its columns are those of predictions, with the true class after the path.
"""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cmpl.evaluate import Predictions
from cmpl.prediction import Prediction, fields, titles
from pipelines.datasets.csv_lists import csv_text
from pipelines.errors import InputError
from pipelines.files import written_whole

TRUTH = "truth"


@dataclass(frozen=True, kw_only=True)
class EvaluatedVideo:
    """One row: what both networks answered to a video whose class is known."""

    path: str  # relative to the validation list's folder
    truth: str
    ranked: tuple[tuple[str, float], ...]  # the primary's likeliest classes and their probabilities
    auxiliary: tuple[str, float] | None  # the auxiliary's likeliest, where there is such a network
    entropy: float  # nats, of the mean of the networks' answers

    @property
    def named(self) -> str:
        """The class that the primary network names."""
        return self.ranked[0][0]

    @property
    def confidence(self) -> float:
        """Its probability."""
        return self.ranked[0][1]


def write_evaluation(
    file: Path, predictions: Mapping[str, Predictions], *, paths: Sequence[str], classes: Sequence[str]
) -> None:
    """Writes a row a video, whole or not at all. predictions: network -> answers; paths: of the evaluated pool.

    Raises OSError where it cannot be written.
    """
    primary = predictions["primary"]
    rows: list[Sequence[str]] = [_columns(len(classes))]
    for row, video in enumerate(primary.videos.tolist()):
        answers = {name: found.probabilities[row] for name, found in predictions.items()}
        path, *rest = fields(Prediction(path=paths[video], probabilities=answers), classes)[:-1]
        rows.append([path, classes[primary.labels[row]], *rest])
    with written_whole(file) as draft, open(draft, "w", encoding="utf-8", errors="surrogateescape", newline="") as out:
        out.write(csv_text(rows))


def read_evaluation(file: Path) -> list[EvaluatedVideo]:
    """Reads the rows back. Raises InputError where the file is not what was written."""
    try:
        with open(file, encoding="utf-8", errors="surrogateescape", newline="") as stream:
            return [_video(row) for row in csv.DictReader(stream, strict=True)]
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror}); accepted: a file of `cmpl eval`") from error
    except (csv.Error, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{file}: not what was written ({error!r}); accepted: the file as it was, or none") from error


def _columns(num_classes: int) -> tuple[str, ...]:
    path, *rest = titles(num_classes)[:-1]
    return (path, TRUTH, *rest)


def _video(row: Mapping[str, str]) -> EvaluatedVideo:
    more = [key.removeprefix("class") for key in row if key.startswith("class")]
    has_auxiliary = bool(row["auxiliary_class"])
    return EvaluatedVideo(
        path=row["path"],
        truth=row[TRUTH],
        ranked=tuple((row[f"class{place}"], float(row[f"confidence{place}"])) for place in more),
        auxiliary=(row["auxiliary_class"], float(row["auxiliary_confidence"])) if has_auxiliary else None,
        entropy=float(row["entropy"]),
    )
