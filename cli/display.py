"""What a run looks like in a terminal: live where there is one, plain lines where there is none."""

import contextlib
import os
import time
from collections.abc import Callable, Iterator

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Table

from cli.outputs import let_go
from cmpl.training.reporter import OutputClosedError, Reporter, StepReport
from pipelines.printable import printable

NETWORKS = ("primary", "auxiliary")
NUM_CLASSES_SHOWN = 3
"""Best and worst classes of a result, so many of each."""


def is_first_rank() -> bool:
    """Whether this process speaks; the other ranks of torchrun keep silent."""
    return os.environ.get("RANK", "0") == "0"


def console_of(*, stderr: bool = False) -> Console:
    """Where text for people goes: stdout, or stderr where stdout is for JSON."""
    return PipedConsole(stderr=stderr, quiet=not is_first_rank())


class PipedConsole(Console):
    """A console that says when nobody reads it any more, where Rich would end the program without a word."""

    def on_broken_pipe(self) -> None:
        """Raises OutputClosedError."""
        self.quiet = True
        let_go(self.file)
        raise OutputClosedError("output: its reader is gone (a closed pipe)")


@contextlib.contextmanager
def reporter_on(console: Console) -> Iterator[Reporter]:
    """A live display on a terminal, lines elsewhere; nothing of it is left on the way out."""
    if console.is_terminal and not console.is_dumb_terminal and not console.quiet:
        with LiveReporter(console) as reporter:
            yield reporter
    else:
        yield PlainReporter(console)


class Pace:
    """Time left of preparations and evaluations, from how fast each has gone since it was first heard of."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._begun: dict[str, tuple[float, int, int]] = {}  # what -> (time, done, done at the last call)

    def seconds_left(self, what: str, done: int, total: int) -> float | None:
        """None before anything is known."""
        now = self._clock()
        begin, first, last = self._begun.get(what, (now, done, done))
        if done < last:  # the same work, started anew
            begin, first = now, done
        self._begun[what] = (begin, first, done)
        return (now - begin) / (done - first) * (total - done) if done > first else None


class PlainReporter(Reporter):
    """One line a note and a report; of other progress a line every `every_seconds`, and one at its end."""

    def __init__(
        self, console: Console, *, every_seconds: float = 5.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._console, self._every, self._clock = console, every_seconds, clock
        self._pace = Pace(clock)
        self._said_at: dict[str, float] = {}

    def note(self, text: str) -> None:
        say(self._console, text)

    def step(self, report: StepReport) -> None:
        say(self._console, step_line(report))

    def progress(self, done: int, total: int, what: str) -> None:
        now, left = self._clock(), self._pace.seconds_left(what, done, total)
        if done < total and now - self._said_at.setdefault(what, now) < self._every:
            return
        self._said_at[what] = now
        say(self._console, f"{what}: {done} of {total}" + (f", {duration(left)} left" if left and done < total else ""))


class LiveReporter(Reporter):
    """A bar and a panel of the last report at the foot of the terminal, notes above it. A context manager: outside of
    it nothing is drawn."""

    def __init__(self, console: Console, *, clock: Callable[[], float] = time.monotonic) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            TextColumn("{task.completed} of {task.total}"),
            TextColumn("{task.fields[left]}"),
        )
        self._console, self._pace = console, Pace(clock)
        self._bars = Progress(*columns, console=console, expand=True)
        self._tasks: dict[str, TaskID] = {}
        self._report: StepReport | None = None
        self._live = Live(console=console, get_renderable=self._drawn, refresh_per_second=4, transient=True)

    def __enter__(self) -> "LiveReporter":
        self._live.start()
        return self

    def __exit__(self, *_error: object) -> None:
        with contextlib.suppress(OSError, OutputClosedError):  # the terminal may be gone
            self._live.stop()

    def note(self, text: str) -> None:
        say(self._console, text)

    def step(self, report: StepReport) -> None:
        self._report = report
        self._show("training", report.step, report.num_steps, report.seconds_left)

    def progress(self, done: int, total: int, what: str) -> None:
        self._show(what, done, total, self._pace.seconds_left(what, done, total))

    def _show(self, what: str, done: int, total: int, seconds_left: float | None) -> None:
        left = f"{duration(seconds_left)} left" if seconds_left is not None and done < total else ""
        if what not in self._tasks:
            self._tasks[what] = self._bars.add_task(what, total=total, left=left)
        self._bars.update(self._tasks[what], completed=done, total=total, left=left, visible=done < total)

    def _drawn(self) -> RenderableType:
        panel = [step_table(self._report)] if self._report and self._report.step < self._report.num_steps else []
        return Group(*panel, self._bars.get_renderable())


def say(console: Console, text: str) -> None:
    """Prints one line as it is: never wrapped, no markup read into paths, control characters of names as escapes."""
    try:
        console.print(printable(text), markup=False, highlight=False, soft_wrap=True)
    except OSError as error:
        let_go(console.file)
        raise OutputClosedError(f"output: cannot be written ({error.strerror})") from error


def step_line(report: StepReport) -> str:
    """A report in one line; networks side by side as primary/auxiliary."""
    metrics = report.metrics
    parts = [f"step {report.step} of {report.num_steps}", f"loss {metrics['loss']:.3f}"]
    for name in ("supervised", "unsupervised"):
        if values := _of_networks(metrics, f"loss_{name}"):
            parts.append(f"{name} " + "/".join(f"{value:.3f}" for value in values))
    if shares := _of_networks(metrics, "pseudo_share"):
        parts.append(f"pseudo-labels {'/'.join(map(percent, shares))}")
        if right := _of_networks(metrics, "pseudo_correct"):
            parts.append(f"{'/'.join(map(percent, right))} of them right")
    parts += _speeds(metrics)
    return ", ".join([*parts, f"{duration(report.seconds_left)} left"])


def step_table(report: StepReport) -> RenderableType:
    """A report as a table, one row a network, above a line of what is common to both."""
    metrics = report.metrics
    columns = {
        "supervised": ("loss_supervised", "{:.3f}".format),
        "unsupervised": ("loss_unsupervised", "{:.3f}".format),
        "pseudo-labels": ("pseudo_share", percent),
        "of them right": ("pseudo_correct", percent),
        "right of all": ("pseudo_right", percent),
    }
    table = Table("", box=None, pad_edge=False)
    for title in columns:
        table.add_column(title, justify="right")
    for network in NETWORKS:
        cells = [
            shown(metrics[f"{key}_{network}"]) if f"{key}_{network}" in metrics else "-"
            for key, shown in columns.values()
        ]
        if any(cell != "-" for cell in cells):
            table.add_row(network, *cells)
    return Group(table, ", ".join([f"loss {metrics['loss']:.3f}", *_speeds(metrics)]))


def show_result(console: Console, result: dict, *, title: str) -> None:
    """The table of a result, what it stands on, and its best and worst classes."""
    scores = {name: result[name] for name in NETWORKS if name in result}
    num_classes = len(scores["primary"]["per_class"])
    say(console, title)
    table = Table("network")
    table.add_column("top-1", justify="right")
    if num_classes > 5:  # else every answer is among the first five
        table.add_column("top-5", justify="right")
    for name, score in scores.items():
        table.add_row(name, *(f"{100 * score[key]:.1f} %" for key in ("top1", "top5")[: len(table.columns) - 1]))
    console.print(table)
    for line in result_lines(result):
        say(console, line)


def result_lines(result: dict) -> list[str]:
    """What the figures stand on, in words."""
    lines = [
        f"{count(result['num_evaluated'], 'video')} evaluated, {count(result['clips'], 'clip')} x "
        f"{count(result['crops'], 'crop')} each; {count(result['num_set_aside'], 'unusable video')} set aside"
        + (", listed in problems.json" if result["num_set_aside"] else "")
    ]
    if "train_seconds" in result:
        lines.append(
            f"{result['num_labeled']} labeled and {result['num_unlabeled']} unlabeled videos, "
            f"{count(result['steps'], 'step')} in {duration(result['train_seconds'])}, "
            f"evaluated in {duration(result['evaluation_seconds'])}"
        )
    ranked = sorted(result["primary"]["per_class"].items(), key=lambda item: -item[1])
    if len(ranked) > 2 * NUM_CLASSES_SHOWN:
        lines.append(f"best classes: {_class_list(ranked[:NUM_CLASSES_SHOWN])}")
        lines.append(f"worst classes: {_class_list(ranked[: -NUM_CLASSES_SHOWN - 1 : -1])}")
    else:
        lines.append(f"classes: {_class_list(ranked)}")
    return lines


def _class_list(classes: list[tuple[str, float]]) -> str:
    return ", ".join(f"{name} {percent(top1)}" for name, top1 in classes)


def _of_networks(metrics: dict[str, float], key: str) -> list[float]:
    return [metrics[f"{key}_{network}"] for network in NETWORKS if f"{key}_{network}" in metrics]


def _speeds(metrics: dict[str, float]) -> list[str]:
    return [
        f"lr {metrics['learning_rate']:.2g}",
        f"{metrics['videos_per_second']:.3g} videos/s",
        f"waiting for data {percent(metrics['wait_share'])}",
    ]


def percent(share: float) -> str:
    """0.123 -> 12 %."""
    return f"{100 * share:.0f} %"


def count(number: int, noun: str) -> str:
    """1 video, 2 videos."""
    return f"{number} {noun}" + ("" if number == 1 else "s")


def duration(seconds: float) -> str:
    """0:42, 12:05, 3:10:00."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
