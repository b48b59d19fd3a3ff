"""What a model card asks to be cited."""

from importlib import metadata

_METHOD = """\
@inproceedings{kaku2021intermediate,
  title     = {Intermediate Layers Matter in Momentum Contrastive Self Supervised Learning},
  author    = {Kaku, Aakash and Upadhya, Sahana and Razavian, Narges},
  booktitle = {Advances in Neural Information Processing Systems},
  volume    = {34},
  year      = {2021},
  note      = {arXiv:2110.14805}
}
"""


def citations(pretrained: bool) -> str:
    """BibTeX of this package, and of the method where the encoder was pre-trained by it."""
    software = (
        "@software{medstrata,\n"
        "  title   = {medstrata},\n"
        f"  version = {{{metadata.version('medstrata')}}},\n"
        "  note    = {Self-supervised pre-training of medical image encoders}\n"
        "}\n"
    )
    return f"```bibtex\n{_METHOD if pretrained else ''}{software}```\n"
