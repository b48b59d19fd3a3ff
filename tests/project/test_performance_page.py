"""docs/performance.md is what the result files give; one command runs every benchmark."""

import io
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from matplotlib.figure import Figure
from rich.console import Console

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
# Only while importing: two of its files have the names of files that tests import.
sys.path.insert(0, str(BENCHMARKS))
import harness  # noqa: E402
import page  # noqa: E402
import run  # noqa: E402
import step  # noqa: E402
import wording  # noqa: E402
from harness import Section, Target  # noqa: E402

sys.path.remove(str(BENCHMARKS))

# What only `medstrata[bench]` or another extra brings.
OPTIONAL = ("gdcm", "imagecodecs", "lightly", "moto", "obstore", "pydicom")
PROBE = """
import contextlib, io, json, sys
for name in {optional!r}:
    sys.modules[name] = None
sys.path.insert(0, {folder!r})
import page
found = {{}}
for module in page.benchmarks():
    sys.argv = [module.__name__, "--help"]
    with contextlib.redirect_stdout(io.StringIO()) as told, contextlib.suppress(SystemExit):
        module.main()
    found[module.__name__] = told.getvalue()
with (
    contextlib.redirect_stdout(io.StringIO()),
    contextlib.redirect_stderr(io.StringIO()) as wrong,
):
    status = page.main(["--check"])
print(json.dumps({{"help": found, "status": status, "wrong": wrong.getvalue()}}))
"""
NOW = {
    "date": "2026-11-24T08:57:09+00:00",
    "commit": "98f2e00",
    "processor": "AMD EPYC",
    "vector_instructions": "AVX512",
    "native_bf16": True,
    "cores": 2,
    "load_average": 0.7,
    "gpu": None,
    "packages": {"torch": "2.15.0"},
}
BEFORE = {name: NOW[name] for name in ("date", "processor", "cores", "packages")}
TODAY = NOW | {"date": "2026-11-25T01:00:00+00:00", "load_average": 0.64, "commit": "8c2cff5"}
SPREAD = {"median": 3.607, "lower_quartile": 3.5458, "upper_quartile": 3.7247}
STEP = Section(
    "Training step",
    f"One thread.\n\n{wording.picture('step', 'Time of a step')}\n",
    [
        Target("step against lightly", 3, 3.607, "x", on="AVX2"),
        Target("growth of memory", 2, 3.5, "%", at_most=True, why="the cache"),
        Target("step on a GPU", 2000, None, "samples/s", why="no GPU"),
    ],
    {"step": Figure()},
    claim="A step takes 3.61 times as long with lightly.",
)
EXPECTED = f"""# Performance

{page.HEAD}

- Targets set before anything was measured: 1 met, 1 missed, 1 not measured here.
- A step takes 3.61 times as long with lightly.

## Targets

| target | aim | measured | on |  |
| :-- | --: | --: | :-- | :-- |
| step against lightly | at least 3 x | 3.61 x | AVX2 | met |
| growth of memory | at most 2 % | 3.5 % | AVX512 with bfloat16 | missed: the cache |
| step on a GPU | at least 2,000 samples/s | - | - | not measured here: no GPU |

## Training step

*Measured on 2 cores of an AMD EPYC, AVX512 with bfloat16, PyTorch 2.15, 2026-11-24, load 0.7, 98f2e00.*

One thread.

![Time of a step](pictures/performance-step.png)

## Pooling

Nothing.
"""  # noqa: E501


def module(
    section: Any, words: str = "Time of nothing.\n\nMore.", name: str = "nothing"
) -> ModuleType:
    made = ModuleType(name, words)
    made.section = section  # type: ignore[attr-defined]
    return made


def write_environments(folder: Path, **environments: dict[str, Any]) -> None:
    for name, environment in environments.items():
        path = folder / f"{name.replace('_', '-')}.json"
        path.write_text(json.dumps({"environment": environment}))


def test_page_of_two_sections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for owner in (harness, page):
        monkeypatch.setattr(owner, "RESULTS", tmp_path)
    write_environments(tmp_path, step_a=NOW, steps=BEFORE)
    plain = module(lambda: Section("Pooling", "Nothing."))
    assert page.page_text(page.collect([module(lambda: STEP, name="step"), plain])) == EXPECTED


def test_heading_tells_every_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for owner in (harness, page):
        monkeypatch.setattr(owner, "RESULTS", tmp_path)
    write_environments(tmp_path, step=TODAY, step_a=NOW, step_b=BEFORE)
    (section,) = page.collect([module(lambda: STEP, name="step")])
    assert (
        section.processors == "AVX512 with bfloat16; unknown vector instructions, bfloat16 unknown"
    )
    assert section.text.partition("\n")[0] == (
        "*Measured on 2 cores of an AMD EPYC, AVX512 with bfloat16, PyTorch 2.15, 2026-11-24, "
        "2026-11-25, load 0.6 to 0.7, 8c2cff5, 98f2e00. Measured on 2 cores of an AMD EPYC, "
        "unknown vector instructions, bfloat16 unknown, PyTorch 2.15, 2026-11-24, load unknown.*"
    )


def test_verdict_of_a_target() -> None:
    seen = [Target("aim", 2, measured, "x").verdict for measured in (1.9, 2, 2.1, None)]
    assert seen == ["missed", "met", "met", "not measured here"]
    seen = [Target("aim", 2, measured, "x", at_most=True).verdict for measured in (1.9, 2, 2.1)]
    assert seen == ["met", "met", "missed"]


def test_unmeasured_benchmark_says_how_to_measure_it() -> None:
    (section,) = page.collect([module(lambda: harness.read_result("no-such-result"))])
    assert section.title == "Time of nothing"
    assert section.text == "Not measured: run `python benchmarks/nothing.py`."
    assert f"- {section.text}\n\n## Targets" in page.page_text([section])


def test_other_missing_files_are_errors() -> None:
    with pytest.raises(FileNotFoundError):
        page.collect([module(lambda: Path("no-such-file").read_text())])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"targets": [Target("aim", 2, 1, "x")]}, "without a reason"),
        ({"text": "no picture"}, "different pictures"),
        ({"figures": {}}, "different pictures"),
        ({"text": STEP.text + wording.picture("other", "Other")}, "different pictures"),
        ({"text": wording.picture("step", "")}, "without words"),
    ],
)
def test_holes_in_a_section_are_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        page.collect([module(lambda: STEP._replace(**change))])


def test_figures_of_two_sections_have_two_names() -> None:
    with pytest.raises(ValueError, match="'step'"):
        page.pictures([STEP, STEP], Path("performance.md"))


def test_written_page_is_current_until_something_changes(tmp_path: Path) -> None:
    path = tmp_path / "performance.md"
    figures = page.pictures([STEP], path)
    (drawn,) = figures
    old = tmp_path / "pictures" / "performance-old.png"
    other = tmp_path / "pictures" / "fundus.png"
    for left in (old, other):
        left.parent.mkdir(exist_ok=True)
        left.touch()
    assert page.differences(EXPECTED, figures, path)
    page.write(EXPECTED, figures, path)
    assert drawn.read_bytes().startswith(b"\x89PNG")
    assert not old.exists()
    assert other.exists()
    drawn.touch()
    assert page.differences(EXPECTED, figures, path) == []
    changed = page.differences(EXPECTED.replace("3.5 %", "3.6 %"), figures, path)
    assert any(line.startswith("+| growth of memory | at most 2 % | 3.6 % |") for line in changed)
    drawn.unlink()
    assert page.differences(EXPECTED, figures, path) == [
        "missing or not wanted: performance-step.png"
    ]


@pytest.mark.parametrize("width", [44, 80, 200])
def test_terminal_table_folds_words_and_keeps_numbers(width: int) -> None:
    console = Console(file=io.StringIO(), width=width)
    page.show([STEP, Section("Odd", "", [Target("[odd] name", 1, 130.2, "images/s")])], console)
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    ends = {line.index(value) + len(value) for line in lines for value in VALUES if value in line}
    assert len(ends) == 1
    assert sum(value in line for line in lines for value in VALUES) == len(VALUES)
    assert any(line.startswith("[odd]") for line in lines)


VALUES = ("3.61 x", "3.5 %", "130 images/s")


def test_words() -> None:
    numbers = (0.0124, 3.607, 4, 99.96, 130.2, 18_456, -250, 0, 4.27e-9)
    words = ["0.0124", "3.61", "4", "100", "130", "18,500", "-250", "0", "4.27e-09"]
    assert [wording.number(value) for value in numbers] == words
    assert wording.ratio(SPREAD) == "3.61 (3.55 to 3.72)"
    assert wording.ratio(SPREAD, digits=1) == "3.6 (3.5 to 3.7)"
    less = {"median": 0.99, "lower_quartile": 0.95, "upper_quartile": 1.07}
    assert wording.change(less) == "-1 % (-5 to +7)"
    assert [wording.gib(value) for value in (4.394, 0.1, 0.034)] == [
        "4.39 GiB",
        "0.10 GiB",
        "35 MiB",
    ]
    table = "| a | b |\n| :-- | --: |\n| x\\|y z | 1 |"
    assert wording.table(["a", "b"], [["x|y\nz", "1"]]) == table
    assert wording.table(["a"], [], "c") == "| a |\n| :-: |"
    with pytest.raises(ValueError, match="2 cells"):
        wording.table(["a", "b"], [["x"]])


def test_machine_in_words() -> None:
    assert wording.hardware(NOW) == "2 cores of an AMD EPYC, AVX512 with bfloat16, PyTorch 2.15"
    assert wording.processor(NOW) == "AVX512 with bfloat16"
    assert wording.processor(NOW | {"gpu": "NVIDIA H100"}) == "NVIDIA H100"
    assert wording.hardware(NOW | {"gpu": "NVIDIA H100", "native_bf16": False, "cores": 1}) == (
        "NVIDIA H100 without bfloat16 in a host of 1 core of an AMD EPYC, AVX512, PyTorch 2.15"
    )
    assert wording.measured_on([{}]) == (
        "Measured on unknown cores of an unknown processor, unknown vector instructions, bfloat16 "
        "unknown, PyTorch unknown, unknown day, load unknown."
    )


def test_written_results_are_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness, "RESULTS", tmp_path / "results")
    path = harness.write_result("some", {"rows": [1]})
    assert [path] == list(path.parent.iterdir())
    record = harness.read_result("some")
    assert record["rows"] == [1]
    assert record["environment"]["commit"] is None
    assert "unknown" not in wording.measured_on([record["environment"]])


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_commit_is_dirty_when_code_differs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness, "RESULTS", tmp_path / "benchmarks" / "results")
    files = [tmp_path / name for name in ("src/a.py", "benchmarks/b.py", "benchmarks/results/c")]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    assert harness.commit() is None
    named = ["-c", "user.name=A", "-c", "user.email=a@example.org"]
    for words in (["init", "-q"], ["add", "-A"], [*named, "commit", "-qm", "First"]):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)  # noqa: S607
    clean = harness.commit()
    assert clean
    assert len(clean) >= 7
    for file in files:
        file.write_text("changed")
        same = file.parent.name == "results"  # what was measured is no code
        assert harness.commit() == (clean if same else f"{clean}-dirty")
        file.write_text("")


def test_all_scripts_run_though_one_fails(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "first.py").write_text("import sys; print('first', sys.argv[1:], flush=True)")
    (tmp_path / "second.py").write_text("import sys; sys.exit('cannot')")
    (tmp_path / "third.py").write_text("import os; print('third', os.environ['OMP_NUM_THREADS'])")
    sequence = [run.Benchmark(f"{name}.py", name, 10) for name in ("first", "second", "third")]
    assert run.perform(sequence, tmp_path, quick=True) == [sequence[1]]
    out, told = capfd.readouterr()
    assert out.splitlines() == ["first ['--quick']", "third 1"]
    assert "[1 of 3] first.py: first (0 min gone, about 3 left)" in told
    assert "[3 of 3] third.py: third (0 min gone, about 1 left)" in told


def test_measured_means_this_machine_and_these_versions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(harness, "RESULTS", tmp_path)
    benchmark = run.Benchmark("step.py", "why", 1, ("step-a", "step-b"))

    def write(name: str, environment: dict[str, Any]) -> None:
        (tmp_path / f"{name}.json").write_text(json.dumps({"environment": environment}))

    write("step-a", NOW)
    assert not run.measured(benchmark, NOW)
    write("step-b", NOW | {"load_average": 5})
    assert run.measured(benchmark, NOW)
    assert not run.measured(benchmark, NOW | {"packages": {"torch": "2.15.1"}})
    assert not run.measured(benchmark, NOW | {"cores": 4})
    write("step-b", BEFORE)
    assert not run.measured(benchmark, NOW)


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_waits_until_the_benchmark_has_tidied_up(tmp_path: Path, end: int) -> None:
    (tmp_path / "slow.py").write_text(
        "import pathlib, sys, time\nfolder = pathlib.Path(sys.argv[0]).parent\ntry:\n"
        "    (folder / 'started').touch()\n    time.sleep(60)\n"
        "finally:\n    time.sleep(0.5)\n    (folder / 'tidied').touch()\n"
    )
    code = (
        f"import pathlib, sys\nsys.path.insert(0, {str(BENCHMARKS)!r})\nimport run\n"
        f"run.FOLDER = pathlib.Path({str(tmp_path)!r})\n"
        "run.SEQUENCE = (run.Benchmark('slow.py', 'waits', 1),)\nsys.exit(run.main(['--quick']))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stderr=subprocess.PIPE,
        text=True,
        # Where the tests run in the background, SIGINT is ignored and the child would inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )
    while not (tmp_path / "started").exists():
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(end)
    _, told = process.communicate()
    assert process.returncode == 130
    assert (tmp_path / "tidied").exists()
    assert "stopped; what was finished is kept" in told


@pytest.fixture(scope="module")
def probed() -> dict[str, Any]:
    """What page and benchmarks say where no peer is installed."""
    code = PROBE.format(optional=OPTIONAL, folder=str(BENCHMARKS))
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_every_benchmark_answers_without_peers(probed: dict[str, Any]) -> None:
    assert [name for name, told in probed["help"].items() if "--quick" not in told] == []


def test_page_is_what_the_results_give(probed: dict[str, Any]) -> None:
    assert probed["status"] == 0, probed["wrong"]


def test_every_section_has_its_place_in_the_run(probed: dict[str, Any]) -> None:
    scripts = [benchmark.script for benchmark in run.SEQUENCE]
    assert {f"{name}.py" for name in probed["help"]} <= set(scripts)
    assert len(set(scripts)) == len(scripts)


def test_every_script_of_the_run_is_there() -> None:
    scripts = [*run.SEQUENCE, run.PAGE]
    assert [one.script for one in scripts if not (BENCHMARKS / one.script).is_file()] == []


def test_float32_is_no_answer_to_an_aim_in_bfloat16(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = step.TARGETS[2]
    kept = harness.read_result(step.result_name(case, "bfloat16"))
    kept["as they ship"]["large float32 product"] = kept["as they ship"].pop(
        "large bfloat16 product"
    )
    kept |= {"precision": "float32", "environment": TODAY | {"native_bf16": False}}
    monkeypatch.setattr(harness, "RESULTS", tmp_path)
    name = step.result_name(case, "float32")
    assert name.endswith("-float32")
    (tmp_path / f"{name}.json").write_text(json.dumps(kept))
    section = step.section()
    assert "### In float32" in section.text
    assert "### In bfloat16" not in section.text
    assert "Not measured yet: resnet50-224-32-65536, resnet50-64-128-65536," in section.text
    shipped = [aim for aim in section.targets if aim.what.startswith("step as it ships")]
    assert [aim.measured for aim in shipped] == [None] * 3
    (alike,) = (aim for aim in section.targets if aim.what.startswith("step like for like"))
    assert alike.what.endswith("ResNet-18, 64 px, 128, queue 65,536, float32")
    assert alike.on == "AVX512 without bfloat16"
    assert alike.measured == kept["like for like"]["lightly"]["ratio"]["median"]
    assert "of a large float32 product's rate" in alike.why
