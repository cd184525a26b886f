"""Processor time and memory of a process and its children, GPU memory, and use of NVDEC."""

import ctypes
import os
from dataclasses import dataclass
from pathlib import Path

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, kw_only=True)
class Usage:
    """Processor time of a process and its descendants since they began, and their memory now."""

    cpu_seconds: float
    memory_bytes: int
    """Resident; what processes share is counted in each."""


def usage(pid: int | None = None) -> Usage:
    """Reads /proc: a process (this one by default) and its descendants."""
    own = _family_stats(pid or os.getpid()).values()
    return Usage(
        cpu_seconds=sum(int(ticks) for fields in own for ticks in fields[11:15]) / _TICKS_PER_SECOND,
        memory_bytes=sum(int(fields[21]) for fields in own) * _PAGE_BYTES,
    )


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """What a process and its descendants hold now."""

    memory_bytes: int
    """Memory of their own: no pages of files, which unrelated programs share and the system drops at will.

    What n processes share counts as 1/n in each.
    """
    num_processes: int
    num_threads: int
    num_files: int
    """Open file descriptors."""


def footprint(pid: int | None = None) -> Footprint:
    """Reads /proc: a process (this one by default) and its descendants. Takes some milliseconds a process.

    Raises OSError where the system does not tell that memory (Linux before 5.9).
    """
    root = pid or os.getpid()
    memory_bytes = num_files = num_threads = num_processes = 0
    for process, fields in _family_stats(root).items():
        folder = Path("/proc", str(process))
        try:
            rollup = (folder / "smaps_rollup").read_text()
            files = len(os.listdir(folder / "fd"))
        except (FileNotFoundError, ProcessLookupError):
            if process == root:
                raise
            continue  # it has ended
        kib = {name: int(rest.split()[0]) for name, rest in (line.split(":", 1) for line in rollup.splitlines()[1:])}
        if "Pss_Anon" not in kib:
            raise OSError(f"{folder / 'smaps_rollup'}: no Pss_Anon")
        memory_bytes += 1024 * (kib["Pss_Anon"] + kib["Pss_Shmem"])
        num_files += files
        num_threads += int(fields[17])
        num_processes += 1
    return Footprint(
        memory_bytes=memory_bytes, num_processes=num_processes, num_threads=num_threads, num_files=num_files
    )


def _family_stats(root: int) -> dict[int, list[str]]:
    """Reads the fields of /proc/*/stat behind the name, of a process and its descendants."""
    stats = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            text = (folder / "stat").read_text()
        except OSError:  # it has ended
            continue
        stats[int(folder.name)] = text[text.rindex(")") + 2 :].split()  # a program's name may hold anything
    family = _family(root, {process: int(fields[1]) for process, fields in stats.items()})
    return {process: stats[process] for process in family}


def _family(root: int, parents: dict[int, int]) -> set[int]:
    """Finds the process and its descendants."""
    family, found = {root}, {root}
    while found:
        found = {process for process, parent in parents.items() if parent in found} - family
        family |= found
    return family


def gpu_memory_bytes(device_index: int | None) -> int | None:
    """Gives the bytes in use on a GPU, by torch, DALI and all others; None without a GPU."""
    if device_index is None:
        return None
    import torch

    free, total = torch.cuda.mem_get_info(device_index)
    return total - free


class DecoderMeter:
    """Reads how busy a GPU's video decoders are. `problem` says why that cannot be read, and is None where it can."""

    def __init__(self, device_index: int | None, *, library: ctypes.CDLL | None = None) -> None:
        self.problem: str | None = None
        self._handle = ctypes.c_void_p()
        try:
            self._connect(device_index, library)
        except OSError as error:
            self.problem = str(error)

    def _connect(self, device_index: int | None, library: ctypes.CDLL | None) -> None:
        if device_index is None:
            raise OSError("no GPU is used")
        self._library = library or ctypes.CDLL("libnvidia-ml.so.1")
        import torch

        uuid = f"GPU-{torch.cuda.get_device_properties(device_index).uuid}"
        self._checked("nvmlInit_v2")
        self._checked("nvmlDeviceGetHandleByUUID", uuid.encode(), ctypes.byref(self._handle))
        self._read()

    def _checked(self, name: str, *arguments: object) -> None:
        if code := getattr(self._library, name)(*arguments):
            raise OSError(f"NVML's {name} failed with code {code}")

    def _read(self) -> float:
        percent, period = ctypes.c_uint(), ctypes.c_uint()
        self._checked("nvmlDeviceGetDecoderUtilization", self._handle, ctypes.byref(percent), ctypes.byref(period))
        return percent.value / 100

    def share(self) -> float | None:
        """Gives the share of the last sampling period (a fraction of a second) in which they were busy."""
        return None if self.problem else self._read()
