"""Mutated settings, config files and flags: each is refused in one sentence with exit 2, or rightly taken.

A third each: `--set` of a key of the config with a hostile value; a `--config` file with such text in it; an option or a
positional of any subcommand with a value that is wrong for its kind. A setting that is taken must also build a model that
computes; whatever is wrong must be refused before a training has made a folder.
"""

from __future__ import annotations

import argparse
import dataclasses
import random
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from ple_model.cli import build_parser, gather
from ple_model.config import load_config
from ple_model.errors import UserError
from ple_model.model import PLEClusterAdaTT
from tests.drills.kit import Outcome, Report, command, run_as_script
from tests.factories import random_context, random_inputs

VALUES = (
    "2001-99-99", "2001-01-01", "2001-01-01 25:99:99", "12:30:45", "!!float x", "!!bool 1", "!!timestamp x", "!!int x",
    "!!binary ~", "!!set x", "!!python/object:os.system x", "0b_", "0x_", "0o9",
    "9" * 5000, "-" + "9" * 5000, "0x" + "f" * 5000,
    "[" * 400 + "]" * 400, "{a: " * 300 + "1" + "}" * 300, "- " * 500 + "1", "&a [*a]", "*a", "&a 1", "-1", "0", "1",
    "2", "-0.0",
    str(2**31), str(2**63), str(2**64), str(-(2**63) - 1), "1e25", "1e400", ".nan", ".inf", "-.inf", "nan", "1e-400",
    "true",
    "off", "null", "''", "x", "[]", "{}", "[1]", "{a: 1}", "[null]", "[.nan]", "? [a]\n: b", "{[a]: b}", "@", "`", "%", "|",
    ">",
    "\ttab", "'", '"\\x"', '"\\ud800"', "\u0085", "\ufeff1", "\x00", "\x07", "1_000", "1__0", "0.5", "65536", "65537",
    "1000000",
)  # fmt: skip
"""Settings: fails inside a parser, wrong type, out of range, or right for some keys."""

FLAGS = (
    "", "\0", "a\0b", "-1", "0", "1e25", "1" + "0" * 30, "9" * 5000, "nan", "inf", "-inf", "\udcff", "\u00b2", "x" * 5000,
    "/proc/nowhere/x", "/dev/null/x", "/dev/null", "/etc/passwd/x", "/", "9999-12-31", "0000-00-00", "2001-99-99", "tpu",
    "cuda:99", "=", "=1", "a=", "*", "[x]", "\n", "--", "0x10", "1.5", "1_0", "\U0001f600", "../../..", "~", "%s%n", "{}",
)  # fmt: skip


def keys() -> list[str]:
    """Every key of the config, dotted."""

    def walk(value: Any, name: str) -> Iterator[str]:
        if name:
            yield name
        if isinstance(value, dict):
            for k, v in value.items():
                yield from walk(v, f"{name}.{k}" if name else str(k))

    return sorted(walk(load_config("small").to_dict(), ""))


def computes(overrides: list[str]) -> str:
    """Why a config that is taken does not give a model that computes; empty if it does, or if that is refused in a sentence."""
    try:
        config = load_config("small", overrides=overrides)
        model = PLEClusterAdaTT(config, random_context()).eval()
        with torch.no_grad():
            model(random_inputs(2, seed=1))
    except UserError:
        return ""
    except Exception as e:
        return f"{type(e).__name__}: {str(e)[:200]}"
    return ""


def settings(rng: random.Random, cases: int) -> Iterator[Outcome]:
    """`--set KEY=VALUE`, some keys with a typing error or a broken path."""
    known = keys()
    for _ in range(cases):
        key, value = rng.choice(known), rng.choice(VALUES)
        if rng.random() < 0.1:
            key = rng.choice(("", ".", key + ".", "." + key, key + ".x", key[:-1], "a." * 60 + "b", "\0", key.upper()))
        one = command(["config", "--preset", "small", "--set", f"{key}={value}"], must_refuse=False)
        why = computes([f"{key}={value}"]) if one.result == "accepted" else ""
        yield dataclasses.replace(one, result="does not compute", said=why) if why else one


def config_files(rng: random.Random, cases: int, folder: Path) -> Iterator[Outcome]:
    """`--config FILE` with hostile text at a random place, or as the whole file."""
    known = keys()
    for n in range(cases):
        file, value = folder / f"{n}.yaml", rng.choice(VALUES)
        parts = rng.choice(known).split(".")
        text = "".join(f"{'  ' * i}{p}:\n" for i, p in enumerate(parts))[:-1] + f" {value}\n"
        whole = rng.random() < 0.3
        file.write_bytes(
            (value if whole else text).encode("utf-8", "surrogatepass") if rng.random() < 0.9 else bytes(range(256))
        )
        yield command(["config", "--preset", "small", "--config", str(file)], must_refuse=False)


def options() -> list[tuple[list[str], argparse.Action]]:
    """(words of the subcommand, option or positional that takes a value) of every subcommand."""

    def walk(parser: argparse.ArgumentParser, words: list[str]) -> Iterator[tuple[list[str], argparse.Action]]:
        for action in parser._actions:
            if isinstance(action, argparse._SubParsersAction):
                for name, one in action.choices.items():
                    yield from walk(one, [*words, name])
            elif action.nargs != 0 and words:
                yield words, action

    return list(walk(build_parser(gather()), []))


def flags(rng: random.Random, cases: int) -> Iterator[Outcome]:
    """One value of one option; parsed only, since a value that is right may begin an hour's work."""
    known, parser = options(), build_parser(gather())
    for _ in range(cases):
        (words, action), value = rng.choice(known), rng.choice(FLAGS)
        case = f"{' '.join(words)} {action.option_strings or action.dest} {value[:40]!r}"
        try:
            parser_of(parser, words)._get_values(action, [value])
            yield Outcome(case, "accepted")
        except (argparse.ArgumentError, UserError) as e:
            yield Outcome(case, "refused", str(e))
        except Exception as e:
            yield Outcome(case, "traceback", f"{type(e).__name__}: {e}")


def parser_of(parser: argparse.ArgumentParser, words: list[str]) -> argparse.ArgumentParser:
    """The parser of a subcommand."""
    for word in words:
        parser = next(a for a in parser._actions if isinstance(a, argparse._SubParsersAction)).choices[word]
    return parser


def refused_before_work(folder: Path) -> Iterator[Outcome]:
    """Whole commands whose one value is wrong: exit 2, and no folder is made."""
    data, out = str(folder / "absent"), folder / "out"
    wrong = (
        ["train", data, str(out), "--device", "tpu"], ["train", data, str(out), "--device", "cuda:99"],
        ["train", data, str(out), "--sample", "0"], ["train", data, str(out), "--sample", "-1"],
        ["train", data, str(out), "--threads", "0"], ["train", data, str(out), "--set", "training.seed=-1"],
        ["train", data, str(out), "--config", str(folder)], ["train", data, "/proc/run"], ["train", data, "/dev/null/run"],
        ["train", data, str(out), "--set", "shared_experts.temporal.patch=-1"], ["train", data + "\0", str(out)],
        ["synth", str(out), "--customers", "1" + "0" * 30], ["synth", str(out), "--customers", "1e30"],
        ["synth", str(out), "--seed", "1e25"], ["synth", str(out), "--seed", "-1"], ["synth", "/proc/bank"], ["synth", ""],
        ["build", data, str(out), "--cutoff", "9999-12-31"], ["build", data, str(out), "--seed", "-1"],
        ["build", data, str(out), "--horizon-days", "99999999"], ["predict", data, data, str(folder)],
        ["explain", data, "--customer", "1", "--html", str(folder)], ["diagnose", data, "--html", str(folder)],
        ["diagnose", data, "--sample", "-1"], ["diagnose", data, "--sample", "0"], ["evaluate", data, "--device", "gpu"],
        ["predict", data, data, str(out), "--device", "cuda:77"], ["app", data, "--port", "0"],
        ["app", data, "--port", "99999"],
        ["faults", "--seeds", "\u00b2"], ["faults", "--seeds", "9" * 5000], ["whatif", data, "--seed", "-1", "x=1"],
    )  # fmt: skip
    for words in wrong:
        one = command(words, must_refuse=True)
        yield dataclasses.replace(one, result="work began") if out.exists() else one


def drill(seed: int = 0, cases: int = 900) -> Report:
    rng, report = random.Random(seed), Report("settings", seed)
    with tempfile.TemporaryDirectory(prefix="ple-drill-") as scratch:
        report.add(settings(rng, cases // 3)).add(config_files(rng, cases // 3, Path(scratch)))
        return report.add(flags(rng, cases // 3)).add(refused_before_work(Path(scratch)))


if __name__ == "__main__":
    run_as_script("settings", drill, 900)
