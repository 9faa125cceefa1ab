"""Try everything and tell: `python -m tests.torture [TOPIC...] [--scale 0.1] [--write docs/reliability.md]`.

--only TOPIC#NUMBER repeats one attempt; --seed gives others. Exit status 1 if anything broke.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from dataclasses import asdict
from pathlib import Path

from tests.torture.topics import TOPICS, count, materials, run, scale_given
from tests.torture.verdict import BROKEN, Row, Verdict, in_words, table

BEGIN, END = "<!-- written by python -m tests.torture -->", "<!-- end -->"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m tests.torture")
    parser.add_argument("topics", nargs="*", metavar="TOPIC", help=f"of {', '.join(TOPICS)} (default: all)")
    parser.add_argument("--scale", type=float, default=scale_given(), help="share of the full counts (TORTURE_SCALE)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", metavar="TOPIC#NUMBER", help="repeat one attempt")
    parser.add_argument("--all", action="store_true", help="tell what every attempt said, not only what broke")
    parser.add_argument("--keep", type=Path, metavar="JSON", help="keep verdicts here; topics of former runs stay")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the table into this page")
    given = parser.parse_args()
    wrong = [name for name in given.topics if name not in TOPICS]
    if wrong:
        parser.error(f"unknown: {', '.join(wrong)}")
    rows: list[Row] = []
    began = time.monotonic()
    with materials(given.seed) as folder:
        if given.only:
            name, _, number = given.only.partition("#")
            verdict = run(name, folder, [int(number)], given.seed).verdicts[0]
            print(in_words([verdict]), verdict.detail)
            return int(verdict.kind in BROKEN)
        for name in given.topics or TOPICS:
            print(f"{TOPICS[name].title} ...", file=sys.stderr, flush=True)
            rows.append(
                run(
                    name,
                    folder,
                    list(range(count(TOPICS[name], given.scale))),
                    given.seed,
                    everything if given.all else told,
                )
            )
    if given.keep:
        rows = kept_with(given.keep, rows)
    text = table(rows)
    minutes = (time.monotonic() - began) / 60
    text = f"{text}\nOn {machine()}, seed {given.seed}, {minutes:.0f} minutes, {time.strftime('%Y-%m-%d')}.\n"
    print(text)
    if given.write:
        write(given.write, text)
    return int(any(row.broken for row in rows))


def kept_with(file: Path, rows: list[Row]) -> list[Row]:
    """All rows with those of former runs, in the order of the topics."""
    former = json.loads(file.read_text()) if file.exists() else []
    found = {row["title"]: Row(row["title"], [Verdict(**item) for item in row["verdicts"]], row["s"]) for row in former}
    found |= {row.title: row for row in rows}
    order = [topic.title for topic in TOPICS.values()]
    rows = sorted(found.values(), key=lambda row: order.index(row.title))
    kept = [{"title": row.title, "s": row.seconds, "verdicts": [asdict(item) for item in row.verdicts]} for row in rows]
    file.write_text(json.dumps(kept))
    return rows


def told(verdict: Verdict) -> None:
    if verdict.kind in (*BROKEN, "skipped"):
        print(in_words([verdict]), file=sys.stderr, flush=True)


def everything(verdict: Verdict) -> None:
    print(in_words([verdict]), file=sys.stderr, flush=True)


def machine() -> str:
    return f"{os.cpu_count()} cores, {platform.system()} {platform.machine()}, Python {platform.python_version()}"


def write(page: Path, text: str) -> None:
    """Put the table between its marks; the text around it stays."""
    old = page.read_text(encoding="utf-8")
    head, begin, rest = old.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{page}: the marks {BEGIN} and {END} are not in it")
    page.write_text(f"{head}{BEGIN}\n{text}{END}{tail}", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
