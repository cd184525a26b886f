"""The benchmarks of training, in small: what they count is right, and every arm runs."""

import json
from dataclasses import replace

import pytest
import torch
from click.testing import CliRunner

from benchmarks.training import convolution, method_check, step, switches
from benchmarks.training.method_check import Arm, arms, config_of, summary, training_cost
from cmpl.recipes.cost import passes_a_video
from cmpl.registries import method_settings
from cmpl.step_config import SWITCHES

CPU = torch.device("cpu")
TINY_CASE = replace(step.cases(on_gpu=False)[0], num_labeled=2, num_unlabeled=2)
TINY_RUN = {"batch.labeled": "2", "batch.unlabeled": "2", "evaluation.clips": "1", "evaluation.crops": "1"}


def test_a_weak_clip_without_a_gradient_goes_forward_once():
    """A clip with a gradient counts three forward passes; an unlabeled video has a weak and a strong one."""
    assert passes_a_video(method_settings("cmpl")) == (3, 6)
    assert passes_a_video(method_settings("cmpl", batch_norm="weak-no-grad")) == (3, 4)
    assert passes_a_video(method_settings("fixmatch", batch_norm="separate")) == (3, 4)
    assert passes_a_video(method_settings("supervised")) == (3, 0)


def test_arms_of_equal_compute_cost_what_cmpl_costs():
    """4 + 20 videos with the weak clip forward alone: 12 + 80 passes of the primary network, supervised 12."""
    settings = {"method.batch_norm": "weak-no-grad", "method.unlabeled_delay": "0"}
    costs = {
        m: training_cost(config_of(Arm(m, 1), subset=0, labeled="2", settings=settings)) for m in method_check.METHODS
    }
    assert costs["fixmatch"] * 12 == pytest.approx(costs["supervised"] * 92)
    delayed = settings | {"method.unlabeled_delay": "0.5"}
    assert training_cost(config_of(Arm("fixmatch", 1), subset=0, labeled="2", settings=delayed)) * 12 == pytest.approx(
        costs["supervised"] * 52
    )
    made = arms(800, labeled="2", settings=settings)
    assert [arm.method for arm in made] == ["supervised", "fixmatch", "cmpl", "supervised", "fixmatch"]
    for arm in made[3:]:
        assert arm.steps * costs[arm.method] == pytest.approx(800 * costs["cmpl"], rel=1e-3)


def test_differences_are_paired_by_subset():
    top1 = {"a@1": (0.5, 0.7), "b@1": (0.6, 0.9)}
    rows = [{"arm": arm, "subset": s, "top1": value} for arm, values in top1.items() for s, value in enumerate(values)]
    found = summary(rows, [Arm("a", 1), Arm("b", 1)])
    assert found["arms"]["b@1"]["mean"] == pytest.approx(0.75)
    assert found["differences"]["b@1 - a@1"]["mean"] == pytest.approx(0.15)
    assert found["differences"]["b@1 - a@1"]["standard_error"] == pytest.approx(0.05)


def test_a_run_of_the_method_check_is_trained_evaluated_and_kept(tmp_path):
    row = method_check.run_one(Arm("cmpl", 1), 1, "2", TINY_RUN, str(tmp_path))
    assert (row["arm"], row["subset"]) == ("cmpl@1", 1)
    assert 0 <= row["top1"] <= 1
    assert 0 <= row["auxiliary_top1"] <= 1
    assert [path.name for path in tmp_path.iterdir()] == ["cmpl@1-1"]
    assert method_check.run_one(Arm("cmpl", 1), 1, "2", TINY_RUN, str(tmp_path)) == row, "a done run is not run again"


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
    assert forms["layer"] == ["conv3d", "sum of 2d", "conv3d", "sum of 2d", "conv3d", "2d", "auto"]
    assert forms["net"] == ["conv3d", "2d", "auto", "conv3d, not channels-last", "auto, bf16 autocast"]
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
