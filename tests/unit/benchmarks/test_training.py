"""The benchmarks of training, in small: what they count is right, and every arm runs."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from benchmarks.training import convolution, gray_demo, method_check, method_table, step, switches
from benchmarks.training.arms import Arm, config_of, further_arms, main_arms, training_cost
from benchmarks.training.elsewhere import Elsewhere
from benchmarks.training.method_check import summary
from cmpl.build import geometry_of
from cmpl.config import flattened
from cmpl.recipes.cost import passes_a_video
from cmpl.registries import method_settings
from cmpl.step_config import SWITCHES
from pipelines.datasets.demo import DemoSize, ensure_demo
from pipelines.errors import InputError
from tests.support.runs import weights
from tests.support.tiny import Linear, batch
from tests.support.videos import decode_plainly, make_video

CPU = torch.device("cpu")
TINY_CASE = replace(step.cases(on_gpu=False)[0], num_labeled=2, num_unlabeled=2)
TINY_RUN = {"batch.labeled": "2", "batch.unlabeled": "2", "evaluation.clips": "1", "evaluation.crops": "1"}


def test_a_weak_clip_without_a_gradient_goes_forward_once():
    """A clip with a gradient counts three forward passes; an unlabeled video has a weak and a strong one."""
    assert passes_a_video(method_settings("cmpl")) == (3, 6)
    assert passes_a_video(method_settings("cmpl", batch_norm="weak-no-grad")) == (3, 4)
    assert passes_a_video(method_settings("fixmatch", batch_norm="separate")) == (3, 4)
    assert passes_a_video(method_settings("supervised")) == (3, 0)


def test_the_arm_of_equal_compute_costs_what_cmpl_costs():
    """4 + 20 videos with the weak clip forward alone: 12 + 80 passes of the primary network, supervised 12."""
    settings = {"method.batch_norm": "weak-no-grad", "method.unlabeled_delay": "0"}

    def cost(name, more=settings):
        return training_cost(config_of(Arm(name, 1), subset=0, labeled="1", settings=more))

    assert cost("fixmatch") * 12 == pytest.approx(cost("supervised") * 92)
    delayed = settings | {"method.unlabeled_delay": "0.5"}
    assert cost("fixmatch", delayed) * 12 == pytest.approx(cost("supervised") * 52)
    assert cost("elsewhere") == cost("fixmatch")
    made = main_arms(800, labeled="1", settings=settings)
    assert [arm.name for arm in made] == ["supervised", "fixmatch", "cmpl", "elsewhere", "fixmatch"]
    assert made[-1].steps * cost("fixmatch") == pytest.approx(800 * cost("cmpl"), rel=1e-3)


def test_arms_differ_from_cmpl_in_one_thing():
    def settings(name):
        return flattened(config_of(Arm(name, 5), subset=3, labeled="1", settings={"method.threshold": "0.8"}))

    cmpl = settings("cmpl")
    assert (cmpl["seed"], cmpl["data.split_seed"], cmpl["optim.steps"], cmpl["method.threshold"]) == (3, 3, 5, 0.8)
    for arm in further_arms(5):
        other = settings(arm.name)
        assert len([key for key in cmpl if other[key] != cmpl[key]]) == 1
    assert settings("equal-auxiliary")["auxiliary.width"] == cmpl["primary.width"]
    assert geometry_of(config_of(Arm("elsewhere", 5), subset=0, labeled="1", settings={})) == geometry_of(
        config_of(Arm("cmpl", 5), subset=0, labeled="1", settings={})
    )


def test_the_control_takes_its_label_from_the_clip_elsewhere():
    """Wrong clips in the other places change nothing; in these two they do."""
    torch.manual_seed(0)
    control = Elsewhere(primary=Linear(0), settings=Elsewhere.Settings(threshold=0.0))
    one = batch(auxiliary_frames=4)
    assert one.unlabeled is not None

    def loss(**changes):
        weak, strong = (replace(getattr(one.unlabeled, k), **changes.get(k, {})) for k in ("weak", "strong"))
        return control(replace(one, unlabeled=replace(one.unlabeled, weak=weak, strong=strong)), unlabeled_weight=1)

    other = torch.flip(one.unlabeled.weak.primary, dims=[0])
    plain = loss()[0]
    assert loss(weak={"primary": other}, strong={"auxiliary": other})[0] == plain
    assert loss(weak={"auxiliary": other})[0] != plain
    assert loss(strong={"primary": other})[0] != plain


def test_differences_are_paired_by_subset():
    top1 = {"a@1": (0.5, 0.7, 0.9), "b@1": (0.6, 0.9)}
    rows = [{"arm": arm, "subset": s, "top1": value} for arm, values in top1.items() for s, value in enumerate(values)]
    found = summary(rows, [Arm("a", 1), Arm("b", 1), Arm("c", 1)])
    assert found["arms"]["b@1"]["mean"] == pytest.approx(0.75)
    assert list(found["paired"]) == ["b@1 - a@1"]
    assert found["paired"]["b@1 - a@1"]["mean"] == pytest.approx(0.15)
    assert found["paired"]["b@1 - a@1"]["standard_error"] == pytest.approx(0.05)
    assert found["paired"]["b@1 - a@1"]["num"] == 2


def test_subsets_are_numbers_and_ranges():
    assert method_check.subsets_of("0-2,7,1") == [0, 1, 2, 7]
    for text in ("", "2-1", "a", "-1"):
        with pytest.raises(InputError, match="--subsets: received"):
            method_check.subsets_of(text)


def test_pseudo_labels_are_averaged_over_the_last_fifth(tmp_path):
    rows = [{"step": s, "pseudo_share_primary": 0.5, "pseudo_right_primary": 0.1} for s in range(10, 90, 10)]
    rows += [{"step": 90, "pseudo_share_primary": 0.6, "pseudo_right_primary": 0.3}, {"step": 90, "val_top1": 1.0}]
    rows += [{"step": 100, "pseudo_share_primary": 1.0, "pseudo_right_primary": 0.9}]
    (tmp_path / "metrics.jsonl").write_text("\n".join(map(json.dumps, rows)))
    found = method_check.at_the_end(tmp_path / "metrics.jsonl")
    assert found == {"share": pytest.approx(0.8), "right_among_them": pytest.approx(0.75)}
    (tmp_path / "metrics.jsonl").write_text(json.dumps({"step": 1, "loss": 1.0}))
    assert method_check.at_the_end(tmp_path / "metrics.jsonl") is None


@pytest.fixture(scope="module")
def small_demo(tmp_path_factory):
    size = DemoSize(num_classes=3, num_train_per_class=4, num_val_per_class=2, num_frames=16)
    return ensure_demo(tmp_path_factory.mktemp("demo") / "small", size=size)


def test_a_run_of_the_method_check_is_kept_and_ends_as_the_trainer_ends(tmp_path, small_demo):
    """Decoding once and in memory gives the weights, to the bit, of decoding each clip from its file."""
    settings = TINY_RUN | {"data.dataset": "folder", "data.root": str(small_demo)}
    arm = Arm("elsewhere", 2)
    row = method_check.run_one(arm, 1, "1", settings, str(tmp_path / "kept"))
    assert (row["arm"], row["subset"], row["auxiliary_top1"]) == ("elsewhere@2", 1, None)
    assert 0 <= row["worst_class_top1"] <= row["top1"] <= 1
    assert method_check.run_one(arm, 1, "1", settings, str(tmp_path / "kept")) == row, "a done run is not run again"
    method_check.run_one(arm, 1, "1", settings | {"runtime.held_mib": "0"}, str(tmp_path / "anew"))
    assert weights(tmp_path / "kept" / f"{arm}-1") == weights(tmp_path / "anew" / f"{arm}-1")


def test_every_arm_of_the_step_is_measured():
    result = step.run([TINY_CASE], num_repeats=1, compiled=False, device=CPU)
    assert [row["arm"] for row in result["rows"]] == [*step.BATCH_NORMS, "joint, plain conv3d"]
    for row in result["rows"]:
        assert row["tflops"] * row["median_seconds"] * 1e12 == pytest.approx(step.needed_flops(TINY_CASE))
        assert row["of_peak"] == pytest.approx(row["tflops"] / result["peak_tflops"])


def test_the_plain_step_has_torchs_own_memory_order():
    plain, ours = (step.batch_of(TINY_CASE, device=CPU, plain=plain).unlabeled.weak.primary for plain in (True, False))
    assert plain.is_contiguous()
    assert ours.is_contiguous(memory_format=torch.channels_last_3d)
    assert plain.shape == ours.shape


def test_the_step_is_written_where_asked(tmp_path, monkeypatch):
    monkeypatch.setattr(step, "cases", lambda *, on_gpu: [TINY_CASE])
    called = CliRunner().invoke(step.main, ["--repeats", "1", "--json", str(tmp_path / "new" / "step.json")])
    assert called.exit_code == 0, called.output
    assert "joint, plain conv3d" in called.output
    assert len(json.loads((tmp_path / "new" / "step.json").read_text())["rows"]) == len(step.BATCH_NORMS) + 1


def test_each_switch_has_an_arm_where_it_means_something():
    on_gpu = switches.arms(on_gpu=True, compiled=False) | switches.arms(on_gpu=True, compiled=True)
    named = {name for arm in on_gpu for name in arm.split(", ")} - {"none", "these three"}
    assert named == set(SWITCHES) - {"bucket_views", "static_graph"}, "those two are of several ranks"
    assert list(switches.arms(on_gpu=False, compiled=False)) == ["none", "fused_sgd"]


def test_an_arm_that_fails_costs_the_others_nothing(monkeypatch):
    def failing(method, *, cuda_graphs):
        raise OSError("no compiler")

    monkeypatch.setattr(step, "compile_networks", failing)
    rows = list(switches.run_case(TINY_CASE, num_repeats=1, compiled=True, device=CPU))
    assert rows[0] == {"case": "demo", "arm": "compile", "problem": "OSError: no compiler"}
    assert rows[1]["arm"] == "none"
    assert rows[1]["median_seconds"] > 0


def test_the_switches_are_written_where_asked(tmp_path, monkeypatch):
    monkeypatch.setattr(switches, "cases", lambda *, on_gpu: [TINY_CASE])
    called = CliRunner().invoke(switches.main, ["--repeats", "1", "--json", str(tmp_path / "switches.json")])
    assert called.exit_code == 0, called.output
    rows = json.loads((tmp_path / "switches.json").read_text())["rows"]
    assert [row["arm"] for row in rows] == ["none", "fused_sgd"]
    assert rows[0]["first_loss"] == rows[1]["first_loss"]


def test_every_form_of_a_convolution_is_measured(tmp_path, monkeypatch):
    layers, nets = convolution.layer_cases(on_gpu=False), convolution.net_cases(on_gpu=False)
    monkeypatch.setattr(
        convolution, "layer_cases", lambda *, on_gpu: [replace(c, input_shape=(1, 4, 8)) for c in layers[:3]]
    )
    monkeypatch.setattr(convolution, "net_cases", lambda *, on_gpu: [replace(nets[0], input_shape=(1, 4, 28))])
    called = CliRunner().invoke(convolution.main, ["--repeats", "1", "--json", str(tmp_path / "forms.json")])
    assert called.exit_code == 0, called.output
    rows = json.loads((tmp_path / "forms.json").read_text())["rows"]
    forms = {what: [row["form"].split(" (")[0] for row in rows if row["what"] == what] for what in ("layer", "net")}
    volume, torchs = ["conv3d", "sum of 2d", "torch's gradients"], "torch's gradients"
    assert forms["layer"] == [*volume, *volume, "conv3d", "2d", "auto", torchs]
    assert forms["net"] == ["conv3d", "2d", "auto", "conv3d, not channels-last", "auto, bf16 autocast", torchs]
    assert len(called.output.splitlines()) == len(rows)


@pytest.mark.parametrize("number", [0, 1])
def test_the_sum_over_time_is_the_convolution(number):
    case = convolution.layer_cases(on_gpu=False)[number]
    layer = convolution.Convolution(
        case.in_channels,
        case.out_channels,
        kernel=case.kernel,
        spatial_stride=case.spatial_stride,
        convolution="conv3d",
    )
    clips = torch.randn(1, case.in_channels, 4, 8, 8).to(memory_format=torch.channels_last_3d)
    torch.testing.assert_close(convolution._sum_of_2d(layer, clips), layer(clips), rtol=1e-4, atol=1e-5)


def test_the_record_is_printed_as_tables(tmp_path):
    labels = {"share": 0.5, "right_among_them": 0.8}
    top1 = {"a@1": (0.5, 0.75), "b@1": (0.25,)}
    rows = [
        {"arm": arm, "subset": s, "top1": value, "worst_class_top1": value / 2, "pseudo_labels": labels if s else None}
        for arm, values in top1.items()
        for s, value in enumerate(values)
    ]
    (tmp_path / "record.json").write_text(json.dumps({"rows": rows} | summary(rows, [Arm("a", 1), Arm("b", 1)])))
    called = CliRunner().invoke(method_table.main, [str(tmp_path / "record.json")])
    assert called.exit_code == 0, called.output
    assert "| `a@1` | .500 | .750 | .625 (.125) |\n| `b@1` | .250 | - | .250 |" in called.output
    assert "b@1 - a@1" not in called.output, "a difference over one subset has no error"
    assert "| `a@1` | .500 | .800 | .250 |\n| `b@1` | - | - | .125 |" in called.output
    assert method_table.shown(-0.05, sign=True) == "-.050"


def test_a_gray_copy_has_the_frames_without_their_colors(tmp_path):
    source = make_video(tmp_path / "a.mp4", num_frames=12, width=64, height=48)
    gray_demo.gray_copy(source, tmp_path / "out" / "a.mp4")
    colored, gray = decode_plainly(source).astype(float), decode_plainly(tmp_path / "out" / "a.mp4").astype(float)
    assert np.ptp(colored, axis=3).max() > 50
    assert np.ptp(gray, axis=3).max() <= 3
    assert np.abs(gray.mean(axis=3) - colored.mean(axis=3)).mean() <= 4
