"""Trials on devices: how many at once, in which order, by which processes.

`scheduler` decides where a trial trains; `segments` trains a group of trials;
`vmapped` makes one program of several trials; `devices` finds the devices;
`processes` holds all that processes exchange; `progress` is what a user sees.
"""
