"""Makes a gray copy of the demo, in which motion alone tells classes apart: a folder's data set.

python -m benchmarks.training.gray_demo FOLDER
"""

from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import av
import click
import numpy as np

from pipelines.datasets.demo import ensure_demo
from pipelines.files import written_whole

OPTIONS = {"crf": "20", "g": "4", "threads": "1"}


def gray_copy(source: Path, target: Path) -> None:
    """Encodes a video anew; each pixel is the mean of its red, green and blue."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with (
        written_whole(target) as draft,
        av.open(str(source)) as read,
        av.open(str(draft), "w", format="mp4") as out,
    ):
        of_source = read.streams.video[0]
        stream = out.add_stream("libx264", rate=of_source.average_rate, options=OPTIONS)
        stream.width, stream.height, stream.pix_fmt = of_source.width, of_source.height, "yuv420p"
        for number, frame in enumerate(read.decode(video=0)):
            gray = frame.to_ndarray(format="rgb24").mean(axis=2, keepdims=True).round().astype(np.uint8)
            made = av.VideoFrame.from_ndarray(gray.repeat(3, axis=2), format="rgb24")
            made.pts = number
            out.mux(stream.encode(made))
        out.mux(stream.encode())


def _copy(name: str, *, source: Path, out: Path) -> None:
    gray_copy(source / name, (out / name).with_suffix(".mp4"))


@click.command()
@click.argument("out", type=click.Path(path_type=Path))
@click.option("--processes", default=2, show_default=True)
def main(out: Path, processes: int) -> None:
    """Make a gray copy of the demo, in which motion alone tells classes apart."""
    source = ensure_demo()
    names = [str(path.relative_to(source)) for path in sorted(source.glob("*/*/*")) if path.is_file()]
    with ProcessPoolExecutor(processes) as pool:
        list(pool.map(partial(_copy, source=source, out=out), names, chunksize=20))
    click.echo(f"{len(names)} videos in {out}")


if __name__ == "__main__":
    main()
