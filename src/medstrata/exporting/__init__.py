"""A run's encoder for other programs, a file a format, each proved by loading it there.

Read: citations, names, source, graph, scores, target, card, to_monai, to_onnx, to_timm,
to_huggingface, to_torch_export, to_torchvision, export.
Imports: runtime, runs, models, evaluation.
"""
