"""What tells the runs of one protocol apart besides method and seed: other weights, another backbone, another rate."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from everclass.bench.results import Result

FIRST = ("backbone.name", "weights", "evaluation")
"""Named before whatever else differs; what follows from an entry that is named already is not named."""


def settings(results: Sequence[Result]) -> dict[str, str]:
    """Each configuration (the last part of `Result.key`) of one protocol's runs, and what is its own about it.

    As `weights dino.safetensors, backbone_lr 0.001`: as few entries as tell all of them apart, or nothing where there
    is only one. What only some configurations have is a protocol's change of single methods, and no other setting
    unless it tells runs of one method apart.
    """
    entries = {result.key[3]: dict(_flat(result.configuration)) for result in results}
    names = sorted(dict.fromkeys(name for flat in entries.values() for name in flat), key=_place)
    everywhere = [name for name in names if all(name in flat for flat in entries.values())]
    telling = _telling(everywhere, [("any", flat) for flat in entries.values()])
    telling = _telling(names, [(result.method, entries[result.key[3]]) for result in results], telling)
    return {
        key: ", ".join(f"{_last(name)} {_text(flat.get(name))}" for name in telling) for key, flat in entries.items()
    }


def by_setting(results: Sequence[Result]) -> dict[tuple[str, str], list[Result]]:
    """One protocol's runs by method and setting, in order of arrival."""
    of_configuration = settings(results)
    groups: dict[tuple[str, str], list[Result]] = {}
    for result in results:
        groups.setdefault((result.method, of_configuration[result.key[3]]), []).append(result)
    return groups


def _flat(tree: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value


def _telling(
    names: Sequence[str], runs: Sequence[tuple[str, Mapping[str, Any]]], known: Sequence[str] = ()
) -> list[str]:
    """The entries in `known`, and each of `names` that tells apart runs of one method which those before it do not."""
    telling = list(known)
    for name in names:
        if _parts(runs, [*telling, name]) > _parts(runs, telling):
            telling.append(name)
    return telling


def _parts(runs: Sequence[tuple[str, Mapping[str, Any]]], names: Sequence[str]) -> int:
    """How many of the runs, of a method and its configuration, the method and these entries tell apart."""
    return len({(method, *(json.dumps(flat.get(name)) for name in names)) for method, flat in runs})


def _place(name: str) -> int:
    return FIRST.index(name) if name in FIRST else len(FIRST)


def _last(name: str) -> str:
    return "backbone" if name == "backbone.name" else name.rpartition(".")[2]


def _text(value: Any) -> str:
    return "–" if value is None else ",".join(map(str, value)) if isinstance(value, list) else str(value)
