"""Put another background behind an object: python examples/replace_background.py CLIP X0 Y0 X1 Y1 BACKGROUND OUT"""

from __future__ import annotations

import sys

from tam_edit import Edit


def main(clip: str, x0: str, y0: str, x1: str, y1: str, background: str, output: str) -> None:
    edit = Edit.once(clip)
    edit.mark("object", frame=0, box=(float(x0), float(y0), float(x1), float(y1)))
    edit.replace(output, background=background)
    print(f"written: {output}")


if __name__ == "__main__":
    main(*sys.argv[1:])
