"""What the stages of a backbone are called; needs no torch, so that `--help` is quick."""

STAGES = ("stage1", "stage2", "stage3", "stage4")
