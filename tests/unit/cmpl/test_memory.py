"""The memory of a step: what torch keeps of a clip, and batches split until they fit."""

import pytest
import torch

from cmpl.build import network_of
from cmpl.config import BatchConfig, Config, with_settings
from cmpl.memory import Need, _left_of_group, fitting_split, kept_bytes, need_of, no_room_for_pictures, split_of
from cmpl.recipes.demo import demo
from cmpl.recipes.presets import PRESETS, with_preset
from cmpl.registries import METHODS
from cmpl.training.ranks import Ranks
from cmpl.training.runtime import settle
from pipelines.errors import InputError
from pipelines.plan.geometry import ClipShape

GIB = 1 << 30
NEED = Need(per_labeled=1.0 * GIB, per_unlabeled=2.0 * GIB, fixed=2.0 * GIB)  # 26 GiB for 4 + 10 videos


def test_what_a_clip_keeps_is_what_torch_keeps():
    """Counted on the meta device and, by real tensors, on the CPU."""
    network = network_of(demo().primary, num_classes=3).eval()
    with torch.device("meta"):
        shadow = network_of(demo().primary, num_classes=3)
    own = {p.data_ptr() for p in network.parameters()}
    kept: dict[int, tuple[int, torch.Tensor]] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.data_ptr() not in own:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes(), tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        network(torch.zeros(1, 3, 4, 64, 64))  # so large that no kernel is cut to fewer taps: those are copies
    real = sum(num_bytes for num_bytes, _ in kept.values())
    assert real > 100_000
    assert kept_bytes(shadow, ClipShape(4, 16), size=64) == pytest.approx(real, rel=0.05)


def test_the_papers_step_takes_what_it_was_seen_to_take():
    """2 + 10 videos at the paper's size on a CPU: 21.8 GB were in use when the kernel ended such a run."""
    config = Config()
    need = need_of(config, num_classes=400, runtime=settle(with_settings(config, {"runtime.device": "cpu"}).runtime))
    assert 20 * GIB < need.of(config.batch) < 30 * GIB
    small = [need_of(with_preset(config, name), num_classes=400, runtime=settle(config.runtime)) for name in PRESETS]
    assert 8 * GIB > small[0].of(config.batch) > small[1].of(config.batch)


@pytest.mark.parametrize("name", METHODS.names())
def test_every_method_is_estimated(name):
    teacher = {"method.teacher": "/no/such.pth"} if name == "videossl" else {}
    config = with_settings(demo(), {"method.name": name} | teacher)
    need = need_of(config, num_classes=3, runtime=settle(config.runtime))
    assert need.per_labeled > 0
    assert (need.per_unlabeled > 0) == (name != "supervised")


@pytest.mark.parametrize(("free_gib", "factor"), [(30, 1), (26, 1), (25, 2), (14, 2), (11, 2)])
def test_a_batch_is_split_until_it_fits(free_gib, factor):
    batch = BatchConfig(labeled=4, unlabeled=10)
    assert split_of(batch, NEED, free=free_gib * GIB, crop_size=224) == factor


def test_a_batch_that_surely_does_not_fit_is_refused_with_a_smaller_preset():
    batch = BatchConfig(labeled=4, unlabeled=10)
    with pytest.raises(InputError, match=r"a batch of 2 labeled \+ 5 .* about 14.0 GiB where 9.0 GiB .*--preset small"):
        split_of(batch, NEED, free=9 * GIB, crop_size=224)
    with pytest.raises(InputError, match="--preset cpu"):
        split_of(batch, NEED, free=9 * GIB, crop_size=112)
    with pytest.raises(InputError, match="accepted: a smaller batch.unlabeled"):
        split_of(batch, NEED, free=9 * GIB, crop_size=28)


def test_the_reason_of_a_split_names_both_sizes(monkeypatch):
    config = Config()
    runtime = settle(with_settings(config, {"runtime.device": "cpu"}).runtime)
    monkeypatch.setattr("cmpl.memory.free_bytes", lambda *_, **__: 20 * GIB)
    factor, why = fitting_split(config, num_classes=400, runtime=runtime, ranks=Ranks())
    assert factor == 2
    assert why.startswith("a pass takes about 2")
    assert why.endswith("20.0 GiB are free")
    monkeypatch.setattr("cmpl.memory.free_bytes", lambda *_, **__: 99 * GIB)
    assert fitting_split(config, num_classes=400, runtime=runtime, ranks=Ranks()) == (1, "")


def test_pictures_are_kept_where_they_fit_beside_the_step(monkeypatch):
    config = with_settings(demo(), {"runtime.device": "cpu", "runtime.workers": "4"})
    runtime = settle(config.runtime)
    need = need_of(config, num_classes=10, runtime=runtime).of(config.batch)

    def why(free: float, bytes_a_worker: int) -> str:
        monkeypatch.setattr("cmpl.memory.free_bytes", lambda *_, **__: free)
        return no_room_for_pictures(config, bytes_a_worker, num_classes=10, runtime=runtime, ranks=Ranks())

    assert why(need + 4 * GIB, GIB) == ""
    assert why(need + 4 * GIB - 1, GIB) == (
        f"memory: pictures that workers keep would take 4.0 GiB besides {need / GIB:.1f} GiB, and "
        f"{(need + 4 * GIB) / GIB:.1f} GiB are free"
    )
    assert why(0.0, 0) == ""


def test_a_containers_limit_is_read(tmp_path):
    assert _left_of_group(tmp_path) > 1 << 50
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("5\n")
    assert _left_of_group(tmp_path) > 1 << 50
    (tmp_path / "memory.max").write_text("100\n")
    assert _left_of_group(tmp_path) == 95
