"""Use the classic engine on arrays, without a project: python examples/masks_as_arrays.py CLIP X Y"""

from __future__ import annotations

import sys
from itertools import islice

import numpy as np

from tam_edit import Edit
from tam_edit.models import classic


def main(clip: str, x: str, y: str) -> None:
    edit = Edit.once(clip)
    with edit.pictures() as context:
        frames = [picture.rgb() for picture in islice(context.pictures(context.source.span), 5)]
    mask = classic.segment(frames[0], points=[(float(x), float(y))], labels=[1], box=None)
    for index, label_map in enumerate(classic.propagate(frames, keyframes={0: mask.astype(np.uint8)})):
        print(f"frame {index}: {int((label_map == 1).sum())} pixels")


if __name__ == "__main__":
    main(*sys.argv[1:])
