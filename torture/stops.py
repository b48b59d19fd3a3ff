"""Kills, signals, full disks, and two commands at once on one place."""

import shutil
import signal
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from harness import (
    Bench,
    contents,
    differing,
    limit_files,
    remove,
    run,
    scratch_in,
    shoot,
    start,
    wait,
)
from material import Material

Words = Callable[[Path], list[object]]

_SIGNAL_STATUS = {signal.SIGTERM: (75, 143), signal.SIGINT: (75, 130)}


def kills(bench: Bench, material: Material) -> None:
    """SIGKILL at random moments, then the documented way on: the end is that of an unbroken run."""
    ways: list[tuple[str, Words, Sequence[str], int]] = [
        ("prepare", material.prepare, [], 20),
        ("pretrain", material.pretrain, ["--resume"], 22),
        ("finetune", material.finetune, ["--resume"], 24),
        ("frozen", material.freeze, ["--resume"], 11),
        ("export", material.export, ["--overwrite"], 20),
        ("report", material.report, [], 18),
    ]
    for name, words, onwards, number in ways:
        _shots(bench, name, words, onwards, bench.tries(number), [signal.SIGKILL])


def studies(bench: Bench, material: Material) -> None:
    """SIGKILL to a study and its workers, then the same command: the same tables."""
    path = bench.folder / "study.yaml"
    path.write_text(
        "seeds: 2\nbackbone: test_resnet\nfractions: [0.5, 1.0]\n"
        f"data: {{tiny: {{store: {material.store}, task: finding}}}}\n"
        "arms: {scratch: {encoder: scratch}, moco: {recipe: fair/moco}}\n"
        "pretrain: {epochs: 1, batch_size: 8, contrastive: {queue_size: 16, key_part_size: 0}}\n"
        "protocols: {frozen: {settings: {resamples: 20}, draws: 1}}\n"
    )

    def study(out: Path) -> list[object]:
        return ["study", path, "--out", out]

    _shots(bench, "study", study, [], bench.tries(15), [signal.SIGKILL], counted=".csv")


def signals(bench: Bench, material: Material) -> None:
    """SIGTERM and SIGINT at random moments: their status, no traceback, and the way on."""
    both = [signal.SIGTERM, signal.SIGINT]
    _shots(bench, "prepare", material.prepare, [], bench.tries(20), both)
    _shots(bench, "pretrain", material.pretrain, ["--resume"], bench.tries(30), both)
    _shots(bench, "finetune", material.finetune, ["--resume"], bench.tries(16), both)


def _shots(
    bench: Bench,
    name: str,
    words: Words,
    onwards: Sequence[str],
    tries: int,
    numbers: Sequence[signal.Signals],
    counted: str = "",
) -> None:
    log, out = bench.folder / "log", bench.folder / name / _called(name)
    out.parent.mkdir()
    began = time.monotonic()
    unbroken = run(words(out), log)
    seconds, wanted = time.monotonic() - began, contents(out, counted)
    assert unbroken.status == 0, unbroken.text
    kind = "SIGKILL" if numbers == [signal.SIGKILL] else "signal"
    shots = misses = 0
    while shots < tries:
        remove(out)
        history, way = [], words(out)
        while shots < tries and len(history) < 6 and misses < 5 * tries:
            number = numbers[shots % len(numbers)]
            after = bench.random.uniform(0, seconds)
            ended = shoot(way, log, after, number)
            if ended is None or ended.status == 0:
                misses += 1
                break
            shots += 1
            history.append(f"{number.name} after {after:.2f} s")
            if kind == "signal":
                right = ended.status in (*_SIGNAL_STATUS[number], -number)
                right = right and "Traceback" not in ended.text
                bench.check(f"{kind}, {name}: status, no traceback", right, ended)
            way = [*words(out), *onwards]
        done = run([*words(out), *onwards], log)
        wrong = differing(contents(out, counted), wanted) if done.status == 0 else [done.text]
        for _ in history:
            bench.check(f"{kind}, {name}: goes on, bit for bit", not wrong, (history, wrong[:3]))
        if history:
            left = scratch_in(out.parent)
            bench.check(f"{kind}, {name}: nothing half-written is left", not left, left[:3])
        if misses >= 5 * tries:
            break


def _called(name: str) -> str:
    return "page.html" if name == "report" else "out"


def full_disks(bench: Bench, material: Material) -> None:
    """No room for a file: one line that says so, and then the way on."""
    log = bench.folder / "log"
    ways: list[tuple[str, Words, Sequence[str]]] = [
        ("prepare", material.prepare, []),
        ("pretrain", material.pretrain, ["--resume"]),
        ("finetune", material.finetune, ["--resume"]),
        ("export", material.export, ["--overwrite"]),
        ("report", material.report, []),
    ]
    for name, words, onwards in ways:
        out = bench.folder / name / _called(name)
        out.parent.mkdir()
        assert run(words(out), log).status == 0
        wanted = contents(out)
        largest = max(one.stat().st_size for one in out.parent.rglob("*") if one.is_file())
        # Not below what the command says, which goes into a file here.
        for _ in range(bench.tries(8)):
            size = 4096 + int(largest * bench.random.random() ** 3)
            remove(out)
            ended = run(words(out), log, limit_files(size))
            said = ended.is_line and "File too large" in ended.text
            bench.check(f"full disk, {name}: one line", said or ended.status == 0, (size, ended))
            done = run([*words(out), *onwards], log)
            wrong = differing(contents(out), wanted) if done.status == 0 else [done.text]
            bench.check(f"full disk, {name}: goes on", not wrong, (size, wrong[:3]))


def two_at_once(bench: Bench, material: Material) -> None:
    """Two of the same command on one place: one does it, the other one is refused in a line."""
    half = bench.folder / "half"
    logs = [bench.folder / "log1", bench.folder / "log2"]
    while shoot(material.pretrain(half), logs[0], 1.0, signal.SIGTERM) is None:
        remove(half)

    def resume(out: Path) -> list[object]:
        if not out.exists() and half.is_dir():
            shutil.copytree(half, out)
        return [*material.pretrain(out), "--resume"]

    ways: list[tuple[str, Words, int]] = [
        ("prepare", material.prepare, 6),
        ("pretrain", material.pretrain, 4),
        ("pretrain --resume", resume, 4),
        ("finetune", material.finetune, 4),
    ]
    for name, words, number in ways:
        out = bench.folder / name
        assert run(words(out), logs[0]).status == 0
        wanted = contents(out)
        for _ in range(bench.tries(number)):
            remove(out)
            way = words(out)
            endings = [
                wait(process, log)
                for process, log in zip([start(way, log) for log in logs], logs, strict=True)
            ]
            good = [one for one in endings if one.status == 0]
            refused = all(one.is_line for one in endings if one.status != 0)
            same = not differing(contents(out), wanted)
            bench.check(f"two at once, {name}", bool(good) and refused and same, endings)
