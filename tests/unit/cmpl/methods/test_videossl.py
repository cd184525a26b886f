"""VideoSSL against its formula, with a small image network as the teacher."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from cmpl.config import changed, checked
from cmpl.methods.method import Method
from cmpl.methods.videossl import VideoSSL, distillation_loss, random_frames
from cmpl.methods.views import normalized
from cmpl.models.resnet2d import ResNet2D
from cmpl.recipes.registry import row_config
from cmpl.training.checkpoint import module_tensors
from pipelines.errors import InputError
from tests.support.tiny import Trunk, batch, cross_entropy, noise, softmax

J = 5


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    """(file, network): a ResNet-18 of five image classes."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        network = ResNet2D(depth=18, num_classes=J).eval()
    file = tmp_path_factory.mktemp("teacher") / "teacher.safetensors"
    save_file(network.state_dict(), file)
    return str(file), network


def made(file: str) -> VideoSSL:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        method = VideoSSL(primary=Trunk(), settings=VideoSSL.Settings(threshold=0.6, teacher=file), num_image_classes=J)
        torch.nn.init.normal_(method.image_head.weight, std=2.0)
    return method.train()


def test_the_loss_is_the_formula(teacher):
    file, network = teacher
    method, b = made(file), batch()
    torch.manual_seed(7)
    loss, terms = method(b, unlabeled_weight=2.0)
    clips = torch.cat([b.labeled.standard.primary, b.unlabeled.weak.primary])
    torch.manual_seed(7)
    chosen = torch.randint(clips.shape[2], (len(clips),)).tolist()
    with torch.no_grad():
        q = [softmax(network(clip[:, t][None])[0]) for clip, t in zip(clips, chosen, strict=True)]
    features = method.primary.features(normalized(clips))
    z, z_image = method.primary.head(features).tolist(), method.image_head(features).tolist()
    L_s = np.mean([cross_entropy(z[i], int(y)) for i, y in enumerate(b.labeled.labels)])
    p = [softmax(row) for row in z[3:]]
    L_pseudo = np.mean([cross_entropy(z[3 + i], row.index(max(row))) * (max(row) >= 0.6) for i, row in enumerate(p)])
    L_distill = np.mean([cross_entropy(row, target) for row, target in zip(z_image, q, strict=True)])
    assert L_pseudo > 0
    assert terms["loss_distillation_primary"].item() == pytest.approx(L_distill, rel=1e-4)
    assert loss.item() == pytest.approx(L_s + 2 * (L_pseudo + L_distill), rel=1e-4)


def test_the_teacher_sees_images_as_imagenet_networks_do(teacher):
    _, network = teacher
    seen = []
    handle = network.conv1.register_forward_pre_hook(lambda _module, inputs: seen.append(inputs[0]))
    network(torch.tensor([0, 128, 255], dtype=torch.uint8).view(1, 3, 1, 1).expand(1, 3, 64, 64))
    handle.remove()
    by_hand = [(0 - 0.485) / 0.229, (128 / 255 - 0.456) / 0.224, (1 - 0.406) / 0.225]
    assert seen[0][0, :, 5, 5].tolist() == pytest.approx(by_hand, rel=1e-5)


def test_the_teacher_is_neither_saved_nor_trained(teacher):
    method = made(teacher[0])
    before = module_tensors(method).keys()
    method(batch(), unlabeled_weight=1.0)[0].backward()
    assert module_tensors(method).keys() == before
    assert all(p.grad is None for p in method._teacher[0].parameters())
    assert not method._teacher[0].training


def test_without_weight_the_labels_alone_count(teacher):
    loss, terms = made(teacher[0])(batch(), unlabeled_weight=0.0)
    assert loss.item() == pytest.approx(terms["loss_supervised_primary"].item())


def test_frames_are_drawn_from_torchs_generator():
    clips = noise(64, 4, 0)
    torch.manual_seed(1)
    first = random_frames(clips)
    torch.manual_seed(1)
    assert torch.equal(first, random_frames(clips))
    chosen = [next(t for t in range(4) if torch.equal(first[i], clips[i, :, t])) for i in range(64)]
    assert set(chosen) == {0, 1, 2, 3}


def test_distillation_is_least_at_the_teachers_answer():
    q = torch.tensor([[0.7, 0.2, 0.1]])
    at, off = distillation_loss(q.log(), q), distillation_loss(torch.zeros(1, 3), q)
    assert at < off
    assert at.item() == pytest.approx(-(q * q.log()).sum().item(), rel=1e-5)


def test_evaluation_does_without_the_file():
    method: Method = VideoSSL(primary=Trunk(), settings=VideoSSL.Settings(teacher="/nowhere/at/all.pth"))
    assert method.primary(torch.zeros(1, 3, 2, 4, 4)).shape == (1, 4)
    with pytest.raises(InputError, match=r"method.teacher: received /nowhere/at/all.pth: no such file"):
        method(batch(), unlabeled_weight=1.0)


def test_a_run_without_a_teacher_says_which_file_to_give():
    with pytest.raises(InputError, match=r"method.teacher: received none.*resnet18-f37072fd.pth"):
        checked(row_config("table1-videossl"))
    config = changed(row_config("table1-videossl"), "method", teacher="x.pth")
    assert checked(config) is config
