"""Cells, intervals and captions of tables."""

import csv
import dataclasses
import math
import re

import pytest
from helpers import results

from lth_jax.report import (
  claim_table,
  claims,
  statistics,
  tables,
)


@pytest.mark.parametrize(
  ("unit", "shown"),
  [
    ("% of weights", ("0", "100")),
    ("weights", ("0", "112")),
    ("correlation", ("-1", "1")),
    ("%", ("-3.5", "112")),
    ("points", ("-3.5", "112")),
  ],
)
def test_an_interval_ends_where_its_number_does(unit, shown):
  claim = claims.CLAIMS[0]._replace(unit=unit)
  ours = statistics.Interval(0.5, -3.5, 112.0, 0.4, 0.6, 3)
  table = claim_table.tabulate([claims.Judgment(claim, ours, "holds", "", "")])
  assert table.data.rows[0][8:10] == shown
  digits = {"%": 1, "% of weights": 1, "weights": 0}.get(unit, 2)
  low, high = (tables.number(float(x), digits) for x in shown)
  assert f"{low} to {high}" in table.text.rows[0]
  unknown = ours._replace(low=-math.inf, high=math.inf, n=1)
  assert statistics.within(unknown, 0, 1) == unknown


@pytest.mark.parametrize(
  ("figure", "shown"),
  [("12", ("0", "100")), ("36", ("0", "100")), ("20", ("-3.5", "112"))],
)
def test_an_interval_of_a_share_ends_at_100_percent(figure, shown):
  """Of figure 20 the number is a difference of shares."""
  claim = next(x for x in claims.CLAIMS if (x.figure, x.unit) == (figure, "%"))
  ours = statistics.Interval(99.9, -3.5, 112.0, 99.8, 100.0, 3)
  table = claim_table.tabulate([claims.Judgment(claim, ours, "holds", "", "")])
  assert table.data.rows[0][8:10] == shown


@pytest.mark.parametrize("text", ["=1+1", "+cmd", "-1+1", "@SUM(A1)", "\t=1"])
def test_no_cell_is_a_formula(text):
  table = tables.Table(("a", "b", "c"), ((text, "-0.5", "+1e-05"),))
  (_, row) = csv.reader(tables.csv(table, text).splitlines())
  assert row == [f"'{text}", "-0.5", "+1e-05", f"'{text}"]


@pytest.mark.parametrize(
  "text",
  ["a|b", "a\\|b", "<script>x</script>", "[x](http://y)", "two\nlines", "\\"],
)
def test_a_cell_of_markdown_is_one_cell_of_text(text):
  cell = tables.cell(text)
  # As GitHub reads a row: a backslash takes the next character with it.
  assert not re.search(r"\||\n|<", re.sub(r"\\.", "", cell))
  assert "](" not in cell and not re.search(r"(?<!\\)(\\\\)*\\$", cell)


@pytest.mark.parametrize(
  ("model", "early_stop"), [("lenet", True), ("vgg19", False)]
)
def test_a_summary_shows_what_the_paper_reports(model, early_stop):
  run = results.tickets([[500, 400]] * 3, [[98, 97]] * 3)
  header = tables.summary(
    dataclasses.replace(run, config=run.config | {"model": model})
  ).header
  assert any("early stop" in title for title in header) == early_stop
  assert any("at the end" in title for title in header) != early_stop


def test_densities_that_look_alike_get_more_digits():
  run = results.ladder([[98.0, 98.0, 98.0]])
  trials = tuple(
    trial._replace(density=1 - 0.0006 * trial.round) for trial in run.results
  )
  rows = tables.summary(dataclasses.replace(run, results=trials)).rows
  assert [row[0] for row in rows] == ["100%", "99.94%", "99.88%"]
