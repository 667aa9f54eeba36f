"""`python -m benchmarks [NAME …]`: each, or all, prints one table and writes JSON."""

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks import away, browsing, fetching, importing, ingestion, overhead, start
from benchmarks.report import Report, save, show
from benchmarks.scale import Scale

BENCHMARKS: dict[str, Callable[[Scale, Path], Report]] = {
    "overhead": overhead.measure,
    "start": start.measure,
    "ingestion": ingestion.measure,
    "away": away.measure,
    "importing": importing.measure,
    "fetching": fetching.measure,
    "browsing": browsing.measure,
}


def main() -> int:
    options = _parse_arguments()
    scale = Scale.quick() if options.quick else Scale()
    if options.pairs:
        scale = scale.with_pairs(options.pairs)
    for name in options.names or BENCHMARKS:
        with tempfile.TemporaryDirectory(prefix=f"bench-{name}-") as scratch:
            report = BENCHMARKS[name](scale, Path(scratch))
        show(report)
        print(f"written to {save(report, options.out)}\n", flush=True)
    return 0


def _parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--pairs", type=int, help="how often each side runs, interleaved (default 5)")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: shows that it works, measures nothing")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results", help="folder for the JSON")
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in BENCHMARKS]
    if unknown:
        parser.error(f"{unknown[0]!r} is not one of {', '.join(BENCHMARKS)}")
    return options


if __name__ == "__main__":
    sys.exit(main())
