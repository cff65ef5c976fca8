"""Write `schema/catalogue.json` from the pinned Stripe SDK: every list, every object type, every documented field.

Run `python -m schema.read_sdk` after an upgrade of the SDK, and review the difference. The SDK's files are parsed, not
imported. A new type needs a view, or a reason in LEFT_OUT_TYPES. A test fails until it has one of them.
"""

import ast
import importlib.metadata
import importlib.util
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from schema.sdk_choices import (
    EVENT_OBJECTS,
    FILTERED,
    LEFT_OUT_LISTS,
    LEFT_OUT_TYPES,
    LISTS,
    PARENT_PARAMS,
    TIME_NAME,
    TIME_WORDS,
    TIMES,
    V2,
    VIEWS,
)

FILE = Path(__file__).with_name("catalogue.json")
LINE = 120


class Undecided(Exception):
    """The SDK has a type or a list with neither a view nor a reason for being left out."""


@dataclass
class _Type:
    object: str
    fields: dict[str, tuple[ast.expr, str]]
    url: str | None = None
    deletable: bool = False
    events: list[str] = field(default_factory=list)


@dataclass
class _List:
    name: str
    path: str
    objects: list[str]
    by_created: bool
    given: dict[str, Any]


def sdk() -> Path:
    """The folder of the installed SDK."""
    result = importlib.util.find_spec("stripe")
    assert result is not None
    assert result.origin is not None
    return Path(result.origin).parent


def catalogue(root: Path | None = None) -> dict[str, Any]:
    """Return the content of the file for the SDK in `root`. Raises Undecided."""
    reader = _Reader(root or sdk())
    types, lists = reader.types, sorted(reader.lists(), key=lambda row: row.name)
    views = _views(types, lists)
    unplaced = sorted(types.keys() - views.keys() - LEFT_OUT_TYPES.keys())
    if unplaced:
        raise Undecided(f"types without a view or a reason in LEFT_OUT_TYPES: {', '.join(unplaced)}")
    return {
        "stripe_sdk": importlib.metadata.version("stripe"),
        "types": {name: _type(types[name], views[name]) for name in sorted(views)},
        "lists": dict(sorted({**{row.name: _list(row) for row in lists}, **FILTERED}.items())),
        "left_out": {
            "lists": {**{path: why for path, why in LEFT_OUT_LISTS.items() if path in reader.paths}, "/v2/*": V2},
            "types": {name: why for name, why in sorted(LEFT_OUT_TYPES.items()) if name in types},
        },
    }


def _views(types: dict[str, _Type], lists: list[_List]) -> dict[str, str]:
    """Return the name of each type's view. A type without a list has a view if events contain it, unless it is left out."""
    views: dict[str, str] = {}
    for row in lists:
        for object_ in row.objects:
            if object_ not in views or "parent" in row.given.keys() - {"param"} or "{" not in row.path:
                views.setdefault(object_, VIEWS.get(object_, row.name))
    for name, type_ in types.items():
        if type_.events and name not in LEFT_OUT_TYPES:
            views.setdefault(name, VIEWS.get(name, name.replace(".", "_") + "s"))
    return views


def _type(type_: _Type, view: str) -> dict[str, Any]:
    kinds: dict[str, list[str]] = {}
    for name, (annotation, doc) in type_.fields.items():
        kinds.setdefault(_kind(name, annotation, doc), []).append(name)
    return {
        "view": view,
        **({"url": type_.url} if type_.url else {}),
        **({"deletable": True} if type_.deletable else {}),
        "fields": {kind: sorted(kinds[kind]) for kind in sorted(kinds)},
        **({"events": sorted(type_.events)} if type_.events else {}),
    }


def _list(row: _List) -> dict[str, Any]:
    given = {name: value for name, value in row.given.items() if name != "name"}
    return {"path": row.path, "objects": row.objects, **({"by_created": True} if row.by_created else {}), **given}


class _Reader:
    """The parsed files of the SDK."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._trees: dict[Path, ast.Module] = {}
        self._imported: dict[Path, dict[str, tuple[str, str]]] = {}
        self.paths: set[str] = set()
        self._classes: dict[tuple[str, str], str] = {}
        self.types: dict[str, _Type] = {}
        for file in self._files("**/_*.py"):
            if "OBJECT_NAME" in file.read_text():
                self._read_types(file)
        self._services = list(self._read_services())
        self._read_events()

    def lists(self) -> Iterator[_List]:
        for path, objects, by_created, required in self._services:
            if path in LEFT_OUT_LISTS:
                continue
            if not objects:
                raise Undecided(f"the list {path} shows objects that the SDK does not name")
            given = dict(LISTS.get(path, {}))
            name, parent = _named(path)
            name = given.pop("name", name)
            if "read_with" not in given:
                if parent is not None:
                    given["parent"] = parent
                elif unknown := required - given.get("params", {}).keys() - {given.get("param")}:
                    param = unknown.pop()
                    if param not in PARENT_PARAMS or unknown:
                        raise Undecided(
                            f"the list {path} needs {param}: name the list of its parents, or leave the list out"
                        )
                    given |= {"parent": PARENT_PARAMS[param], "param": param}
            yield _List(name, path, objects, by_created and "parent" not in given, given)

    def _files(self, pattern: str) -> list[Path]:
        return [
            file
            for file in sorted(self._root.glob(pattern))
            if not {"v2", "params", "events"} & set(file.relative_to(self._root).parts)
        ]

    def _tree(self, file: Path) -> ast.Module:
        if file not in self._trees:
            self._trees[file] = ast.parse(file.read_text())
        return self._trees[file]

    def _module(self, file: Path) -> str:
        return ".".join(("stripe", *file.relative_to(self._root).with_suffix("").parts))

    def _read_types(self, file: Path) -> None:
        for node in _classes(self._tree(file)):
            fields = dict(_fields(node))
            named = fields.pop("OBJECT_NAME", None)
            if named is None or not (name := _literal(named[0])):
                continue
            self._classes[self._module(file), node.name] = name
            if (there := self.types.get(name)) is None or len(there.fields) < len(fields):
                self.types[name] = _Type(name, {key: given for key, given in fields.items() if not key.startswith("_")})

    def _imports(self, file: Path) -> dict[str, tuple[str, str]]:
        if file not in self._imported:
            body = self._tree(file).body
            for_types = [each for node in body if isinstance(node, ast.If) for each in node.body]
            self._imported[file] = {
                alias.asname or alias.name: (node.module, alias.name)
                for node in [*body, *for_types]
                if isinstance(node, ast.ImportFrom) and node.module
                for alias in node.names
            }
        return self._imported[file]

    def _objects(self, file: Path, returns: ast.expr | None) -> list[str]:
        imports = self._imports(file)
        names = re.findall(r"\w+", _text(returns))
        result = [self._classes.get(imports.get(name, ("", ""))) for name in names]
        return sorted({name for name in result if name is not None})

    def _read_services(self) -> Iterator[tuple[str, list[str], bool, set[str]]]:
        for file in self._files("**/*_service.py"):
            methods = [node for class_ in _classes(self._tree(file)) for node in class_.body]
            for node in methods:
                if not isinstance(node, ast.FunctionDef) or (path := _path(node)) is None:
                    continue
                objects = self._objects(file, node.returns)
                if "ListObject[" in _text(node.returns):
                    params = self._params(file, node)
                    self.paths.add(path)
                    required = {name for name, kind in params.items() if not kind.startswith("NotRequired")}
                    yield path, objects, "created" in params, required
                elif node.name == "retrieve" and len(objects) == 1 and re.fullmatch(r"[^{]*(/\{\w+\})?", path):
                    self.types[objects[0]].url = re.sub(r"\{\w+\}", "{id}", path)
                elif node.name == "delete" and len(objects) == 1:
                    self.types[objects[0]].deletable = True

    def _params(self, file: Path, method: ast.FunctionDef) -> dict[str, str]:
        annotated = [_text(arg.annotation) for arg in method.args.args if arg.arg == "params"]
        imports = self._imports(file)
        for name in re.findall(r"\w+Params\b", "".join(annotated)):
            module, real = imports[name]
            source = self._root.joinpath(*module.split(".")[1:]).with_suffix(".py")
            for node in self._tree(source).body:
                if isinstance(node, ast.ClassDef) and node.name == real:
                    return {key: _text(kind) for key, (kind, _) in _fields(node)}
        return {}

    def _read_events(self) -> None:
        thin = dict(self._thin())
        kinds = next(
            annotation
            for node in self._tree(self._root / "_event.py").body
            if isinstance(node, ast.ClassDef) and node.name == "Event"
            for name, (annotation, _) in _fields(node)
            if name == "type"
        )
        for event in (node.value for node in ast.walk(kinds) if isinstance(node, ast.Constant)):
            if not isinstance(event, str):
                continue
            hinted = next((name for start, name in EVENT_OBJECTS.items() if event.startswith(start)), None)
            known = hinted or thin.get(event) or event.rpartition(".")[0]
            if known not in self.types:
                raise Undecided(f"the event {event}: name its object in EVENT_OBJECTS")
            self.types[known].events.append(event)
            self.types[known].deletable |= event.endswith(".deleted") and known != "subscription"

    def _thin(self) -> Iterator[tuple[str, str]]:
        """Yield the type of each event with the type of its object, read from the class of the thin event."""
        for file in sorted((self._root / "events").glob("_v1_*.py")):
            for class_ in _classes(self._tree(file)):
                kinds = [kind for node in class_.body if (kind := _constant(node, "LOOKUP_TYPE"))]
                for method in class_.body:
                    if isinstance(method, ast.FunctionDef) and method.name == "fetch_related_object":
                        for object_ in self._objects(file, method.returns):
                            yield kinds[0].removeprefix("v1."), object_


def _classes(tree: ast.Module) -> list[ast.ClassDef]:
    return [node for node in tree.body if isinstance(node, ast.ClassDef)]


def _constant(node: ast.stmt, name: str) -> str | None:
    """Return the text that a statement assigns to the variable `name`, or None."""
    if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Constant):
        return None
    is_named = isinstance(node.targets[0], ast.Name) and node.targets[0].id == name
    return str(node.value.value) if is_named else None


def _named(path: str) -> tuple[str, str | None]:
    """Return the names of a list and of its parents' list. `/v1/transfers/{id}/reversals` is named transfer_reversals."""
    words = path.removeprefix("/v1/").split("/")
    if len(words) > 2 and words[-2].startswith("{"):
        parents = "_".join(words[:-2])
        return f"{parents.removesuffix('s')}_{words[-1]}", parents
    return "_".join(words), None


def _fields(node: ast.ClassDef) -> Iterator[tuple[str, tuple[ast.expr, str]]]:
    """The annotated attributes of a class, each with the docstring below it."""
    for each, after in zip(node.body, [*node.body[1:], None], strict=True):
        if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name):
            doc = after.value.value if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) else ""
            yield each.target.id, (each.annotation, str(doc).strip())


def _literal(annotation: ast.expr) -> str:
    result = [node.value for node in ast.walk(annotation) if isinstance(node, ast.Constant)]
    return str(result[0]) if len(result) == 1 else ""


def _path(method: ast.FunctionDef) -> str | None:
    """Return the path that a method reads or deletes, or None."""
    words = [node.value for node in ast.walk(method) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    paths = [word for word in words if word.startswith("/v1/")]
    return paths[0] if paths and {"get", "delete"} & set(words) else None


def _text(annotation: ast.expr | None) -> str:
    """An annotation's text, without the quotes of forward references."""
    return "" if annotation is None else ast.unparse(annotation).replace("'", "").replace('"', "")


def _kind(name: str, annotation: ast.expr, doc: str) -> str:
    """Return the kind of a field in a view. `id` is a reference, expanded or not. `jsonb` is any nested value."""
    given = annotation
    while isinstance(given, ast.Subscript) and _text(given.value) == "Optional":
        given = given.slice
    if isinstance(given, ast.Constant) and isinstance(given.value, str):
        given = ast.parse(given.value, mode="eval").body
    words, outer = _text(given), _text(given.value) if isinstance(given, ast.Subscript) else _text(given)
    if outer == "Literal":
        return "boolean" if words in ("Literal[True]", "Literal[False]") else "text"
    if isinstance(given, ast.Subscript) and outer == "Union":
        assert isinstance(given.slice, ast.Tuple)
        parts = {_kind(name, each, doc) for each in given.slice.elts}
        return "text" if parts == {"text"} else "id" if "text" in parts else "jsonb"
    if words == "int":
        is_time = name in TIMES or TIME_NAME.search(name) or TIME_WORDS.search(doc)
        return "milliseconds" if "milliseconds" in doc else "timestamptz" if is_time else "bigint"
    simple = {"str": "text", "bool": "boolean", "float": "numeric", "Decimal": "numeric", "ExpandableField": "id"}
    return simple.get(outer, "jsonb")


def rendered(result: dict[str, Any]) -> str:
    """Return the catalogue as JSON text, with short values on one line, so that differences are easy to review."""
    return _rendered(result, "") + "\n"


def _rendered(value: Any, indent: str) -> str:
    plain = json.dumps(value)
    if not isinstance(value, dict | list) or (len(indent) + len(plain) < LINE - 30 and not _has_objects(value)):
        return plain
    deeper = indent + " "
    if isinstance(value, dict):
        rows = [f"{deeper}{json.dumps(name)}: {_rendered(each, deeper)}" for name, each in value.items()]
        return "{\n" + ",\n".join(rows) + f"\n{indent}}}"
    lines = [deeper]
    for each in value:
        word = json.dumps(each) + ", "
        if len(lines[-1]) + len(word) > LINE:
            lines.append(deeper)
        lines[-1] += word
    return "[\n" + "\n".join(line.rstrip() for line in lines)[:-1] + f"\n{indent}]"


def _has_objects(value: Any) -> bool:
    return isinstance(value, dict) and any(isinstance(each, dict) for each in value.values())


def main() -> None:
    FILE.write_text(rendered(catalogue()))
    sys.stdout.write(f"{FILE.name} is written from stripe {importlib.metadata.version('stripe')}\n")


if __name__ == "__main__":
    main()
