"""Where the time of a training step goes, and what limits it, in words.

Read: measure, roofline, trace, bottleneck, profile.
Imports: build, losses, moco.
"""
