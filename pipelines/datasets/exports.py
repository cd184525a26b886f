"""Lists of videos as labeling programs export them: Label Studio's JSON and CVAT's XML of tagged images or videos.

A video with one class is labeled, one without is not. Several classes a video are refused. csv exports are lists
already (`csv_lists`).
"""

import itertools
import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pipelines.datasets.annotations import ListOptions
from pipelines.datasets.csv_lists import LABEL_TITLES, PATH_TITLES, ListedVideo, local_path, read_csv_list
from pipelines.datasets.text_files import MAX_LINES
from pipelines.errors import InputError

SUFFIXES = (".csv", ".json", ".xml")
"""A part's list has one of these; they are looked for in this order."""
MAX_BYTES = 1 << 29
"""A larger export, which JSON holds as a whole, would not fit the memory of a laptop."""
_CVAT_ITEMS = ("image", "video")


def list_file(root: Path, part: str) -> Path | None:
    """Returns the list of a part of a data set, such as train.csv; None where there is none."""
    return next((file for suffix in SUFFIXES if (file := root / f"{part}{suffix}").exists()), None)


def read_list(file: Path, options: ListOptions) -> list[ListedVideo]:
    """Reads a list by its suffix. `ListedVideo.line` counts lines, tasks or images from 1.

    Raises InputError naming file and place for what is not of the form, and as `read_csv_list` does.
    """
    if file.suffix == ".csv":
        return read_csv_list(file, options)
    try:
        if file.stat().st_size > MAX_BYTES:
            raise InputError(f"{file}: received {file.stat().st_size} bytes; accepted: at most {MAX_BYTES}")
        found = list(
            itertools.islice(_cvat(file) if file.suffix == ".xml" else _label_studio(file, options), MAX_LINES + 1)
        )
        if len(found) > MAX_LINES:
            raise InputError(f"{file}: received more than {MAX_LINES} videos; accepted: at most so many")
    except OSError as error:
        raise InputError(f"{file}: cannot be read ({error.strerror}); accepted: an export") from error
    except (ValueError, ElementTree.ParseError, RecursionError) as error:
        accepted = "CVAT's XML" if file.suffix == ".xml" else "Label Studio's JSON"
        raise InputError(f"{file}: cannot be read ({error}); accepted: {accepted}") from error
    videos = []
    for number, (path, classes) in enumerate(found, 1):
        where = f"{file}, entry {number}"
        if len(set(classes)) > 1:
            raise InputError(f"{where}: received several classes, {', '.join(sorted(set(classes)))}; accepted: one")
        local = local_path(path, file.parent, options, where=where)
        videos.append(ListedVideo(path=local, label=classes[0] if classes else None, line=number))
    return videos


def _cvat(file: Path) -> Iterator[tuple[str, list[str]]]:
    """(name, classes) of every image or video of CVAT's XML 1.1; element by element, so that memory stays small."""
    parsed = ElementTree.iterparse(file, events=("start", "end"))
    _, root = next(parsed)
    for event, element in parsed:
        if event == "end" and element.tag in _CVAT_ITEMS and "name" in element.attrib:
            yield element.attrib["name"], [tag.attrib.get("label", "") for tag in element.iter("tag")]
            root.clear()  # else it keeps all of them, if empty ones


def _label_studio(file: Path, options: ListOptions) -> Iterator[tuple[str, list[str]]]:
    """(path, classes) of every task, of the full form and of JSON-MIN."""
    tasks = json.loads(file.read_text(encoding="utf-8-sig"))
    if not isinstance(tasks, list):
        raise ValueError("no list of tasks")
    for number, task in enumerate(tasks, 1):
        data = task.get("data", task) if isinstance(task, dict) else None
        if not isinstance(data, dict):
            raise ValueError(f"task {number} is no object")
        path = _value(data, options.path_column, PATH_TITLES)
        if not isinstance(path, str):
            raise ValueError(f"task {number} names no video; --path-column may")
        if "annotations" in task:
            yield path, _choices(task["annotations"])
        else:
            yield path, _choices(_value(data, options.label_column, LABEL_TITLES))


def _value(data: Mapping[str, Any], wanted: str | None, known: Sequence[str]) -> Any:
    """The value of a title, in any case; of the first known one where none is wanted."""
    by_title = {title.lower(): value for title, value in data.items()}
    titles = known if wanted is None else (wanted.lower(),)
    return next((by_title[title] for title in titles if title in by_title), None)


def _choices(value: Any) -> list[str]:
    """All classes that somebody chose, however deep they lie; annotations that were cancelled do not count."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, list):
        return [name for part in value for name in _choices(part)]
    if isinstance(value, dict) and not value.get("was_cancelled"):
        deeper = (value[key] for key in ("result", "value", "choices") if key in value)
        return [name for part in deeper for name in _choices(part)]
    return []
