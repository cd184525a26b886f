"""--dry-run: says what a training would do, and does nothing."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.main import main
from cmpl.config import flattened, with_settings
from cmpl.dry_run import DryRun, dry_run
from cmpl.training.reporter import Reporter
from pipelines.errors import InputError
from tests.support.runs import NUM_STEPS, Heard, config_of


def files_below(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


@pytest.fixture(scope="module")
def tried(folder, tmp_path_factory) -> tuple[DryRun, Path]:
    place = tmp_path_factory.mktemp("dry")
    return dry_run(config_of(folder), path=place / "run", reporter=Reporter()), place


def test_nothing_is_written(tried):
    _, place = tried
    assert files_below(place) == set()


def test_counts_are_those_of_training(tried, folder):
    found, _ = tried
    assert found.data == {
        "classes": 2,
        "labeled": 4,
        "labeled_a_class": [2, 2],
        "unlabeled": 10,
        "validation": 4,
        "set_aside": 1,
    }
    assert (found.steps["total"], found.steps["left"], found.state) == (NUM_STEPS, NUM_STEPS, "new")
    assert found.steps["epochs"] == pytest.approx(NUM_STEPS * 3 / 10)
    assert found.config == flattened(config_of(folder))
    assert {"data.root", "method.threshold"} <= set(found.changed)
    assert "seed" not in found.changed


def test_time_and_memory_are_measured_by_real_steps(tried):
    found, _ = tried
    assert found.time is not None
    assert found.time["steps_tried"] >= 1
    assert found.time["seconds_left"] == pytest.approx(NUM_STEPS * found.time["seconds_a_step"])
    assert found.memory_gib["peak"] is not None
    assert 0 < found.memory_gib["estimated"] < found.memory_gib["free"]
    text = "\n".join(found.lines())
    assert "trial steps of" in text
    assert "decoding: all videos by the trainer's own process, with FFmpeg" in text


def test_the_steps_that_are_timed_have_their_unlabeled_videos(folder, tmp_path, monkeypatch):
    begun_at = []

    def timed(trainer, loader, *, num_steps):
        begun_at.append((trainer.step, next(loader).unlabeled is not None))
        return 1.0, 0.0

    monkeypatch.setattr("cmpl.dry_run.timed_steps", timed)
    config = with_settings(config_of(folder), {"method.unlabeled_delay": "0.5"})
    dry_run(config, path=tmp_path / "run", reporter=Reporter())
    assert begun_at[0] == (NUM_STEPS // 2, True)


def test_a_finished_is_not_tried(finished, folder):
    before = files_below(finished)
    found = dry_run(config_of(folder), path=finished, reporter=Reporter())
    assert (found.state, found.time, found.steps["left"]) == ("finished", None, 0)
    assert files_below(finished) == before


def test_what_training_would_refuse_is_refused(folder, tmp_path):
    (tmp_path / "notes.txt").touch()
    with pytest.raises(InputError, match="not empty and not a run"):
        dry_run(config_of(folder), path=tmp_path, reporter=Reporter())


def test_the_command(small_folder, tmp_path):
    from tests.support.commands import small

    words = ["train", *small(small_folder), "--steps", "2", "--workers", "0", "--out", str(tmp_path / "run")]
    shown = CliRunner().invoke(main, [*words, "--dry-run"])
    assert shown.exit_code == 0, shown.output
    assert "* clip.primary=" in shown.stdout
    assert "Nothing was trained or written." in shown.stdout
    assert not (tmp_path / "run").exists()
    refused = CliRunner().invoke(main, [*words, "--dry-run", "--autotune"])
    assert "--dry-run: received it with --autotune; accepted: one run" in refused.output


def test_its_json_is_whole(tried):
    from dataclasses import asdict

    assert json.loads(json.dumps(asdict(tried[0])))["steps"]["total"] == NUM_STEPS


@pytest.mark.parametrize("why", ["", "memory: short"])
def test_pictures_are_kept_where_memory_is_left_for_them(folder, tmp_path, monkeypatch, why):
    monkeypatch.setattr("cmpl.ready.no_room_for_pictures", lambda *_, **__: why)
    heard = Heard()
    found = dry_run(config_of(folder), path=tmp_path / "run", reporter=heard, with_trial=False)
    kept = [note for note in heard.notes if note.startswith("each worker decodes a video once")]
    assert (len(kept), f"{why}: each clip is decoded anew" in heard.notes) == ((0, True) if why else (1, False))
    assert found.config["runtime.held_mib"] == 256  # as it was asked for: another machine may have the room
