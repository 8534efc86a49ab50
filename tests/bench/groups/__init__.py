"""What is measured beside Dovecot by more than a run of the load tester, each in a file of its own.

A group is `measure(pair, wanted)`: it starts both servers, which are new, and yields rows of the table with their figures, as
(row, {name: figure}).
"""
