"""How much the tracker remembers: one frozen value, under the names the authors' configuration uses."""

from __future__ import annotations

from dataclasses import dataclass, fields

from tam_edit.errors import UsageError


@dataclass(frozen=True)
class MemorySettings:
    """The memory policy of XMem (Cheng and Schwing, ECCV 2022, section 3); the defaults are the authors'.

    mem_every: a frame goes into working memory every so many frames.
    deep_update_every: -1, the sensory memory is renewed from the value on each memory frame; otherwise on the first
        memory frame after so many frames, and the decoder's update then happens on every frame.
    top_k: memory elements that each pixel reads.
    enable_long_term: consolidate full working memory into long-term memory; without it working memory grows on.
    enable_long_term_count_usage: forget the least used long-term elements first; without it, the oldest.
    max_mid_term_frames, min_mid_term_frames: frames at which working memory is full, and that remain of it.
    num_prototypes: elements that one consolidation makes. max_long_term_elements: most that are kept.
    key_dim, value_dim, hidden_dim: facts of the network, here so that a recorded configuration can be given whole.
    Raises UsageError.
    """

    mem_every: int = 5
    deep_update_every: int = -1
    top_k: int = 30
    enable_long_term: bool = True
    enable_long_term_count_usage: bool = True
    max_mid_term_frames: int = 10
    min_mid_term_frames: int = 5
    num_prototypes: int = 128
    max_long_term_elements: int = 10000
    key_dim: int = 64
    value_dim: int = 512
    hidden_dim: int = 64

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.type == "bool":
                if not isinstance(value, bool):
                    raise UsageError(f"MemorySettings.{field.name} is {value!r}: give True or False")
            elif isinstance(value, bool) or not isinstance(value, int):
                raise UsageError(f"MemorySettings.{field.name} is {value!r}: give a whole number")
            elif value < 1 and not (field.name == "deep_update_every" and value == -1):
                raise UsageError(f"MemorySettings.{field.name} is {value}: give 1 or more")
        if (self.key_dim, self.value_dim, self.hidden_dim) != (64, 512, 64):
            raise UsageError("key_dim, value_dim and hidden_dim of XMem are 64, 512 and 64: leave them out")
        if self.min_mid_term_frames >= self.max_mid_term_frames:
            raise UsageError(
                f"min_mid_term_frames ({self.min_mid_term_frames}) must be below max_mid_term_frames "
                f"({self.max_mid_term_frames}): otherwise nothing could be consolidated"
            )
        if self.enable_long_term and self.num_prototypes > self.max_long_term_elements:
            raise UsageError(
                f"num_prototypes ({self.num_prototypes}) exceeds max_long_term_elements "
                f"({self.max_long_term_elements}): one consolidation would not fit"
            )
