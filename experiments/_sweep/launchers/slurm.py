"""A sweep as an array of Slurm jobs."""

from collections.abc import Sequence

from experiments._sweep import points
from experiments._sweep.launchers import shell

# Slurm passes USR1 on before the time is up, and TERM itself to all processes
# of a job that is cancelled, which must not come back, or that is preempted,
# which Slurm requeues itself.
_STOP = 'kill -TERM "$child"'
# srun would kill what it is to pass TERM on to.
_STOP_ALL = 'scancel --signal=TERM "$SLURM_JOB_ID"'
_SCRIPT = """\
#!/bin/bash
# A sweep; docs/slurm.md says how to submit it. Options of sbatch come first.
#SBATCH --job-name=sweep
#SBATCH --array=0-{last}
#SBATCH --output=sweep-%A_%a.log
#SBATCH --open-mode=append
#SBATCH --requeue
#SBATCH --signal=B:USR1@120

{point}
# srun only with --distributed=auto; it ends with the highest code of all
# processes, and must be told how many CPUs each has.
export SRUN_CPUS_PER_TASK=${{SLURM_CPUS_PER_TASK:-1}}
[ ! -e .venv/bin/activate ] || . .venv/bin/activate
point "$SLURM_ARRAY_TASK_ID" &
child=$! again=
# Near the end of its time a run saves, ends with code 75, and is queued again.
# When a job is cancelled or preempted, Slurm tells the run itself.
trap 'signalled=1 again=1; {stop}' USR1
trap 'signalled=1' TERM
while signalled=; wait "$child"; code=$?; [ "$signalled" ]; do :; done
if [ "$code" = 75 ] && [ "$again" ]; then
  exec scontrol requeue "${{SLURM_ARRAY_JOB_ID}}_$SLURM_ARRAY_TASK_ID"
fi
exit "$code"
"""


def text(sweep: Sequence[points.Point]) -> str:
  """Writes a script for sbatch.

  Args:
    sweep: its points; the index in the array is their place here.

  >>> script = text(points.make([], {"seed": ["1", "2"]}, "runs"))
  >>> print(script.splitlines()[3])
  #SBATCH --array=0-1
  """
  chosen = {str(index): point for index, point in enumerate(sweep)}
  return _SCRIPT.format(
    last=len(sweep) - 1,
    point=shell.choose(chosen, srun=True),
    stop=_STOP_ALL if points.several(sweep) else _STOP,
  )
