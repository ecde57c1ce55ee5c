"""The measurements as one JSON file and one Markdown file.

Both are rewritten after every row, so that a cut-off run keeps its rows.
"""

import json
import os
import pathlib
from typing import Any

from benchmarks import tables

Row = dict[str, Any]


class Report:
  """Stages, their rows and their final states."""

  def __init__(self, folder: pathlib.Path, about: Row):
    """Starts an empty report in a folder that exists."""
    self._folder = folder
    self._content: Row = {"about": about, "stages": {}}
    self._write()

  def begin(self, stage: str, what: str) -> None:
    """Adds a stage that is running."""
    self._content["stages"][stage] = {
      "what": what,
      "state": "running",
      "rows": [],
    }
    self._write()

  def add(self, stage: str, row: Row) -> None:
    """Adds a row to a stage; one with a known `what` replaces that one."""
    rows = self._content["stages"][stage]["rows"]
    if "what" in row:
      rows[:] = [known for known in rows if known.get("what") != row["what"]]
    rows.append(row)
    self._write()

  def end(
    self, stage: str, state: str, seconds: float, error: str = ""
  ) -> None:
    """Sets the final state of a stage: `done`, `cut off` or `failed`."""
    found = self._content["stages"][stage]
    found |= {"state": state, "seconds": round(seconds, 1)}
    if error:
      found["error"] = error
    self._write()

  def fine(self) -> bool:
    """Returns whether all stages are done and no row has `ok` False."""
    stages = self._content["stages"].values()
    return all(
      stage["state"] == "done"
      and all(row.get("ok", True) for row in stage["rows"])
      for stage in stages
    )

  def _write(self) -> None:
    text = json.dumps(self._content, indent=1)
    _replace(self._folder / "accelerator.json", text + "\n")
    _replace(self._folder / "accelerator.md", self._markdown())

  def _markdown(self) -> str:
    parts = [f"{name}: {v}" for name, v in self._content["about"].items()]
    for name, stage in self._content["stages"].items():
      seconds = f", {stage['seconds']} s" if "seconds" in stage else ""
      parts.append(f"## {name}: {stage['state']}{seconds}\n\n{stage['what']}.")
      if "error" in stage:
        parts.append(f"```\n{stage['error']}\n```")
      if stage["rows"]:
        parts.append(tables.markdown(stage["rows"]).rstrip())
    return "\n\n".join(parts) + "\n"


def _replace(path: pathlib.Path, text: str) -> None:
  part = path.with_name(path.name + ".part")
  part.write_text(text, encoding="utf-8")
  os.replace(part, path)
