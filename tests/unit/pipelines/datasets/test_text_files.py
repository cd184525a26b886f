"""text_files.py: how long a list may be, whatever its form."""

import tracemalloc

import pytest

from pipelines.datasets.annotations import ReadOptions
from pipelines.datasets.csv_lists import read_csv_list
from pipelines.datasets.registry import read_dataset
from pipelines.datasets.text_files import BLOCK_BYTES, MAX_LINES
from pipelines.errors import InputError

LONG = {
    "train.csv": ("folder", "path,label\n" + "a.mp4,walk\n" * 50),
    "train.txt": ("lists", "a.mp4 0\n" * 50),
    "train.json": ("folder", "[" + ",".join(['{"video": "a.mp4", "choice": "walk"}'] * 50) + "]"),
    "train.xml": ("folder", "<annotations>" + '<image name="a.mp4"/>' * 50 + "</annotations>"),
    "trainlist01.txt": ("ucf101", "Run/a.avi 1\n" * 50),
    "classInd.txt": ("ucf101", "1 Run\n" * 50),
}


@pytest.mark.parametrize("name", LONG)
def test_every_form_of_a_list_has_a_greatest_length(tmp_path, monkeypatch, name):
    for module in ("text_files", "exports"):
        monkeypatch.setattr(f"pipelines.datasets.{module}.MAX_LINES", 40)
    family, text = LONG[name]
    (tmp_path / "UCF-101" / "Run").mkdir(parents=True)
    others = {"val.csv": "v.mp4,walk\n", "classInd.txt": "1 Run\n", "trainlist01.txt": "Run/a.avi 1\n"}
    (tmp_path / "UCF-101" / "Run" / "a.avi").touch()
    for other, content in (others | {name: text}).items():
        (tmp_path / other).write_text(content)
    with pytest.raises(InputError, match=f"{name}: received more than 40 (lines|videos); accepted: at most so many"):
        read_dataset(family, tmp_path, ReadOptions(max_missing_share=1.0))


def test_a_list_that_is_refused_costs_no_memory(tmp_path):
    """Ten lines too many, and a line without an end: neither is held as a whole."""
    file = tmp_path / "train.csv"
    for content, match in (
        (b"\n" * (MAX_LINES + 10), f"received more than {MAX_LINES} lines"),
        (b"a" * (8 * BLOCK_BYTES), f"line 1: received more than {BLOCK_BYTES} bytes"),
    ):
        file.write_bytes(content)
        tracemalloc.start()
        with pytest.raises(InputError, match=match):
            read_csv_list(file)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 3 * BLOCK_BYTES
