"""What Kubernetes JobSets of a sweep ask for: hosts, TPU chips, a volume."""

import math
import posixpath
import re
from collections.abc import Sequence
from typing import NamedTuple

from experiments._sweep.points import Point
from lth_jax import errors

_CODE = "/lth_jax"  # where the image has the code
_PACKAGES = "lth_jax", "experiments"  # of the code
_CHIPS = 4  # of each host where there are several


class Job(NamedTuple):
  """What the job of a point asks for.

  Attributes:
    accelerator: GKE's name of a TPU; "" for none.
    topology: of the TPU, such as 2x4.
    num_hosts: of the TPU.
    chips: of the TPU, a host.
    mount_path: of the volume that the workdir is on; "" if it is in a bucket.
    code: folder of the code in the image.
  """

  accelerator: str
  topology: str
  num_hosts: int
  chips: int
  mount_path: str
  code: str = _CODE


def fit(
  sweep: Sequence[Point], workdir: str, image: str | None, tpu: str
) -> Job:
  """Returns what the jobs of a sweep ask for.

  Args:
    sweep: its points.
    workdir: of the sweep.
    image: a container image with the code in `Job.code`; None is an error.
    tpu: NAME:TOPOLOGY as in GKE; "" for none.

  Raises:
    InputError: there is no image; `tpu` is not understood, or has several hosts
      and the points are for one, or the reverse; no volume can be at `workdir`.
  """
  if not image:
    raise errors.InputError(
      "--image is missing: name the container image that docs/tpu.md builds."
    )
  mount_path = "" if "://" in workdir else _mount_path(workdir)
  is_distributed = sweep[0].is_distributed
  if not tpu:
    if is_distributed:
      raise errors.InputError(
        "--tpu= is one host without a TPU; leave --distributed=auto out."
      )
    return Job("", "", 1, 0, mount_path)
  match = re.fullmatch(r"([a-z0-9-]+):([1-9]\d*(?:x[1-9]\d*)+)", tpu)
  if not match:
    raise errors.InputError(
      f"--tpu={tpu}: must be GKE's name and topology, such as "
      "tpu-v5-lite-podslice:2x2."
    )
  name, topology = match.groups()
  chips = math.prod(map(int, topology.split("x")))
  num_hosts = _num_hosts(name, chips)
  if (num_hosts > 1) != is_distributed:
    raise errors.InputError(
      f"--tpu={tpu}: that is one host; leave --distributed=auto out, or take a "
      "larger one."
      if is_distributed
      else f"--tpu={tpu}: its {chips} chips belong to several hosts; put "
      "--distributed=auto after the --, or take a smaller one."
    )
  return Job(name, topology, num_hosts, chips // num_hosts, mount_path)


def _num_hosts(name: str, chips: int) -> int:
  largest = 8 if re.search("lite|v6e", name) else _CHIPS  # that one host has
  return 1 if chips <= largest else chips // _CHIPS


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
