"""Metrics in the text that Prometheus reads (exposition format 0.0.4), from the store, whoever asks.

https://prometheus.io/docs/instrumenting/exposition_formats/ is the source of the format. Served by `live.py`; written
to a file for the node exporter's textfile collector by `write_textfile`.
"""

import os
from collections.abc import Iterable, Mapping
from itertools import groupby

from pytest_guardrails.reliability.durability import write_atomic
from pytest_guardrails.reliability.telemetry.metrics import BUCKETS_S, MetricKind, Metrics, Series

__all__ = ["CONTENT_TYPE", "render", "write_textfile"]

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def render(series: Iterable[Series]) -> str:
    """The text for series that are sorted by metric, as `Metrics.series` gives them.

    Where two sources use one name for two kinds, the first kind wins and the others are left out.
    """
    lines: list[str] = []
    for name, group in groupby(series, key=lambda found: found.name):
        members = list(group)
        kind = members[0].kind
        lines.append(f"# TYPE {name} {kind.value}")
        for member in members:
            if member.kind is kind:
                lines += _lines(member)
    return "".join(line + "\n" for line in lines)


def write_textfile(metrics: Metrics, path: str | os.PathLike[str]) -> None:
    """Write the text to a file in one step, so that a collector never reads half of it."""
    write_atomic(path, render(metrics.series()).encode(), durability="process")


def _lines(series: Series) -> list[str]:
    labels = {**series.labels, "source": series.source}
    if series.kind is not MetricKind.HISTOGRAM:
        return [f"{series.name}{_labels(labels)} {_number(series.value)}"]
    bounds = [*(_number(bound) for bound in BUCKETS_S), "+Inf"]
    lines = [
        f"{series.name}_bucket{_labels({**labels, 'le': bound})} {found}"
        for bound, found in zip(bounds, series.buckets, strict=True)
    ]
    return [
        *lines,
        f"{series.name}_sum{_labels(labels)} {_number(series.value)}",
        f"{series.name}_count{_labels(labels)} {series.buckets[-1]}",
    ]


def _labels(labels: Mapping[str, str]) -> str:
    shown = ",".join(f'{name}="{_escaped(value)}"' for name, value in sorted(labels.items()))
    return "{" + shown + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _number(value: float) -> str:
    return repr(float(value)) if isinstance(value, float) and not value.is_integer() else str(int(value))
