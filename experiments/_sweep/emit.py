"""Sweeps as text for what starts them: shells, schedulers, clouds."""

import json
import pathlib
import shlex
from collections.abc import Sequence

import jinja2

from experiments._sweep import jobset
from experiments._sweep.points import Point
from lth_jax.runner import command

# Values of --emit, and stems of the templates.
KINDS = ("shell", "slurm", "tpu_vm", "jobset", "skypilot")

_ENVIRONMENT = jinja2.Environment(
  loader=jinja2.FileSystemLoader(pathlib.Path(__file__).parent / "templates"),
  autoescape=False,  # of shell scripts and YAML; the filters below quote
  trim_blocks=True,
  lstrip_blocks=True,
  keep_trailing_newline=True,
  undefined=jinja2.StrictUndefined,
)
_ENVIRONMENT.filters |= {
  "quote": shlex.quote,
  "words": shlex.join,
  # A string of JSON is one of YAML.
  "json": lambda text: json.dumps(text, ensure_ascii=False),
  "enumerate": enumerate,
  "zip": zip,
}


def text(
  kind: str, sweep: Sequence[Point], workdir: str, image: str | None, tpu: str
) -> str:
  """Writes a sweep for what starts it, one of `KINDS`.

  Raises:
    InputError: JobSets cannot be made of these (`jobset.fit`).
  """
  job = jobset.fit(sweep, workdir, image, tpu) if kind == "jobset" else None
  return _ENVIRONMENT.get_template(f"{kind}.j2").render(
    sweep=sweep,
    is_distributed=sweep[0].is_distributed,
    is_remote="://" in workdir,
    job=job,
    image=image,
    exit_stopped=command.EXIT_STOPPED,
    exit_bad_input=command.EXIT_BAD_INPUT,
  )
