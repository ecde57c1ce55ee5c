"""The report is renewed while a run trains."""

import pytest
from helpers import runs

from lth_jax import errors, report
from lth_jax.runner import renewal


@pytest.fixture
def at_once(monkeypatch):
  monkeypatch.setattr(renewal, "_PAUSE", 0.0)
  monkeypatch.setattr(renewal, "_RATIO", 0.0)


def test_a_report_is_written_while_trials_are_missing(
  tmp_path, at_once, monkeypatch
):
  pages, write = [], report.write

  def keep(folder):
    page = write(folder)
    pages.append(page.read_text())
    return page

  monkeypatch.setattr(report, "write", keep)
  runs.run(tmp_path, devices=1)
  assert "Unfinished" in pages[0]


@pytest.mark.parametrize(
  "error", [OSError(28, "No space left on device"), KeyError("of gcsfs")]
)
def test_a_report_that_fails_does_not_stop_the_run(
  error, tmp_path, at_once, monkeypatch, capsys
):
  failures = []

  def fail(folder):
    failures.append(folder)
    raise error

  monkeypatch.setattr(report, "write", fail)
  runs.run(tmp_path, rounds=1)
  assert failures and "not renewed" in capsys.readouterr().err
  assert len(runs.contents(tmp_path)) == 10


def test_short_runs_and_slow_reports_have_few(tmp_path, monkeypatch):
  written = []
  monkeypatch.setattr(report, "write", written.append)
  runs.run(tmp_path / "short")
  assert not written
  monkeypatch.setattr(renewal, "_PAUSE", 0.0)
  monkeypatch.setattr(renewal, "_RATIO", 1e9)
  runs.run(tmp_path / "slow")
  assert len(written) == 1


def test_a_run_that_stops_leaves_a_whole_report(tmp_path, at_once):
  with pytest.raises(errors.StoppedError):
    runs.run(tmp_path, stop=runs.StopAfter(12), devices=1)
  assert (tmp_path / "report" / "index.html").exists()
