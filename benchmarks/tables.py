"""Timing and printing of benchmarks: medians, sides in turn, rows as JSON."""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Row = dict[str, Any]


def arguments(docstring: str | None) -> argparse.ArgumentParser:
  """Returns a parser with `--json`, described by a docstring's first line."""
  description = (docstring or "").partition("\n")[0]
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


def cache(folder: str) -> dict[str, str]:
  """Returns the environment that makes JAX keep all programs in a folder."""
  return {
    "JAX_COMPILATION_CACHE_DIR": folder,
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
  }


def alternate(
  sides: Mapping[Any, Callable[[], Any]], repeats: int
) -> dict[Any, float]:
  """Times functions in turn, so that all see the same noise.

  Args:
    sides: functions by name; each is called once before, to compile.
    repeats: number of timed calls of each.

  Returns:
    The median seconds of each.
  """
  for function in sides.values():
    function()
  times: dict[Any, list[float]] = {name: [] for name in sides}
  for _ in range(repeats):
    for name, function in sides.items():
      begin = time.perf_counter()
      function()
      times[name].append(time.perf_counter() - begin)
  return {name: statistics.median(found) for name, found in times.items()}


def seconds_a_step(
  run: Callable[[int], Any], seconds: float
) -> tuple[float, float]:
  """Returns the median time of a step, and the relative spread of the times.

  Args:
    run: does a number of steps.
    seconds: how long each of three timed calls should last.
  """
  run(2)
  begin = time.perf_counter()
  run(2)
  num_steps = max(2, int(2 * seconds / (time.perf_counter() - begin)))
  times = []
  for _ in range(3):
    begin = time.perf_counter()
    run(num_steps)
    times.append((time.perf_counter() - begin) / num_steps)
  median = statistics.median(times)
  return median, (max(times) - min(times)) / median


def _text(value: Any) -> str:
  if value is None:
    return "-"
  return f"{value:.4g}" if isinstance(value, float) else str(value)
