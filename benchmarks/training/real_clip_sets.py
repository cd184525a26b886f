"""Small sets of real clips made ready for training on a CPU: scaled down once, split by person where there is no split.

The clips are not part of this project. UCF-101 and JHMDB lie as a folder's data set each; Weizmann's actions lie as
`<class>/<person>_<class>.avi` (Blank, Gorelick et al., ICCV 2005).
"""

import os
from pathlib import Path

from pipelines.datasets.folder import read_folder
from pipelines.datasets.prepare import prepare
from pipelines.errors import InputError
from pipelines.files import written_whole
from pipelines.video.encoding import Form, Settings

SMALL = Settings(form=Form.GOP, short_side=80, gop=4)
"""The largest short side that crops of 56 pixels are taken from."""
NUM_PERSON_SPLITS = 3


def ready(name: str, *, source: Path, out: Path, subset: int) -> Path:
    """The folder of a set for a labeled subset, made where it is not there yet.

    Of a set without a split, subset k leaves out every third person, from the k-th on, for validation.
    Raises InputError where `source` holds no such set.
    """
    folder = source / name
    if not folder.is_dir():
        raise InputError(f"--data: received {source}, which holds no folder {name}; accepted: a folder of sets")
    if (folder / "train").is_dir() or (folder / "train.csv").exists():
        if not (out / name / "train.csv").exists():
            prepare(read_folder(folder), out / name, settings=SMALL)
        return out / name
    return by_person(folder, out / f"{name}-{subset % NUM_PERSON_SPLITS}", left_out=subset % NUM_PERSON_SPLITS)


def by_person(source: Path, out: Path, *, left_out: int) -> Path:
    """Lists in `out` of the clips `<class>/<person>_*` of `source`: validation is of persons that training lacks."""
    videos = sorted(path for path in source.glob("*/*") if "_" in path.name)
    persons = sorted({path.name.partition("_")[0] for path in videos})
    if len(persons) < NUM_PERSON_SPLITS:
        raise InputError(f"{source}: received clips of {len(persons)} persons; accepted: {NUM_PERSON_SPLITS} or more")
    validation = set(persons[left_out::NUM_PERSON_SPLITS])
    out.mkdir(parents=True, exist_ok=True)
    for part in ("train", "val"):
        seen = [path for path in videos if (path.name.partition("_")[0] in validation) == (part == "val")]
        for path in seen:
            link = out / part / path.parent.name / path.name
            link.parent.mkdir(parents=True, exist_ok=True)
            if not link.is_symlink():
                link.symlink_to(os.path.relpath(path, link.parent))
    with written_whole(out / "persons_left_out.txt") as draft:
        draft.write_text("".join(f"{person}\n" for person in sorted(validation)))
    return out
