"""`medstrata doctor`: is this machine ready, and what to mend.

Read: checks, child.
Imports: nothing.
"""
