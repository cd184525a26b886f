"""One run that nothing interrupted, for all tests of what a run promises."""

from pathlib import Path

import pytest

import cmpl
from tests.support.runs import config_of


@pytest.fixture(scope="session")
def finished(folder, tmp_path_factory) -> Path:
    """A finished run on `folder`; not to be changed."""
    path = tmp_path_factory.mktemp("runs") / "whole"
    cmpl.train(config_of(folder), out=path)
    return path
