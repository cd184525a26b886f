"""A configuration given as a file: the config.json of a run, or a part of one, laid over another configuration."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cmpl.config import Config, changed, from_json, to_json
from pipelines.errors import InputError, nearest
from pipelines.registry import use_plugins


def read_config_file(path: Path) -> dict[str, Any]:
    """The fields of a file, section by section; of a run's folder, those of its config.json.

    `{"optim.lr": 0.1}` is the same as `{"optim": {"lr": 0.1}}`. Raises InputError for what is no JSON object.
    """
    path = path / "config.json" if path.is_dir() else path
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(
            f"--config: received {path} ({reason}); accepted: a config.json of a run, or a part of one"
        ) from error
    if not isinstance(content, dict):
        kind = type(content).__name__
        raise InputError(f"--config: received {path}, a JSON {kind}; accepted: an object of fields")
    values: dict[str, Any] = {}
    for key, value in content.items():
        section, dot, name = key.partition(".")
        if not dot:
            values[key] = {**values[key], **value} if isinstance(values.get(key), dict) else value
        elif isinstance(inner := values.setdefault(section, {}), dict):
            inner[name] = value
    return values


def overlaid(base: Config, values: Mapping[str, Any]) -> Config:
    """`base` with the fields of a file in place of its own.

    Another `method.name` brings that method's fields. Raises InputError for an unknown field, naming the nearest, and
    for a value that is not of its field's type.
    """
    if not values:
        return base
    use_plugins(tuple(values.get("plugins", ())))
    method = values.get("method", {})
    if isinstance(method, Mapping) and isinstance(name := method.get("name"), str):
        base = changed(base, "method", name=name)
    merged = to_json(base)
    for key, value in values.items():
        if key not in merged:
            near = nearest(key, merged)
            raise InputError(f"--config: unknown field {key!r}{near}")
        if isinstance(merged[key], dict) and isinstance(value, Mapping):
            merged[key] = {**merged[key], **value}
        else:
            merged[key] = value
    try:
        return from_json(merged)
    except InputError as error:
        raise InputError(str(error).replace("config.json: ", "--config: ", 1)) from error


def field_of(values: Mapping[str, Any], section: str, name: str) -> Any:
    """One field of a file, or None where it has none."""
    inner = values.get(section)
    return inner.get(name) if isinstance(inner, Mapping) else None
