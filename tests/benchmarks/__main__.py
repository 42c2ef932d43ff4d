"""`python -m tests.benchmarks [--quick] [--only NAME] [--json FILE] [--markdown FILE]`: runs every benchmark module.

A benchmark that cannot run here (a missing tool, no engine) says so in its own row; it never disappears.
"""

import argparse
import dataclasses
import importlib
import json
import os
import pkgutil
import platform
import sys
import traceback
from pathlib import Path

from tests import benchmarks
from tests.benchmarks.figures import Figure

NOT_BENCHMARKS = {"__main__", "figures"}


def environment() -> dict[str, str]:
    """The machine, in the words that a reader needs to compare figures."""
    cpu = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.processor(),
    )
    return {
        "cpu": f"{cpu} x {os.cpu_count()}",
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
    }


def rows(figures: list[Figure]) -> list[str]:
    lines = ["| figure | median | low - high | ratios | aim | holds |", "| --- | --- | --- | --- | --- | --- |"]
    for figure in figures:
        ratios = ", ".join(f"{value:.2f} x {peer}" for peer, value in figure.ratios.items())
        holds = {True: "yes", False: "**no**", None: ""}[figure.holds]
        lines.append(
            f"| {figure.name} | {figure.value:,.4g} {figure.unit} | {figure.low:,.4g} - {figure.high:,.4g} "
            f"| {ratios} | {figure.aim} | {holds} |"
        )
    return lines


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rounds, smaller loads")
    parser.add_argument("--only", metavar="NAME", help="one benchmark module")
    parser.add_argument("--json", metavar="FILE", type=Path)
    parser.add_argument("--markdown", metavar="FILE", type=Path)
    options = parser.parse_args()
    names = [m.name for m in pkgutil.iter_modules(benchmarks.__path__) if m.name not in NOT_BENCHMARKS]
    if options.only and options.only not in names:
        parser.error(f"no benchmark {options.only!r}; there are {', '.join(names)}")
    report: dict[str, list[Figure]] = {}
    failed = False
    for name in [options.only] if options.only else names:
        print(f"== {name}", flush=True)
        try:
            report[name] = importlib.import_module(f"tests.benchmarks.{name}").measure(options.quick)
        except Exception:
            failed = True
            traceback.print_exc()
            continue
        print("\n".join(rows(report[name])), flush=True)
    if options.json:
        plain = {name: [dataclasses.asdict(figure) for figure in figures] for name, figures in report.items()}
        options.json.write_text(json.dumps({"environment": environment(), "figures": plain}, indent=2))
    if options.markdown:
        head = ["# Benchmarks", "", *(f"- {key}: {value}" for key, value in environment().items()), ""]
        body = [line for name, figures in report.items() for line in (f"## {name}", "", *rows(figures), "")]
        options.markdown.write_text("\n".join([*head, *body]))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
