"""The measurements as one JSON file and one Markdown file."""

import json
import os
import pathlib
from typing import Any

from benchmarks import tables


def add_row(rows: list[tables.Row], row: tables.Row) -> None:
  """Adds a row to those of a stage; replaces one with the same `what`."""
  if "what" in row:
    rows[:] = [known for known in rows if known.get("what") != row["what"]]
  rows.append(row)


def is_fine(content: dict[str, Any]) -> bool:
  """Returns whether all stages are done and no row has `ok` False."""
  return all(
    stage["state"] == "done"
    and all(row.get("ok", True) for row in stage["rows"])
    for stage in content["stages"].values()
  )


def write(folder: pathlib.Path, content: dict[str, Any]) -> None:
  """Writes `accelerator.json` and `accelerator.md` into a folder."""
  text = json.dumps(content, indent=1)
  _replace(folder / "accelerator.json", text + "\n")
  _replace(folder / "accelerator.md", _markdown(content))


def _markdown(content):
  parts = [f"{name}: {value}" for name, value in content["about"].items()]
  for name, stage in content["stages"].items():
    seconds = f", {stage['seconds']} s" if "seconds" in stage else ""
    parts.append(f"## {name}: {stage['state']}{seconds}\n\n{stage['what']}.")
    if "error" in stage:
      parts.append(f"```\n{stage['error']}\n```")
    if stage["rows"]:
      parts.append(tables.markdown(stage["rows"]).rstrip())
  return "\n\n".join(parts) + "\n"


def _replace(path, text):
  part = path.with_name(path.name + ".part")
  part.write_text(text, encoding="utf-8")
  os.replace(part, path)
