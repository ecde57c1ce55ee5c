"""Runs on data of one's own."""

import shutil

import numpy as np
import pytest
from helpers import commands, workdirs


def save(path, size, num_classes, channels=(), seed=0):
  rng = np.random.default_rng(seed)
  shape = size, size, *channels
  np.savez(
    path,
    x_train=rng.integers(0, 256, [2 * num_classes, *shape], np.uint8),
    y_train=np.arange(2 * num_classes) % num_classes,
    x_test=rng.integers(0, 256, [num_classes, *shape], np.uint8),
    y_test=np.arange(num_classes),
  )


def start(folder, dataset, *flags):
  return commands.call(
    f"--workdir={folder}",
    *commands.TINY,
    f"--dataset={dataset}",
    *("--num_valid=4", "--batch_size=8", "--rounds=1", "--replicates=1"),
    "--arms=ticket",
    *flags,
  )


def test_a_run_goes_on_where_its_data_were_moved_to(tmp_path):
  save(tmp_path / "a.npz", 6, 20)
  result = start(tmp_path / "run", f"npz:{tmp_path}/a.npz")
  assert result.returncode == 0, result.stderr
  assert (
    "npz:a.npz: 40 training and 20 test images of 6x6x1, 20" in result.stderr
  )
  assert len(workdirs.results(tmp_path / "run")) == 2
  (tmp_path / "else").mkdir()
  shutil.move(tmp_path / "a.npz", tmp_path / "else")
  moved = start(tmp_path / "run", "npz:a.npz", f"--data_dir={tmp_path}/else")
  assert "nothing to train" in moved.stderr, moved.stderr
  save(tmp_path / "a.npz", 6, 20, seed=1)
  other = start(tmp_path / "run", f"npz:{tmp_path}/a.npz")
  commands.assert_one_line(other, "npz:a.npz", "not the ones", "--data_dir")
  missing = start(tmp_path / "run", f"npz:{tmp_path}/b.npz")
  commands.assert_one_line(missing, "b.npz", "'a.npz'")
  assert missing.returncode == 2


@pytest.mark.slow
def test_a_resnet_takes_a_hundred_classes(tmp_path):
  save(tmp_path / "a.npz", 8, 100, channels=(3,))
  result = start(
    tmp_path / "run",
    f"npz:{tmp_path}/a.npz",
    *("--model=resnet20", "--width=0.125", "--steps=1", "--rounds=0"),
    *("--scaling=standard", "--augment=crop_flip", "--eval_every=1"),
    *("--test_every=1", "--devices=1"),
  )
  assert result.returncode == 0, result.stderr
