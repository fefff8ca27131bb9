"""The pages of the reference, written from parsers, dataclasses and docstrings before the site is built."""

from __future__ import annotations

import dataclasses
import inspect
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

from docstring_parser import parse

import pmd
from pmd.cli.command import Command, Group
from pmd.cli.commands import COMMANDS
from pmd.core.run import as_yaml

DOCS = Path(__file__).parents[1]
OUT = DOCS / "reference"
sys.path[:0] = [str(Path(__file__).parent), str(DOCS.parent / "scripts" / "typed")]
from returned import bases_with_pages, is_attribute, members, pages_of, parts_of, returned_types  # noqa: E402
from stub import CONFIGS, Stub, hints_of, loaded, meanings_of  # noqa: E402


def setup(app: Any) -> dict[str, bool]:
    app.connect("config-inited", lambda *_: write())
    return {"parallel_read_safe": True}


def write() -> None:
    """Write all pages anew."""
    shutil.rmtree(OUT, ignore_errors=True)
    commands = dict(commands_of(COMMANDS, "pmd"))
    pages = {f"commands/{name.replace(' ', '-')}": command_page(name, command) for name, command in commands.items()}
    pages |= {f"python/{name}": python_page(name) for name in (*pmd.__all__, *returned_types())}
    for name, text in pages.items():
        path = OUT / f"{name}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    names = "\n".join(name.replace(" ", "-") for name in commands)
    (OUT / "commands" / "index.md").write_text(f"# Commands\n\n```{{toctree}}\n{names}\n```\n", encoding="utf-8")
    own, returned = ("\n".join(sorted(names, key=str.lower)) for names in (pmd.__all__, returned_types()))
    (OUT / "python" / "index.md").write_text(
        f"# Python\n\n## Functions and classes\n\n```{{toctree}}\n{own}\n```\n\n"
        f"## What they return\n\n```{{toctree}}\n{returned}\n```\n",
        encoding="utf-8",
    )


def commands_of(group: Group, prefix: str) -> Iterator[tuple[str, Command]]:
    """All commands by what one types."""
    for name, entry in group.commands.items():
        if isinstance(entry, Group):
            yield from commands_of(entry, f"{prefix} {name}")
        else:
            yield f"{prefix} {name}", entry


def command_page(name: str, command: Command) -> str:
    """What a command does, its examples, and a table of its options for each group."""
    examples = "\n".join(command.examples)
    tables = [table for config in (command.config, *command.more) for table in option_tables(loaded(config), "")]
    tables += [*parser_table(command, "\n".join(tables))]
    text = command.text[0].upper() + command.text[1:]
    return (
        "\n\n".join((f"# {name}\n\n{text}.\n\n```bash\n{examples}\n```", *tables, *yaml_section(name, command))) + "\n"
    )


def parser_table(command: Command, tables: str) -> Iterator[str]:
    """The options that the parser has beside the settings: of all commands, and `--resume`."""
    rows = []
    for action in command.parser("pmd")._actions:
        names = [
            name
            for name in action.option_strings
            if not name.endswith(("+", ".help")) and f"## {name[2:]}\n" not in tables
        ]
        listed = [name for name in names if f"`{name}`" in tables]
        meaning = f"same as `{listed[-1]}`" if listed else action.help
        rows += [f"| `{name}` | {meaning} |" for name in names if name not in listed]
    yield "## Beside the settings\n\n| option | meaning |\n|:--|:--|\n" + "\n".join(rows)


def yaml_section(name: str, command: Command) -> Iterator[str]:
    """All settings as a file, which begins where the options do."""
    settings = defaults_of(command)
    if settings:
        yield f"## {name} as YAML\n\nAll that has a default, as `--config FILE` takes it; leave out what is to stay.\n\n```yaml\n{settings}```"


def defaults_of(command: Command) -> str:
    """The settings of a command that have defaults, as YAML."""
    values = {}
    for field in dataclasses.fields(loaded(command.config)):
        if field.default_factory is not dataclasses.MISSING:
            values[field.name] = field.default_factory()
        elif field.default is not dataclasses.MISSING:
            values[field.name] = field.default
    return as_yaml(dataclasses.make_dataclass("Settings", values)(**values)) if values else ""


def option_tables(config: type, prefix: str) -> Iterator[str]:
    """A table of the options of a dataclass, then those of its groups, each below its heading."""
    meanings, stub, rows, groups = meanings_of(config), Stub(), [], []
    for field in dataclasses.fields(config):
        hint, key = hints_of(config)[field.name], f"{prefix}{field.name}"
        inner = next((part for part in (hint, *get_args(hint)) if dataclasses.is_dataclass(part)), None)
        if inner is not None and "list" not in str(hint):
            groups.append((key, inner, meanings.get(field.name, "")))
            continue
        rows.append(
            f"| `--{key}` | {kind_of(stub.hint(hint))} | {default_of(field)} | {meanings.get(field.name, '').replace('|', chr(92) + '|')} |"
        )
        if inner is not None:
            groups.append((f"{key}[…]", inner, f"each of `{key}`"))
    if rows:
        yield "| option | type | default | meaning |\n|:--|:--|:--|:--|\n" + "\n".join(rows)
    for key, inner, meaning in groups:
        yield f"## {key}\n\n{meaning}"
        yield from option_tables(inner, f"{key}.")


def kind_of(hint: str) -> str:
    """A type in words: choices are listed, groups of settings are named, None is YAML's null."""
    hint = re.sub(r"[\w.]+\.(\w+)Config \| \w+Settings", r"\1", hint)
    hint = re.sub(r"Literal\[(.*?)\]", lambda match: match[1].replace("'", ""), hint)
    hint = re.sub(r"\bstr\b", "text", hint.replace("None", "null"))
    return hint.replace(" | ", " or ").replace("|", "\\|")


def cell(text: str) -> str:
    return f"`{text}`".replace("|", "\\|") if text else ""


def default_of(field: dataclasses.Field[Any]) -> str:
    """The default as YAML has it, or that there is none."""
    value = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
    if value is dataclasses.MISSING:
        return "required"
    if isinstance(value, (bool, type(None))):
        return cell({None: "null", True: "true", False: "false"}[value])
    return cell(str(value) or "''")


def python_page(name: str) -> str:
    """A function or class: how it is called, what its docstring says, and the attributes and methods of a class."""
    if name in returned_types():
        thing = returned_types()[name]
        parts = [f"# {name}", described(thing, name)]
    else:
        thing = getattr(pmd, name)
        parts = [f"# {name}", signature(thing, f"pmd.{name}"), described(thing)]
    if name in CONFIGS:
        command = next(
            key
            for key, command in commands_of(COMMANDS, "pmd")
            if command.config == CONFIGS[name] or key == f"pmd {name}"
        )
        parts.append(f"Settings are the options of [{command}](../commands/{command.replace(' ', '-')}.md).")
    if inspect.isclass(thing):
        parts += [
            f"Besides, it has all that [{base.__name__}]({base.__name__}.md) has." for base in bases_with_pages(thing)
        ]
        for member, function in members(thing):
            kind = inspect.signature(function).return_annotation if is_attribute(thing, member) else None
            called = f"```python\n{member}: {kind}\n```" if kind else signature(function, member)
            parts += [f"## {member}", called, described(function, name)]
    return "\n\n".join(filter(None, parts)) + "\n"


def signature(thing: Any, name: str) -> str:
    if isinstance(thing, property) or not callable(thing):
        return ""
    try:
        called = inspect.signature(thing)
    except ValueError:
        return ""
    parameters = [
        parameter.replace(annotation=bare(parameter.annotation))
        for parameter in called.parameters.values()
        if parameter.name not in ("self", "cls")
    ]
    arguments = called.replace(parameters=parameters, return_annotation=bare(called.return_annotation))
    return f"```python\n{name}{arguments}\n```"


class Bare(str):
    """An annotation that is shown without quotes."""

    __repr__ = str.__str__


def bare(annotation: Any) -> Any:
    return Bare(annotation) if isinstance(annotation, str) else annotation


def described(thing: Any, page: str = "") -> str:
    """A docstring as Markdown: text, arguments or attributes as a table, what comes back, errors, an example. Other pages than this
    one are linked."""
    doc = parse(inspect.getdoc(thing) or "")
    gap = "\n\n" if doc.blank_after_short_description else " "
    parts = [gap.join(filter(None, (doc.short_description, doc.long_description)))]
    is_record, lines = thing in returned_types().values(), doc.params
    if is_record:  # a base without a page has some of its attributes
        lines = [line for part in parts_of(thing) for line in parse(inspect.getdoc(part) or "").params]
    kinds = types_of_fields(thing) if is_record else {}
    rows = [
        [p.arg_name, *([kinds_of(p.arg_name, kinds)] if is_record else []), " ".join((p.description or "").split())]
        for p in lines
    ]
    head = "| attribute | type | meaning |\n|:--|:--|:--|" if is_record else "| argument | meaning |\n|:--|:--|"
    cells = [
        "| " + " | ".join([f"`{name}`", *(cell.replace("|", chr(92) + "|") for cell in rest)]) + " |"
        for name, *rest in rows
    ]
    parts.append("\n".join([head, *cells]) if rows else None)
    parts += [f"Returns: {' '.join(doc.returns.description.split())}"] if doc.returns else []
    linked = (
        [f"[{name}]({name}.md)" for name in pages_of(thing) if name != page]
        if is_record or inspect.isfunction(thing)
        else []
    )
    parts += [f"See {', '.join(linked)}."] if linked else []
    parts += [f"Raises `{error.type_name}` {' '.join((error.description or '').split())}" for error in doc.raises]
    parts += [f"```pycon\n{example.description}\n```" for example in doc.examples]
    return "\n\n".join(part for part in parts if part)


def types_of_fields(kind: type) -> dict[str, str]:
    """The annotations of a class and of those bases that its page describes too."""
    return {name: str(hint) for part in parts_of(kind) for name, hint in inspect.get_annotations(part).items()}


def kinds_of(names: str, kinds: dict[str, str]) -> str:
    """The type of one attribute or of several that a docstring describes in one line."""
    own = dict.fromkeys(kinds[name.strip()] for name in names.split(","))
    return f"`{', '.join(own)}`"
