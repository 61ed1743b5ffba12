"""The OpenAPI description as one HTML page, without a script and without a word from another server."""

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 54rem; margin: 2rem auto; padding: 0 1rem }
code, h2 { font-family: ui-monospace, monospace } h2 { font-size: 1rem; margin: 2rem 0 0 }
h2 b { display: inline-block; min-width: 4.5rem } table { border-collapse: collapse; width: 100% }
td { border-top: 1px solid #8884; padding: .25rem .75rem .25rem 0; vertical-align: top }
@media (prefers-color-scheme: dark) { body { background: #111; color: #ddd } a { color: #8bf } }
"""

METHODS = ("get", "post", "put", "delete")


def contract_page(description: Mapping[str, Any]) -> str:
    """The page for an OpenAPI 3.1 document."""
    info = description["info"]
    calls = "".join(
        call_section(method, path, item[method])
        for path, item in sorted(description["paths"].items())
        for method in METHODS
        if method in item
    )
    return (
        "<!doctype html><html lang=en><meta charset=utf-8>"
        "<meta name=viewport content='width=device-width, initial-scale=1'>"
        f"<title>{escape(info['title'])}: calls</title><style>{STYLE}</style><main>"
        f"<h1>{escape(info['title'])} {escape(info['version'])}</h1><p>{escape(info.get('summary', ''))}</p>"
        "<p>The same for programs: <a href='/openapi.json'><code>/openapi.json</code></a>. "
        f"{escape(info.get('description', ''))}</p>"
        f"{calls}</main></html>"
    )


def call_section(method: str, path: str, operation: Mapping[str, Any]) -> str:
    """One call: what it does, what it takes, what it answers."""
    facts = [*taken(operation), *given(operation)]
    rows = "".join(f"<tr><td><code>{escape(name)}</code><td>{escape(what)}" for name, what in facts)
    words = escape(operation.get("description", ""))
    return f"<h2><b>{method.upper()}</b>{escape(path)}</h2><p>{words}</p><table>{rows}</table>"


def taken(operation: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Parameters and body, each with what it is."""
    for parameter in operation.get("parameters", ()):
        yield parameter["name"], f"{parameter['in']}, {kind_of(parameter['schema'])}"
    for media, content in operation.get("requestBody", {}).get("content", {}).items():
        fields = content["schema"].get("properties", {})
        yield "body", f"{media} {', '.join(fields)}"


def given(operation: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Statuses, each with what its body is."""
    for status, answer in operation["responses"].items():
        kinds = [kind_of(content.get("schema", {})) for content in answer.get("content", {}).values()]
        yield status, ", ".join(kind for kind in kinds if kind) or answer["description"]


def kind_of(schema: Mapping[str, Any]) -> str:
    """A schema in a few words."""
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "anyOf" in schema:
        return " or ".join(kind_of(one) for one in schema["anyOf"])
    if "enum" in schema:
        return " | ".join(map(str, schema["enum"]))
    return str(schema.get("const") or schema.get("type", ""))
