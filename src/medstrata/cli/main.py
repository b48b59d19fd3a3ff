"""The command line: parse, call one library function, print.

Exit status 0, 1 failed, 2 usage, 75 stopped as asked with all of it saved.

Only the parser of the command in hand is built, and the library is imported once the arguments
have been understood, so that help and usage errors are quick.
"""

import sys
from collections.abc import Callable, Sequence
from typing import Literal

from medstrata.cli.analysis import atlas_command, probe_command, reuse_command
from medstrata.cli.arguments import make_parser, parse, underscored, usage_error
from medstrata.cli.data import audit_command, datasets_command, prepare_command, push_command
from medstrata.cli.import_weights import import_weights_command
from medstrata.cli.inference import embed_command, predict_command
from medstrata.cli.machine import bench_command
from medstrata.cli.setup import doctor_command
from medstrata.cli.studies import reproduce_command, study_command
from medstrata.cli.training import (
    demo_command,
    finetune_command,
    pretrain_command,
    recipes_command,
    report_command,
)
from medstrata.cli.weights import export_command
from medstrata.runtime.console import say
from medstrata.runtime.errors import MedstrataError, Stopped

UNFINISHED = 75  # EX_TEMPFAIL of sysexits.h: nothing is wrong, the same command goes on

HELP = """usage: medstrata COMMAND [options]     (medstrata COMMAND --help explains each)

Pre-train an encoder of medical images without labels, and prove what it is worth.

commands:
  prepare   SOURCE --out STORE             decode images once into a store, with labels and splits
  datasets  [NAME | check NAME ROOT]       known data sets: list, explain one, check a copy
  audit     STORE [--allow-leakage]        copies, leakage, label counts, shortcuts
  pretrain  STORE|FOLDER --out RUN         momentum contrast, with losses on intermediate stages
  import-weights FILE --backbone NAME --out FOLDER
                                           an encoder of another program, in place of a run
  push      STORE s3://BUCKET/NAME         put a store into object storage, to train from there
  finetune  RUN|FILE|scratch|imagenet STORE --task T --fraction F --out RUN
                                           train on few labels, score on test with intervals
  study     STUDY.yaml --out DIR           every arm x data set x fraction x seed, and the report
  reproduce chest|histopathology|retina ROOT --out DIR
                                           the paper's exhibits from the raw download
  reuse     RUN STORE --out RUN            what fine-tuning left of each stage's features
  probe     RUN|FILE|scratch|imagenet STORE --task T --out RUN
                                           what each stage of a frozen encoder knows of a task
  atlas     RUN|FILE|scratch|imagenet STORE --task T --out RUN
                                           spectra, neighbours and a map of its features
  export    RUN --to timm|torchvision|huggingface|monai|onnx|torch-export --out FOLDER
                                           the encoder as another program loads it, proved
  embed     RUN|scratch|imagenet SOURCE --out features.parquet
                                           features of a store, a folder, a file or stdin's paths
  predict   RUN SOURCE --out predictions.csv
                                           probabilities and classes by a fine-tuned run
  report    RUNS... --to report.html       one self-contained page
  demo      [--out FOLDER]                 all of it in minutes, on images it makes itself
  bench     [--store STORE]                how fast this machine is, and the hours of a run
  recipes                                  list the pre-training recipes
  doctor    [--store STORE] [--json]       what is wrong with this machine, and how to mend it
  completion bash|zsh|fish                 a script that completes all this in a shell

options:
  --version  print the version
  --debug    show a traceback when something fails

exit status: 0 done, 1 failed, 2 wrong usage, 75 stopped and saved (run it again)
"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and leave with its exit status."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    if not words or words[0] in ("-h", "--help"):
        sys.stdout.write(HELP)
        sys.exit(0)
    if words[0] == "--version":
        from importlib.metadata import version

        sys.stdout.write(f"medstrata {version('medstrata')}\n")
        sys.exit(0)
    command, rest = words[0], [underscored(word) for word in words[1:]]
    if command not in COMMANDS:
        usage_error("", f"no command {command!r}; there are {', '.join(COMMANDS)}")
    try:
        COMMANDS[command](rest)
    except Stopped as stopped:
        say(f"medstrata {command}: {stopped}")
        sys.exit(UNFINISHED)
    except (MedstrataError, ValueError, OSError) as error:
        if debug:
            raise
        say(f"medstrata {command}: {_words(error)}")
        sys.exit(1)
    except KeyboardInterrupt:
        resumable = ("pretrain", "finetune", "probe", "reuse", "atlas")
        how = "with --resume " if command in resumable else ""
        say(f"medstrata {command}: stopped; {how}the same command goes on or starts again")
        sys.exit(130)


def _words(error: Exception) -> str:
    """One line; of the system's errors what it could not do and where, without their number."""
    if isinstance(error, OSError) and error.strerror and error.filename:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split())


def completion_command(words: list[str]) -> None:
    """Print a script that completes the commands in a shell."""
    parser = make_parser(
        "completion",
        "bash|zsh|fish",
        "Print a script that completes commands, options and their values. Bash: medstrata "
        "completion bash > ~/.local/share/bash-completion/completions/medstrata. Zsh: into a file "
        "_medstrata in a folder of $fpath. Fish: into ~/.config/fish/completions/medstrata.fish.",
    )
    parser.add_argument("shell", type=Literal["bash", "zsh", "fish"], help="Which shell.")
    parsed = parse(parser, "completion", words)
    from medstrata.cli.completion import WRITERS, describe_commands

    sys.stdout.write(WRITERS[parsed.shell](describe_commands(COMMANDS)))


COMMANDS: dict[str, Callable[[list[str]], None]] = {
    "prepare": prepare_command,
    "datasets": datasets_command,
    "audit": audit_command,
    "pretrain": pretrain_command,
    "import-weights": import_weights_command,
    "push": push_command,
    "finetune": finetune_command,
    "study": study_command,
    "reproduce": reproduce_command,
    "reuse": reuse_command,
    "probe": probe_command,
    "atlas": atlas_command,
    "export": export_command,
    "embed": embed_command,
    "predict": predict_command,
    "report": report_command,
    "demo": demo_command,
    "bench": bench_command,
    "recipes": recipes_command,
    "doctor": doctor_command,
    "completion": completion_command,
}
