"""The GPU's reading: which of several is told, what it does not tell, and a machine without one."""

from types import SimpleNamespace

from tui.gpu import Gpu, Reading, _busiest


class Refused(Exception):
    """What NVML raises."""


def nvml(*used_gib: int, tells: bool = True) -> SimpleNamespace:
    """NVML's calls for GPUs with so much memory in use: no machine of the tests has a GPU."""

    def told(value: object) -> object:
        if not tells:
            raise Refused
        return value

    return SimpleNamespace(
        NVMLError=Refused,
        NVML_TEMPERATURE_GPU=0,
        nvmlDeviceGetCount=lambda: len(used_gib),
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetMemoryInfo=lambda handle: SimpleNamespace(used=used_gib[handle] * 2**30, total=80 * 2**30),
        nvmlDeviceGetUtilizationRates=lambda handle: told(SimpleNamespace(gpu=87 + handle)),
        nvmlDeviceGetTemperature=lambda handle, sensor: told(61),
    )


def test_the_gpu_with_the_most_memory_in_use_is_told() -> None:
    assert _busiest(nvml(3, 41, 0)) == Reading(1, 3, 88, 41.0, 80.0, 61)


def test_what_a_slice_of_a_gpu_does_not_tell_is_left_out() -> None:
    assert _busiest(nvml(3, tells=False)) == Reading(0, 1, None, 3.0, 80.0, None)


def test_no_gpu_is_no_reading() -> None:
    assert _busiest(nvml()) is None


def test_the_thread_ends_when_it_is_told_to_and_at_once_without_a_gpu() -> None:
    gpu = Gpu()
    gpu.start()
    thread = gpu._thread
    gpu.start()
    assert thread is not None and gpu._thread is thread, "one thread is enough"
    gpu.stop()
    thread.join(30)
    assert not thread.is_alive()
