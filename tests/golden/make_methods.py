"""Writes methods.json: every recipe's settings of its method. Run it (`python -m tests.golden.make_methods`) when a
change of a published experiment is meant."""

import json
from pathlib import Path
from typing import Any

from cmpl.config import with_settings
from cmpl.recipes.registry import RECIPES, ROWS, row_config
from cmpl.registries import METHODS, method_class

GOLDEN_METHODS = Path(__file__).with_name("methods.json")


def rows() -> dict[str, dict[str, dict[str, Any]]]:
    """Row -> data ("own" or a data set's name) -> the fields of its method."""
    return {
        name: {data or "own": dict(sorted(vars(row_config(name, dataset=data).method).items())) for data in DATA}
        for name in ROWS
    }


DATA = (None, "demo", "ucf101")


def switched() -> dict[str, dict[str, dict[str, Any]]]:
    """Data set -> method -> its fields, where the data set's recipe is given that method instead of its own."""
    return {
        data: {name: dict(sorted(vars(_with_method(recipe(), name)).items())) for name in METHODS.built_in}
        for data, recipe in RECIPES.items()
    }


def _with_method(config: Any, name: str) -> Any:
    files = {f"method.{field}": "/file.pth" for field in method_class(name).Settings.file_fields()}
    return with_settings(config, {"method.name": name} | files).method


def text(golden: dict[str, dict[str, dict[str, Any]]]) -> str:
    """As JSON, one line a configuration."""
    blocks = []
    for kind, entries in golden.items():
        lines = [
            f"{json.dumps(name)}: {{\n"
            + ",\n".join(f"  {json.dumps(key)}: {json.dumps(fields)}" for key, fields in entry.items())
            + "}"
            for name, entry in entries.items()
        ]
        blocks.append(f"{json.dumps(kind)}: {{\n" + ",\n".join(lines) + "}")
    return "{\n" + ",\n".join(blocks) + "}\n"


if __name__ == "__main__":
    GOLDEN_METHODS.write_text(text({"rows": rows(), "switched": switched()}))
