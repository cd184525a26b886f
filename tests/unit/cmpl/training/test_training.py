"""Parts of the trainer alone: learning rate, weight decay, checkpoints, metrics, the run's folder."""

import json
import math
import os
import re

import pytest
import torch
from torch import nn

from cmpl.build import engine_of
from cmpl.config import Config, RuntimeConfig, to_json, with_settings
from cmpl.recipes.demo import demo
from cmpl.recipes.folder import folder as folder_recipe
from cmpl.recipes.presets import with_preset
from cmpl.recipes.registry import base_of, row_config
from cmpl.training import checkpoint as ckpt
from cmpl.training import runtime
from cmpl.training.course import Course, Schedule
from cmpl.training.identity import Identity, Row
from cmpl.training.loop import step_seed
from cmpl.training.metrics import MetricsLog, TermSums
from cmpl.training.optim import learning_rate, sgd
from cmpl.training.plan import peak_learning_rate, steps_of, videos_per_step
from cmpl.training.run_directory import RunDirectory, RunFacts, default_run_path, newest_run
from cmpl.training.runtime import settle
from pipelines.errors import InputError

PAPER_SGD = {"lr": 0.1, "momentum": 0.9, "nesterov": False, "weight_decay": 1e-4}


FACTS = RunFacts(
    identity=Identity(classes=("a", "b")),
    course=Course(videos_per_step=(2, 3), schedules=(Schedule(first_step=0, last_step=9),), split=2),
)
MANY = ("max_offset_seconds", "start_multiple", "strong_num_ops", "strong_magnitude")


def small_network() -> nn.Module:
    return nn.Sequential(nn.Conv3d(3, 4, 1), nn.BatchNorm3d(4), nn.Flatten(), nn.Linear(4, 2))


def test_cosine_and_warmup():
    rates = [learning_rate(step, num_steps=100, lr=0.1, warmup=0.1) for step in range(100)]
    assert rates[:10] == pytest.approx([0.05 * (1 + math.cos(math.pi * s / 100)) * (s + 1) / 10 for s in range(10)])
    assert rates[50] == pytest.approx(0.05)
    assert rates[99] < 1e-4
    assert learning_rate(0, num_steps=100, lr=0.1, warmup=0.0) == pytest.approx(0.1)


def test_batch_norm_is_not_decayed():
    """A step without gradients but with weight decay moves everything except BatchNorm."""
    network = small_network()
    nn.init.ones_(network[1].weight)
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    optimizer = sgd(network, **PAPER_SGD | {"lr": 0.5, "weight_decay": 0.1})
    for p in network.parameters():
        p.grad = torch.zeros_like(p)
    optimizer.step()
    moved = {name for name, p in network.named_parameters() if not torch.equal(p, before[name])}
    assert moved == {"0.weight", "0.bias", "3.weight", "3.bias"}


def test_an_epoch_counts_the_unlabeled_videos():
    """FACTS of the paper: 200 epochs of 240,000 videos at 160 unlabeled a step are 300,000 steps."""
    config = Config()
    assert steps_of(config, num_unlabeled_videos=240_000, num_ranks=16) == 300_000
    assert steps_of(with_settings(config, {"batch.accumulate": "16"}), num_unlabeled_videos=240_000, num_ranks=1) == (
        300_000
    )
    assert steps_of(with_settings(config, {"optim.steps": "7"}), num_unlabeled_videos=9, num_ranks=2) == 7


def test_the_learning_rate_is_scaled_only_when_asked():
    config = Config()
    assert peak_learning_rate(config, num_videos_per_step=12) == 0.1
    scaled = with_settings(config, {"optim.scale_lr": "true"})
    assert peak_learning_rate(scaled, num_videos_per_step=192) == pytest.approx(0.1)
    assert peak_learning_rate(scaled, num_videos_per_step=48) == pytest.approx(0.025)


def test_the_effective_batch_is_what_is_learned_from():
    config = with_settings(Config(), {"batch.accumulate": "4"})
    assert videos_per_step(config, num_ranks=4, uses_unlabeled=True) == 192
    assert videos_per_step(config, num_ranks=4, uses_unlabeled=False) == 32


def test_step_seeds_do_not_repeat():
    seeds = {step_seed(s, number) for s in range(3) for number in range(4000)}
    assert len(seeds) == 3 * 4000


def checkpoint_of(network: nn.Module, step: int, **state: int | None) -> ckpt.Checkpoint:
    return ckpt.Checkpoint(step=step, state=state, model=ckpt.module_tensors(network), optimizer={}, ema={})


def test_checkpoints_keep_the_last_two_and_the_best(tmp_path):
    network = small_network()
    for step in (1, 2, 3, 4, 5):
        ckpt.save_checkpoint(tmp_path, checkpoint_of(network, step, best_step=2 if step >= 2 else None))
    assert [path.name[-1] for path in ckpt.checkpoints(tmp_path)] == ["2", "4", "5"]
    assert ckpt.best_checkpoint(tmp_path).name.endswith("2")


def test_a_checkpoint_gives_back_what_it_took(tmp_path):
    network, other = small_network(), small_network()
    optimizer = sgd(network, **PAPER_SGD)
    network(torch.randn(2, 3, 1, 1, 1)).sum().backward()
    optimizer.step()
    saved = ckpt.Checkpoint(
        step=3,
        state={},
        model=ckpt.module_tensors(network),
        optimizer=ckpt.momentum_tensors(network, optimizer),
        ema={},
    )
    loaded = ckpt.load_checkpoint(ckpt.save_checkpoint(tmp_path, saved))
    ckpt.load_into(other, loaded.model, source="here")
    other_optimizer = sgd(other, **PAPER_SGD)
    ckpt.load_momentum(other, other_optimizer, loaded.optimizer)
    for name, value in ckpt.module_tensors(network).items():
        assert torch.equal(value, ckpt.module_tensors(other)[name])
    again = ckpt.momentum_tensors(other, other_optimizer)
    assert again.keys() == saved.optimizer.keys()
    assert all(torch.equal(again[name], value) for name, value in saved.optimizer.items())


@pytest.mark.parametrize("damage", ["truncate", "flip", "remove", "state", "another step", "list", "not finite"])
def test_a_damaged_checkpoint_is_passed_over(tmp_path, damage):
    network = small_network()
    for step in (1, 2):
        ckpt.save_checkpoint(tmp_path, checkpoint_of(network, step))
    newest = ckpt.checkpoints(tmp_path)[-1]
    file = newest / "model.safetensors"
    content = file.read_bytes()
    if damage == "truncate":
        file.write_bytes(content[:-10])
    elif damage == "flip":
        file.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif damage == "remove":
        file.unlink()
    elif damage == "another step":
        state = newest / "state.json"
        state.write_text(state.read_text().replace('"step": 2', '"step": 1'))
    elif damage == "not finite":
        network[3].bias.data[0] = math.inf
        ckpt.save_checkpoint(tmp_path, checkpoint_of(network, 2))
    else:
        (newest / "state.json").write_text("{" if damage == "state" else "[]")
    found, complaints = ckpt.last_good_checkpoint(tmp_path)
    assert found.step == 1
    assert len(complaints) == 1
    assert "step-00000002" in complaints[0]
    assert ckpt.chosen_checkpoint(tmp_path, "last")[0].name == "step-00000001"


def test_broken_checkpoints_are_set_aside_and_take_no_good_one_s_place(tmp_path):
    """Two broken ones of later steps, and a plain file named like one: the next two are kept."""
    network = small_network()
    for step in (27, 30):
        ckpt.save_checkpoint(tmp_path, checkpoint_of(network, step))
        (tmp_path / f"step-{step:08d}" / "state.json").write_text("[]")
    (tmp_path / "step-99999999").write_text("no folder")
    found, complaints = ckpt.last_good_checkpoint(tmp_path)
    assert (found, len(complaints)) == (None, 2)
    ckpt.set_broken_aside(tmp_path, after_step=-1)
    for step in (3, 6, 9):
        ckpt.save_checkpoint(tmp_path, checkpoint_of(network, step))
    assert [path.name[-2:] for path in ckpt.checkpoints(tmp_path)] == ["06", "09"]
    assert (tmp_path / "broken-step-00000030").is_dir()


def test_a_killed_writer_leaves_nothing_that_counts(tmp_path):
    draft = tmp_path / f".step-00000009.{os.getpid()}"
    draft.mkdir(parents=True)
    (draft / "model.safetensors").write_bytes(b"half")
    assert ckpt.last_good_checkpoint(tmp_path) == (None, [])
    ckpt.save_checkpoint(tmp_path, checkpoint_of(small_network(), 1))
    assert not draft.exists()


def test_weights_of_another_network_are_named(tmp_path):
    tensors = ckpt.module_tensors(small_network())
    tensors["3.weight"] = torch.zeros(7, 4)
    with pytest.raises(InputError, match=r"3.weight has shape \(7, 4\); accepted: \(2, 4\)"):
        ckpt.load_into(small_network(), tensors, source="here")
    del tensors["3.weight"]
    with pytest.raises(InputError, match=r"here: 3.weight is missing"):
        ckpt.load_into(small_network(), tensors, source="here")


def test_term_sums_are_means_of_what_was_there():
    sums = TermSums()
    sums.add({"a": torch.tensor(1.0)})
    sums.add({"a": torch.tensor(3.0), "b": torch.tensor(5.0)})
    assert sums.means() == {"a": 2.0, "b": 5.0}
    assert sums.means() == {}


def test_metrics_written_after_the_checkpoint_are_dropped(tmp_path):
    log = MetricsLog(tmp_path, first_step=0)
    for step in (1, 2, 3):
        log.write(step, {"loss": float(step)})
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"step": 4, "lo')  # cut off by a kill
    MetricsLog(tmp_path, first_step=2).write(3, {"loss": 30.0})
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert lines == [{"step": 1, "loss": 1.0}, {"step": 2, "loss": 2.0}, {"step": 3, "loss": 30.0}]


def test_another_configuration_in_the_same_folder_is_shown(tmp_path):
    run = RunDirectory(tmp_path / "run")
    run.claim(with_settings(demo(), {"optim.lr": "7"}))
    run.claim(demo())  # nothing was learned before
    (run.path / "metrics.jsonl").write_text('{"step": 20}')
    run.claim(with_settings(demo(), {"runtime.workers": "3"}))  # changes no number
    with pytest.raises(InputError, match="optim.lr: 0.05 there, 0.2 now"):
        run.claim(with_settings(demo(), {"optim.lr": "0.2"}))
    assert run.config() == demo()


STARTS = [(), ("checkpoints",), ("run.json",), ("videos.jsonl.gz", "run.json"), (".config.json.17.part", ".lock")]


@pytest.mark.parametrize("left", [*STARTS, ("config.json", "run.json"), ("config.json", "metrics.jsonl")])
def test_a_folder_that_a_killed_start_left_is_taken_over(tmp_path, left):
    """Nothing was learned in it: also by another configuration."""
    run = RunDirectory(tmp_path / "run")
    for name in left:
        if name == "checkpoints":
            run.checkpoints.mkdir(parents=True)
        else:
            run.path.mkdir(exist_ok=True)
            (run.path / name).write_text(json.dumps(to_json(demo())) if name == "config.json" else "")
    other = with_settings(demo(), {"optim.lr": "0.2"})
    with run.locked():
        run.claim(other, FACTS, {"labeled": [Row("a.mp4", 7, 0)], "unlabeled": [], "validation": []})
    assert run.config() == other
    assert run.facts() == FACTS
    assert run.listing()["labeled"] == [Row("a.mp4", 7, 0)]


def test_what_comes_to_nothing_leaves_no_folder(tmp_path):
    run = RunDirectory(tmp_path / "new" / "run")
    with run.locked():
        run.claim(demo(), FACTS, {})
        MetricsLog(run.path, first_step=0)
        run.abandon()
    assert not (tmp_path / "new").exists()


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="--out: received .*file, a file; accepted: a folder"):
        RunDirectory(tmp_path / "file").check(demo())
    with (
        pytest.raises(InputError, match=r"cannot be written \(Not a directory\)"),
        RunDirectory(tmp_path / "file" / "run").locked(),
    ):
        pass


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(InputError, match="not empty and not a run"):
        RunDirectory(tmp_path).claim(demo())


def test_newest_run(tmp_path):
    with pytest.raises(InputError, match="holds no run"):
        newest_run(tmp_path)
    for name, age in (("old", 100), ("new", 50)):
        RunDirectory(tmp_path / name).claim(demo())
        for path in (tmp_path / name, tmp_path / name / "config.json"):
            os.utime(path, (1e9 - age, 1e9 - age))
    assert newest_run(tmp_path).name == "new"


def test_run_names(tmp_path):
    def name(config: Config) -> str:
        return default_run_path(config, runs=tmp_path, base=base_of(config)).name

    assert name(demo()) == "demo-1-cmpl-s0"
    listed = with_settings(demo(), {"data.labeled": "lists/mine.txt", "seed": "3", "method.name": "fixmatch"})
    assert name(listed) == "demo-mine-fixmatch-s3"
    by_module = {"method.name": "cmpl.methods.fixmatch:FixMatch", "data.dataset": "/a/b.py:read"}
    assert name(with_settings(demo(), by_module)) == "read-1-FixMatch-s0"
    tcl = {"method.name": "tcl", "method.finetune_share": "0.5"}
    assert name(with_settings(demo(), tcl)) == "demo-1-tcl-s0-finetune_share0.5"
    own = with_settings(folder_recipe("all"), {"data.root": "/data/my clips", "optim.steps": "9"})
    assert name(own) == "my_clips-all-cmpl-s0"
    assert name(with_preset(own, "cpu")) == "my_clips-all-cmpl-cpu-s0"
    study = [{"method.threshold": "0.5"}, {"method.threshold": "0.7", "primary.depth": "18"}, {"runtime.workers": "1"}]
    assert [name(with_settings(own, settings)) for settings in study] == [
        "my_clips-all-cmpl-s0-threshold0.5",
        "my_clips-all-cmpl-s0-primary.depth18-threshold0.7",
        "my_clips-all-cmpl-s0",
    ]
    many = [with_settings(own, {f"clip.{key}": "3" for key in MANY} | {"optim.lr": lr}) for lr in ("1", "2")]
    assert [re.sub("[0-9a-f]{8}$", "#", name(config)) for config in many] == ["my_clips-all-cmpl-s0-5-fields-#"] * 2
    assert name(many[0]) != name(many[1])
    row = row_config("table6-both", dataset="folder", labeled="all")
    assert name(with_settings(row, {"data.root": "/data/own"})) == "own-all-cmpl-s0"


@pytest.mark.skipif(torch.cuda.is_available(), reason="speaks of machines without a GPU")
def test_a_gpu_that_is_not_there_is_said():
    with pytest.raises(InputError, match="runtime.device: received 'cuda'"):
        settle(with_settings(demo(), {"runtime.device": "cuda"}).runtime)
    with pytest.raises(InputError, match="runtime.backend: received 'gpu'"):
        settle(with_settings(demo(), {"runtime.backend": "gpu"}).runtime)
    assert settle(demo().runtime).backend == "cpu"


@pytest.mark.parametrize(
    ("settings", "problem", "asked", "said"),
    [
        ({}, None, [2], "threads sleep while they wait"),
        ({}, "cuInit gave 3", [2], "threads spin while they wait for the GPU (cuInit gave 3)"),
        ({"backend": "cpu"}, None, [], None),
        ({"backend": "cpu", "blocking_sync": "on"}, None, [2], "threads sleep while they wait"),
        ({"blocking_sync": "off"}, None, [], None),
        ({"device": "cpu"}, None, [], None),
    ],
)
def test_threads_sleep_where_nvdec_decodes(monkeypatch, settings, problem, asked, said):
    called = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(runtime, "nvdec_problem", lambda: None)
    monkeypatch.setattr(runtime, "wait_asleep", lambda index: called.append(index) or problem)
    assert runtime.wait_as_asked(RuntimeConfig(**settings), local_rank=2) == said
    assert called == asked
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    assert runtime.wait_as_asked(RuntimeConfig(**settings)) is None, "too late to say so"


@pytest.mark.parametrize(
    ("wanted", "backend", "media", "share"),
    [("auto", "both", "cuts", None), ("gpu", "gpu", "cuts", 0.0), ("cpu", "cpu", "frames", 0.0)],
)
def test_where_there_is_nvdec_a_trial_decides_unless_it_is_asked_for(monkeypatch, wanted, backend, media, share):
    for name, answer in (("is_available", True), ("get_device_capability", (9, 0)), ("is_initialized", True)):
        monkeypatch.setattr(torch.cuda, name, lambda *_, answer=answer: answer)
    monkeypatch.setattr(runtime, "nvdec_problem", lambda: None)
    monkeypatch.setattr(runtime, "require_dali", lambda *_: None)
    config = with_settings(demo(), {"runtime.backend": wanted})
    found = settle(config.runtime)
    engine = engine_of(config, found)
    assert (found.backend, engine.media, engine.cpu_share) == (backend, media, share)
    assert ("a trial" in " ".join(found.reasons)) == (wanted == "auto")


def test_another_way_to_wait_is_refused():
    with pytest.raises(InputError, match="runtime.blocking_sync: received 'true'"):
        with_settings(demo(), {"runtime.blocking_sync": "true"})
