"""What "auto" comes to for each switch of the step, and what is refused."""

from dataclasses import replace

import pytest
import torch

from cmpl.config import Config, differences, from_json, to_json, with_settings
from cmpl.methods.cross_model import CrossModel
from cmpl.methods.rotation import S4L
from cmpl.recipes.demo import demo
from cmpl.step_config import SWITCHES
from cmpl.training.ranks import Ranks
from cmpl.training.runtime import settle
from cmpl.training.switches import Switches, settle_switches
from pipelines.errors import InputError

ON_CPU = settle(with_settings(demo(), {"runtime.device": "cpu"}).runtime)
ON_GPU = replace(ON_CPU, device=torch.device("cuda", 0), amp=True)
ONE, TWO = Ranks(), Ranks(num_ranks=2)


def settled(*, runtime=ON_CPU, ranks=ONE, method=CrossModel, **settings: str) -> Switches:
    config = with_settings(demo(), {f"runtime.{name}": value for name, value in settings.items()})
    return settle_switches(config, runtime=runtime, ranks=ranks, method=method)


def on(switches: Switches) -> set[str]:
    return {name for name in SWITCHES if getattr(switches, name)}


def test_on_a_cpu_all_but_the_update_stays_as_it_is():
    assert settled() == Switches(fused_sgd=True)


def test_on_a_gpu_a_trial_decides_what_takes_minutes_to_compile():
    switches = settled(runtime=ON_GPU)
    assert on(switches) == {"cudnn_benchmark", "fused_sgd", "narrow_clips"}
    assert switches.on_trial == ("compile", "cuda_graphs")
    assert on(settled(runtime=replace(ON_GPU, amp=False))) == {"cudnn_benchmark", "fused_sgd"}


def test_several_ranks_exchange_gradients_in_place():
    assert on(settled(ranks=TWO)) == {"bucket_views", "fused_sgd"}
    assert on(settled(ranks=TWO, bucket_views="off", static_graph="on")) == {"static_graph", "fused_sgd"}
    assert on(settled(bucket_views="on", static_graph="on")) == {"fused_sgd"}, "alone there is nobody to exchange with"


@pytest.mark.parametrize("name", [name for name in SWITCHES if name != "static_graph"])
def test_each_can_be_switched_off(name):
    before = settled(runtime=ON_GPU, ranks=TWO)
    after = settled(runtime=ON_GPU, ranks=TWO, **{name: "off"})
    assert name in on(before) or name in before.on_trial
    assert name not in on(after)
    assert name not in after.on_trial


def test_compile_and_graphs_go_together():
    assert settled(runtime=ON_GPU, compile="off").on_trial == ()
    assert on(settled(runtime=ON_GPU, cuda_graphs="on")) >= {"compile", "cuda_graphs"}
    assert settled(runtime=ON_GPU, cuda_graphs="on").on_trial == ()
    compiled = settled(runtime=ON_GPU, compile="on")
    assert "compile" in on(compiled)
    assert compiled.on_trial == ("cuda_graphs",)
    assert settled(runtime=ON_GPU, cuda_graphs="off").on_trial == ("compile",)
    assert on(settled(compile="on", fused_sgd="on")) == {"compile", "fused_sgd"}, "on a CPU where they are asked for"


def test_a_method_that_calls_parts_of_its_network_is_not_compiled():
    assert settled(runtime=ON_GPU, method=S4L).on_trial == ()
    with pytest.raises(
        InputError, match=r"runtime.compile: received 'on', but cmpl calls parts .*; accepted: auto, off"
    ):
        settled(compile="on", method=S4L)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"cuda_graphs": "on"}, r"runtime.cuda_graphs: received 'on', but the device is cpu; accepted: auto, off"),
        ({"cudnn_benchmark": "on"}, r"runtime.cudnn_benchmark: received 'on', but the device is cpu"),
        ({"narrow_clips": "on"}, r"runtime.narrow_clips: received 'on' without autocast"),
        ({"sync_batch_norm": "true"}, r"runtime.sync_batch_norm: received true on a CPU; accepted: false"),
    ],
)
def test_what_a_cpu_lacks_is_refused(settings, message):
    with pytest.raises(InputError, match=message):
        settled(**settings)


def test_what_contradicts_itself_is_refused():
    with pytest.raises(InputError, match=r"runtime.cuda_graphs: received 'on' with runtime.compile=off"):
        settled(runtime=ON_GPU, cuda_graphs="on", compile="off")
    with pytest.raises(InputError, match=r"runtime.static_graph: .* does not say that every step trains"):
        settled(ranks=TWO, static_graph="on", method=type("OfPlugin", (CrossModel,), {"trains_all_parameters": False}))
    config = with_settings(demo(), {"runtime.static_graph": "on", "batch.accumulate": "2"})
    with pytest.raises(
        InputError, match=r"runtime.static_graph: received 'on' with batch.accumulate=2; accepted: auto"
    ):
        settle_switches(config, runtime=ON_CPU, ranks=TWO, method=CrossModel)


def test_one_line_says_them_all_by_the_names_that_set_takes():
    line = settled(runtime=ON_GPU).line()
    assert line == (
        "step: on: cudnn_benchmark, fused_sgd, narrow_clips; by a trial: compile, cuda_graphs; "
        "off: bucket_views, static_graph"
    )


@pytest.mark.parametrize("name", SWITCHES)
def test_another_choice_is_refused_by_name(name):
    with pytest.raises(InputError, match=rf"runtime.{name}: received 'yes'"):
        with_settings(Config(), {f"runtime.{name}": "yes"})


def test_a_run_may_go_on_with_other_switches():
    assert differences(Config(), with_settings(Config(), {f"runtime.{name}": "off" for name in SWITCHES})) == []


@pytest.mark.parametrize(("written", "read"), [(True, "on"), (False, "off"), ("auto", "auto")])
def test_the_configuration_of_an_older_run_is_read(written, read):
    values = to_json(Config())
    values["runtime"]["compile"] = written
    assert from_json(values).runtime.compile == read
