"""Which DALI is installed, and which one a machine's driver and torch want. DALI itself is not imported."""

import importlib.metadata
from typing import NamedTuple

from pipelines.errors import InputError

DISTRIBUTIONS = {13: "nvidia-dali-cuda130", 12: "nvidia-dali-cuda120"}
"""CUDA's major version -> the wheel that is built for it; `cmpl[cuda13]` and `cmpl[cuda12]` install them."""
OLDEST_DRIVERS = {13: 580, 12: 525}
"""CUDA's major version -> the first branch of Linux drivers that runs it (CUDA Toolkit Release Notes, table 2)."""


class Installed(NamedTuple):
    """An installed wheel of DALI."""

    version: str
    cuda: int  # major version of CUDA that it is built for


def installed_dali() -> Installed | None:
    """The installed wheel; None where there is none."""
    for cuda, name in DISTRIBUTIONS.items():
        try:
            return Installed(importlib.metadata.version(name), cuda)
        except importlib.metadata.PackageNotFoundError:
            continue
    return None


def dali_problem(found: Installed | None, *, torch_cuda: str | None, driver: str | None) -> str | None:
    """Says what does not fit together, and what to install; None where all does.

    torch_cuda: such as "13.0", None for a build without CUDA. driver: such as "580.65.06", None where unknown.
    """
    wanted = int(torch_cuda.split(".")[0]) if torch_cuda else 13
    oldest = OLDEST_DRIVERS.get(wanted)
    if driver is not None and torch_cuda is not None and oldest is not None and int(driver.split(".")[0]) < oldest:
        fits = next((cuda for cuda, branch in OLDEST_DRIVERS.items() if int(driver.split(".")[0]) >= branch), None)
        advice = "a newer driver"
        if fits is not None:
            advice = f"a newer driver, or a torch built for CUDA {fits} and pip install 'cmpl[cuda{fits}]'"
        return f"torch is built for CUDA {torch_cuda}, which wants driver {oldest} or newer, not {driver}: {advice}"
    if wanted not in DISTRIBUTIONS:
        return f"torch is built for CUDA {torch_cuda}, for which there is no DALI; accepted: {_accepted()}"
    if found is None:
        return f"DALI is not installed, which makes the views on a GPU: pip install 'cmpl[cuda{wanted}]'"
    if torch_cuda is not None and found.cuda != wanted:
        return (
            f"DALI is built for CUDA {found.cuda} and torch for CUDA {torch_cuda}: "
            f"pip uninstall {DISTRIBUTIONS[found.cuda]} && pip install 'cmpl[cuda{wanted}]'"
        )
    return None


def require_dali(field: str, received: str) -> None:
    """Raises InputError where a GPU is asked for and the installed DALI does not go with torch."""
    import torch  # not above: workers import no torch

    if misfit := dali_problem(installed_dali(), torch_cuda=torch.version.cuda, driver=None):
        raise InputError(f"{field}: received {received!r}, but {misfit}; accepted: cpu")


def _accepted() -> str:
    return ", ".join(f"CUDA {cuda}" for cuda in DISTRIBUTIONS)
