"""The paper as values: rounds of tickets, their controls, and every key.

`rounds` is the algorithm, `controls` the arms it is compared with, `keys` says
which random number comes from which seed.
"""
