"""Normalization: one pass, the same numbers in every type, and a border of zeros that is the mean."""

import pytest
import torch
from torch import nn

from cmpl.methods.cross_model import CrossModel
from cmpl.methods.views import PIXEL_MEAN, PIXEL_STD, narrow_clips, normalized
from cmpl.models.resnet3d import Stem
from cmpl.training.switches import Switches
from tests.support.tiny import batch, noise
from tests.support.trainers import trainer

ALL = torch.arange(256, dtype=torch.uint8)


def written_out(clips: torch.Tensor) -> torch.Tensor:
    return (clips.to(torch.float32) - PIXEL_MEAN) / PIXEL_STD


def test_float32_is_the_formula_to_the_bit_and_leaves_the_clips_alone():
    clips = ALL.clone()
    torch.testing.assert_close(normalized(clips), written_out(ALL), rtol=0, atol=0)
    assert torch.equal(clips, ALL)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_each_of_the_256_values_is_what_autocast_would_round_float32_to(dtype):
    with torch.autocast("cpu", dtype=dtype), narrow_clips(True):
        made = normalized(ALL)
    assert made.dtype == dtype
    assert torch.equal(made, written_out(ALL).to(dtype))


def test_the_memory_order_stays():
    clips = torch.randint(0, 256, (2, 4, 6, 6, 3), dtype=torch.uint8).permute(0, 4, 1, 2, 3)
    assert normalized(clips).stride() == clips.stride()
    with torch.autocast("cpu", dtype=torch.bfloat16), narrow_clips(True):
        assert normalized(clips).stride() == clips.stride()


def test_only_where_both_are_on():
    with narrow_clips(True):
        assert normalized(ALL).dtype == torch.float32
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert normalized(ALL).dtype == torch.float32
        with narrow_clips(False):
            assert normalized(ALL).dtype == torch.float32
        with narrow_clips(True):
            assert normalized(ALL).dtype == torch.bfloat16
        assert normalized(ALL).dtype == torch.float32, "off again behind the block"


def test_outputs_and_gradients_under_autocast_are_those_of_float32_clips():
    """Borders included: the convolution pads with zeros, the mean, after either."""
    results = []
    for is_on in (False, True):
        torch.manual_seed(0)
        stem = Stem(8, kernel=(3, 5, 5), convolution="auto")
        clips = noise(2, 4, 0).contiguous(memory_format=torch.channels_last_3d)
        with torch.autocast("cpu", dtype=torch.bfloat16), narrow_clips(is_on):
            output = stem(normalized(clips))
        output.float().square().sum().backward()
        results.append([output, stem.conv.weight.grad, stem.bn.weight.grad])
    for narrow, wide in zip(results[1], results[0], strict=True):
        torch.testing.assert_close(narrow, wide, rtol=0, atol=0)


def test_a_step_of_the_method_is_the_same():
    losses = []
    for is_on in (False, True):
        torch.manual_seed(0)
        networks = [nn.Sequential(nn.Conv3d(3, 4, (1, 3, 3)), nn.AdaptiveAvgPool3d(1), nn.Flatten()) for _ in "FA"]
        method = CrossModel(primary=networks[0], auxiliary=networks[1], settings=CrossModel.Settings(threshold=0.1))
        with torch.autocast("cpu", dtype=torch.bfloat16), narrow_clips(is_on):
            loss, _ = method(batch(auxiliary_frames=4), unlabeled_weight=5.0)
        loss.backward()
        losses.append([loss.detach(), *(p.grad for p in method.parameters())])
    for narrow, wide in zip(losses[1], losses[0], strict=True):
        torch.testing.assert_close(narrow, wide, rtol=0, atol=0)


@pytest.mark.parametrize("is_on", [False, True])
def test_the_trainers_step_sees_narrow_clips_where_they_are_on(tmp_path, is_on):
    seen = []
    made = trainer(tmp_path / "run", num_steps=1, switches=Switches(narrow_clips=is_on), **{"runtime.amp": "bf16"})
    made.method.primary.register_forward_pre_hook(lambda network, inputs: seen.append(inputs[0].dtype))
    assert made.fit()
    assert set(seen) == {torch.bfloat16 if is_on else torch.float32}
