"""Published tables, reproduced in our simulator from their public inputs: ``python -m benchmarks.published``.

``shockwave`` has 120 jobs on 32 GPUs and seven policies (Zheng et al., NSDI 2023), ``gavel`` a batch of jobs on GPUs of
three kinds (Narayanan et al., OSDI 2020), ``openb`` the pods of a production cluster and six placements (Weng et al.,
USENIX ATC 2023). Every figure stands beside the published one; ``docs/published.md`` says where they differ, and why.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks import published_gavel, published_openb, published_shockwave
from benchmarks.machine import facts
from benchmarks.published_report import Section, console, print_table

Mapped = Callable[..., Iterable[Any]]

SECTIONS: dict[str, Callable[[int, Mapped], Section]] = {
    "shockwave": published_shockwave.section,
    "gavel": published_gavel.section,
    "openb": published_openb.section,
}


def parsed(words: list[str] | None = None) -> argparse.Namespace:
    """Return the options."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", default=",".join(SECTIONS), help="names of tables, by comma (default: all)")
    parser.add_argument("--seeds", type=int, default=3, help="how many worlds of each kind (default 3)")
    parser.add_argument("--processes", type=int, default=2, help="how many simulations at a time (default 2)")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write every figure here")
    options = parser.parse_args(words)
    if unknown := set(options.only.split(",")) - SECTIONS.keys():
        parser.error(f"--only: unknown table {sorted(unknown)[0]!r}; there are {', '.join(SECTIONS)}")
    if options.seeds < 1 or options.processes < 1:
        parser.error("--seeds and --processes must be at least 1")
    return options


def main() -> None:
    """Simulate, print the tables, and write JSON if asked."""
    options, out = parsed(), console()
    figures: dict[str, Any] = {"machine": facts(), "seeds": options.seeds}
    with ProcessPoolExecutor(options.processes) as pool:
        for name in options.only.split(","):
            began_s = time.perf_counter()
            found = SECTIONS[name](options.seeds, pool.map)
            for table in found.tables:
                print_table(out, table)
            figures[name] = found.figures
            print(f"{name}: {time.perf_counter() - began_s:.0f} s", file=sys.stderr, flush=True)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
