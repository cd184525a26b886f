"""Which DALI fits, by driver and torch; none is imported."""

import importlib.metadata
import re

import pytest

from pipelines.loading import dali
from pipelines.loading.dali import Installed, dali_problem, installed_dali

CUDA13, CUDA12 = Installed("2.4.0", 13), Installed("2.4.0", 12)


@pytest.mark.parametrize(
    ("found", "torch_cuda", "driver"),
    [(CUDA13, "13.0", "580.65.06"), (CUDA12, "12.8", "535.54.03"), (CUDA12, "12.8", "590.1"), (CUDA13, "13.0", None)],
)
def test_what_fits_is_no_problem(found, torch_cuda, driver):
    assert dali_problem(found, torch_cuda=torch_cuda, driver=driver) is None


@pytest.mark.parametrize(
    ("found", "torch_cuda", "driver", "words"),
    [
        (None, "13.0", "580.65", r"not installed.*: pip install 'cmpl\[cuda13\]'$"),
        (None, "12.6", "580.65", r"not installed.*: pip install 'cmpl\[cuda12\]'$"),
        (CUDA13, "12.6", "580.65", r"uninstall nvidia-dali-cuda130 && pip install 'cmpl\[cuda12\]'$"),
        (CUDA13, "13.0", "535.54", r"wants driver 580 or newer, not 535.54: .* torch built for CUDA 12 and pip"),
        (CUDA12, "12.8", "470.1", r"wants driver 525 or newer, not 470.1: a newer driver$"),
        (CUDA12, "11.8", "580.65", r"no DALI; accepted: CUDA 13, CUDA 12$"),
    ],
)
def test_what_does_not_fit_is_named_with_what_to_install(found, torch_cuda, driver, words):
    message = dali_problem(found, torch_cuda=torch_cuda, driver=driver)
    assert message is not None
    assert re.search(words, message), message


def test_the_wheel_of_the_tests_is_found():
    version = importlib.metadata.version("nvidia-dali-cuda130")
    assert installed_dali() == Installed(version, 13)


def test_without_a_wheel_there_is_none(monkeypatch):
    monkeypatch.setattr(dali, "DISTRIBUTIONS", {13: "no-such-wheel"})
    assert installed_dali() is None
