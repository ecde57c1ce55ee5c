"""Everything that a run measured, as one long table.

Columns:
  replicate, round, arm, draw: the trial; draw is 0 where an arm has only one.
  density: kept / counted weights of its masks, in (0, 1].
  step: of training.
  metric: `train_loss`, `valid_loss`, `valid_accuracy`, `test_loss` or
    `test_accuracy` while it trains; with `early_stop_` or `end_` before it at
    those two steps, where `train_accuracy` is measured too.
  value: a loss in nats an image, or an accuracy in [0, 1].

What was not measured, or is not finite, has no row. The `train_loss` of a
training that goes on is the mean over the steps since the last evaluation.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from etils import epath

from lth_jax import errors
from lth_jax.report import records
from lth_jax.storage import files

if TYPE_CHECKING:
  import pandas as pd

_TRIAL = ("replicate", "round", "density", "arm", "draw")
COLUMNS = (*_TRIAL, "step", "metric", "value")
_NO_TEST = dict.fromkeys(("test_loss", "test_accuracy"))
_NO_EVALUATION = dict.fromkeys(("train_loss", "valid_loss", "valid_accuracy"))
METRICS = (*_NO_EVALUATION, *_NO_TEST)


def read(workdir: epath.PathLike) -> "pd.DataFrame":
  """Returns all measurements of a run's finished trials, in long format.

  Raises:
    errors.InputError: no run, no finished trial, a damaged record, or pandas
      is not installed.
  """
  try:
    import pandas as pd  # nothing else needs it
  except ImportError as error:
    raise errors.InputError(
      "report.read needs the package pandas: `pip install pandas`."
    ) from error
  return pd.DataFrame.from_records(list(rows(workdir)), columns=list(COLUMNS))


def rows(workdir: epath.PathLike) -> Iterator[tuple[Any, ...]]:
  """Yields the rows of the table, with values in the order of `COLUMNS`.

  Raises:
    errors.InputError: as `read`, but for pandas.
  """
  run = records.read(workdir)  # checks every file
  for commit in records.committed(epath.Path(workdir)):
    record = files.read_json(commit.with_name("record.json"))
    arm, draw = records.name_arm(run.config, record["arm"], record["draw"] or 0)
    trial = record["replicate"], record["round"], record["density"], arm, draw
    for step, metric, value in _measured(record):
      if value is not None:
        yield *trial, step, metric, value


def by_step(record: Mapping[str, Any]) -> list[dict[str, Any]]:
  """Returns a line a step of what a trial measured while it trained.

  None where a step was not evaluated, or not tested.
  """
  about = {name: record[name] for name in _TRIAL}
  about["draw"] = record["draw"] or 0
  evaluations, tests = record["evaluations"], record["tests"]
  steps: dict[int, dict[str, Any]] = {}
  for step, *values in zip(*evaluations.values()):
    found = dict(zip(_NO_EVALUATION, values, strict=True))
    steps[step] = about | {"step": step} | found | _NO_TEST
  for step, *values in zip(*tests.values()):
    found = dict(zip(_NO_TEST, values, strict=True))
    before = steps.get(step, about | {"step": step} | _NO_EVALUATION)
    steps[step] = before | found
  return [steps[step] for step in sorted(steps)]


def _measured(
  record: Mapping[str, Any],
) -> Iterator[tuple[int, str, float | None]]:
  for line in by_step(record):
    for metric in METRICS:
      yield line["step"], metric, line[metric]
  for when in ("early_stop", "end"):
    found = record[when] or {}
    for metric, value in found.items():
      if metric.endswith(("_loss", "_accuracy")):
        yield found["step"], f"{when}_{metric}", value
