"""Arrows between packages run one way, and the data side's workers stay small."""

import ast
import importlib.metadata
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LAYERS = ("pipelines", "cmpl", "benchmarks", "cli")
LEAVES_OF_PIPELINES = {
    f"pipelines.{name}"
    for name in (
        "batch",
        "errors",
        "cache",
        "files",
        "progress",
        "ranges",
        "registry",
        "shares",
        "plan.geometry",
        "printable",
        "problems",
    )
}
COMPOSERS = {
    "cmpl/build.py",
    "cmpl/dry_run.py",
    "cmpl/evaluation.py",
    "cmpl/predict.py",
    "cmpl/ready.py",
    "cmpl/report/strips.py",
    "cmpl/selection.py",
    "cmpl/introduction.py",
    "cmpl/session.py",
    "cmpl/start.py",
}
"""What ties the data side to the method side; the rest of cmpl sees of pipelines only its leaves."""


SEEN_BESIDES = {
    "cmpl/evaluation_file.py": {"pipelines.datasets.csv_lists"},
    "cmpl/prediction_file.py": {"pipelines.datasets.csv_lists"},
    "cmpl/recipes/registry.py": {"pipelines.datasets.registry"},
    "cmpl/training/autotune.py": {"pipelines.loading.setup"},
    "cmpl/training/runtime.py": {f"pipelines.loading.{name}" for name in ("dali", "nvdec", "setup", "waiting")},
}
"""Predictions and evaluations are lists that a data set takes back. A recipe is asked for by a data set's name, so it
must know the names of plug-ins; the runtime asks for NVDEC and, as autotuning does, for the number of workers."""

LEAF_MODULES = (
    "errors",
    "printable",
    "problems",
    "files",
    "progress",
    "registry",
    "shares",
    "ranges",
    "cache",
    "batch",
)
"""Modules of pipelines that know none of its packages; each may import the ones before it."""
PACKAGES = {
    "video": (),
    "datasets": ("video",),
    "catalog": ("video", "datasets"),
    "plan": ("catalog",),
    "views": ("plan", "video"),
    "loading": ("video", "datasets", "catalog", "plan", "views"),
}
"""Package of pipelines -> the packages that it may import; all come before it, so there is no circle."""


def imports_of(path: Path) -> set[str]:
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.add(node.module)
    return names


def names_from(path: Path) -> set[str]:
    """Full names of all that a file imports: `from cmpl.training import loop` gives cmpl.training.loop."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def parts_seen_by(path: Path) -> set[str]:
    """Packages and modules of pipelines that a file imports; plan/geometry.py holds values alone and counts as none."""
    modules = {name for name in names_from(path) if name.startswith("pipelines.")}
    return {name.split(".")[1] for name in modules if not f"{name}.".startswith("pipelines.plan.geometry.")}


FILES = [path for layer in LAYERS for path in sorted((ROOT / layer).rglob("*.py"))]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_run_down(path):
    relative = str(path.relative_to(ROOT))
    layer = LAYERS.index(relative.split("/")[0])
    above = [name for name in imports_of(path) if name.split(".")[0] in LAYERS[layer + 1 :]]
    assert above == []
    if relative.startswith("cmpl/") and relative not in COMPOSERS:
        seen = {name for name in imports_of(path) if name.startswith("pipelines")}
        assert seen <= LEAVES_OF_PIPELINES | SEEN_BESIDES.get(relative, set())


def test_no_package_of_pipelines_comes_before_one_that_it_imports():
    before = list(PACKAGES)
    assert all(
        before.index(seen) < before.index(package) for package, seen_by_it in PACKAGES.items() for seen in seen_by_it
    )
    packages = {path.parent.name for path in (ROOT / "pipelines").glob("*/__init__.py")}
    modules = {path.stem for path in (ROOT / "pipelines").glob("*.py")} - {"__init__"}
    assert (packages, modules) == (set(PACKAGES), set(LEAF_MODULES))


@pytest.mark.parametrize(
    "path",
    sorted({*(ROOT / "pipelines").rglob("*.py")} - {ROOT / "pipelines/__init__.py"}),
    ids=lambda p: str(p.relative_to(ROOT)),
)
def test_parts_of_pipelines_import_one_way(path):
    part = path.relative_to(ROOT / "pipelines").parts[0].removesuffix(".py")
    leaves = LEAF_MODULES.index(part) if part in LEAF_MODULES else len(LEAF_MODULES)
    assert parts_seen_by(path) <= {part, *PACKAGES.get(part, ()), *LEAF_MODULES[:leaves]}


@pytest.mark.parametrize(
    "path",
    [p for room in ("methods", "models") for p in sorted((ROOT / "cmpl" / room).glob("*.py"))],
    ids=lambda p: str(p.relative_to(ROOT)),
)
def test_methods_and_models_know_nothing_of_training(path):
    assert not [name for name in names_from(path) if name.startswith("cmpl.training")]


@pytest.mark.parametrize(
    "path",
    [p for layer in ("cmpl", "cli") for p in sorted((ROOT / layer).rglob("*.py"))],
    ids=lambda p: str(p.relative_to(ROOT)),
)
def test_rich_and_click_stay_in_the_command_line(path):
    drawing = {name for name in imports_of(path) if name.split(".")[0] in ("rich", "click")}
    assert not drawing or path.is_relative_to(ROOT / "cli")


def test_no_module_of_tests_imports_another():
    """What several share lies in tests/support, or with the golden files' generators."""
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        shared = {n for n in imports_of(path) if n.startswith("tests.")}
        assert all(n.startswith(("tests.support", "tests.golden.make_")) for n in shared), f"{path}: {shared}"


def test_readers_import_neither_torch_nor_dali():
    """A worker costs tens of megabytes, not a gigabyte."""
    code = "import sys, pipelines.loading.source; print([m for m in sys.modules if m in ('torch', 'nvidia.dali')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"


def test_package_files_are_empty_or_hand_names_on_lazily():
    filled = {
        str(path.relative_to(ROOT))
        for layer in LAYERS
        for path in (ROOT / layer).rglob("__init__.py")
        if path.read_text().strip()
    }
    assert filled <= {"cmpl/__init__.py", "pipelines/__init__.py"}


def test_importing_the_packages_is_light():
    heavy = "('torch', 'nvidia.dali', 'numpy', 'av', 'click')"
    code = f"import sys, cmpl, pipelines; print([m for m in sys.modules if m in {heavy}])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.strip() == "[]"


def test_public_names_are_those_of_their_modules():
    import cmpl
    from cmpl import config, run

    assert (cmpl.Config, cmpl.Run, cmpl.load_run, cmpl.train) == (config.Config, run.Run, run.load_run, run.train)
    assert cmpl.__version__ == importlib.metadata.version("cmpl")
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        _ = cmpl.trian
