"""`medstrata doctor`: is this machine ready, and what to mend.

Read: child, child_decodes, child_imports, child_opens_store, findings, disks, machine, hardware,
packages, examine.
Imports: nothing.
"""
