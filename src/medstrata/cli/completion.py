"""Scripts that complete the command line in a shell, made from the parsers of the commands.

A script holds all names itself: at the key's press nothing of the program runs.
"""

import io
import json
from collections.abc import Callable
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass
from typing import Any

from medstrata.cli.arguments import DESCRIBE
from medstrata.pretraining.recipes import RECIPES


@dataclass(frozen=True)
class Described:
    """What a command takes.

    Attributes:
        options: Each option's name, with what it is for.
        values: Values of those options that have a list of them.
        places: Values of the arguments that go by place, where they have a list.
        flags: Options without a value.
    """

    options: dict[str, str]
    values: dict[str, list[str]]
    places: list[str]
    flags: frozenset[str]


def describe_commands(commands: dict[str, Callable[[list[str]], None]]) -> dict[str, Described]:
    """What each command takes, as its own parser tells.

    Args:
        commands: Functions that take the words after a command, by its name.
    """
    return {name: _describe(run) for name, run in commands.items()}


def _describe(run: Callable[[list[str]], None]) -> Described:
    said = io.StringIO()
    with redirect_stdout(said), suppress(SystemExit):
        run([DESCRIBE])
    arguments: list[dict[str, Any]] = json.loads(said.getvalue())
    options, values, places, flags = dict[str, str](), dict[str, list[str]](), list[str](), set()
    for argument in arguments:
        for name in argument["options"]:
            options[name] = " ".join(argument["help"].split())
            if argument["choices"]:
                values[name] = argument["choices"]
            if not argument["takes_value"]:
                flags.add(name)
        if not argument["options"]:
            places += argument["choices"]
    if "--recipe" in options:
        values["--recipe"] = list(RECIPES)
    return Described(options, values, places, frozenset(flags))


def bash_script(commands: dict[str, Described]) -> str:
    """For bash 4.4 and later, with or without its package of completions."""
    return _BASH.format(names=" ".join(commands), cases=_cases(commands))


def zsh_script(commands: dict[str, Described]) -> str:
    """For zsh, as a file `_medstrata` in a folder of $fpath, or sourced after compinit."""
    return _ZSH.format(names=" ".join(commands), cases=_cases(commands))


def _cases(commands: dict[str, Described]) -> str:
    """Branches that set the options, values and flags of a command; equal in bash and zsh."""
    lines = []
    for name, one in commands.items():
        lines.append(f"    {name})")
        lines.append(f'      options="{" ".join(one.options)}"')
        lines.append(f'      flags="{" ".join(sorted(one.flags))}"')
        lines.append(f'      places="{" ".join(one.places)}"')
        if one.values:
            lines.append('      case "$previous" in')
            for option, values in one.values.items():
                lines.append(f'        {option}) values="{" ".join(values)}" ;;')
            lines.append("      esac")
        lines.append("      ;;")
    return "\n".join(lines)


def fish_script(commands: dict[str, Described]) -> str:
    """For fish."""
    names = " ".join(commands)
    lines = [
        "complete -c medstrata -n __fish_use_subcommand -f",
        f"complete -c medstrata -n __fish_use_subcommand -f -a '{names}'",
    ]
    for name, one in commands.items():
        begin = f"complete -c medstrata -n '__fish_seen_subcommand_from {name}'"
        for option, purpose in one.options.items():
            words = f"{begin} -l {option[2:]} -d {_quoted(purpose)}"
            if option in one.values:
                words += f" -x -a '{' '.join(one.values[option])}'"
            elif option not in one.flags:
                words += " -r"
            lines.append(words)
        if one.places:
            lines.append(f"{begin} -a '{' '.join(one.places)}'")
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    r"""In fish's single quotes, where only \ and ' need a backslash."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


# Options may be written with - for _ ; what is typed decides which of the two is offered.
_BASH = """# Completion of medstrata in bash.
_medstrata() {{
  local current="${{COMP_WORDS[COMP_CWORD]}}" previous="${{COMP_WORDS[COMP_CWORD-1]}}"
  local command="${{COMP_WORDS[1]}}" options="" flags="" places="" values=""
  COMPREPLY=()
  if [[ $COMP_CWORD -eq 1 ]]; then
    COMPREPLY=($(compgen -W "{names} --help --version --debug" -- "$current"))
    return
  fi
  if [[ $current == "=" ]]; then
    current=""
  elif [[ $previous == "=" ]]; then
    previous="${{COMP_WORDS[COMP_CWORD-2]}}"
  fi
  [[ $previous == --* ]] && previous="--${{previous#--}}" && previous="--$(
    printf %s "${{previous#--}}" | tr - _)"
  case "$command" in
{cases}
    *) return ;;
  esac
  if [[ -n $values ]]; then
    COMPREPLY=($(compgen -W "$values" -- "$current"))
  elif [[ $previous == --* && " $options " == *" $previous "* && " $flags " != *" $previous "* ]]
  then
    COMPREPLY=($(compgen -f -- "$current"))
    compopt -o filenames 2>/dev/null
  elif [[ $current == --* ]]; then
    if [[ ${{current#--}} == *-* ]]; then
      options="${{options//_/-}}"
    fi
    COMPREPLY=($(compgen -W "$options" -- "$current"))
  else
    COMPREPLY=($(compgen -W "$places" -- "$current") $(compgen -f -- "$current"))
    compopt -o filenames 2>/dev/null
  fi
}}
complete -F _medstrata medstrata
"""

_ZSH = """#compdef medstrata
# Completion of medstrata in zsh.
_medstrata() {{
  local current="${{words[CURRENT]}}" previous="${{words[CURRENT-1]}}"
  local command="${{words[2]}}" options="" flags="" places="" values=""
  if (( CURRENT == 2 )); then
    compadd -- {names} --help --version --debug
    return
  fi
  if [[ $current == --*=* ]]; then
    previous="${{current%%=*}}"
    compset -P '*='
  fi
  [[ $previous == --* ]] && previous="--${{${{previous#--}}//-/_}}"
  case "$command" in
{cases}
    *) return ;;
  esac
  if [[ -n $values ]]; then
    compadd -- ${{=values}}
  elif [[ $previous == --* && " $options " == *" $previous "* && " $flags " != *" $previous "* ]]
  then
    _files
  elif [[ $current == --* ]]; then
    if [[ ${{current#--}} == *-* ]]; then
      options="${{options//_/-}}"
    fi
    compadd -- ${{=options}}
  else
    compadd -- ${{=places}}
    _files
  fi
}}
if [[ $funcstack[1] == _medstrata ]]; then
  _medstrata "$@"
else
  compdef _medstrata medstrata
fi
"""

WRITERS: dict[str, Callable[[dict[str, Described]], str]] = {
    "bash": bash_script,
    "zsh": zsh_script,
    "fish": fish_script,
}
