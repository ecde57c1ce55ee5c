"""Cells, intervals and captions of tables."""

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


def _of_figure(figure, unit):
  return next(x for x in claims.CLAIMS if (x.figure, x.unit) == (figure, unit))


_CLAIM = claims.CLAIMS[0]


@pytest.mark.parametrize(
  ("claim", "shown"),
  [
    (_CLAIM._replace(unit="% of weights"), ("0", "100")),
    (_CLAIM._replace(unit="weights"), ("0", "112")),
    (_CLAIM._replace(unit="correlation"), ("-1", "1")),
    (_CLAIM._replace(unit="%"), ("-3.5", "112")),
    (_CLAIM._replace(unit="points"), ("-3.5", "112")),
    (_of_figure("12", "%"), ("0", "100")),
    (_of_figure("36", "%"), ("0", "100")),
    (_of_figure("20", "%"), ("-3.5", "112")),  # a difference of shares
  ],
)
def test_an_interval_ends_where_its_number_does(claim, shown):
  ours = statistics.Interval(0.5, -3.5, 112.0, 0.4, 0.6, 3)
  table = claim_table.tabulate([claims.Judgment(claim, ours, "holds", "", "")])
  assert table.data.rows[0][8:10] == shown
  digits = {"%": 1, "% of weights": 1, "weights": 0}.get(claim.unit, 2)
  low, high = (tables.number(float(x), digits) for x in shown)
  assert f"{low} to {high}" in table.text.rows[0]


def test_an_interval_of_one_replicate_is_not_cut():
  ours = statistics.Interval(0.5, -math.inf, math.inf, 0.5, 0.5, 1)
  claim = _CLAIM._replace(unit="% of weights")
  table = claim_table.tabulate([claims.Judgment(claim, ours, "", "", "")])
  assert table.data.rows[0][8:10] == ("", "")


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
  run = results.tickets([[500, 400]] * 3, [[98, 97]] * 3, model=model)
  header = tables.summary(run).header
  assert any("early stop" in title for title in header) == early_stop
  assert any("at the end" in title for title in header) != early_stop
