"""What a finished run answers: the probabilities of its evaluation, for any videos, whatever is broken or killed."""

import csv
import itertools
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from safetensors.numpy import load_file

from cli.main import main
from cmpl import evaluation, load_run
from cmpl.config import with_settings
from cmpl.evaluate import predict
from cmpl.predict import predict_videos
from cmpl.prediction import Prediction, uncertain_first
from cmpl.prediction_file import PredictionFile, stamp_of
from cmpl.run import Run
from cmpl.selection import videos_at, videos_of_pool
from cmpl.training.reporter import Reporter
from pipelines.datasets.folder import read_folder
from pipelines.errors import InputError
from pipelines.problems import SHOWN_DAMAGED
from tests.support.videos import make_video, with_gaps


@pytest.fixture(scope="session")
def run(finished) -> Run:
    """The finished run, read once."""
    return load_run(finished)


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["predict", *map(str, arguments)])


def assert_same(rows: list[dict[str, str]], expected: list[dict[str, str]]) -> None:
    """Equal in all but the rounding of numbers."""
    assert [row.keys() for row in rows] == [row.keys() for row in expected]
    for row, other in zip(rows, expected, strict=True):
        for name, text in row.items():
            try:
                assert float(text) == pytest.approx(float(other[name]), abs=1e-5)
            except ValueError:  # no number
                assert text == other[name]


def rows_of(file: Path) -> list[dict[str, str]]:
    with open(file, newline="", encoding="utf-8", errors="surrogateescape") as stream:
        return list(csv.DictReader(stream))


def damage(path: Path) -> None:
    """Spoils a file that was probed."""
    path.write_bytes(bytes(path.stat().st_size))


def test_predictions_are_those_of_the_evaluation(run, finished, monkeypatch):
    """To the last digit, with features beside them or without."""
    seen = []

    def noted(*arguments, **more):
        seen.append(predict(*arguments, **more)[0])
        return seen[-1], {}

    monkeypatch.setattr(evaluation, "predict", noted)
    evaluation.evaluate_run(finished, clips=None, crops=None, reporter=Reporter())
    videos = videos_of_pool(run, "val")
    for with_features in (False, True):
        found = list(predict_videos(run, videos, with_features=with_features))
        for name, expected in seen[0].items():
            assert np.array_equal(np.stack([row.probabilities[name] for row in found]), expected.probabilities)
    head = run.networks["primary"].head
    assert all(row.features.shape == (head.in_features,) for row in found)
    assert len({row.features.tobytes() for row in found}) == len(videos)


def test_the_order_and_the_company_of_videos_change_nothing(run, folder):
    paths = sorted((folder / "val").rglob("*.mp4"))
    together = {row.path: row for row in predict_videos(run, paths)}
    for path in reversed(paths):
        (alone,) = predict_videos(run, [path])
        assert np.array_equal(alone.probabilities["primary"], together[str(path)].probabilities["primary"])


def test_broken_files_keep_their_places(run, folder, tmp_path):
    good = sorted((folder / "val").rglob("*.mp4"))
    broken, text = tmp_path / "broken.mp4", tmp_path / "text.mp4"
    shutil.copy(good[0], broken)
    text.write_text("not a video")
    paths = [text, good[0], broken, tmp_path / "gone.mp4", good[1], broken]
    videos = videos_at(paths)
    damage(broken)
    found = list(predict_videos(run, videos))
    assert [row.path for row in found] == list(map(str, paths[:-1]))  # each once
    assert [bool(row.reason) for row in found] == [True, False, True, True, False]
    assert found[3].reason == "missing"
    assert videos.part(3).names == videos.names[3:]
    assert videos.part(3).reasons() == ["missing", None]


@pytest.mark.parametrize(("number", "workers"), [(1, 0), (40, 0), (1, 2)])
def test_files_that_all_break_while_decoding_are_named_each(run, folder, tmp_path, number, workers):
    """Also where so many in a row break that the loader gives up, and the good one behind them is answered."""
    good = next((folder / "val").rglob("*.mp4"))
    broken = [tmp_path / f"{k}.mp4" for k in range(number)]
    for path in broken:
        shutil.copy(good, path)
    videos = videos_at([*broken, good])
    run = replace(run, config=with_settings(run.config, {"runtime.workers": str(workers)}))
    for path in broken:
        damage(path)
    found = list(predict_videos(run, videos, clips=1, crops=1))
    assert [bool(row.reason) for row in found] == [True] * number + [False]
    (alone,) = predict_videos(run, videos.part(0, 1))
    assert alone.reason
    assert all(row.reason == alone.reason for row in found[:-1])
    assert str(tmp_path) not in alone.reason


def test_a_damaged_video_has_an_answer_and_is_named(finished, tmp_path):
    """The decoder fills the gaps; whoever reads the answer is told."""
    no_b = {"x264-params": "bframes=0:scenecut=0"}
    whole = make_video(tmp_path / "whole.mp4", num_frames=48, gop=48, codec_options=no_b)
    damaged = with_gaps(Path(shutil.copy(whole, tmp_path / "damaged.mp4")), frame=5)
    out = tmp_path / "out.csv"
    result = invoke(finished, damaged, whole, "--out", out)
    first, second = rows_of(out)
    assert result.exit_code == 0
    assert (bool(first["class"]), first["reason"]) == (True, SHOWN_DAMAGED)
    assert (bool(second["class"]), second["reason"]) == (True, "")
    assert f"1 damaged, with gaps filled by the decoder: {damaged}" in result.output
    assert "without an answer" not in result.output


def test_entropy_and_agreement_are_of_both_networks():
    sure, other = np.array([1, 0], dtype=np.float32), np.array([0, 1], dtype=np.float32)
    together = Prediction(path="a", probabilities={"primary": sure, "auxiliary": sure})
    apart = Prediction(path="b", probabilities={"primary": sure, "auxiliary": other})
    assert (together.entropy, together.agreement) == (0.0, True)
    assert (apart.entropy, apart.agreement) == (pytest.approx(np.log(2)), False)
    assert Prediction(path="c", probabilities={"primary": sure}).agreement is None


def test_the_most_uncertain_of_each_class_come_first():
    labels, entropies = [0, 0, 0, 1, 1, 2], [0.9, 0.8, 0.7, 0.2, 0.3, 0.1]
    assert uncertain_first(labels, entropies) == [0, 4, 5, 1, 3, 2]


def test_the_command_names_files_folders_and_lists(finished, folder, tmp_path):
    mine = tmp_path / "list.csv"
    shutil.copy(folder / "val" / "wave" / "wave0.mp4", tmp_path / "a, b.mp4")
    mine.write_text('path,label\n"a, b.mp4",whatever\n')
    out = tmp_path / "p.csv"
    done = invoke(finished, folder / "val" / "clap", mine, folder / "train/clap/notes.mp4", "--out", out, "--json")
    assert done.exit_code == 0, done.output
    rows = rows_of(out)
    clap = [str(path) for path in sorted((folder / "val" / "clap").glob("*.mp4"))]
    assert [row["path"] for row in rows] == [*clap, str(tmp_path / "a, b.mp4"), str(folder / "train/clap/notes.mp4")]
    assert rows[-1]["reason"].startswith("not a video")
    for row in rows[:-1]:
        assert {row["class"], row["class_2"]} == {"clap", "wave"}
        assert float(row["confidence"]) + float(row["confidence_2"]) == pytest.approx(1)
        assert row["agreement"] == ("yes" if row["class"] == row["auxiliary_class"] else "no")
        assert row["reason"] == ""
    listed = json.loads(done.stdout)["predictions"]
    assert [row["path"] for row in listed] == [row["path"] for row in rows]
    assert listed[0]["confidence"] == float(rows[0]["confidence"])
    assert "1 without an answer" in done.stderr


def test_the_pools_are_the_run_s_data(run, folder, tmp_path):
    names = {pool: videos_of_pool(run, pool).names for pool in ("train", "val", "unlabeled")}
    assert len(names["train"]) == 11  # the broken one as well
    assert len(names["val"]) == 4
    assert len(names["unlabeled"]) == 11 - 4
    assert set(names["unlabeled"]) < set(names["train"])
    assert all((folder / name).is_file() for part in names.values() for name in part)
    moved = tmp_path / "moved"
    shutil.copytree(folder, moved)
    (moved / "unlabeled").mkdir()
    (moved / "unlabeled" / "again.mp4").symlink_to(moved / "train" / "wave" / "wave0.mp4")
    shutil.copy(moved / "val" / "wave" / "wave0.mp4", moved / "unlabeled" / "new.mp4")
    assert videos_of_pool(run, "val", data_root=str(moved)).selections[0][0].root == moved.resolve()
    (moved / "labeled.csv").write_text("train/wave/wave0.mp4\ntrain/clap/clap0.mp4\n")
    other = replace(run, config=with_settings(run.config, {"data.labeled": str(moved / "labeled.csv")}))
    found = videos_of_pool(other, "unlabeled", data_root=str(moved))
    assert len(found) == 11 - 2 + 1
    assert found.names[-1] == "unlabeled/new.mp4"


def test_the_file_is_a_list_of_a_data_set(finished, folder, tmp_path):
    """Predict, correct the class of the first rows, leave the others out: a train.csv."""
    mine = tmp_path / "mine"
    shutil.copytree(folder, mine)
    out = mine / "train.csv"
    done = invoke(finished, "--pool", "train", "--data-root", mine, "--sort", "uncertain", "--out", out)
    assert done.exit_code == 0, done.output
    rows = rows_of(out)
    assert rows[-1]["path"] == "train/clap/notes.mp4"
    entropies = [float(row["entropy"]) for row in rows[:-1]]
    assert len({row["class"] for row in rows[:2]}) == len({row["class"] for row in rows[:-1]})
    assert entropies[0] == max(entropies)
    titles, *lines = out.read_text().splitlines(keepends=True)
    corrected = [
        line.replace(f"{row['path']},{row['class']},", f"{row['path']},{name},")
        for line, row, name in zip(lines, rows, ("clap", "wave", "wave"), strict=False)
    ]
    out.write_text(titles + "".join(corrected))
    (mine / "val.csv").write_text("val/clap/clap0.mp4,clap\nval/wave/wave0.mp4,wave\n")
    train = read_folder(mine).train
    assert train.paths == tuple(row["path"] for row in rows[:3])
    assert train.labels.tolist() == [0, 1, 1]


def test_killed_it_goes_on_after_the_rows_written(finished, folder, tmp_path, monkeypatch):
    """Torn in the middle of a row, or of a row's features: the same answers in the end.

    Batches begin elsewhere then, and a convolution of another batch may round otherwise.
    """
    whole, parts = tmp_path / "whole.csv", tmp_path / "parts.csv"
    arguments = [finished, folder / "train", "--out"]
    features = tmp_path / "whole.safetensors", tmp_path / "parts.safetensors"
    assert invoke(*arguments, whole, "--features", features[0]).exit_code == 0
    add = PredictionFile.add
    for number in (3, 4):
        counter = itertools.count()

        def add_some(self, prediction, counter=counter, number=number):
            if next(counter) == number:
                raise KeyboardInterrupt
            add(self, prediction)

        monkeypatch.setattr(PredictionFile, "add", add_some)
        assert invoke(*arguments, parts, "--features", features[1]).exit_code == 130
        assert not parts.exists()
        draft = tmp_path / ("parts.csv.part" if number == 3 else "parts.csv.features.part")
        draft.write_bytes(draft.read_bytes()[:-5])
    monkeypatch.setattr(PredictionFile, "add", add)
    done = invoke(*arguments, parts, "--features", features[1])
    assert "parts.csv.part: 5 of 11 videos are there already" in done.output
    assert_same(rows_of(parts), rows_of(whole))
    values = load_file(features[0])["features"]
    np.testing.assert_allclose(load_file(features[1])["features"], values, rtol=0, atol=1e-5)
    assert values.shape[0] == 11
    assert [bool(np.isnan(row).any()) for row in values] == [bool(row["reason"]) for row in rows_of(whole)]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "parts.csv", "parts.safetensors", "whole.csv", "whole.safetensors",
    ]  # fmt: skip


def test_a_draft_of_other_predictions_is_refused(run, tmp_path):
    out = tmp_path / "p.csv"
    stamp = stamp_of(run, clips=2, crops=1, with_features=False)
    values = np.array([0.5, 0.5], dtype=np.float32)
    with PredictionFile(out, names=["a", "b"], stamp=stamp) as file:
        file.add(Prediction(path="a", probabilities={"primary": values}))
        with pytest.raises(InputError, match="another process writes it; accepted: one"):
            PredictionFile(out, names=["a", "b"], stamp=stamp).__enter__()
    with pytest.raises(InputError, match="other weights or views; accepted"):
        PredictionFile(out, names=["a", "b"], stamp={**stamp, "clips": 3}).__enter__()
    with pytest.raises(InputError, match="other videos; accepted"):
        PredictionFile(out, names=["b", "a"], stamp=stamp).__enter__()
    assert len(file.draft.read_text().splitlines()) == 2
    file.draft.write_bytes(b"\0\0\n")
    with pytest.raises(InputError, match=r"p.csv.part: not what was written .*; accepted: no such file"):
        PredictionFile(out, names=["a", "b"], stamp=stamp).__enter__()


def test_a_file_that_is_there_is_never_overwritten(finished, folder, tmp_path):
    out = tmp_path / "p.csv"
    out.write_text("corrected by hand")
    done = invoke(finished, folder / "val", "--out", out)
    assert (done.exit_code, out.read_text()) == (2, "corrected by hand")
    assert "which is there already; accepted: a name that is free" in done.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "received neither; accepted"),
        (["x.mp4", "--pool", "val"], "received both; accepted"),
        (["nothing-here"], "nothing-here: no such file or folder; accepted"),
    ],
)
def test_what_cannot_be_is_said(finished, tmp_path, arguments, message):
    done = invoke(finished, *arguments, "--out", tmp_path / "p.csv")
    assert done.exit_code == 2
    assert message in done.output


def test_odd_names_survive(run, tmp_path):
    path = make_video(tmp_path / "a.mp4", num_frames=10)
    odd = path.rename(tmp_path / 'ä "x",\n\udce9.mp4')
    stamp = stamp_of(run, clips=1, crops=1, with_features=False)
    with PredictionFile(tmp_path / "p.csv", names=[str(odd)], stamp=stamp) as file:
        for prediction in predict_videos(run, [odd], clips=1, crops=1):
            file.add(prediction)
        file.finish()
    (row,) = rows_of(tmp_path / "p.csv")
    assert row["path"] == str(odd)
    assert videos_at([row["path"]]).reasons() == [None]
