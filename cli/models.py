"""`cmpl models`."""

import json
from fractions import Fraction

import click

NETWORKS = ((50, 1.0), (50, 0.5), (50, 0.25), (50, 0.125), (18, 1.0), (10, 1.0))
"""(depth, width) of the 3D-ResNets that the paper's tables and the recipes name."""
CROP_SIZE = 224


@click.command()
@click.option(
    "--num-classes", type=click.IntRange(min=1), metavar="K", default=400, show_default=True, help="Width of the head."
)
@click.option("--json", "as_json", is_flag=True, help="The table as JSON on stdout.")
def command(*, num_classes: int, as_json: bool) -> None:
    """List the networks with their parameters and multiply-adds.

    Multiply-adds of convolutions and linear layers for one clip of 224 x 224 pixels.
    """
    rows = [sizes(depth=depth, width=width, num_classes=num_classes) for depth, width in NETWORKS]
    slowfast = slowfast_sizes(num_classes=num_classes)
    if as_json:
        click.echo(json.dumps([*rows, slowfast], indent=1))
        return
    from rich.table import Table

    from cli.display import console_of

    table = Table("network", title=f"3D-ResNets, {num_classes} classes, clips of {CROP_SIZE} x {CROP_SIZE}")
    for name in ("parameters (M)", "multiply-adds (G), 8 frames", "16 frames"):
        table.add_column(name, justify="right")
    for row in rows:
        table.add_row(
            f"3D-ResNet{row['depth']}" + (f" x{Fraction(row['width'])}" if row["width"] != 1 else ""),
            f"{row['num_parameters'] / 1e6:.2f}",
            f"{row['multiply_adds_8_frames'] / 1e9:.2f}",
            f"{row['multiply_adds_16_frames'] / 1e9:.2f}",
        )
    console = console_of()
    console.print(table)
    console.print(
        f"SlowFast-R50, 32x2 and 8x8: {slowfast['num_parameters'] / 1e6:.2f} M parameters, "
        f"{slowfast['multiply_adds_32_frames'] / 1e9:.2f} G multiply-adds for 32 frames of 256 x 256.",
        highlight=False,
    )
    console.print(
        "Choose with --set primary.depth=18, --set auxiliary.width=0.25, --set primary.architecture=slowfast.",
        highlight=False,
    )


def sizes(*, depth: int, width: float, num_classes: int) -> dict:
    """One row: parameters, and multiply-adds at 8 and 16 frames. Nothing is computed: tensors are on torch's meta
    device."""
    import torch

    from cmpl.models.counting import count_multiply_adds, count_parameters
    from cmpl.models.resnet3d import ResNet3D

    with torch.device("meta"):
        model = ResNet3D(depth=depth, width=width, num_classes=num_classes)
    multiply_adds = {
        f"multiply_adds_{num_frames}_frames": count_multiply_adds(model, num_frames=num_frames, crop_size=CROP_SIZE)
        for num_frames in (8, 16)
    }
    return {"depth": depth, "width": width, "num_parameters": count_parameters(model), **multiply_adds}


def slowfast_sizes(*, num_classes: int) -> dict:
    """The row of SlowFast-R50 at its published input, 32 frames of 256 x 256 for the fast pathway."""
    import torch

    from cmpl.models.counting import count_multiply_adds, count_parameters
    from cmpl.models.slowfast import SlowFast

    with torch.device("meta"):
        model = SlowFast(num_classes=num_classes)
    multiply_adds = count_multiply_adds(model, num_frames=32, crop_size=256)
    return {
        "architecture": "slowfast",
        "num_parameters": count_parameters(model),
        "multiply_adds_32_frames": multiply_adds,
    }
