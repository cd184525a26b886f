"""Starting weights: inflation against the 2D network itself, fine-tuning, and files that are none."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from cmpl.config import NetworkConfig
from cmpl.methods.cross_model import CrossModel
from cmpl.methods.supervised import Supervised
from cmpl.models.resnet3d import ResNet3D
from cmpl.models.slowfast import SlowFast
from cmpl.training import checkpoint as ckpt
from cmpl.training.initialize import initialize
from pipelines.errors import InputError
from tests.support.tiny import image_network


@pytest.fixture(scope="module", params=[18, 50])
def inflated(request, tmp_path_factory):
    """(2D network, its file, a method that started from it, what was said)."""
    network = image_network(request.param)
    file = tmp_path_factory.mktemp("weights") / "resnet.pth"
    torch.save({"state_dict": {f"module.{name}": value for name, value in network.state_dict().items()}}, file)
    method = Supervised(primary=ResNet3D(depth=request.param, num_classes=3)).eval()
    return network, file, method, initialize(method, str(file))


def test_on_a_still_picture_the_inflated_network_is_the_2d_one(inflated):
    """Inside the clip; at its first and last frames zero padding in time dims what an inflated kernel sees."""
    network, _, method, _ = inflated
    picture = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    clip = picture.unsqueeze(2).repeat(1, 1, 17, 1, 1)
    with torch.no_grad():
        x = network.layer1(nn.functional.max_pool2d(network.bn1(network.conv1(picture)).relu(), 3, 2, 1))
        y = method.primary.stages[0](method.primary.stem(clip))
    assert x.std() > 0.1
    torch.testing.assert_close(y[:, :, 8], x, rtol=1e-3, atol=1e-4)
    assert not torch.allclose(y[:, :, 0], x, rtol=1e-3, atol=1e-4)


def test_inflation_says_what_became_of_every_tensor(inflated):
    _, file, method, said = inflated
    assert {*said.loaded, *said.kept} == set(ckpt.module_tensors(method))
    assert said.kept.keys() == {"primary.head.weight", "primary.head.bias"}
    assert set(said.unused) == {"fc.weight", "fc.bias"}
    text = "\n".join(said.lines())
    assert f"initialized from {file}: {len(said.loaded)} of {len(said.loaded) + 2} tensors loaded" in text
    assert "fresh (another number of classes: 7 there, 3 here): primary.head.weight, primary.head.bias" in text
    assert "in the file, not used: fc." in text


def test_a_kernel_is_repeated_over_time_and_divided(inflated):
    network, _, method, _ = inflated
    kernel = method.primary.stem.conv.weight
    assert torch.equal(kernel[:, :, 0], kernel[:, :, 4])
    torch.testing.assert_close(kernel.sum(dim=2), network.conv1.weight)


def test_slowfast_takes_what_fits_its_slow_pathway(tmp_path):
    save_file(image_network(50).state_dict(), tmp_path / "r50.safetensors")
    method = Supervised(primary=SlowFast(num_classes=3))
    said = initialize(method, str(tmp_path / "r50.safetensors"))
    assert "primary.slow_stem.conv.weight" in said.loaded
    assert said.kept["primary.slow_stages.0.0.conv1.weight"] == "another shape"  # the fast pathway's channels join here
    assert said.kept["primary.fast_stem.conv.weight"] == "not in the file"
    text = "\n".join(said.lines())
    assert "in the file, not used: fc.bias, fc.weight, layer1.0.conv1.weight" in text
    assert "primary.slow_stages.0.0.conv1.weight (64, 64, 1, 1) there, (64, 80, 1, 1, 1) here" in text


def networks(num_classes: int) -> CrossModel:
    def network(width: float) -> ResNet3D:
        return ResNet3D(depth=10, width=width, num_classes=num_classes)

    return CrossModel(primary=network(1 / 8), auxiliary=network(1 / 16))


def test_fine_tuning_replaces_the_head_where_classes_differ(tmp_path):
    before, after = networks(3), networks(5)
    fresh = after.primary.head.weight.clone()
    saved = ckpt.Checkpoint(step=4, state={}, model=ckpt.module_tensors(before), optimizer={}, ema={})
    folder = ckpt.save_checkpoint(tmp_path / "checkpoints", saved)
    for source in (tmp_path, folder, folder / "model.safetensors"):
        said = initialize(after, str(source))
        assert set(said.kept) == {
            f"{net}.head.{part}" for net in ("primary", "auxiliary") for part in ("weight", "bias")
        }
        assert said.kept["primary.head.weight"] == "another number of classes: 3 there, 5 here"
    assert torch.equal(after.primary.head.weight, fresh)
    assert torch.equal(after.auxiliary.stem.conv.weight, before.auxiliary.stem.conv.weight)
    assert not initialize(networks(3), str(tmp_path)).kept


def test_a_lone_networks_file_is_the_primarys(tmp_path):
    network = networks(3).primary
    torch.save(network.state_dict(), tmp_path / "network.pt")
    method = networks(3)
    said = initialize(method, str(tmp_path / "network.pt"))
    assert all(name.startswith("primary.") for name in said.loaded)
    assert torch.equal(method.primary.head.weight, network.head.weight)


def test_a_file_of_other_names_is_refused(tmp_path):
    save_file({"other.weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match=r"of whose 1 tensors none fits"):
        initialize(networks(3), str(tmp_path / "other.safetensors"))


@pytest.mark.parametrize(("depth", "width"), [(18, 1 / 8), (10, 1 / 4)])
def test_a_network_is_not_put_together_from_another_ones_parts(tmp_path, depth, width):
    other = CrossModel(
        primary=ResNet3D(depth=depth, width=width, num_classes=3),
        auxiliary=ResNet3D(depth=10, width=1 / 16, num_classes=3),
    )
    tensors = {name: value.clone().contiguous() for name, value in ckpt.module_tensors(networks(3)).items()}
    save_file(tensors, tmp_path / "a.safetensors")
    with pytest.raises(InputError, match=r"another width or depth: .* for primary\..*; accepted: .*primary.depth"):
        initialize(other, str(tmp_path / "a.safetensors"))


def test_weights_that_are_not_finite_are_refused(tmp_path):
    tensors = {name: value.clone().contiguous() for name, value in ckpt.module_tensors(networks(3)).items()}
    tensors["primary.head.weight"][0, 0] = float("nan")
    save_file(tensors, tmp_path / "nan.safetensors")
    with pytest.raises(InputError, match="primary.head.weight holds numbers that are not finite"):
        initialize(networks(3), str(tmp_path / "nan.safetensors"))


def test_the_head_stays_fresh_where_the_same_number_of_classes_has_other_names(tmp_path):
    before, after = networks(3), networks(3)
    state = {"classes": ["fall", "fight", "walk"]}
    saved = ckpt.Checkpoint(step=4, state=state, model=ckpt.module_tensors(before), optimizer={}, ema={})
    ckpt.save_checkpoint(tmp_path / "checkpoints", saved)
    said = initialize(after, str(tmp_path), classes=("aggression", "fall", "walk"))
    assert said.kept["primary.head.weight"] == "other classes: 3 there, 3 now; gone 'fight', new 'aggression'"
    assert not torch.equal(after.primary.head.weight, before.primary.head.weight)
    assert not initialize(networks(3), str(tmp_path), classes=("fall", "fight", "walk")).kept


def test_a_narrow_network_takes_nothing_of_a_wide_one(tmp_path):
    save_file(image_network(18).state_dict(), tmp_path / "r18.safetensors")
    narrow = Supervised(primary=ResNet3D(depth=18, width=NetworkConfig(width=0.25).width, num_classes=3))
    with pytest.raises(InputError, match="none fits"):
        initialize(narrow, str(tmp_path / "r18.safetensors"))
