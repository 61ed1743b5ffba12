"""The report as one HTML page that needs nothing beside it: plots are embedded, no script, no address is fetched."""

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment

from everclass.bench.inputs import IDENTITY
from everclass.bench.report.figures import Row
from everclass.bench.report.numbers import numbers_of_methods, without_numbers
from everclass.bench.report.plots import Plots
from everclass.bench.report.settings import setting_of_each
from everclass.bench.report.tables import LEGEND, by_task, full, notes, side_by_side
from everclass.bench.results import Result

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Everclass: methods compared</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; margin: 1rem 0; font-size: 13px; }
th, td { border-bottom: 1px solid #ddd; padding: .3rem .6rem; text-align: right; white-space: nowrap; }
th { white-space: normal; vertical-align: bottom; }
th:first-child, td:first-child, .numbers td { text-align: left; }
summary { cursor: pointer; }
.wide { overflow-x: auto; }
.plots { display: flex; flex-wrap: wrap; gap: 1rem; }
.plots img { max-width: 100%; height: auto; border: 1px solid #eee; }
pre { background: #f6f6f6; padding: .8rem; overflow-x: auto; font-size: 12px; }
</style>
</head>
<body>
<h1>Methods compared</h1>
<pre>{{ command }}</pre>
{% for protocol in protocols %}
<h2>{{ protocol.name }}</h2>
<p>{{ legend }}</p>
{% for text in protocol.images %}<p>{{ text }}</p>
{% endfor %}{% for table in protocol.tables %}{% if loop.index == 2 %}<p>Last-Acc / Inc-Acc, side by side:</p>
{% endif %}<div class="wide"><table>
<thead><tr>{% for name in table[0] %}<th>{{ name }}</th>{% endfor %}</tr></thead>
<tbody>{% for row in table[1:] %}<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>{% endfor %}</tbody>
</table></div>
{% if loop.first %}{% for note in protocol.notes %}<p>{{ note }}</p>
{% endfor %}{% endif %}{% endfor %}<div class="plots">{% for title, data in protocol.plots.items() %}
<img alt="{{ protocol.name }}: {{ title }}" src="data:image/png;base64,{{ data }}">{% endfor %}
</div>
<h3>Accuracy on each task's classes after each task</h3>
<details open><summary>{{ protocol.matrices|length }} matrices</summary><div class="plots">
{%- for name, data in protocol.matrices.items() %}
<img alt="{{ protocol.name }}: accuracy matrix of {{ name }}" src="data:image/png;base64,{{ data }}">{% endfor %}
</div></details>
{% if protocol.by_task %}<h3>Each task, in order of learning</h3>
<p>Forgetting of a task is its fall from its best to what holds after the last task, backward transfer its change since
it was learned.</p>
{% for title, table in protocol.by_task.items() %}<details><summary>{{ title }}</summary><div class="wide"><table>
<thead><tr>{% for name in table[0] %}<th>{{ name }}</th>{% endfor %}</tr></thead>
<tbody>{% for row in table[1:] %}<tr>{% for cell in row %}<td>{{ cell }}</td>{% endfor %}</tr>{% endfor %}</tbody>
</table></div></details>
{% endfor %}{% endif %}<h3>What each method is made of</h3>
{% for name, numbers in protocol.numbers.items() %}<details><summary>{{ name }}</summary><table class="numbers">
<tbody>{% for number, value in numbers %}<tr><td>{{ number }}</td><td>{{ value }}</td></tr>{% endfor %}</tbody>
</table></details>
{% endfor %}{% if protocol.without_numbers %}<p>Results of older code do not say it of
{{ protocol.without_numbers|join(", ") }}.</p>
{% endif %}{% endfor %}
<h2>Time and memory by phase</h2>
<div class="wide"><table>
<thead><tr><th>method</th>{% for name in whose %}<th>{{ name }}</th>{% endfor %}<th>seed</th>
{% for phase in phases %}<th>{{ phase }}, s</th><th>peak, MiB</th>{% endfor %}</tr></thead>
<tbody>{% for run in runs %}{% set number = loop.index0 %}<tr><td>{{ run.method }}</td>
{% for name in whose %}<td>{{ whose[name][number] }}</td>{% endfor %}<td>{{ run.seed }}</td>{% for phase in phases %}
<td>{{ "%.1f"|format(run.seconds.get(phase, 0)) }}</td>
<td>{{ run.peak_bytes.get(phase, 0) // 1048576 }}</td>{% endfor %}</tr>
{% endfor %}</tbody>
</table></div>
<h2>Configuration and versions</h2>
{% for text, methods in configurations.items() %}<p>{{ methods }}</p>
<pre>{{ text }}</pre>
{% endfor %}
</body>
</html>
"""


def as_html(results: Sequence[Result], table: Sequence[Row], plots: Mapping[str, Plots], command: str) -> str:
    """The page."""
    configurations: dict[str, list[str]] = {}
    for one in results:
        shown = {"configuration": one.configuration, "versions": one.versions}
        if told := {name: one.inputs[name] for name in (*IDENTITY, "device") if name in one.inputs}:
            shown["inputs"] = told
        text = json.dumps(shown, indent=2)
        configurations.setdefault(text, []).append(one.method)
    template = Environment(autoescape=True).from_string(PAGE)
    return template.render(
        command=command,
        legend=LEGEND,
        protocols=[
            _protocol(
                name,
                [one for one in results if one.protocol == name],
                [row for row in table if row.protocol == name],
                plots.get(name, Plots({}, {})),
            )
            for name in dict.fromkeys(one.protocol for one in results)
        ],
        phases=list(dict.fromkeys(phase for one in results for phase in one.seconds)),
        runs=results,
        whose=_columns_of_runs(results),
        configurations={text: ", ".join(dict.fromkeys(methods)) for text, methods in configurations.items()},
    )


def _protocol(name: str, results: Sequence[Result], table: Sequence[Row], plots: Plots) -> dict[str, Any]:
    """What the page shows of one protocol."""
    return {
        "name": name,
        "tables": [cells for cells in (full(table), side_by_side(table)) if cells],
        "notes": notes(table),
        "images": dict.fromkeys(_images(one) for one in results if one.inputs.get("classes")),
        "plots": {title: _embedded(path) for title, path in plots.together.items()},
        "matrices": {method: _embedded(path) for method, path in plots.matrices.items()},
        "by_task": by_task(results),
        "numbers": numbers_of_methods(results),
        "without_numbers": without_numbers(results),
    }


def _columns_of_runs(results: Sequence[Result]) -> dict[str, list[str]]:
    """What tells runs apart besides method and seed, and the device, by the name of its column: of each run."""
    columns = {"protocol": [one.protocol for one in results], "setting": setting_of_each(results)}
    found = {name: values for name, values in columns.items() if len(set(values)) > 1}
    devices = [one.inputs.get("device", "") for one in results]
    return found | ({"device": devices} if any(devices) else {})


def _images(one: Result) -> str:
    said = one.inputs
    text = f"{said['classes']} classes, {said['train_images']} training and {said['test_images']} test images."
    return f"{text} {said['note']}".strip()


def _embedded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
