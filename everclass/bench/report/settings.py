"""What tells the runs of one protocol apart besides method and seed: other weights, another backbone, another rate."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from everclass.bench.inputs import IDENTITY
from everclass.bench.results import Result

FIRST = ("backbone.name", "weights", "evaluation")
"""Named before whatever else differs; what follows from an entry that is named already is not named."""

DIGEST, SHOWN = "_digest", 8
"""What the names of digests end in, and how much of one is shown."""


def settings(results: Sequence[Result]) -> dict[str, str]:
    """Each configuration of one protocol's runs, as `_keys` has it, and what is its own about it.

    As `weights dino.safetensors, backbone_lr 0.001`: as few entries as tell all of them apart, or nothing where there
    is only one. What only some configurations have is a protocol's change of single methods, and no other setting
    unless it tells runs of one method apart. Other weights or images under the same names are named by the start of
    their digest.
    """
    runs = _runs(results)
    entries = dict(zip(_keys(runs), runs, strict=True))
    names = sorted(dict.fromkeys(name for flat in entries.values() for name in flat), key=_place)
    everywhere = [name for name in names if all(name in flat for flat in entries.values())]
    telling = _telling(everywhere, [("any", flat) for flat in entries.values()])
    telling = _telling(names, [(one.method, flat) for one, flat in zip(results, runs, strict=True)], telling)
    return {
        key: ", ".join(f"{_last(name)} {as_text(_short(name, flat.get(name)))}" for name in telling)
        for key, flat in entries.items()
    }


def by_setting(results: Sequence[Result]) -> dict[tuple[str, str], list[Result]]:
    """One protocol's runs by method and setting, in order of arrival."""
    groups: dict[tuple[str, str], list[Result]] = {}
    for result, setting in zip(results, setting_of_each(results), strict=True):
        groups.setdefault((result.method, setting), []).append(result)
    return groups


def by_name(results: Sequence[Result]) -> dict[str, list[Result]]:
    """One protocol's runs by what they are called where no column tells settings apart: `slca (backbone_lr 0.001)`."""
    return {
        f"{method} ({setting})" if setting else method: runs for (method, setting), runs in by_setting(results).items()
    }


def setting_of_each(results: Sequence[Result]) -> list[str]:
    """The setting of each run among those of its protocol."""
    found = [""] * len(results)
    for protocol in dict.fromkeys(result.protocol for result in results):
        places = [place for place, result in enumerate(results) if result.protocol == protocol]
        mine = [results[place] for place in places]
        of_key = settings(mine)
        for place, key in zip(places, _keys(_runs(mine)), strict=True):
            found[place] = of_key[key]
    return found


def _runs(results: Sequence[Result]) -> list[dict[str, Any]]:
    """The entries of each run. Digests count only where all runs have them: older lines say nothing of theirs."""
    told = all(name in result.inputs for result in results for name in IDENTITY)
    return [
        dict(flat(result.configuration))
        | ({f"{name}{DIGEST}": result.inputs[name] for name in IDENTITY} if told else {})
        for result in results
    ]


def _keys(runs: Sequence[Mapping[str, Any]]) -> list[str]:
    return [json.dumps(flat, sort_keys=True) for flat in runs]


def flat(tree: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of a tree of plain values, each by the names on the way to it: `backbone.name`."""
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{above}{name}.")
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
    return FIRST.index(name) if name in FIRST else len(FIRST) + name.endswith(DIGEST)


def _last(name: str) -> str:
    return "backbone" if name == "backbone.name" else name.rpartition(".")[2]


def _short(name: str, value: Any) -> Any:
    return value[:SHOWN] if name.endswith(DIGEST) and not value.startswith("hub ") else value


def as_text(value: Any) -> str:
    """A leaf as people read it: a dash for nothing, commas in a list."""
    return "–" if value is None else ",".join(map(str, value)) if isinstance(value, list) else str(value)
