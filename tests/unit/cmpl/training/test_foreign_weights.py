"""Weights of other projects: each of their names goes where it belongs, and what does not fit is named."""

import argparse
from collections import OrderedDict
from typing import Any

import pytest
import torch
from torch import Tensor

from cmpl.methods.cross_model import CrossModel
from cmpl.methods.supervised import Supervised
from cmpl.models.resnet3d import ResNet3D
from cmpl.models.slowfast import SlowFast
from cmpl.models.tsm import TSM
from cmpl.training.initialize import NO_CLASSES, OF_PRIMARY, initialize
from pipelines.errors import InputError
from tests.support import foreign

BASE = 8
WIDTH = BASE / 64


def saved(path: Any, shapes: foreign.Shapes, **more: Any) -> tuple[str, dict[str, Tensor]]:
    tensors = foreign.filled(shapes)
    torch.save({"state_dict": tensors, **more}, path)
    return str(path), tensors


def resnet(depth: int = 50, *, num_classes: int = 3, stem: tuple[int, int, int] = (5, 7, 7)) -> Supervised:
    return Supervised(primary=ResNet3D(depth=depth, width=WIDTH, num_classes=num_classes, stem_kernel=stem))


TRUNK = {"primary.head.weight", "primary.head.bias"}


@pytest.mark.parametrize(
    ("shapes", "stem", "project"),
    [
        (foreign.pyslowfast("slow", BASE), "s1.pathway0_stem.conv", "PySlowFast"),
        (foreign.pyslowfast("i3d", BASE), "s1.pathway0_stem.conv", "PySlowFast"),
        (foreign.mmaction_slowonly(BASE), "backbone.conv1.conv", "MMAction2 after 'backbone.'"),
        (foreign.pytorchvideo("slow", BASE), "blocks.0.conv", "PyTorchVideo"),
        (foreign.torchvision_2d(50, BASE), "conv1", "torchvision, timm, TSM"),
        (foreign.moco(BASE), "module.encoder_q.conv1", "torchvision, timm, TSM after 'encoder_q.'"),
        (
            {f"model.net.{name}": shape for name, shape in foreign.torchvision_2d(50, BASE).items()},
            "model.net.conv1",
            "torchvision, timm, TSM after 'model.net.'",
        ),
    ],
)
def test_every_tensor_but_the_head_is_taken(tmp_path, shapes, stem, project):
    file, tensors = saved(tmp_path / "weights.pth", shapes)
    method = resnet()
    said = initialize(method, file)
    kept = {name for name in said.kept if not name.endswith("num_batches_tracked")}
    assert kept == TRUNK
    assert said.reading == project
    kernel = tensors[f"{stem}.weight"]
    frames = 1 if kernel.ndim == 4 else kernel.shape[2]
    ours = method.primary.stem.conv.weight
    assert float(ours.detach().flatten()[0]) == pytest.approx(float(kernel.flatten()[0]) * frames / 5)


def test_each_name_goes_where_it_belongs(tmp_path):
    """The numbers of single layers, whose places in a network are easy to take for one another's."""
    file, tensors = saved(tmp_path / "weights.pyth", foreign.pyslowfast("slow", BASE))
    network = resnet()
    initialize(network, file)
    own = network.primary.state_dict()
    for theirs, ours in {
        "s3.pathway0_res1.branch2.b_bn.running_var": "stages.1.1.bn2.running_var",
        "s5.pathway0_res2.branch2.c.weight": "stages.3.2.conv3.weight",
        "s4.pathway0_res0.branch1.weight": "stages.2.0.shortcut.conv.weight",
        "s2.pathway0_res0.branch1_bn.bias": "stages.0.0.shortcut.bn.bias",
        "s4.pathway0_res5.branch2.a.weight": "stages.2.5.conv1.weight",
    }.items():
        assert torch.equal(own[ours], tensors[theirs]), theirs


def test_slowfast_of_pyslowfast_fills_slowfast(tmp_path):
    file, tensors = saved(tmp_path / "SLOWFAST_8x8_R50.pyth", foreign.pyslowfast_slowfast(BASE))
    method = Supervised(primary=SlowFast(num_classes=3, width=WIDTH))
    said = initialize(method, file)
    assert {name for name in said.kept if not name.endswith("num_batches_tracked")} == TRUNK
    own = method.primary.state_dict()
    for theirs, ours in {
        "s1_fuse.conv_f2s.weight": "fusions.0.conv.weight",
        "s4_fuse.bn.running_mean": "fusions.3.bn.running_mean",
        "s3.pathway1_res2.branch2.a.weight": "fast_stages.1.2.conv1.weight",
        "s1.pathway0_stem.bn.weight": "slow_stem.bn.weight",
    }.items():
        assert torch.equal(own[ours], tensors[theirs]), theirs


def test_slowfast_of_mmaction_fills_slowfast_but_for_its_joints(tmp_path):
    file, tensors = saved(tmp_path / "slowfast.pth", foreign.mmaction_slowfast(BASE))
    method = Supervised(primary=SlowFast(num_classes=3, width=WIDTH))
    said = initialize(method, file)
    assert said.kept["primary.fusions.0.conv.weight"] == "another shape"  # 5 frames there, 7 here
    assert said.kept["primary.fusions.0.bn.weight"] == "not in the file"
    name = "backbone.fast_path.layer2.1.conv3.conv.weight"
    assert torch.equal(method.primary.fast_stages[1][1].conv3.weight, tensors[name])
    assert "backbone.slow_path.conv1_lateral.conv.weight" in said.unused


def test_a_slow_pathway_alone_fills_slowfast_s_slow_one(tmp_path):
    file, _ = saved(tmp_path / "slow.pyth", foreign.pyslowfast("slow", BASE))
    said = initialize(Supervised(primary=SlowFast(num_classes=3, width=WIDTH)), file)
    assert "primary.slow_stages.3.1.conv2.weight" in said.loaded
    assert said.kept["primary.fast_stem.conv.weight"] == "not in the file"


def test_a_deep_stem_stays_fresh_and_the_rest_is_taken(tmp_path):
    file, _ = saved(tmp_path / "resnet50d.pth", foreign.timm_resnet50d(BASE))
    said = initialize(resnet(), file)
    assert said.kept.keys() - TRUNK == {"primary.stem.conv.weight"}
    assert "primary.stages.1.0.shortcut.conv.weight" in said.loaded
    assert "conv1.6.weight" in said.unused


def test_tsm_takes_a_2d_network_and_its_own(tmp_path):
    method = Supervised(primary=TSM(depth=50, width=WIDTH, num_classes=3))
    shapes = {
        f"module.base_model.{name.replace('conv1.weight', 'conv1.net.weight') if name.startswith('layer') else name}": s
        for name, s in foreign.torchvision_2d(50, BASE).items()
    }
    file, tensors = saved(tmp_path / "tsm.pth", shapes)
    assert initialize(method, file).kept.keys() == TRUNK
    found = tensors["module.base_model.layer2.0.conv1.net.weight"]
    assert torch.equal(method.primary.stages[1][0].conv1.weight[:, :, 0], found)


def test_the_head_of_another_project_stays_fresh_and_so_does_the_auxiliary(tmp_path):
    """400 outputs of another order of classes would pass for these 400."""
    file, _ = saved(tmp_path / "slow.pyth", foreign.pyslowfast("slow", BASE))
    pair = CrossModel(
        primary=ResNet3D(depth=50, width=WIDTH, num_classes=400),
        auxiliary=ResNet3D(depth=10, width=1 / 16, num_classes=400),
    )
    said = initialize(pair, file)
    assert said.kept["primary.head.weight"] == NO_CLASSES
    assert said.kept["auxiliary.stem.conv.weight"] == OF_PRIMARY
    text = "\n".join(said.lines())
    assert f"fresh ({OF_PRIMARY}): auxiliary.stem.conv.weight" in text
    assert "by the names of PySlowFast" in text


def test_a_poor_match_is_refused_with_both_names_and_shapes(tmp_path):
    """Half of r3d_18's kernels see three frames where these see one."""
    file, _ = saved(tmp_path / "r3d_18.pth", foreign.r3d_18(BASE))
    with pytest.raises(InputError) as refused:
        initialize(resnet(18), file)
    text = str(refused.value)
    assert "which fills 69% of the primary network; not primary.stem.conv.weight ((8, 3, 3, 7, 7) there, (8, 3" in text
    assert "found stem.0.weight (8, 3, 3, 7, 7), " in text
    assert "wanted primary.stem.conv.weight (8, 3, 5, 7, 7), " in text
    assert "accepted: at least 75% (init_share)" in text
    said = initialize(resnet(18, stem=(3, 7, 7)), file, least_share=0.5)
    assert said.kept["primary.stages.0.0.conv2.weight"] == "another shape"
    assert "primary.stages.0.0.conv1.weight" in said.loaded


def test_another_depth_is_refused(tmp_path):
    file, _ = saved(tmp_path / "r18.pth", foreign.torchvision_2d(18, BASE))
    with pytest.raises(InputError, match=r"fills \d+% of the primary network"):
        initialize(resnet(50), file)


class HistoryBuffer:
    """What mmengine's message hub keeps: an object with numpy arrays."""

    def __init__(self) -> None:
        self.history = torch.ones(2).numpy()


class AttributeDict(dict):
    """Lightning's hyper-parameters."""


@pytest.mark.parametrize(
    "more",
    [
        {"epoch": 3, "cfg": "MODEL:\n  ARCH: slow\n", "optimizer_state": {"state": {}}},
        {"meta": {"CLASSES": ["a"]}, "message_hub": {"log_scalars": OrderedDict(loss=HistoryBuffer())}},
        {"args": argparse.Namespace(lr=0.1), "lr_scheduler": {"last_epoch": 3}},
        {"hyper_parameters": AttributeDict(lr=0.1), "pytorch-lightning_version": "2.5.0"},
    ],
)
def test_what_lies_beside_the_weights_is_not_unpickled(tmp_path, monkeypatch, more):
    def refuse(*_args: Any, **_named: Any) -> None:
        raise AssertionError("unpickled")

    file, _ = saved(tmp_path / "weights.pth", foreign.torchvision_2d(50, BASE), **more)
    monkeypatch.setattr(HistoryBuffer, "__new__", refuse)
    monkeypatch.setattr(AttributeDict, "__new__", refuse)
    monkeypatch.setattr(argparse.Namespace, "__init__", refuse)
    assert initialize(resnet(), file).kept.keys() == TRUNK


def test_a_run_s_own_network_is_still_taken_whole(tmp_path):
    before, after = resnet(), resnet()
    torch.save(before.primary.state_dict(), tmp_path / "own.pt")
    assert initialize(after, str(tmp_path / "own.pt")).kept == {}
    assert torch.equal(after.primary.head.weight, before.primary.head.weight)


@pytest.mark.slow
def test_in_their_real_sizes(tmp_path):
    """Minutes where memory is slow: networks of 33 million weights."""
    for shapes, network in (
        (foreign.pyslowfast("slow"), ResNet3D(depth=50, num_classes=400)),
        (foreign.mmaction_slowonly(), ResNet3D(depth=50, num_classes=400)),
        (foreign.pyslowfast_slowfast(), SlowFast(num_classes=400)),
    ):
        file, _ = saved(tmp_path / "weights.pth", shapes)
        said = initialize(Supervised(primary=network), file)
        assert {name for name in said.kept if not name.endswith("num_batches_tracked")} == TRUNK
