"""The benchmark on real clips, in small: sets, pictures that are held, paired differences, kept figures."""

import json

import pytest
from click.testing import CliRunner

from benchmarks.training import real_clips
from benchmarks.training.real_clip_sets import by_person, ready
from benchmarks.training.real_clip_table import paired
from benchmarks.training.real_clips import Arm, config_of, labels_alone
from cmpl.config import differences
from cmpl.recipes.folder import folder as folder_recipe
from cmpl.recipes.presets import with_preset
from pipelines.datasets.folder import read_folder
from pipelines.errors import InputError

PERSONS = ("ann", "bob", "cem", "dan", "eve")


@pytest.fixture
def by_class(tmp_path):
    """Clips `<class>/<person>_<class>.mp4`; nothing here opens them."""
    for name in ("run", "wave"):
        for person in PERSONS:
            path = tmp_path / "source" / "persons" / name / f"{person}_{name}.mp4"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"")
    return tmp_path / "source"


def test_persons_are_left_out_in_turn(by_class, tmp_path):
    left_out = []
    for subset in range(3):
        made = read_folder(ready("persons", source=by_class, out=tmp_path / "out", subset=subset))
        seen, shown = (
            {path.rsplit("/", 1)[1].partition("_")[0] for path in part.paths} for part in (made.train, made.val)
        )
        assert seen | shown == set(PERSONS)
        assert not seen & shown
        assert made.classes == ("run", "wave")
        left_out += sorted(shown)
    assert sorted(left_out) == sorted(PERSONS), "each once"


def test_what_cannot_be_a_set_is_named(tmp_path):
    with pytest.raises(InputError, match="--data: received .*, which holds no folder ucf5"):
        ready("ucf5", source=tmp_path, out=tmp_path / "out", subset=0)
    (tmp_path / "few" / "run").mkdir(parents=True)
    (tmp_path / "few" / "run" / "ann_run.mp4").write_bytes(b"")
    with pytest.raises(InputError, match="received clips of 1 persons; accepted: 3 or more"):
        by_person(tmp_path / "few", tmp_path / "out", left_out=0)


def row(method: str, top1: float, *, subset: int = 0, dataset: str = "a", recipe: str = "none") -> dict:
    arm = {"dataset": dataset, "labeled": "2", "subset": subset, "recipe": recipe, "method": method}
    return arm | {"primary": {"top1": top1}}


def test_differences_are_those_to_the_labels_alone_on_the_same_videos():
    rows = [row("supervised", 0.5), row("supervised", 0.7, subset=1), row("supervised", 0.2, dataset="b")]
    rows += [row("supervised", 0.9, recipe="other")]
    rows += [row("cmpl", 0.6, recipe="x"), row("cmpl", 0.7, subset=1, recipe="x")]
    rows += [row("cmpl", 0.1, dataset="b", recipe="x"), row("cmpl", 0.9, subset=7, recipe="x")]  # the last has no pair
    found = {entry["where"]: entry for entry in paired(rows, alone=lambda recipe: "none")}
    assert set(found) == {"all", "a 2", "b 2"}
    assert found["a 2"]["difference"] == pytest.approx(0.05)
    assert found["a 2"]["standard_error"] == pytest.approx(0.05)
    assert found["all"]["difference"] == pytest.approx(0)
    assert found["b 2"]["standard_error"] is None
    assert found["a 2"]["each"] == {"a 2 0": 0.1, "a 2 1": 0.0}
    assert (found["a 2"]["supervised"], found["a 2"]["top1"]) == (pytest.approx(0.6), pytest.approx(0.65))


def test_labels_alone_are_one_run_for_the_recipes_that_leave_it_as_it_is(tmp_path):
    of_unlabeled = {"clip.strong_num_ops", "clip.strong_magnitude", "clip.cutout_fraction", "clip.max_offset_seconds"}
    of_unlabeled |= {"method.unlabeled_weight", "method.unlabeled_delay", "batch.unlabeled"}
    for name in real_clips.RECIPES:
        alone, theirs = (
            config_of(Arm("a", "2", 0, recipe, "supervised"), root=tmp_path) for recipe in (labels_alone(name), name)
        )
        assert {line.partition(":")[0] for line in differences(alone, theirs)} <= of_unlabeled


def test_figures_are_kept_and_not_made_again(small_folder, tmp_path, monkeypatch):
    tiny = {
        "optim.steps": "2",
        "evaluation.clips": "1",
        "clip.crop_size": "16",
        "clip.short_side": "16",
        "clip.short_side_jitter": "16,20",
    }
    monkeypatch.setattr(real_clips, "COMMON", real_clips.COMMON | tiny | {"batch.labeled": "2", "batch.unlabeled": "2"})
    json_path = tmp_path / "figures.json"
    words = ["--data", str(small_folder.parent), "--set", small_folder.name, "--subset", "0", "--json", str(json_path)]
    words += ["--runs", str(tmp_path / "runs"), "--recipe", "first", "--method", "supervised", "--method", "cmpl"]
    first = CliRunner().invoke(real_clips.main, words, catch_exceptions=False)
    assert first.exit_code == 0
    record = json.loads(json_path.read_text())
    assert [(made["recipe"], made["method"]) for made in record["rows"]] == [("none", "supervised"), ("first", "cmpl")]
    assert {entry["where"] for entry in record["paired"]} == {"all", f"{small_folder.name} 2"}
    monkeypatch.setattr(real_clips, "run_one", None)
    again = CliRunner().invoke(real_clips.main, words, catch_exceptions=False)
    assert again.output.splitlines() == first.output.splitlines()[2:]


def test_the_preset_is_the_recipe_that_was_measured(tmp_path):
    preset = with_preset(folder_recipe("2"), "cpu")
    measured = config_of(Arm("a", "2", 0, real_clips.CHOSEN, "cmpl"), root=tmp_path)
    assert differences(preset, measured) == []
