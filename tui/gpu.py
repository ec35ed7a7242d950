"""What the machine's GPU does: use, memory, temperature, by NVML where the optional nvidia-ml-py finds a driver.

NVML may block for seconds, so a thread asks it; whoever draws takes the last answer. Without a GPU the thread ends.
"""

import threading
from dataclasses import dataclass
from typing import Any

ASK_SECONDS = 2.0
_GIB = 2**30


@dataclass(frozen=True)
class Reading:
    """One GPU of `count`: use in percent, memory in GiB, temperature in °C; None for what it does not tell."""

    index: int
    count: int
    percent: int | None
    used: float
    total: float
    celsius: int | None


class Gpu:
    """The GPU with the most memory in use, asked every two seconds from `start` until `stop`."""

    def __init__(self) -> None:
        self.reading: Reading | None = None
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to ask, unless that goes on."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._watch, name="gpu", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Ask no more; what was being asked may still come."""
        self._stopped.set()

    def _watch(self) -> None:
        try:
            import pynvml
        except ImportError:
            return
        try:
            pynvml.nvmlInit()
            while not self._stopped.is_set():
                self.reading = _busiest(pynvml)
                self._stopped.wait(ASK_SECONDS)
        except pynvml.NVMLError:
            self.reading = None  # no driver, or it has gone


def _busiest(nvml: Any) -> Reading | None:
    """The GPU with the most memory in use: the one that trains, on a machine of its own. Raises NVMLError."""
    count = nvml.nvmlDeviceGetCount()
    handles = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(count)]
    memory = [nvml.nvmlDeviceGetMemoryInfo(handle) for handle in handles]
    if not memory:
        return None
    index = max(range(count), key=lambda i: memory[i].used)
    return Reading(
        index=index,
        count=count,
        percent=_told(nvml, lambda: nvml.nvmlDeviceGetUtilizationRates(handles[index]).gpu),
        used=memory[index].used / _GIB,
        total=memory[index].total / _GIB,
        celsius=_told(nvml, lambda: nvml.nvmlDeviceGetTemperature(handles[index], nvml.NVML_TEMPERATURE_GPU)),
    )


def _told(nvml: Any, ask: Any) -> int | None:
    try:
        return int(ask())
    except nvml.NVMLError:
        return None  # a slice of a GPU tells no use
