"""The text of a page, of runs at any stage."""

import dataclasses
import math

import pytest
from helpers import results, synthetic_runs

from lth_jax.report import (
  claim_table,
  claims,
  headline,
  page,
  protocols,
  provenance,
  records,
  tables,
  winning,
)

_MADE = provenance.Provenance("0a1b", "", "", tables.Table(("",), ()))


@pytest.fixture(scope="module")
def whole():
  """A finished run of three replicates and two rounds, two draws of reinit."""
  return synthetic_runs.read(steps=1500, replicates=3, reinits=2)


def _page(run):
  """The page without its figures, which take seconds."""
  found = winning.winning(run)
  made = {
    "table": tables.results(run),
    "claims": claim_table.tabulate(claims.evaluate(run)),
    "verdicts": tables.verdicts(found),
  }
  shown = {name: each.text for name, each in made.items()}
  protocol = protocols.differences(run.config)
  return page.render(page.Content(run, protocol, found, shown, (), _MADE))


def _without(run, *trials):
  return results.keep(run, lambda each: each[:4] not in trials)


def _diverge(run, rounds):
  """Ends the series of {replicate: round} with a ticket that diverged."""

  def lose(each):
    where = rounds.get(each.replicate)
    if (each.round, each.arm) != (where, "ticket"):
      return each
    nothing = records.Measurement(math.nan, False, math.nan, math.nan)
    return each._replace(diverged=True, early_stop=nothing)

  run = results.keep(run, lambda x: x.round <= rounds.get(x.replicate, x.round))
  return results.change(run, lose)


def test_text_of_a_run_is_escaped(whole):
  warned = results.change(
    whole, lambda each: each._replace(warnings=("<script>x</script>",))
  )
  run = dataclasses.replace(
    warned, experiment="a < b", software=("lth_jax <0.1>",)
  )
  text = _page(run)
  assert "<script" not in text
  for shown in ("&lt;script&gt;x", "a &lt; b: lottery", "lth_jax &lt;0.1&gt;"):
    assert shown in text


def test_the_version_of_lth_jax_is_shown_if_it_is_known(whole):
  assert "Trained with" not in _page(whole)
  run = dataclasses.replace(whole, software=("lth_jax 1", "lth_jax 2"))
  assert "Trained with lth_jax 1; then lth_jax 2." in _page(run)


@pytest.mark.parametrize(
  ("verdicts", "starts", "undecided"),
  [
    ("wwwl", "Winning tickets from 80.0% down to 51.2% of the weights (3", ""),
    ("wulw", "A winning ticket at 80.0% of the weights (1 of 4", "64.0%"),
    ("uwuw", "A winning ticket at 64.0% of the weights", "80.0%, 51.2%"),
    ("uuuw", "A winning ticket at 41.0% of", "80.0% to 51.2%"),
    ("wlww", "Winning tickets from 51.2% down to 41.0% of the weights", ""),
    ("lllu", "No winning ticket is established: of 4 densities, 3 do not", ""),
  ],
)
def test_the_headline_claims_no_more_than_the_table(
  verdicts, starts, undecided
):
  run = results.ladder([[98.0] * 5] * 3)
  words = {"w": "wins", "u": "undecided", "l": "does not win"}
  found = [
    each._replace(verdict=words[letter])
    for each, letter in zip(winning.winning(run), verdicts, strict=True)
  ]
  line = headline.headline(run, found)
  assert line.startswith(starts)
  assert line.partition("Undecided at ")[2].rstrip(".") == undecided


def test_verdicts_are_counted():
  verdicts = "wins", "does not win", "does not win", "undecided"
  run = results.ladder([[98.0] * 5] * 3)
  found = [
    each._replace(verdict=verdict)
    for each, verdict in zip(winning.winning(run), verdicts, strict=True)
  ]
  assert headline.tally(run, found) == (
    "3 replicates. Tickets by density: 1 wins; 1 undecided; 2 do not win."
  )
  assert headline.tally(run, ()).endswith("density: none yet.")


def _dense_only(run):
  return results.keep(run, lambda each: each.round == 0)


@pytest.mark.parametrize(
  ("change", "words"),
  [
    (
      lambda run: _without(run, (2, 2, "ticket", 0), (2, 2, "reinit", 0)),
      "Unfinished: 19 of 21 trainings are on disk; missing: 1 reinit, "
      "1 ticket.",
    ),
    (
      lambda run: _without(run, (0, 1, "reinit", 1)),
      "Unfinished: 20 of 21 trainings are on disk; missing: 1 reinit.",
    ),
    (_dense_only, "Only the dense network has been trained so far."),
    (
      lambda run: results.keep(run, lambda each: each.replicate < 2),
      "<h1>Undecided: 2 replicates cannot tell",
    ),
    (
      lambda run: _without(_diverge(run, {0: 0, 1: 2}), (1, 2, "reinit", 1)),
      "Unfinished: 14 of 15 trainings",
    ),
    # Dense networks that diverged do not hide missing trials.
    (
      lambda run: _diverge(_dense_only(run), {0: 0}),
      "1 series ended by divergence in round 0. Only the dense",
    ),
    (
      lambda run: _diverge(_dense_only(run), {0: 0}),
      "Unfinished: 3 of 15 trainings",
    ),
  ],
)
def test_an_unfinished_run_is_reported_as_far_as_it_went(whole, change, words):
  assert words in _page(change(whole))


def test_a_finished_run_misses_nothing(whole):
  assert "Unfinished" not in _page(whole)
  # Only planned controls are missing.
  run = _without(whole, (0, 1, "reinit", 1))
  planned = run.config | {"control_rounds": [2]}
  assert "Unfinished" not in _page(dataclasses.replace(run, config=planned))


def test_a_run_that_diverged_is_finished(whole):
  text = _page(_diverge(whole, {0: 0, 1: 0, 2: 0}))
  assert "Unfinished" not in text
  assert "<h1>3 series ended by divergence in round 0.</h1>" in text
  assert "3 trials diverged" in text
  text = _page(_diverge(whole, {0: 0, 1: 2}))
  assert "Unfinished" not in text
  assert "ended by divergence: 1 in round 0, 1 in round 2." in text
  # One replicate has no dense network to compare with.
  assert "Undecided: 2 replicates cannot tell" in text
