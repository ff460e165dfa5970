"""`python -m benchmarks NAME [--quick]`: run one benchmark, print its table, write `benchmarks/results/NAME.json`.

A benchmark is a file beside this one with `SEEDS` and `run(*, quick, progress)`, which yields its rows as it has them.
"""

import argparse
import importlib
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from benchmarks.rows import Row

HERE = Path(__file__).parent
NAMES = sorted(path.stem for path in HERE.glob("*.py") if path.stem not in ("__init__", "__main__", "rows"))
LIBRARIES = (
    *("pruneguard", "cryptography", "sqlalchemy", "torch", "torch-pruning", "onnxruntime", "numpy", "pyarrow"),
    *("prefect", "streamlit"),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code 0 when all rows were measured, met or not; 2 for a name that is no benchmark."""
    parser = argparse.ArgumentParser(prog="make bench", description=f"Benchmarks: {', '.join(NAMES)}")
    parser.add_argument("name", choices=NAMES, help="which one to run")
    parser.add_argument("--quick", action="store_true", help="the same code on less work")
    options = parser.parse_args(arguments)
    benchmark = importlib.import_module(f"benchmarks.{options.name}")

    console = Console()
    rows = measured(benchmark.run, quick=options.quick, console=console)
    console.print(table(options.name, rows, quick=options.quick))
    path = HERE / "results" / f"{options.name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(
        json.dumps(document(options.name, rows, seeds=benchmark.SEEDS, quick=options.quick), indent=2) + "\n"
    )
    console.print(f"written to {path.relative_to(HERE.parent)}")
    return 0


def measured(run: Callable[..., Iterator[Row]], *, quick: bool, console: Console) -> list[Row]:
    """The rows of a benchmark; on the way its progress: bars on a terminal, a line a row anywhere else."""
    rows = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:

        def progress(label: str, total: int) -> Callable[[int], None]:
            task = bars.add_task(label, total=total)
            if not console.is_terminal:
                console.print(f"{label}: {total:,}")
            return lambda done: bars.update(task, completed=done)

        for row in run(quick=quick, progress=progress):
            rows.append(row)
            console.print(f"  {row.name}: {row.value:,.4g} {row.unit}")
    return rows


def table(name: str, rows: Sequence[Row], *, quick: bool) -> Table:
    result = Table(title=f"{name}, quick: too little work for a verdict" if quick else name)
    result.add_column("row", no_wrap=True)
    result.add_column("value", justify="right", no_wrap=True)
    for heading in ("low to high", "unit", "goal", ""):
        result.add_column(heading)
    for row in rows:
        verdict = "" if quick else "met" if row.met else "missed"
        result.add_row(row.name, f"{row.value:,.4g}", f"{row.low:,.4g} to {row.high:,.4g}", row.unit, row.goal, verdict)
    return result


def document(name: str, rows: Sequence[Row], *, seeds: Sequence[int], quick: bool) -> dict[str, Any]:
    return {
        "benchmark": name,
        "quick": quick,
        "commit": commit(),
        "machine": {
            "system": platform.platform(),
            "processor": processor(),
            "cores": os.cpu_count(),
            "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            "python": platform.python_version(),
        },
        "versions": {library: importlib.metadata.version(library) for library in LIBRARIES},
        "seeds": list(seeds),
        "rows": [{**asdict(row), "met": None if quick else row.met} for row in rows],
    }


def commit() -> str:
    """What was measured; `-dirty` when the files differ from it, `unknown` outside a git checkout."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    ran = subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=False)
    return ran.stdout.strip() or "unknown"


def processor() -> str:
    names = Path("/proc/cpuinfo")
    lines = names.read_text().splitlines() if names.exists() else []
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.processor())


if __name__ == "__main__":
    sys.exit(main())
