"""Builds the knowledge graph `world` from CLDR, the same bytes every time.

The files are committed, so nobody needs this to use the graph; it is here so that anybody can see where each
line comes from and make the files again. Run as `python scripts/world/build.py [--out DIR] [--check]`.
"""

import argparse
import hashlib
import sys
from collections import defaultdict
from pathlib import Path

from leak import gives_away, leaks

from pmd.core.errors import PmdError

BABEL = "2.18.0"
CLDR = "47"
WORLD = Path(__file__).resolve().parents[2] / "pmd" / "data" / "world"
SPLITS = ("train", "valid", "test")
# Of 1,000 buckets: the first are train, those from 835 valid, those from 885 test.
VALID_FROM, TEST_FROM = 835, 885

Triple = tuple[str, str, str]


def require_babel() -> None:
    """Other tables give other files, so any other version is refused."""
    try:
        import babel
        from babel.core import get_global
    except ImportError:
        raise PmdError(f"building world needs Babel: pip install Babel=={BABEL}") from None
    cldr = get_global("cldr")["version"]
    if (babel.__version__, cldr) != (BABEL, CLDR):
        raise PmdError(
            f"building world needs Babel {BABEL} with CLDR {CLDR}, found Babel {babel.__version__} "
            f"with CLDR {cldr}: pip install Babel=={BABEL}"
        )


def pair(triple: Triple) -> tuple[str, str]:
    """The two entities of a triple, whichever way round."""
    head, _, tail = triple
    return min(head, tail), max(head, tail)


def bucket(key: tuple[str, str]) -> int:
    digest = hashlib.sha256("\t".join(key).encode()).digest()
    return int.from_bytes(digest[:8], "big") % 1000


def split(triples: list[Triple]) -> dict[str, list[Triple]]:
    """Splits by the hash of the pair, so that triples which tell of each other stay together.

    "Austria has official language German" all but says "German is mainly spoken in Austria"; with both on the
    same side of the split neither gives the other away. A pair moves to train where an entity or a relation
    would else never be trained.
    """
    groups: dict[tuple[str, str], list[Triple]] = defaultdict(list)
    for triple in triples:
        groups[pair(triple)].append(triple)
    place = {}
    for key in groups:
        number = bucket(key)
        place[key] = "test" if number >= TEST_FROM else "valid" if number >= VALID_FROM else "train"
    trained = {part for key in groups if place[key] == "train" for triple in groups[key] for part in triple}
    for key in sorted(groups):
        parts = {part for triple in groups[key] for part in triple}
        if not parts <= trained:
            place[key] = "train"
            trained |= parts
    return {name: [triple for triple in triples if place[pair(triple)] == name] for name in SPLITS}


def descriptions(triples: list[Triple], names: dict[str, str]) -> dict[str, str]:
    """A description for every entity that gives none of its neighbours away."""
    from describe import describe

    neighbours: dict[str, set[str]] = defaultdict(set)
    for head, _, tail in triples:
        neighbours[head].add(tail)
        neighbours[tail].add(head)

    def allowed(entity: str, text: str) -> bool:
        return not any(gives_away(text, other, names[other]) for other in neighbours[entity])

    return {entity: describe(entity, lambda text, of=entity: allowed(of, text)) for entity in names}


def table(rows: list[tuple[str, ...]]) -> bytes:
    """Rows as bytes, refusing what the format cannot hold."""
    for row in rows:
        if any(not field or set(field) & set("\t\r\n") for field in row):
            raise PmdError(f"a field of world is empty or holds a tab or line end: {row!r}")
    return "".join("\t".join(row) + "\n" for row in rows).encode()


def build() -> dict[str, bytes]:
    """The five files, by name."""
    require_babel()
    from facts import RELATIONS, english_name
    from facts import triples as read_triples

    triples = read_triples()
    names = {entity: english_name(entity) for entity in sorted({end for h, _, t in triples for end in (h, t)})}
    texts = descriptions(triples, names)
    found = leaks(triples, names, texts)
    if found:
        raise PmdError(f"{len(found)} descriptions of world give an answer away, the first at {found[0]!r}")
    files = {f"{name}.tsv": table(rows) for name, rows in split(triples).items()}
    files["entities.tsv"] = table([(entity, name, texts[entity]) for entity, name in names.items()])
    used = sorted({relation for _, relation, _ in triples})
    files["relations.tsv"] = table([(relation, RELATIONS[relation]) for relation in used])
    return files


def differing(files: dict[str, bytes], folder: Path) -> list[str]:
    """The names of the files that are missing from the folder or hold other bytes."""
    return [
        name
        for name, content in sorted(files.items())
        if not (folder / name).is_file() or (folder / name).read_bytes() != content
    ]


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python scripts/world/build.py", description="Build the graph world.")
    parser.add_argument("--out", type=Path, default=WORLD, help="folder to write to (default: the bundled graph)")
    parser.add_argument("--check", action="store_true", help="compare with the files in --out, write nothing")
    args = parser.parse_args(argv)
    try:
        files = build()
        if args.check:
            names = differing(files, args.out)
            print(f"differs: {', '.join(names)}" if names else "the files are as built")
            return 1 if names else 0
        args.out.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (args.out / name).write_bytes(content)
    except (PmdError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
