"""Where the time of a training step goes, and what limits it, in words.

Read: flops, roofline, trace, bottleneck, profile.
Imports: build, losses, moco.
"""
