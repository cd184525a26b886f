"""The report: what it shows, what it says is missing, and that names from outside are never markup."""

import html.parser
import importlib.util
import re
import shutil

import av
import numpy as np
import pytest

from cmpl.config import Config, with_settings
from cmpl.evaluation_file import read_evaluation
from cmpl.recipes.registry import row_config
from cmpl.report import charts
from cmpl.report.about import about, short_name
from cmpl.report.drawing import MOST_LETTERS, label
from cmpl.report.markup import prose, table, text
from cmpl.report.paper import printed_for
from cmpl.report.report import write_report
from cmpl.report.strips import confident_mistakes, jpeg, most_uncertain
from cmpl.report.values import runs_at, values_of
from cmpl.training.run_directory import RunDirectory
from pipelines.errors import InputError
from tests.support.made_runs import CLASSES, evaluated, made_run

METRICS = [
    {
        "step": 20,
        "loss": 2.0,
        "loss_supervised_primary": 1.5,
        "loss_unsupervised_primary": 0.2,
        "pseudo_share_primary": 0.3,
    },
    {
        "step": 40,
        "loss": 1.0,
        "loss_supervised_primary": 0.5,
        "pseudo_correct_primary": 0.9,
        "pseudo_share_primary": 0.5,
    },
    {"step": 40, "val_top1": 0.75},
]
BOTH = {"primary": (1.0, 0.5, 0.5, 0.0), "auxiliary": (0.5, 0.5, 0.5, 0.5)}
NAMED = [0, 0, 1, 2, 2, 3, 0, 1]  # of two videos a class
HOSTILE = ('<script>alert("1")</script>', "$x^{2$ & 'b'", "tab\there\x1b[2J", "走る" * 30)


class Page(html.parser.HTMLParser):
    """Tags, attributes and text of a page."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.words = ""
        self.open: list[str] = []
        self.feed(source)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href") and value]
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words += data


def report(tmp_path, *runs, **options) -> Page:
    out = tmp_path / "report.html"
    write_report(runs, out=out, **options)
    page = Page(out.read_text())
    assert not page.open, "every tag is closed"
    return page


@pytest.fixture
def run(tmp_path):
    made_run(tmp_path / "one", per_class=BOTH, metrics=METRICS)
    evaluated(tmp_path / "one", NAMED, auxiliary=NAMED[::-1])
    return tmp_path / "one"


def test_a_page_shows_what_the_run_has_and_loads_nothing(tmp_path, run):
    page = report(tmp_path, run, pictures=tmp_path / "pictures")
    for wanted in ("one", "Course of training", "Most frequent mistakes", "Most confident mistakes", "finished"):
        assert wanted in page.words
    assert "Not in this report" not in page.words
    assert "50.0%" in page.words  # top-1
    assert "Videos cannot be shown" in page.words  # no such data set is here
    assert page.links
    assert all(link.startswith(("data:image/", "#")) for link in page.links)
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    assert page.tags.count("style") == 1
    names = {path.name for path in (tmp_path / "pictures").iterdir()}
    kinds = ("loss", "pseudo-labels", "validation", "classes", "confusion")
    assert names == {f"one-{kind}.{suffix}" for kind in kinds for suffix in ("svg", "png")}


def test_a_killed_run_says_what_is_missing(tmp_path):
    made_run(tmp_path / "killed", metrics=METRICS[:1])
    page = report(tmp_path, tmp_path / "killed")
    assert "not finished: stands at 20 of 40 steps" in page.words
    assert "result: the run is not finished; cmpl eval evaluates its last checkpoint" in page.words
    assert "curve of validation: none was made" in page.words
    assert page.tags.count("img") == 2  # loss, pseudo-labels


def test_a_run_that_has_nothing_yet_is_no_error(tmp_path):
    made_run(tmp_path / "new")
    assert "curves: metrics.jsonl has no line yet" in report(tmp_path, tmp_path / "new").words


def test_a_run_of_one_network_without_single_videos(tmp_path):
    made_run(tmp_path / "old", method="supervised", per_class={"primary": (1, 0, 1, 0)}, metrics=METRICS[:1])
    page = report(tmp_path, tmp_path / "old")
    assert "confusion matrix and single videos: an older version kept none" in page.words
    assert "auxiliary" not in page.words.split("Course")[1]


def test_damaged_files_are_named_and_no_error(tmp_path, run):
    (run / "evaluation.csv").write_text("path,truth\nx,y\n")
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"step": 60, "lo')
    values = values_of(run)
    assert re.search(r"answers to each video: .*evaluation.csv: not what was written", "".join(values.missing))
    assert [line["step"] for line in values.metrics] == [20, 40, 40]


def test_names_from_outside_are_text(tmp_path):
    names = HOSTILE
    path = made_run(tmp_path / "a <b> & c", per_class=BOTH, metrics=METRICS, classes=names)
    evaluated(path, NAMED)
    RunDirectory(path).note_problems({"/videos/<img src=x onerror=alert(1)>.mp4": 'not a "video"'}, at_once=True)
    page = report(tmp_path, path, pictures=tmp_path / "pictures")
    assert "script" not in page.tags
    assert '<script>alert("1")</script>' in page.words
    assert "/videos/<img src=x onerror=alert(1)>.mp4" in page.words
    assert "\x1b" not in page.words
    assert page.tags.count("img") == 5
    drawn = (tmp_path / "pictures" / "a_b_c-classes.svg").read_bytes()
    assert b"<script" not in drawn


def test_two_runs_of_one_name_are_told_apart(tmp_path):
    for folder in ("a", "b"):
        made_run(tmp_path / folder / "run")
    page = report(tmp_path, tmp_path / "a" / "run", tmp_path / "b" / "run", tmp_path / "a" / "run")
    assert "2 runs" in page.words
    assert str(tmp_path / "b" / "run") in page.words
    source = (tmp_path / "report.html").read_text()
    assert set(re.findall(r'href="#([^"]+)"', source)) == set(re.findall(r'<section id="([^"]+)"', source))


def test_many_classes_do_not_make_an_endless_chart(tmp_path):
    classes = tuple(f"class {k:03d}" for k in range(90))
    path = made_run(tmp_path / "many", per_class={"primary": np.linspace(0, 1, 90)}, classes=classes)
    evaluated(path, [k // 2 for k in range(180)])
    run = values_of(path)
    assert confident_mistakes(run.videos, number=3) == []
    axes = charts.class_bars({"primary": run.result["primary"]["per_class"]}).axes[0]
    assert len(axes.get_yticklabels()) == charts.MOST_BARS
    assert axes.get_yticklabels()[0].get_text() == "class 089"


def test_confusion_by_hand():
    counts = charts.confusion_of(["a", "a", "b", "c", "c"], ["a", "b", "b", "a", "a"], ["a", "b", "c"])
    assert counts.tolist() == [[1, 1, 0], [0, 1, 0], [2, 0, 0]]
    assert charts.most_confused(counts, ["a", "b", "c"], number=5) == [("c", "a", 2, 2), ("a", "b", 1, 2)]
    assert charts.most_confused(counts, ["a", "b", "c"], number=1) == [("c", "a", 2, 2)]


def test_single_videos_are_the_surest_mistakes_and_the_least_sure(run):
    videos = read_evaluation(run / "evaluation.csv")
    assert [video.truth for video in videos] == [name for name in CLASSES for _ in range(2)]
    assert [CLASSES.index(video.named) for video in videos] == NAMED
    wrong = confident_mistakes(videos, number=2)
    assert wrong == [video for video in videos if video.named != video.truth][:2]  # they come in order of confidence
    unsure = most_uncertain(videos, number=3)
    assert [video.entropy for video in unsure] == sorted((video.entropy for video in videos), reverse=True)[:3]


def test_a_jpeg_is_a_picture_that_others_read(tmp_path):
    picture = np.zeros((33, 51, 3), dtype=np.uint8)
    picture[:, 25:] = (250, 120, 10)
    (tmp_path / "a.jpg").write_bytes(jpeg(picture))
    with av.open(str(tmp_path / "a.jpg")) as file:
        shown = next(file.decode(video=0)).to_ndarray(format="rgb24")[:33, :51]
    assert np.abs(shown.astype(int) - picture).mean() < 6


def test_curves_of_long_runs_are_means_of_neighbors():
    steps, values = charts.thinned(np.arange(1, 4001), np.arange(4000) % 2.0)
    assert len(steps) == charts.MOST_POINTS
    assert (values == 0.5).all()
    assert steps[-1] == 4000


def test_a_run_is_set_beside_its_row_of_the_paper():
    beside = printed_for(row_config("table2-temporal-loc"))
    assert (beside.recipe, beside.top1, beside.is_of_run) == ("table2-temporal-loc", 13.71, True)
    on_demo = printed_for(row_config("table2-fixmatch", dataset="demo"))
    assert (on_demo.top1, on_demo.data, on_demo.is_of_run, on_demo.changed) == (6.78, ("k400", "1pct"), False, ())
    other = with_settings(row_config("table2-temporal-loc"), {"method.threshold": "0.5"})
    assert printed_for(other).changed == ("method.threshold",)
    assert printed_for(with_settings(Config(), {"data.dataset": "folder"})) is None


def test_the_facts_of_a_run_in_words(tmp_path):
    shapes = {"clip.primary": "4x16", "clip.crop_size": "28", "clip.short_side": "32", "primary.depth": "10"}
    run = made_run(tmp_path / "run", metrics=METRICS, **shapes, **{"clip.short_side_jitter": "32,40"})
    facts = dict(about(values_of(run)))
    assert facts["primary"] == "3D-ResNet10 x1/4, clips 4x16, 28 pixels, 0.509 M parameters"
    assert facts["state"] == "not finished: stands at 40 of 40 steps"
    assert facts["videos"] == "4 labeled, 12 unlabeled, 8 validation"
    assert facts["length"] == "40 of 40 steps; passes over the unlabeled videos: 10"
    assert short_name(row_config("table1-cmpl-r50").auxiliary) == "3D-ResNet50 x1/4"


def test_texts():
    assert text('<a href="x">') == "&lt;a href=&quot;x&quot;&gt;"
    assert prose("try `cmpl <eval>`") == "try <code>cmpl &lt;eval&gt;</code>"
    assert "<td>&lt;b&gt;</td>" in table(["a"], [["<b>"]], name="x")
    assert label("a" * 99) == "a" * 14 + "…" + "a" * 13
    assert len(label("b" * 99)) == MOST_LETTERS
    assert label("走" * 99) == "走" * 7 + "…" + "走" * 6  # twice as wide


@pytest.mark.parametrize("command", ["report", "figure"])
def test_without_matplotlib_the_extra_is_named(tmp_path, run, command, monkeypatch):
    from cmpl.report.figures import draw_figure

    written = {
        "report": lambda: write_report([run], out=tmp_path / "report.html"),
        "figure": lambda: draw_figure(1, [run], out=tmp_path / "figure.png"),
    }
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "matplotlib" else found(name))
    with pytest.raises(
        InputError, match=rf"cmpl {command}: .*matplotlib is not installed.*pip install 'cmpl\[plots\]'"
    ):
        written[command]()


def test_where_there_is_nothing(tmp_path):
    with pytest.raises(InputError, match="RUNS: received none; accepted: folders of runs"):
        runs_at([])
    with pytest.raises(InputError, match="no run is there"):
        write_report([tmp_path], out=tmp_path / "report.html")
    made_run(tmp_path / "one")
    with pytest.raises(InputError, match="--out: received .*in a folder that does not exist"):
        write_report([tmp_path / "one"], out=tmp_path / "no" / "report.html")


def test_subsets_are_runs_of_their_own(tmp_path, run):
    for k in range(2):
        shutil.copytree(run, tmp_path / "study" / f"subset-{k}")
    (tmp_path / "study" / "subsets.json").write_text("{}")
    assert [found.name for found in runs_at([tmp_path / "study"])] == ["subset-0", "subset-1"]
