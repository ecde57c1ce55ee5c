"""Where trainings run: devices, vmapped trials, scheduler, processes."""
