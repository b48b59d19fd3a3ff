"""docs/results/performance.md is what the result files give; one command runs every benchmark."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from support.waiting import PATIENCE_S, started, wait_until

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
# Only while importing, so that no module of the tests is found in their place.
sys.path.insert(0, str(BENCHMARKS))
import harness  # noqa: E402
import page  # noqa: E402
import run  # noqa: E402
import section as sections  # noqa: E402
import step  # noqa: E402
from section import Section, Target  # noqa: E402

sys.path.remove(str(BENCHMARKS))

# What only an extra brings.
OPTIONAL = ("albumentations", "imagecodecs", "kornia", "lightly", "obstore", "pydicom")
PROBE = """
import contextlib, io, sys
from importlib import import_module
for name in {optional!r}:
    sys.modules[name] = None
sys.path.insert(0, {folder!r})
import page, run
for name in run.BENCHMARKS:
    sys.argv = [name, "--help"]
    with contextlib.redirect_stdout(io.StringIO()) as told, contextlib.suppress(SystemExit):
        import_module(name).main()
    assert "--quick" in told.getvalue(), name
sys.argv = ["page", "--check"]
sys.exit(page.main())
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
LATER = NOW | {"date": "2026-11-25T01:00:00+00:00", "load_average": 0.64, "commit": "8c2cff5"}
OTHER = LATER | {"vector_instructions": "AVX2", "native_bf16": False}
TARGETS = [
    Target("step against lightly", 3, 3.607, "x", "AVX512 with bfloat16"),
    Target("growth of memory", 2, 3.5, "%", "AVX2 without bfloat16", at_most=True, why="a cache"),
    Target("step on a GPU", 2000, None, "samples/s"),
]
EXPECTED = f"""# Performance

{page.HEAD}

Targets set before anything was measured: 1 met, 1 missed, 1 not measured here.

## Targets

| target | aim | measured | on |  |
| :-- | --: | --: | :-- | :-- |
| step against lightly | at least 3 x | 3.61 x | AVX512 with bfloat16 | met |
| growth of memory | at most 2 % | 3.5 % | AVX2 without bfloat16 | missed: a cache |
| step on a GPU | at least 2,000 samples/s | - | - | not measured here |

## Training step

*Measured on 2 cores of an AMD EPYC, AVX512 with bfloat16, PyTorch 2.15, 2026-11-24, load 0.7, 98f2e00.*

One thread.

## Time of nothing

Not measured: run `python benchmarks/nothing.py`.
"""  # noqa: E501


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of result files in place of the real one."""
    for owner in (harness, page):
        monkeypatch.setattr(owner, "RESULTS", tmp_path)
    return tmp_path


def benchmark(name: str, targets: list[Target], words: str = "Time of nothing.") -> ModuleType:
    made: Any = ModuleType(name, words)
    made.section = lambda _: Section("Training step", "One thread.", targets)
    return made  # type: ignore[no-any-return]


def test_page_of_a_measured_and_an_unmeasured_benchmark(results: Path) -> None:
    harness.write_result("step-a", {"environment": NOW}, results)
    made = [benchmark("step", TARGETS), benchmark("nothing", [])]
    assert page.page_text(page.sections(made)) == EXPECTED


def test_a_target_missed_without_a_reason_is_refused(results: Path) -> None:
    harness.write_result("step", {"environment": NOW}, results)
    with pytest.raises(ValueError, match="without a reason"):
        page.sections([benchmark("step", [Target("aim", 2, 1, "x")])])


def test_verdict_of_a_target() -> None:
    seen = [Target("aim", 2, measured, "x").verdict for measured in (1.9, 2, 2.1, None)]
    assert seen == ["missed", "met", "met", "not measured here"]
    seen = [Target("aim", 2, measured, "x", at_most=True).verdict for measured in (1.9, 2, 2.1)]
    assert seen == ["met", "met", "missed"]


def test_page_is_what_the_results_give_and_no_benchmark_needs_a_peer_to_answer() -> None:
    code = PROBE.format(optional=OPTIONAL, folder=str(BENCHMARKS))
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_an_old_page_is_told(
    results: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(page, "PAGE", results / "performance.md")
    monkeypatch.setattr(page, "sections", lambda _: [Section("Views", "Fast.", TARGETS)])
    statuses = []
    for words in (["--check"], [], ["--check"]):
        monkeypatch.setattr(sys, "argv", ["page.py", *words])
        statuses.append(page.main())
    assert statuses == [1, 0, 0]
    told = capsys.readouterr().out
    assert "+| growth of memory | at most 2 % | 3.5 % |" in told
    assert "missed: growth of memory: 3.5 % (at most 2 %)" in told


def test_numbers_and_tables() -> None:
    numbers = (0.0124, 3.607, 4, 99.96, 130.2, 18_456, -250, 0, 4.27e-9)
    words = ["0.0124", "3.61", "4", "100", "130", "18,500", "-250", "0", "4.27e-09"]
    assert [sections.number(value) for value in numbers] == words
    spread = {"median": 3.607, "lower_quartile": 3.5458, "upper_quartile": 3.7247}
    assert sections.ratio(spread) == "3.61 (3.55 to 3.72)"
    table = "| a | b |\n| :-- | --: |\n| x\\|y z | 1 |"
    assert sections.table(["a", "b"], [["x|y\nz", "1"]]) == table
    with pytest.raises(ValueError, match="2 cells"):
        sections.table(["a", "b"], [["x"]])


def test_every_machine_is_named() -> None:
    assert sections.measured_on([NOW, LATER, OTHER]) == (
        "Measured on 2 cores of an AMD EPYC, AVX512 with bfloat16, PyTorch 2.15, 2026-11-24, "
        "2026-11-25, load 0.6 to 0.7, 8c2cff5, 98f2e00. Measured on 2 cores of an AMD EPYC, AVX2 "
        "without bfloat16, PyTorch 2.15, 2026-11-25, load 0.6, 8c2cff5."
    )
    assert sections.processor(NOW | {"gpu": "NVIDIA H100"}) == "NVIDIA H100"


@pytest.mark.usefixtures("results")
def test_written_results_are_read_again() -> None:
    harness.write_result("some", {"environment": harness.environment(), "rows": [1]})
    (record,) = harness.read_results("some")
    assert record["rows"] == [1]
    assert harness.is_of(record, harness.environment())
    assert not harness.is_of(record, harness.environment() | {"cores": 999})
    assert "Measured on" in sections.measured_on([record["environment"]])


@pytest.mark.usefixtures("results")
@pytest.mark.parametrize("known", [True, False])
def test_what_this_machine_has_measured_is_not_measured_again(
    known: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages = {} if known else {"packages": {"torch": "0.1"}}
    harness.write_result("some", {"environment": harness.environment() | packages})
    measured: list[bool] = []
    for words in ([], ["--again"], ["--quick"]):
        monkeypatch.setattr(sys, "argv", ["some.py", *words])
        harness.measure_and_keep(
            "some", "Words.", lambda quick: measured.append(quick) or {}, lambda _: Section("", "")
        )
    # A quick trial writes nothing; what was measured just now is of this machine.
    assert measured == ([False, True] if known else [False, False, True])
    assert "rows" not in harness.read_results("some")[0]


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
    assert run.perform(["first", "second", "third"], tmp_path, ["--quick"]) == ["second"]
    out = capfd.readouterr().out
    threads = os.environ.get("OMP_NUM_THREADS", "1")
    assert out.splitlines() == ["first ['--quick']", f"third {threads}"]


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_interrupt_waits_until_the_benchmark_has_tidied_up(tmp_path: Path, end: int) -> None:
    (tmp_path / "slow.py").write_text(
        "import pathlib, sys, time\nfolder = pathlib.Path(sys.argv[0]).parent\ntry:\n"
        "    (folder / 'started').touch()\n    time.sleep(3600)\n"
        "finally:\n    time.sleep(0.5)\n    (folder / 'tidied').touch()\n"
    )
    code = (
        f"import pathlib, sys\nsys.path.insert(0, {str(BENCHMARKS)!r})\nimport run\n"
        f"run.FOLDER = pathlib.Path({str(tmp_path)!r})\nrun.BENCHMARKS = {{'slow': 1}}\n"
        "sys.argv = ['run.py', '--quick']\nsys.exit(run.main())"
    )
    with started(
        [sys.executable, "-c", code],
        stderr=subprocess.PIPE,
        text=True,
        # Where the tests run in the background, SIGINT is ignored and the child would inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        wait_until((tmp_path / "started").exists, process)
        process.send_signal(end)
        _, told = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130
    assert (tmp_path / "tidied").exists()
    assert "stopped; what was finished is kept" in told


def test_float32_is_no_answer_to_an_aim_in_bfloat16() -> None:
    case = step.TARGETS[2]
    kept = json.loads((BENCHMARKS / "results" / f"step-{case.name}-float32.json").read_text())
    found = step.section([kept])
    assert "### AVX2 without bfloat16" in found.text
    shipped = [aim for aim in found.targets if aim.what.startswith("step, as they ship")]
    assert [aim.measured for aim in shipped] == [None] * 3
    (alike,) = (aim for aim in found.targets if aim.what.startswith("step, like") and aim.measured)
    assert alike.what.endswith("ResNet-18, 64 px, 128, queue 65,536, float32")
    assert alike.on == "AVX2 without bfloat16"
    assert alike.measured == kept["like for like"]["lightly"]["ratio"]["median"]
    assert "of the rate of a large product" in alike.why
