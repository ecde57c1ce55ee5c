"""A sweep as a SkyPilot task, to be launched as a managed job a point."""

import shlex
from collections.abc import Sequence

import yaml

from experiments._sweep import points
from experiments._sweep.launchers import shell
from lth_jax.runner import command

# A file with several tasks would be a pipeline, whose tasks wait for each
# other; so the documented way to launch many jobs is one file and a variable.
_HEAD = """\
# A sweep; docs/tpu.md says more. With this file as sweep.yaml:
# for point in {labels}; do sky jobs launch --yes --detach-run \
--name "$point" --env POINT="$point" sweep.yaml; done
"""


def text(sweep: Sequence[points.Point], remote: bool) -> str:
  """Writes YAML for `sky jobs launch`.

  Args:
    sweep: its points.
    remote: whether the workdir is in a bucket.

  >>> script = text(points.make([], {"seed": ["1"]}, "gs://runs"), True)
  >>> task = yaml.safe_load(script)
  >>> task["envs"], task["resources"]["job_recovery"]
  ({'POINT': None}, {'recover_on_exit_codes': [75]})
  """
  named = {points.label(point): point for point in sweep}
  activate = '. .venv/bin/activate\npoint "$POINT"\n'
  task = {
    "name": "sweep",
    "workdir": ".",
    "envs": {"POINT": None},
    "resources": {
      "accelerators": "tpu-v5litepod-1",
      "accelerator_args": {"runtime_version": "v2-alpha-tpuv5-lite"},
      "use_spot": True,
      "job_recovery": {"recover_on_exit_codes": [command.EXIT_STOPPED]},
    },
    "setup": shell.install(remote),
    "run": shell.choose(named) + activate,
  }
  head = _HEAD.format(labels=shlex.join(named))
  return head + yaml.dump(task, Dumper=_Dumper, sort_keys=False, width=10**9)


class _Dumper(yaml.SafeDumper):
  """Writes scripts as they read, not as strings with escapes."""


def _script(dumper: yaml.SafeDumper, text: str) -> yaml.Node:
  style = "|" if "\n" in text else None
  return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _script)
