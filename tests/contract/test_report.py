"""A real run's report and kept evaluations, by the commands that users give."""

import csv
import json
import shutil

import pytest
from click.testing import CliRunner

from cli.main import main
from cmpl.report.values import values_of


def call(*words: object):
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.fixture
def run(finished, tmp_path):
    """A copy of the finished run, without what other tests had evaluated of it."""
    return shutil.copytree(finished, tmp_path / "run", ignore=shutil.ignore_patterns("evaluations"))


def rows_of(file) -> list[dict]:
    with open(file, newline="") as stream:
        return list(csv.DictReader(stream))


def test_what_was_found_of_each_video_is_kept_and_is_the_result(finished):
    result = json.loads((finished / "result.json").read_text())
    rows = rows_of(finished / "evaluation.csv")
    assert len(rows) == result["num_evaluated"]
    for network, column in (("primary", "class"), ("auxiliary", "auxiliary_class")):
        assert sum(row["truth"] == row[column] for row in rows) / len(rows) == result[network]["top1"]


def test_answers_to_the_unlabeled_videos_are_kept(finished):
    run = values_of(finished)
    assert run.answers
    assert run.answers[-1].span.last_step == run.num_steps
    assert run.answers[-1].videos.max() < len(run.truth)
    assert set(run.truth.tolist()) == {0, 1}  # a folder a class: known, and used for figures alone


def test_eval_keeps_what_it_found_by_views_and_stride(run):
    for stride in (1, 8):
        done = call("eval", run, "--clips", 1, "--crops", 1, "--clip-stride", stride, "--device", "cpu", "--json")
        assert done.exit_code == 0, done.output
        assert json.loads(done.stdout)["clip_stride"] == stride
    kept = {path.name for path in (run / "evaluations").iterdir()}
    assert kept == {f"step-00000014-1x1{text}.{kind}" for text in ("", "-stride-8") for kind in ("csv", "json")}
    plain, still = (rows_of(run / "evaluations" / f"step-00000014-1x1{text}.csv") for text in ("", "-stride-8"))
    assert [row["path"] for row in plain] == [row["path"] for row in still]
    assert [row["confidence"] for row in plain] != [row["confidence"] for row in still]
    assert [result["clip_stride"] for result in values_of(run).evaluations] == [1, 8]


def test_eval_in_a_folder_that_cannot_be_written_still_answers(run):
    (run / "evaluations").write_text("in the way")
    done = call("eval", run, "--clips", 1, "--crops", 1, "--device", "cpu")
    assert done.exit_code == 0, done.output
    assert "not kept" in done.output
    assert f"cmpl predict {run} FOLDER" in done.output
    assert f"cmpl report {run}" in done.output


def test_a_report_of_a_real_run_shows_its_videos(run, tmp_path):
    out = tmp_path / "report.html"
    done = call("report", run, "--out", out, "--pictures", tmp_path / "pictures", "--videos", 2)
    assert done.exit_code == 0, done.output
    strips = sorted(path.name for path in (tmp_path / "pictures").glob("*.jpg"))
    assert "run-uncertain-1.jpg" in strips
    page = out.read_text()
    assert page.count("data:image/jpeg") == len(strips)
    assert "notes.mp4" in page  # set aside
    assert "Videos cannot be shown" not in page


def test_a_report_without_the_data_says_so(run, tmp_path):
    out = tmp_path / "report.html"
    done = call("report", run, "--out", out, "--data-root", tmp_path / "gone")
    assert done.exit_code == 0, done.output
    assert "Videos cannot be shown" in out.read_text()


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (("figure", 2, "RUN"), "no run of method fixmatch; accepted: at least one"),
        (("figure", 2, "RUN", "--demo"), "RUN and --demo: received both; accepted: one of them"),
        (("figure", 2, "--steps", 5), "--steps: received 5 without --demo; accepted: with it"),
        (("figure", 2), "RUNS: received none; accepted"),
        (("report", "nowhere"), "nowhere: no run is there; accepted"),
    ],
)
def test_what_cannot_be_is_told_in_a_line(finished, words, match):
    done = call(*[finished if word == "RUN" else word for word in words])
    assert done.exit_code == 2
    assert match in done.output
    assert "Traceback" not in done.output


@pytest.mark.slow
@pytest.mark.parametrize("number", [1, 2, 4, 5, 6, 7])
def test_a_figure_is_trained_and_drawn_on_the_demo(number, tmp_path_factory, monkeypatch):
    """In one folder: figures share their runs."""
    monkeypatch.chdir(tmp_path_factory.getbasetemp())
    done = call("figure", number, "--demo", "--steps", 60, "--out", f"figure{number}.png")
    assert done.exit_code == 0, done.output
    assert (tmp_path_factory.getbasetemp() / f"figure{number}.png").read_bytes().startswith(b"\x89PNG")
