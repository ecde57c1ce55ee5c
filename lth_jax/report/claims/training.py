"""Whether the dense networks of a run had trained."""

from lth_jax.report import protocols, records, statistics
from lth_jax.report.claims import terms

# By how much a loss must have risen from its minimum to have passed it, and how
# many points below the paper's accuracy are near enough. Both are ours.
_PASSED, _NEAR = 1.01, 3.0


def untrained(run: records.Run) -> str:
  """Says why a run had not trained; "" if it had.

  It had if the validation loss of the dense networks has passed its minimum, or
  if they are about as accurate as the paper's.

  Args:
    run: the run.

  >>> from lth_jax.report import example
  >>> untrained(example.run(ticket=[(500, 98.0)]))
  ''
  >>> untrained(example.run(ticket=[(500, 45.0)]))
  'not trained: the validation loss of the dense network ends at 1.000 of its
  minimum, and its test accuracy at 45.0% (the paper has 98.0%)'
  """
  rise, accuracy = (
    statistics.interval(terms.level(terms.parse(run, each, "dense")).values)
    for each in ("loss_rise", "end_test")
  )
  published = protocols.DENSE_ACCURACY[run.config["model"]]
  if rise.mean >= _PASSED or accuracy.mean >= published - _NEAR:
    return ""
  return (
    "not trained: the validation loss of the dense network ends at "
    f"{rise.mean:.3f} of its minimum, and its test accuracy at "
    f"{accuracy.mean:.1f}% (the paper has {published}%)"
  )
