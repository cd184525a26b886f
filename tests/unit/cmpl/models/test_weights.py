"""Weight files: what is read, under which names, and what is refused."""

import pickle

import pytest
import torch
from safetensors.torch import save_file

from cmpl.models.resnet2d import ResNet2D, depth_of
from cmpl.models.weights import load_image_network, read_tensors
from pipelines.errors import InputError
from tests.support.tiny import image_network


def test_the_2d_network_has_torchvisions_names():
    names = ResNet2D(depth=50).state_dict()
    assert len(names) == 320
    assert names["layer1.0.downsample.0.weight"].shape == (256, 64, 1, 1)
    assert names["layer4.2.conv2.weight"].shape == (512, 512, 3, 3)
    assert sum(p.numel() for p in ResNet2D(depth=50).parameters()) == 25_557_032
    assert sum(p.numel() for p in ResNet2D(depth=18).parameters()) == 11_689_512
    assert [depth_of(ResNet2D(depth=depth).state_dict()) for depth in (18, 34, 50)] == [18, 34, 50]


def test_a_teacher_must_be_whole(tmp_path):
    network = image_network(18)
    save_file(network.state_dict(), tmp_path / "r18.safetensors")
    loaded = load_image_network(str(tmp_path / "r18.safetensors"), num_classes=7, field="x")
    assert torch.equal(loaded.fc.weight, network.fc.weight)
    with pytest.raises(InputError, match="not a ResNet-18 of 1000 classes"):
        load_image_network(str(tmp_path / "r18.safetensors"), field="method.teacher")
    save_file({"stem.weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match=r"no ResNet-18, -34 or -50 with torchvision's names"):
        load_image_network(str(tmp_path / "other.safetensors"), field="method.teacher")


class Dangerous:
    """What unpickling would run."""

    def __reduce__(self):
        return (print, ("unpickled",))


def test_bad_files(tmp_path, capsys):
    with pytest.raises(
        InputError, match=r"init: received .*nowhere.pth: no such file; accepted: a .safetensors or .pth"
    ):
        read_tensors(str(tmp_path / "nowhere.pth"))
    (tmp_path / "text.pth").write_text("not weights")
    with pytest.raises(InputError, match=r"text.pth: (cannot be read as weights|refused)"):
        read_tensors(str(tmp_path / "text.pth"))
    (tmp_path / "text.safetensors").write_text("not weights")
    with pytest.raises(InputError, match="text.safetensors: cannot be read as weights"):
        read_tensors(str(tmp_path / "text.safetensors"))
    torch.save({"weights": Dangerous()}, tmp_path / "bad.pth", pickle_module=pickle)
    with pytest.raises(InputError, match="bad.pth: holds no tensors by name"):
        read_tensors(str(tmp_path / "bad.pth"))
    torch.save({"model": {"a": torch.ones(2)}, "more": Dangerous()}, tmp_path / "more.pth", pickle_module=pickle)
    assert read_tensors(str(tmp_path / "more.pth"))["a"].tolist() == [1, 1]
    torch.save([Dangerous()], tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    with pytest.raises(InputError, match="old.pth: refused, it holds more than weights"):
        read_tensors(str(tmp_path / "old.pth"))
    assert "unpickled" not in capsys.readouterr().out
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(InputError, match=r"list.pth: holds no tensors by name"):
        read_tensors(str(tmp_path / "list.pth"))
