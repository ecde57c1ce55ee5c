"""Checks that the results of a run follow from one another.

A trial that was trained again, perhaps on another kind of processor, may end
with other bits. Results that were derived from the former bits must not appear
in one report with it; the runner replaces them at its next start.
"""

from collections.abc import Hashable, Iterable, Mapping
from typing import Any

from etils import epath

from lth_jax import errors
from lth_jax.config import configs, plan

# {(replicate, kind of array, of which trial or round): its SHA-256}
Digests = dict[tuple[Hashable, ...], str]


def of_record(config: configs.Config, content: Mapping[str, Any]) -> Digests:
  """Returns the digests in a record that other records also have."""
  origin, digests = content["origin"], content["digests"]
  replicate, index = content["replicate"], content["round"]
  trial = plan.Trial(replicate, index, content["arm"])
  found: Digests = {
    (replicate, "theta_0"): origin["theta_0"],
    (replicate, "split"): origin["split"],
    (replicate, "masks", index): origin["masks"],
  }
  if "rewind point" in origin:
    found[replicate, "rewind point"] = origin["rewind point"]
  elif trial.arm == "rewind_point":
    found[replicate, "rewind point"] = digests["params"]
  if parent := plan.parent(config, trial):
    found[replicate, "trained weights", parent] = origin["trained weights"]
  if plan.supplies_masks(config, trial):
    found[replicate, "trained weights", trial] = digests["params"]
  return found


def of_description(content: Mapping[str, Any]) -> Digests:
  """Returns the digests in a structure.json that records also have."""
  replicate = content["replicate"]
  dense = plan.Trial(replicate, 0, "ticket")
  return {
    (replicate, "theta_0"): content["theta_0"],
    (replicate, "trained weights", dense): content["trained"],
    **{
      (replicate, "masks", int(index)): digest
      for index, digest in content["masks"].items()
    },
  }


def check(found: Iterable[tuple[epath.Path, Digests]]) -> None:
  """Checks that files or folders agree on the arrays that they came from.

  Raises:
    errors.InputError: names the first that disagrees with those before.
  """
  known: Digests = {}
  for path, digests in found:
    for key, digest in digests.items():
      if known.setdefault(key, digest) != digest:
        raise errors.InputError(
          f"{path} was made from other {key[1]} than the rest of the run; "
          "start the run again, which makes it again, or remove it."
        )
