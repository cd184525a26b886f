"""Two ranks learn the same whatever the switches of the step are, also over the end of the unlabeled delay."""

import json

import pytest

from tests.support.torchrun import torchrun

SCRIPT = """
import json, sys
import torch
from pathlib import Path
from cmpl.config import with_settings
from cmpl.methods.cross_model import CrossModel
from cmpl.recipes.demo import demo
from cmpl.training import wrapped
from cmpl.training.checkpoint import module_tensors
from cmpl.training.identity import Identity
from cmpl.training.loop import Trainer
from cmpl.training.plan import plan_of
from cmpl.training.ranks import join_ranks, leave_ranks
from cmpl.training.reporter import Reporter
from cmpl.training.run_directory import RunDirectory
from cmpl.training.runtime import settle
from cmpl.training.step_trial import SameBatch
from cmpl.training.switches import Switches
from tests.support.tiny import Small, batch

ARMS = {
    "plain": Switches(),
    "bucket views": Switches(bucket_views=True, fused_sgd=True),
    "static graph": Switches(static_graph=True),
    "both": Switches(bucket_views=True, static_graph=True),
    "compiled": Switches(bucket_views=True, compile=True),
    "kept gradients": Switches(bucket_views=True, cuda_graphs=True),
}

def main():
    torch.set_num_threads(1)
    ranks = join_ranks("cpu")
    wrapped.compile_options = lambda *, cuda_graphs: {"backend": "eager", "dynamic": False}
    found = {}
    for accumulate in (1, 2):
        settings = {"method.unlabeled_delay": "0.5", "batch.accumulate": str(accumulate), "method.threshold": "0.1"}
        config = with_settings(demo(), settings)
        for name, switches in ARMS.items():
            if switches.static_graph and accumulate > 1:
                continue
            torch.manual_seed(0)
            method = CrossModel(primary=Small(), auxiliary=Small(), settings=config.method)
            trainer = Trainer(
                method, plan=plan_of(config, num_steps=6, num_ranks=2, uses_unlabeled=True),
                identity=Identity(classes=("a", "b", "c", "d")), loader_at=None, validate=None,
                run=RunDirectory(Path("unused")), runtime=settle(config.runtime), switches=switches, ranks=ranks,
                reporter=Reporter(),
            )
            loader = SameBatch(batch(primary_frames=4 + 2 * ranks.rank, auxiliary_frames=4))
            for trainer.step in range(6):  # three with the labeled videos alone
                trainer.update(loader)
            state = module_tensors(trainer.method)
            found[f"{name}, {accumulate}"] = [float(value.double().sum()) for value in state.values()]
            found[f"terms of {name}, {accumulate}"] = [len(trainer.sums.means())]
    Path(sys.argv[1], f"rank-{ranks.rank}.json").write_text(json.dumps(found))
    leave_ranks()

if __name__ == "__main__":
    main()
"""


def test_weights_are_those_of_the_plain_exchange(tmp_path):
    """One start of torchrun for all arms, as it takes seconds."""
    script = tmp_path / "arms.py"
    script.write_text(SCRIPT)
    done = torchrun(script, str(tmp_path))
    assert done.returncode == 0, done.stderr[-3000:]
    by_rank = [json.loads((tmp_path / f"rank-{rank}.json").read_text()) for rank in range(2)]
    for found in by_rank:
        for key, values in found.items():
            if key.startswith("terms"):
                assert values[0] > 5, "the unlabeled losses were switched on"
            else:
                assert values == pytest.approx(found["plain, " + key[-1]], rel=1e-5, abs=1e-6), key
    for key, values in by_rank[0].items():
        assert values[:4] == by_rank[1][key][:4], f"{key}: ranks have one model"
    assert by_rank[0]["plain, 1"] != pytest.approx(by_rank[0]["plain, 2"], rel=1e-5), "steps do move the weights"
