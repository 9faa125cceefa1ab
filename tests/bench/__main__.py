"""All benchmarks, one after the other: `make bench`. Each prints a Markdown table with ratios of one run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def main() -> int:
    failed = []
    for path in sorted(Path(__file__).parent.glob("bench_*.py")):
        print(f"\n## {path.stem}\n", flush=True)
        if subprocess.run([sys.executable, "-m", f"tests.bench.{path.stem}"], check=False).returncode != 0:
            failed.append(path.stem)
    if failed:
        print(f"\nfailed: {', '.join(failed)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
