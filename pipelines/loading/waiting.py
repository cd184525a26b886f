"""How threads wait for a GPU: asleep, or spinning on a core that others need. CUDA's default is to spin."""

import ctypes
from typing import Any

BLOCKING_SYNC = 4
"""CU_CTX_SCHED_BLOCKING_SYNC of the driver API."""


def wait_asleep(device_index: int, *, driver: Any = None) -> str | None:
    """Lets threads of this process sleep while they wait for the device. Returns the problem, None where it is done.

    Call it before anything uses the device. Each picture that DALI decodes ends in a wait of its thread; with a dozen
    of them spinning, the workers that cut files get no core. It holds for torch, too: both use the primary context.
    """
    try:
        driver = driver or ctypes.CDLL("libcuda.so.1")
        device = ctypes.c_int()
        for name, arguments in (
            ("cuInit", (0,)),
            ("cuDeviceGet", (ctypes.byref(device), device_index)),
            ("cuDevicePrimaryCtxSetFlags_v2", (device, BLOCKING_SYNC)),
        ):
            code = getattr(driver, name)(*arguments)
            if code != 0:
                return f"{name} gave {code}"
    except (OSError, AttributeError) as error:
        return str(error)
    return None
