"""XMem's seconds per frame at 854x480, part by part, beside its own convolutions and the plain network in the same run.

python -m tests.bench.bench_xmem [--frames 11] [--objects 1 3] [--memory]

The authors' program takes 2.05 s (one object) and 4.3 s (three) a frame on two idle cores like ours. It is not at hand
here, so three measures of the same run stand beside ours: the time in which this machine could do the network's
convolutions one after another, the plain network of tests/xmem/reference.py without any memory, and processor time.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from tam_edit.models.xmem import MemorySettings, Network, Tracker, bank, load
from tam_edit.models.xmem.layers import Conv
from tests.xmem.clips import moving_discs
from tests.xmem.reference import Reference, State, random_state

HEIGHT, WIDTH = 480, 854
AUTHORS_S = {1: 2.05, 3: 4.3}
PARTS = ("key encoder", "memory read", "decoder", "value encoder", "rest")


@dataclass
class Measured:
    wall_s: list[float] = field(default_factory=list)
    cpu_s: list[float] = field(default_factory=list)
    parts_s: dict[str, float] = field(default_factory=lambda: defaultdict(float))
    labels: list[Any] = field(default_factory=list)


@contextmanager
def parts_timed(measured: Measured) -> Iterator[None]:
    """Time spent in the network's and the bank's methods, added up by part."""
    places = (
        (Network, "encode_frame", "key encoder"),
        (bank.MemoryBank, "read", "memory read"),
        (Network, "decode", "decoder"),
        (Network, "encode_value", "value encoder"),
    )
    before = [getattr(owner, name) for owner, name, _ in places]

    def timed(method: Callable[..., Any], part: str) -> Callable[..., Any]:
        def call(*args: Any, **named: Any) -> Any:
            start = time.perf_counter()
            result = method(*args, **named)
            measured.parts_s[part] += time.perf_counter() - start
            return result

        return call

    for (owner, name, part), method in zip(places, before, strict=True):
        setattr(owner, name, timed(method, part))
    try:
        yield
    finally:
        for (owner, name, _), method in zip(places, before, strict=True):
            setattr(owner, name, method)


def run(tracker: Tracker, clip: np.ndarray, masks: dict[int, np.ndarray]) -> Measured:
    """Track a clip; the first six frames (weights laid out, first memory frame) do not count."""
    warm = 6
    measured = Measured()
    for index, frame in enumerate(clip):
        if index == warm:
            measured.parts_s.clear()
        with parts_timed(measured):
            wall, cpu = time.perf_counter(), time.process_time()
            out = tracker.step(frame, masks if index == 0 else None)
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        if index >= warm:
            measured.wall_s.append(wall)
            measured.cpu_s.append(cpu)
        measured.labels.append(out.argmax(0))
    measured.parts_s["rest"] = sum(measured.wall_s) - sum(measured.parts_s.values())
    return measured


def convolutions(network: Network, clip: np.ndarray, masks: dict[int, np.ndarray]) -> float:
    """GFLOP of the convolutions of one frame that is not remembered; those of the image count once for all objects."""
    total = 0.0
    forward = Conv.forward

    def counted(self: Conv, x: torch.Tensor, **named: Any) -> torch.Tensor:
        nonlocal total
        out = forward(self, x, **named)
        total += 2 * out.numel() * self.weight[0].numel() / 1e9
        return out

    tracker = Tracker(network)
    tracker.step(clip[0], masks)
    Conv.forward = counted  # type: ignore[method-assign]
    try:
        tracker.step(clip[1])
    finally:
        Conv.forward = forward  # type: ignore[method-assign]
    return total


def convolution_speed() -> float:
    """GFLOP/s of a large 3x3 convolution in float32, at its best of five."""
    x = torch.randn(1, 256, HEIGHT // 4, WIDTH // 4).contiguous(memory_format=torch.channels_last)
    weight = torch.randn(256, 256, 3, 3).contiguous(memory_format=torch.channels_last)
    best = min(_seconds(lambda: F.conv2d(x, weight, padding=1)) for _ in range(5))
    return 2 * x.numel() * 256 * 9 / 1e9 / best


def plain_network(state: State, frame: np.ndarray, objects: int) -> float:
    """Seconds of key encoder and decoder as the paper draws them, without memory and without our savings."""
    network = Reference(state)
    image = F.pad(torch.from_numpy(frame).permute(2, 0, 1)[None].float() / 255, (5, 5, 0, 0))
    readout, hidden = (torch.randn(1, channels, image.shape[2] // 16, image.shape[3] // 16) for channels in (512, 64))

    def once() -> None:
        scales, *_ = network.encode_key(image)
        for _ in range(objects):
            network.decode(scales, readout, hidden)

    return min(_seconds(once) for _ in range(2))


@torch.inference_mode()
def small_object(frames: int) -> None:
    """What the fast mode saves where there is something to save: a disc of 40 pixels in the whole picture.

    The weights are made to see nothing elsewhere, as trained ones do; random ones see objects everywhere.
    """
    state = random_state()
    state["decoder.pred.bias"] = torch.full((1,), -9.0)
    network = load(state)
    clip, _ = moving_discs(frames, HEIGHT, WIDTH, 1)
    y, x = np.ogrid[:HEIGHT, :WIDTH]
    masks = {1: (y - 240) ** 2 + (x - 400) ** 2 < 20**2}
    for mode in ("exact", "fast"):
        got = run(Tracker(network, MemorySettings(), fast=mode == "fast"), clip, masks)
        mean, cpu = float(np.mean(got.wall_s)), float(np.mean(got.cpu_s))
        print(f"A small object, {mode}: {mean:.2f} s/frame, CPU {cpu:.2f} s/frame")


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


@torch.inference_mode()
def speed(frames: int, counts: list[int]) -> None:
    state = random_state()
    networks = {precision: load(state, precision=precision) for precision in ("fp32", "bf16")}
    rate = convolution_speed()
    print(f"XMem at {WIDTH}x{HEIGHT}, {torch.get_num_threads()} threads, 3x3 convolutions at {rate:.0f} GFLOP/s\n")
    print(
        "| objects | mode | s/frame | CPU s/frame | share of authors' | share of plain network | "
        "share of direct convolutions | labels as fp32 | " + " | ".join(PARTS) + " |"
    )
    print("|" + " --- |" * (8 + len(PARTS)))
    for objects in counts:
        clip, truth = moving_discs(frames, HEIGHT, WIDTH, objects)
        plain = plain_network(state, clip[0], objects)
        direct = convolutions(networks["fp32"], clip, truth[0]) / rate
        exact: Measured | None = None
        for mode in ("fp32", "bf16", "fp32 fast", "bf16 fast"):
            precision, fast = mode.split()[0], mode.endswith("fast")
            got = run(Tracker(networks[precision], MemorySettings(), fast=fast), clip, truth[0])
            exact = exact or got
            mean, cpu = float(np.mean(got.wall_s)), float(np.mean(got.cpu_s))
            same = np.mean([np.mean(a == b) for a, b in zip(got.labels[1:], exact.labels[1:], strict=True)])
            authors = f"{mean / AUTHORS_S[objects]:.2f}" if objects in AUTHORS_S else "-"
            shares = " | ".join(f"{got.parts_s[part] / sum(got.wall_s):.0%}" for part in PARTS)
            print(
                f"| {objects} | {mode} | {mean:.2f} | {cpu:.2f} | {authors} | {mean / plain:.2f} | "
                f"{mean / direct:.2f} | {same:.2%} | {shares} |",
                flush=True,
            )


@torch.inference_mode()
def memory(frames: tuple[int, int] = (200, 2000)) -> None:
    """Peak memory after few and many small frames, long-term memory on; and what a snapshot weighs at 480p."""
    network = load(random_state())
    clip, truth = moving_discs(40, 96, 128, 2)
    tracker = Tracker(network, MemorySettings(max_long_term_elements=2000))
    peaks = []
    for index in range(frames[1]):
        tracker.step(clip[index % len(clip)], truth[0] if index == 0 else None)
        if index + 1 in frames:
            peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    print(
        f"\nPeak memory after {frames[0]} frames {peaks[0]:.0f} MB, after {frames[1]} frames {peaks[1]:.0f} MB: "
        f"{peaks[1] / peaks[0]:.3f} times"
    )
    elements, settings = 30 * 54, MemorySettings()
    for label, held in (("one object", 1), ("three objects", 3)):
        whole = (settings.max_mid_term_frames - 1) * elements
        rows = whole + settings.max_long_term_elements
        floats = rows * (held * 513 + 2) + whole * 129 + settings.max_long_term_elements * 129 + held * 64 * elements
        print(f"Snapshot at 854x480 with memory full, {label}: at most {floats * 4 / 2**20:.0f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=16)
    parser.add_argument("--objects", type=int, nargs="+", default=[1, 3])
    parser.add_argument("--memory", action="store_true", help="also run 2,000 small frames for the peak of memory")
    asked = parser.parse_args()
    speed(max(7, asked.frames), asked.objects)
    small_object(max(7, asked.frames))
    if asked.memory:
        memory()


if __name__ == "__main__":
    main()
