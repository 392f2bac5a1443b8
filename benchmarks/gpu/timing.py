"""Seconds of a call on a device: CUDA events on a GPU, the clock on a CPU; the same way for every solver."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

SHORTEST = 0.02  # seconds of one sample; calls are repeated until it lasts that long
SAMPLES = 7


def seconds_of(run: Callable[[], None], calls: int, device: str) -> float:
    """Seconds of `calls` calls in a row, their end on the device included."""
    if device == "cpu":
        start = time.perf_counter()
        for _ in range(calls):
            run()
        return time.perf_counter() - start
    import torch

    begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    begin.record()
    for _ in range(calls):
        run()
    end.record()
    end.synchronize()
    return 1e-3 * float(begin.elapsed_time(end))


def median_seconds(run: Callable[[], None], device: str, budget: float) -> float:
    """Seconds of one call, the median of samples; after `budget` seconds there are no more of them."""
    start = time.perf_counter()
    seconds_of(run, 3, device)
    calls, samples = 1, list[float]()
    while len(samples) < SAMPLES and (not samples or time.perf_counter() - start < budget):
        seconds = seconds_of(run, calls, device)
        if seconds < SHORTEST and calls < 4096:
            calls *= 2
            continue
        samples.append(seconds / calls)
    return statistics.median(samples)
