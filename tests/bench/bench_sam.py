"""SAM's image encoder: the package's way and ours, same weights, one run; and what a click costs afterwards.

    python -m tests.bench.bench_sam [--variant vit_b] [--runs 3] [--no-bf16]

Random weights: time does not depend on their values. The two take turns, and the least of each is compared.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch
from segment_anything import sam_model_registry

from tam_edit.models import sam


class Clock:
    """Least processor and wall time of something that is run several times, interleaved with others."""

    def __init__(self, name: str, run: Callable[[], torch.Tensor]) -> None:
        self.name = name
        self._run = run
        self.processor_s = self.wall_s = float("inf")
        self.answer = torch.empty(0)

    def turn(self) -> None:
        processor, wall = time.process_time(), time.perf_counter()
        self.answer = self._run()
        self.processor_s = min(self.processor_s, time.process_time() - processor)
        self.wall_s = min(self.wall_s, time.perf_counter() - wall)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--variant", default="vit_b", choices=("vit_b", "vit_l", "vit_h"))
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--no-bf16", action="store_true")
    arguments = parser.parse_args()

    torch.manual_seed(0)
    module = sam_model_registry[arguments.variant]().eval()
    for name, parameter in module.image_encoder.named_parameters():
        if "rel_pos" in name or "pos_embed" in name:
            torch.nn.init.normal_(parameter, std=0.05)
    state = module.state_dict()
    network = sam.load(state, arguments.variant)
    pixels = torch.randn(1, 3, network.side, network.side)
    package = torch.inference_mode()(module.image_encoder)
    clocks = [Clock("package", lambda: package(pixels)), Clock("ours", lambda: network.encoder(pixels))]
    if not arguments.no_bf16:
        half = sam.load(state, arguments.variant, precision="bf16")
        clocks.append(Clock("ours, bf16", lambda: half.encoder(pixels)))
    for _ in range(arguments.runs):
        for clock in clocks:
            clock.turn()

    base = clocks[0]
    print(f"{arguments.variant}, {torch.get_num_threads()} threads, least of {arguments.runs}\n")
    print("| image encoder | processor s | ratio | wall s | ratio | largest difference | mean difference |")
    print("|---|---|---|---|---|---|---|")
    for clock in clocks:
        apart = (clock.answer - base.answer).abs()
        print(
            f"| {clock.name} | {clock.processor_s:.1f} | {clock.processor_s / base.processor_s:.2f} "
            f"| {clock.wall_s:.1f} | {clock.wall_s / base.wall_s:.2f} | {apart.max():.1e} | {apart.mean():.1e} |"
        )

    segmenter = sam.SamSegmenter(network)
    embedding = segmenter.embed(np.zeros((480, 854, 3), np.uint8))
    click = Clock("click", lambda: torch.from_numpy(segmenter.candidates(embedding, [(400, 200)])[0].low_res_logits))
    for _ in range(arguments.runs + 2):
        click.turn()
    print(f"\nA click on an embedded frame of 854x480: {click.wall_s:.2f} s.")


if __name__ == "__main__":
    main()
