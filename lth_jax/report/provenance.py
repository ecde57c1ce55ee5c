"""How the records of a run came about: when, on what, in how much time."""

from typing import Any

from etils import epath

from lth_jax.report import claims, parsing, records


def read(workdir: epath.Path) -> dict[str, Any]:
  """Returns facts about a run that are not in its records.

  Returns:
    `seconds` of training, all trials added up; the last `environment`; and
    `begun`, the time at which the first trial began, unless a trial is older
    than its record of that (before 2026-11-27).

  Raises:
    InputError: a file is missing or damaged.
  """
  again = "and start the run again, which"
  environment = parsing.load(
    workdir / "env.json",
    lambda content: content["environments"][-1],
    f"remove it {again} writes it again",
    version=None,
  )
  seconds, begins = 0.0, []
  for commit in records.committed(workdir):
    lasted, began = parsing.load(
      commit.with_name("timing.json"),
      lambda content: (
        content["seconds"],
        content.get("finished", 0) - content["seconds"],
      ),
      f"remove {commit.parent} {again} trains it",
      version=None,
    )
    seconds += lasted
    begins.append(began)
  about = {"seconds": round(seconds), "environment": environment}
  if min(begins) > 0:
    about["begun"] = claims.timestamp(min(begins))
  return about
