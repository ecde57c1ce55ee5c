"""Timing and printing of benchmarks: medians, sides in turn, rows as JSON."""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

Row = dict[str, Any]


def arguments(description: str) -> argparse.ArgumentParser:
  """Returns a parser with `--json`."""
  parser = argparse.ArgumentParser(description=description)
  parser.add_argument(
    "--json", action="store_true", help="print one JSON list of rows"
  )
  return parser


def show(rows: Sequence[Row], as_json: bool) -> None:
  """Prints rows of equal keys as a Markdown table, or as one JSON list."""
  if as_json:
    json.dump(list(rows), sys.stdout, indent=1)
    print()
    return
  print(markdown(rows), end="")


def markdown(rows: Sequence[Row]) -> str:
  """Returns rows as a table; a key that a row lacks is `-`."""
  names = list(dict.fromkeys(name for row in rows for name in row))
  lines = [names, ["---"] * len(names)]
  lines += [[_text(row.get(name)) for name in names] for row in rows]
  return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def alternate(
  sides: dict[str, Callable[[], Any]], repeats: int
) -> dict[str, float]:
  """Times functions in turn, so that all see the same noise.

  Args:
    sides: functions by name; each is called once before, to compile.
    repeats: number of timed calls of each.

  Returns:
    The median seconds of each.
  """
  for function in sides.values():
    function()
  times: dict[str, list[float]] = {name: [] for name in sides}
  for _ in range(repeats):
    for name, function in sides.items():
      begin = time.perf_counter()
      function()
      times[name].append(time.perf_counter() - begin)
  return {name: statistics.median(found) for name, found in times.items()}


def _text(value: Any) -> str:
  if value is None:
    return "-"
  return f"{value:.4g}" if isinstance(value, float) else str(value)
