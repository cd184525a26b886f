"""`cmpl models`: lists networks with their sizes."""

import json
from fractions import Fraction
from typing import Any, cast

import click

from cli.options import plugin_option
from cmpl.config import NetworkConfig
from cmpl.registries import BACKBONES
from pipelines.registry import use_plugins

NETWORKS = ((50, 1.0), (50, 0.5), (50, 0.25), (50, 0.125), (18, 1.0), (10, 1.0))
"""(depth, width) of the 3D-ResNets that the paper's tables and the recipes name."""
CROP_SIZE = 224


@click.command()
@click.option(
    "--num-classes", type=click.IntRange(min=1), metavar="K", default=400, show_default=True, help="Width of the head."
)
@plugin_option
@click.option("--json", "as_json", is_flag=True, help="The table as JSON on stdout.")
def command(*, num_classes: int, plugins: tuple[str, ...], as_json: bool) -> None:
    """List the networks with their parameters and multiply-adds.

    Multiply-adds of convolutions and linear layers for one clip of 224 x 224 pixels. Backbones of plug-ins follow, as
    they are by default.
    """
    use_plugins(plugins)
    rows = [sizes(depth=depth, width=width, num_classes=num_classes) for depth, width in NETWORKS]
    slowfast, tsm = slowfast_sizes(num_classes=num_classes), tsm_sizes(num_classes=num_classes)
    own = [plugin_sizes(name, num_classes=num_classes) for name in BACKBONES.names() if name not in BACKBONES.built_in]
    if as_json:
        click.echo(json.dumps([*rows, slowfast, tsm, *own], indent=1))
        return
    from rich.table import Table

    from cli.display import console_of

    table = Table("network", title=f"Networks, {num_classes} classes, clips of {CROP_SIZE} x {CROP_SIZE}")
    for name in ("parameters (M)", "multiply-adds (G), 8 frames", "16 frames"):
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(
            f"3D-ResNet{row['depth']}" + (f" x{Fraction(row['width'])}" if row["width"] != 1 else ""),
            *figures(row),
        )
    table.add_row(f"TSM-R{tsm['depth']}", *figures(tsm))
    for row in own:
        table.add_row(row["architecture"], *figures(row))
    console = console_of()
    console.print(table)
    console.print(
        f"SlowFast-R50, 32x2 and 8x8: {slowfast['num_parameters'] / 1e6:.2f} M parameters, "
        f"{slowfast['multiply_adds_32_frames'] / 1e9:.2f} G multiply-adds for 32 frames of 256 x 256.",
        highlight=False,
    )
    console.print(
        "Choose with --set primary.depth=18, --set auxiliary.width=0.25, --set primary.architecture=slowfast (or tsm).",
        highlight=False,
    )


def figures(row: dict[str, Any]) -> tuple[str, str, str]:
    """The texts of one line: parameters in millions, multiply-adds in billions at 8 and at 16 frames."""
    return (
        f"{row['num_parameters'] / 1e6:.2f}",
        f"{row['multiply_adds_8_frames'] / 1e9:.2f}",
        f"{row['multiply_adds_16_frames'] / 1e9:.2f}",
    )


def sizes(*, depth: int, width: float, num_classes: int) -> dict[str, Any]:
    """One row of the 3D-ResNets: parameters, and multiply-adds at 8 and 16 frames."""
    network = NetworkConfig(depth=depth, width=width)
    return {"depth": depth, "width": width, **counted(network, num_classes=num_classes, num_frames=(8, 16))}


def plugin_sizes(architecture: str, *, num_classes: int) -> dict[str, Any]:
    """The row of a plug-in's backbone, at 8 and 16 frames."""
    network = NetworkConfig(architecture=architecture)
    return {"architecture": architecture, **counted(network, num_classes=num_classes, num_frames=(8, 16))}


def slowfast_sizes(*, num_classes: int) -> dict[str, Any]:
    """The row of SlowFast-R50 at its published input, 32 frames of 256 x 256 for the fast pathway."""
    network = NetworkConfig(architecture="slowfast")
    found = counted(network, num_classes=num_classes, num_frames=(32,), crop_size=256)
    return {"architecture": "slowfast", **found}


def tsm_sizes(*, num_classes: int) -> dict[str, Any]:
    """The row of TSM-R18, at 8 and 16 frames."""
    network = NetworkConfig(architecture="tsm", depth=18)
    found = counted(network, num_classes=num_classes, num_frames=(8, 16))
    return {"architecture": "tsm", "depth": network.depth, **found}


def counted(
    network: NetworkConfig, *, num_classes: int, num_frames: tuple[int, ...], crop_size: int = CROP_SIZE
) -> dict[str, int]:
    """Parameters, and multiply-adds for clips of so many frames. Nothing is computed: tensors have no data."""
    import torch
    from torch import nn

    from cmpl.build import network_of
    from cmpl.models.counting import count_multiply_adds, count_parameters

    with torch.device("meta"):
        model = cast(nn.Module, network_of(network, num_classes=num_classes))
    found = {"num_parameters": count_parameters(model)}
    for number in num_frames:
        found[f"multiply_adds_{number}_frames"] = count_multiply_adds(model, num_frames=number, crop_size=crop_size)
    return found
