"""A sweep as Kubernetes JobSets, one a point: a failure stops no other."""

import math
import posixpath
import re
import signal
from collections.abc import Sequence
from typing import Any

import yaml

from experiments import points
from lth_jax import command, errors

_CODE = "/lth_jax"  # where the image has the code
_ABORTED = 128 + signal.SIGABRT
# Chips of the largest host, and of each host where there are several.
_LARGEST, _EACH = 8, 4
_CLAIM = "lth-jax-runs"  # the volume for a workdir that is in no bucket


def text(
  sweep: Sequence[points.Point], image: str | None, tpu: str, workdir: str
) -> str:
  """Writes YAML for `kubectl apply`.

  Args:
    sweep: its points.
    image: with the code in /lth_jax and `python` that has it installed.
    tpu: GKE's name of a TPU and its topology; "" for none. Of several hosts if
      the points are for several.
    workdir: of the sweep. Unless it is in a bucket, it is a volume.

  Raises:
    InputError: there is no image, `tpu` is not understood, or it has several
      hosts and the points are for one.
  """
  if not image:
    raise errors.InputError(
      "--image is missing: name the container image that docs/tpu.md builds."
    )
  container: dict[str, Any] = {"image": image, "workingDir": _CODE}
  pod: dict[str, Any] = {
    "restartPolicy": "Never",
    "terminationGracePeriodSeconds": 120,
  }
  num_hosts = 1
  if tpu:
    name, topology, chips = _tpu(tpu)
    num_hosts, chips = _hosts(tpu, chips, sweep)
    pod["nodeSelector"] = {
      "cloud.google.com/gke-tpu-accelerator": name,
      "cloud.google.com/gke-tpu-topology": topology,
    }
    container["resources"] = {"limits": {"google.com/tpu": chips}}
  if "://" not in workdir:
    mount = {"name": "runs", "mountPath": posixpath.join(_CODE, workdir)}
    container["volumeMounts"] = [mount]
    claim = {"claimName": _CLAIM}
    pod["volumes"] = [{"name": "runs", "persistentVolumeClaim": claim}]
  sets = [_jobset(point, pod, container, num_hosts) for point in sweep]
  return yaml.safe_dump_all(sets, sort_keys=False, width=10**9)


def _jobset(
  point: points.Point,
  pod: dict[str, Any],
  container: dict[str, Any],
  num_hosts: int,
) -> dict[str, Any]:
  name = points.label(point)
  run = {"name": "run", "command": list(point.command), **container}
  job = {
    "parallelism": num_hosts,
    "completions": num_hosts,
    "backoffLimit": 3,
    "completionMode": "Indexed",
    "podFailurePolicy": {"rules": _rules(point.several)},
    "template": {"spec": {**pod, "containers": [run]}},
  }
  return {
    "apiVersion": "jobset.x-k8s.io/v1alpha2",
    "kind": "JobSet",
    "metadata": {"name": name, "annotations": {"lth-jax/point": point.id}},
    "spec": {
      "replicatedJobs": [
        {"name": "point", "replicas": 1, "template": {"spec": job}}
      ]
    },
  }


def _rules(several: bool) -> list[dict[str, Any]]:
  """A pod that was stopped or preempted is replaced, as often as it takes."""

  def on_code(action, *values):
    codes = {"containerName": "run", "operator": "In", "values": [*values]}
    return {"action": action, "onExitCodes": codes}

  # JAX aborts a process whose fellow was preempted, unless it ends itself.
  stopped = [command.EXIT_STOPPED, *[_ABORTED] * several]

  disrupted = [{"type": "DisruptionTarget", "status": "True"}]
  return [
    {"action": "Ignore", "onPodConditions": disrupted},
    on_code("Ignore", *stopped),
    on_code("FailJob", command.EXIT_BAD_INPUT),
  ]


def _hosts(tpu: str, chips: int, sweep: Sequence[points.Point]):
  """Returns how many hosts a slice has, and the chips of each."""
  if chips <= _LARGEST:
    return 1, chips
  alone = [point.id for point in sweep if not point.several]
  if alone:
    raise errors.InputError(
      f"--tpu={tpu}: its {chips} chips are those of several hosts; put "
      "--distributed=auto behind the --, or take a smaller one."
    )
  return chips // _EACH, _EACH


def _tpu(text: str) -> tuple[str, str, int]:
  match = re.fullmatch(r"([a-z0-9-]+):(\d+(?:x\d+)+)", text)
  if not match:
    raise errors.InputError(
      f"--tpu={text}: must be GKE's name and topology, such as "
      "tpu-v5-lite-podslice:2x2."
    )
  name, topology = match.groups()
  return name, topology, math.prod(map(int, topology.split("x")))
