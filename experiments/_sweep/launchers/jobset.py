"""A sweep as Kubernetes JobSets, one a point: a failure stops no other."""

import math
import posixpath
import re
from collections.abc import Sequence
from typing import Any

import yaml

from experiments._sweep import points
from lth_jax import errors
from lth_jax.runner import command

_CODE = "/lth_jax"  # where the image has the code
_PACKAGES = "lth_jax", "experiments"  # of the code
_CHIPS = 4  # of each host where there are several
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
    InputError: there is no image, `tpu` is not understood, it has several hosts
      and the points are for one, or no volume can be at `workdir`.
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
    num_hosts, chips = _hosts(tpu, name, chips, sweep)
    pod["nodeSelector"] = {
      "cloud.google.com/gke-tpu-accelerator": name,
      "cloud.google.com/gke-tpu-topology": topology,
    }
    container["resources"] = {"limits": {"google.com/tpu": chips}}
  elif points.several(sweep):
    raise errors.InputError(
      "--tpu= is one host without a TPU; leave --distributed=auto out."
    )
  if "://" not in workdir:
    mount = {"name": "runs", "mountPath": _mount_path(workdir)}
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
  # Kubernetes expands $(NAME), and takes $$ for a $.
  words = [word.replace("$", "$$") for word in point.command]
  run = {"name": "run", "command": words, **container}
  several = num_hosts > 1
  job = {
    "parallelism": num_hosts,
    "completions": num_hosts,
    "backoffLimit": 0 if several else 3,
    "completionMode": "Indexed",
    "podFailurePolicy": {"rules": _MISTAKE if several else _IGNORED + _MISTAKE},
    "template": {"spec": {**pod, "containers": [run]}},
  }
  jobs = [{"name": "point", "replicas": 1, "template": {"spec": job}}]
  return {
    "apiVersion": "jobset.x-k8s.io/v1alpha2",
    "kind": "JobSet",
    "metadata": {"name": name, "annotations": {"lth-jax/point": point.id}},
    "spec": {"replicatedJobs": jobs, **(_TOGETHER if several else {})},
  }


def _on_code(action: str, code: int) -> dict[str, Any]:
  codes = {"containerName": "run", "operator": "In", "values": [code]}
  return {"action": action, "onExitCodes": codes}


# A pod that was stopped or preempted is replaced, as often as it takes.
_IGNORED = [
  {
    "action": "Ignore",
    "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
  },
  _on_code("Ignore", command.EXIT_STOPPED),
]
_MISTAKE = [_on_code("FailJob", command.EXIT_BAD_INPUT)]
# Processes can only begin together: whatever happens to one, all start again.
_TOGETHER = {
  "failurePolicy": {
    "maxRestarts": 100,
    "rules": [
      {
        "name": "badInput",
        "action": "FailJobSet",
        "onJobFailureReasons": ["PodFailurePolicy"],
      }
    ],
  }
}


def _mount_path(workdir: str) -> str:
  """Returns where a run in `_CODE` looks for its workdir."""
  path = posixpath.normpath(posixpath.join(_CODE, workdir))
  inside = posixpath.relpath(path, _CODE).split("/")[0]
  reason = None
  if workdir.startswith("~"):
    reason = "a pod's home is lost with the pod"
  elif ":" in path:
    reason = "a volume's path has no colon"
  elif path == "/" or inside in (".", *_PACKAGES):
    reason = f"a volume there hides the code in {_CODE}"
  if reason:
    raise errors.InputError(
      f"--workdir={workdir}: {reason}; take a folder such as runs/sweep, or "
      "one in a bucket."
    )
  return path


def _hosts(
  tpu: str, name: str, chips: int, sweep: Sequence[points.Point]
) -> tuple[int, int]:
  """Returns how many hosts a slice has, and the chips of each."""
  largest = 8 if re.search("lite|v6e", name) else _CHIPS
  several = points.several(sweep)
  if chips <= largest:
    if several:
      raise errors.InputError(
        f"--tpu={tpu}: that is one host; leave --distributed=auto out, or take "
        "a larger one."
      )
    return 1, chips
  if not several:
    raise errors.InputError(
      f"--tpu={tpu}: its {chips} chips are those of several hosts; put "
      "--distributed=auto behind the --, or take a smaller one."
    )
  return chips // _CHIPS, _CHIPS


def _tpu(text: str) -> tuple[str, str, int]:
  match = re.fullmatch(r"([a-z0-9-]+):([1-9]\d*(?:x[1-9]\d*)+)", text)
  if not match:
    raise errors.InputError(
      f"--tpu={text}: must be GKE's name and topology, such as "
      "tpu-v5-lite-podslice:2x2."
    )
  name, topology = match.groups()
  return name, topology, math.prod(map(int, topology.split("x")))
