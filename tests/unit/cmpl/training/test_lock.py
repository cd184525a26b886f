"""One writer a run, across processes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from cmpl.training.lock import NAME, locked
from pipelines.errors import InputError

HOLD = """
import sys, time
from pathlib import Path
from cmpl.training.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_lock_names_its_holder_and_ends_with_it(tmp_path):
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[4])}
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], env=environment, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(InputError, match=rf"process {holder.pid} on \S+ trains here since \d{{4}}-"), locked(tmp_path):
        pass
    holder.kill()
    holder.wait()
    with locked(tmp_path) as problem:
        assert problem is None
    assert not (tmp_path / NAME).exists()


def test_a_process_does_not_lock_a_folder_twice(tmp_path):
    """POSIX locks would let it, and the inner block's end would free the outer one's."""
    with locked(tmp_path), pytest.raises(InputError, match="this process trains here already"), locked(tmp_path):
        pass
