"""The paper as values: rounds of tickets, their controls, and every key.

`rounds` is the algorithm, `controls` the arms that a ticket is compared with,
`keys` the source of every random number.
"""
