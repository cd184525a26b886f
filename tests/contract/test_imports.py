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
    f"pipelines.{name}" for name in ("batch", "errors", "cache", "files", "progress", "registry", "plan.geometry")
}
COMPOSERS = {"cmpl/build.py", "cmpl/session.py"}
"""What ties the data side to the method side; the rest of cmpl sees of pipelines only its leaves."""


SEEN_BESIDES = {
    "cmpl/recipes/registry.py": {"pipelines.datasets.registry"},
    "cmpl/training/runtime.py": {"pipelines.loading.nvdec"},
}
"""A recipe is asked for by a data set's name, so it must know the names of plug-ins; the runtime asks for NVDEC."""


def imports_of(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names.add(node.module)
    return names


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


@pytest.mark.parametrize("path", [p for p in FILES if "cli" in p.parts or "cmpl" in p.parts], ids=lambda p: p.name)
def test_rich_and_click_stay_in_the_command_line(path):
    drawing = {name for name in imports_of(path) if name.split(".")[0] in ("rich", "click")}
    assert not drawing or path.is_relative_to(ROOT / "cli")


def test_readers_import_neither_torch_nor_dali():
    """A reading process costs tens of megabytes, not a gigabyte."""
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
