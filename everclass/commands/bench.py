"""`everclass bench`: methods compared on one protocol; what it needs is loaded only then."""

import math
import os
import shlex
import sys
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryFile
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource
from rich.console import Console

from everclass.bench.hold import held
from everclass.exits import Exit

if TYPE_CHECKING:
    from everclass.bench.chain import Extras
    from everclass.bench.comparison import Outcome
    from everclass.bench.prepared import Prepared

LARGEST_SEED = 2**32 - 1
"""Of numpy's RandomState, which orders classes."""

OF_DOMAINS = ", in each domain where a task is a domain"


def _finite(context: click.Context, option: click.Parameter, value: float) -> float:
    """A range lets through what compares with nothing, and what has no end."""
    if not math.isfinite(value):
        raise click.BadParameter(f"{value} is no finite number")
    return value


@click.command()
@click.option("--list", "show_list", is_flag=True, help="Name the methods and the protocols, and stop.")
@click.option("--protocol", help="Which benchmark; --list names them.")
@click.option("--data", type=click.Path(exists=True, path_type=Path), help="Folder or file of the data set.")
@click.option("--method", "methods", multiple=True, help="As slca, l2p or l2p+ca; more than one compares. [slca]")
@click.option("--align", is_flag=True, help="Each method that is not aligned yet also with its head aligned (+ca).")
@click.option("--seeds", type=click.IntRange(1, 3), default=3, show_default=True, help="The first of 1993, 1996, 1997.")
@click.option(
    "--seed", "one_seed", type=click.IntRange(0, LARGEST_SEED), multiple=True, help="This class order instead."
)
@click.option("--backbone", default="vit_base_patch16_224.augreg_in21k", show_default=True, help="A timm name.")
@click.option("--weights", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="[the hub's]")
@click.option("--tasks", type=click.IntRange(min=1), help="So many tasks of equal size. [the protocol's]")
@click.option("--sizes", help="Classes of each task, as 40,1,9.")
@click.option(
    "--train-per-class", type=click.IntRange(min=1), help=f"Learn from so many images of each class{OF_DOMAINS}. [all]"
)
@click.option(
    "--test-per-class", type=click.IntRange(min=1), help=f"Judge by so many images of each class{OF_DOMAINS}. [all]"
)
@click.option(
    "--evaluation",
    type=click.Choice(["test", "validation"]),
    default="test",
    show_default=True,
    help="Judge by the test images, or by training images that are not learned from, so that choices may be made.",
)
@click.option("--epochs", type=click.IntRange(min=1), help="Of each task; milestones keep their part. [the protocol's]")
@click.option(
    "--milestone",
    "milestones",
    type=click.IntRange(min=1),
    multiple=True,
    help="Epochs after which rates fall to a tenth. [the protocol's]",
)
@click.option("--image-size", type=click.IntRange(min=16), default=224, show_default=True, help="Pixels a side.")
@click.option("--batch", type=click.IntRange(min=1), help="Images of a step. [the recipe's]")
@click.option(
    "--backbone-lr",
    type=click.FloatRange(min=0),
    callback=_finite,
    default=1e-4,
    show_default=True,
    help="Of learners that move all of the backbone and have no rate of their own: sl, slca, ewc, ranpac, joint, … and "
    "not seq_ft, lora, slca++ or prompts.",
)
@click.option(
    "--recipe",
    type=click.Choice(["auto", "reference", "small"]),
    default="auto",
    show_default=True,
    help="The publication's settings; or what fits few images: batches of 32, plain crops, the weights' own norm and "
    "pixels; auto is small with --train-per-class.",
)
@click.option(
    "--normalise",
    type=click.Choice(["recipe", "weights"]),
    default="recipe",
    show_default=True,
    help="Pixels by the recipe's mean and deviation, or by those of the weights: see docs/protocols.md.",
)
@click.option(
    "--norm",
    type=click.Choice(["recipe", "pretrained", "fresh"]),
    default="recipe",
    show_default=True,
    help="The backbone's last normalisation: the weights' own, or a new LayerNorm.",
)
@click.option(
    "--pooling",
    type=click.Choice(["pretrained", "token+avg"]),
    default="pretrained",
    show_default=True,
    help="Features as the weights' own classifier saw them, or the class token's beside the mean of patches.",
)
@click.option(
    "--precision",
    type=click.Choice(["auto", "fp32", "bf16"]),
    default="auto",
    show_default=True,
    help="Of the backbone in training; auto is bf16 where the device has it and, on a CPU, the network gains by it.",
)
@click.option(
    "--device", default="auto", show_default=True, help="cpu, cuda or cuda:1; auto is cuda where there is one."
)
@click.option("--threads", type=click.IntRange(min=1), help="Of the CPU. [torch's]")
@click.option("--unknown", is_flag=True, help="Also tell known from unknown: AUROC against classes to come.")
@click.option(
    "--measure",
    "measures",
    type=click.Choice(["probe", "oracle"]),
    multiple=True,
    help="Also judge by all images so far: a joint linear probe, or statistics made anew.",
)
@click.option("--features", type=click.Path(file_okay=False, path_type=Path), help="Keep each task's features here.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("bench"),
    show_default=True,
    help="Folder of results.jsonl, the report and what is unfinished.",
)
def bench(show_list: bool, methods: tuple[str, ...], align: bool, out: Path, **options: Any) -> None:
    """Compare methods of continual learning: accuracy after each task, forgetting, time and memory.

    Writes results.jsonl and report.html to OUT, and goes on where a run was stopped.
    """
    # Threads that spin while they wait would take the cores from whoever shares them.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if show_list:
        _list()
        return
    _check_alone("seeds", "one_seed")
    _check_alone("tasks", "sizes")
    for needed in ("protocol", "data"):
        if options[needed] is None:
            raise click.UsageError(f"--{needed} is needed")
    _check_installed()
    _check_folder("--out", out)
    if options["features"] is not None:
        _check_folder("--features", options["features"])
    command = shlex.join(["everclass", *sys.argv[1:]])
    with ExitStack() as until_done:
        try:
            until_done.enter_context(held(out, command))
            prepared, extras = _prepared(methods or ("slca",), align, out, options)
        except _wrong_requests() as error:
            click.echo(f"everclass: {error}", err=True)
            sys.exit(Exit.USAGE)
        outcome = _compared(prepared, out, extras)
        if outcome.results:
            page = _reported(outcome, out, command)
            click.echo(f"{(out / 'table.md').read_text()}\nReport: {page}")
    for run, reason in outcome.failed.items():
        click.echo(f"everclass: {run}: {reason}", err=True)
    if outcome.stopped is not None:
        click.echo(f"everclass: {outcome.stopped}", err=True)
    if outcome.failed or outcome.stopped is not None:
        sys.exit(Exit.FAILED)


def _list() -> None:
    from everclass.bench.request import modifiers
    from model.methods import METHODS
    from stream.protocols import PROTOCOLS

    click.echo("Methods: " + ", ".join(METHODS))
    by_methods: dict[tuple[str, ...], list[str]] = {}
    for name, fitting in modifiers().items():
        by_methods.setdefault(tuple(fitting), []).append(f"+{name}")
    for fits, names in by_methods.items():
        others = [one for one in METHODS if one not in fits]
        if not others:
            click.echo(f"With any of them: {', '.join(names)}")
        elif len(fits) <= len(others):
            click.echo(f"With {', '.join(fits)} only: {', '.join(names)}")
        else:
            click.echo(f"With any but {', '.join(others)}: {', '.join(names)}")
    click.echo("Protocols:")
    for name, protocol in PROTOCOLS.items():
        click.echo(f"  {name}: {protocol.description}")


def _prepared(methods: tuple[str, ...], align: bool, out: Path, options: dict[str, Any]) -> tuple["Prepared", "Extras"]:
    from everclass.bench.chain import Extras
    from everclass.bench.comparison import RESULTS
    from everclass.bench.kept_features import check_folder
    from everclass.bench.prepared import prepare
    from everclass.bench.request import BenchRequest, aligned
    from everclass.bench.results import read
    from model import paper

    seeds = options.pop("one_seed") or paper.SEEDS[: options["seeds"]]
    measures = tuple(sorted(set(options.pop("measures"))))
    sizes, extras = options.pop("sizes"), Extras(options.pop("unknown"), options.pop("features"), measures)
    if align:
        methods, left_out = aligned(methods)
        for name, reason in left_out.items():
            click.echo(f"everclass: --align adds nothing to {name}: {reason}", err=True)
    request = BenchRequest(
        methods=methods,
        sizes=None if sizes is None else tuple(_number(one) for one in sizes.split(",")),
        **(options | {"seeds": tuple(dict.fromkeys(seeds))}),
    )
    read(out / RESULTS)
    prepared = prepare(request)
    if extras.features is not None:
        check_folder(extras.features, prepared.of_features)
    for caution in prepared.cautions(extras):
        click.echo(f"everclass: {caution}", err=True)
    return prepared, extras


def _compared(prepared: "Prepared", out: Path, extras: "Extras") -> "Outcome":
    from everclass.bench.bars import Bars
    from everclass.bench.comparison import compare
    from model.allocation import keep_freed_memory
    from stream.errors import StreamError

    keep_freed_memory()
    try:
        with Bars(Console(stderr=True)) as bars:
            return compare(prepared, out, bars.listener, extras)
    except (OSError, StreamError) as error:
        click.echo(f"everclass: {error}", err=True)
        sys.exit(Exit.FAILED)


def _reported(outcome: "Outcome", out: Path, command: str) -> Path:
    """The page of the report that is written."""
    from everclass.bench.report import write_report

    try:
        return write_report(outcome.results, out, command)
    except OSError as error:
        click.echo(f"everclass: {error}", err=True)
        sys.exit(Exit.FAILED)


def _check_alone(*names: str) -> None:
    """That at most one of these options was said."""
    context = click.get_current_context()
    said = [name for name in names if context.get_parameter_source(name) == ParameterSource.COMMANDLINE]
    if len(said) > 1:
        flags = [flag for one in context.command.params if one.name in said for flag in one.opts]
        raise click.UsageError(f"{' and '.join(flags)} exclude each other")


def _check_installed() -> None:
    """Before anything is learned: that there is what reports are made with."""
    try:
        for package in ("jinja2", "matplotlib"):
            import_module(package)
    except ModuleNotFoundError as error:
        click.echo(f"everclass: {error}, which reports need: pip install 'everclass[bench]'", err=True)
        sys.exit(Exit.USAGE)


def _check_folder(flag: str, folder: Path) -> None:
    """Before anything is learned: that something can be written there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise click.BadParameter(f"nothing can be written to {folder}: {error.strerror}", param_hint=flag) from error


def _number(text: str) -> int:
    try:
        return int(text)
    except ValueError as error:
        raise click.BadParameter(f"{text!r} is no number of classes", param_hint="--sizes") from error


def _wrong_requests() -> tuple[type[Exception], ...]:
    from stream.errors import StreamError

    return (StreamError, ValueError, OSError)
