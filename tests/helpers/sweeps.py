"""Sweeps and the texts that are written of them."""

from experiments._sweep import emit, points

SMOKE = "--flagfile=experiments/flags/mnist_lenet/smoke.flags"
ODD = """two  words, it's "$HOME" `x` & more; (all) * of # it"""
BUCKET = "gs://bucket/runs"


def make(workdir="runs/sweep", base=(SMOKE,), **ranges):
  return points.make(base, ranges or {"seed": ["0", "1"]}, str(workdir))


def make_odd(**ranges):
  """Returns a sweep whose words need quotes."""
  return make(ODD, [f"--data_dir={ODD}"], **ranges)


def text(kind, sweep, workdir="runs", image="example.org/lth_jax", tpu=""):
  return emit.text(kind, sweep, workdir, image, tpu)


def commands(sweep):
  return [point.command for point in sweep]
