"""Write docs/http-api.md from the OpenAPI document: `python -m tests.http_api_page`."""

from pathlib import Path
from typing import Any

from worker.web import openapi

PAGE = Path(__file__).parent.parent / "docs" / "http-api.md"

INTRODUCTION = """# HTTP API

For application developers. Every route needs the header `Authorization: Bearer` with API_TOKEN, and answers in JSON. The
OpenAPI document is at `GET /v1/openapi.json`. For health, metrics and the webhook endpoint see [operating.md](operating.md).

This page is generated from `worker/web/openapi.py` by `python -m tests.http_api_page`.
"""

Json = dict[str, Any]


def render() -> str:
    """Return the page: each route with its parameters and answers, then the objects in the answers."""
    document = openapi.document()
    page = INTRODUCTION
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            page += _operation(f"{method.upper()} {path}", operation)
    page += "\n## Objects\n"
    for name, schema in sorted(document["components"]["schemas"].items()):
        page += f"\n### {name}\n\n{_line(schema.get('description', ''))}\n\n| field | type |\n|---|---|\n"
        for field, of in schema.get("properties", {}).items():
            optional = "" if field in schema.get("required", ()) else ", optional"
            page += f"| `{field}` | {_type(of)}{optional} |\n"
    return page


def _operation(title: str, operation: Json) -> str:
    text = f"\n## {title}\n\n{_line(operation['summary'])}\n"
    if parameters := operation.get("parameters"):
        text += "\n| parameter | in | type | meaning |\n|---|---|---|---|\n"
        for each in parameters:
            default = each["schema"].get("default")
            meaning = _line(each.get("description", "")) + (f" Default: {default}." if default is not None else "")
            text += f"| `{each['name']}` | {each['in']} | {_type(each['schema'])} | {meaning.strip()} |\n"
    if "requestBody" in operation:
        text += f"\nThe body may be {_type(_content(operation['requestBody']))}.\n"
    text += "\n| status | answer |\n|---|---|\n"
    for status, answer in operation["responses"].items():
        of = _type(_content(answer)) if status == "200" else _line(answer["description"])
        text += f"| {status} | {of} |\n"
    return text


def _content(of: Json) -> Json:
    schema: Json = of["content"]["application/json"]["schema"]
    return schema


def _type(schema: Json) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if "anyOf" in schema:
        return " or ".join(_type(each) for each in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(f"`{value}`" for value in schema["enum"])
    if schema.get("type") == "array":
        return f"array of {_type(schema['items'])}"
    bounds = " to ".join(str(schema[name]) for name in ("minimum", "maximum") if name in schema)
    kind = str(schema.get("type", "any"))
    return f"{kind}, {'from ' if 'maximum' not in schema else ''}{bounds}" if bounds else kind


def _line(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(render())
