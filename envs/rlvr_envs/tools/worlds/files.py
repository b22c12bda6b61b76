"""`tools/files-v0`: a tree of files to be reorganised."""

from __future__ import annotations

import random
import re
from collections import defaultdict
from typing import Any

import rlvr
from rlvr_envs.tools.session import KNOBS, LEVELS, WorldSession, worked_turns
from rlvr_envs.tools.store import Row, Store
from rlvr_envs.tools.tool import ToolError, tool
from rlvr_envs.tools.world import Call, Expected, Request, Slot, Unsuitable, World

DDL = "CREATE TABLE nodes (path TEXT PRIMARY KEY, kind TEXT NOT NULL, content TEXT NOT NULL) WITHOUT ROWID;"
FOLDERS = ("inbox", "projects", "reports", "notes", "drafts", "shared", "protected")
TOPICS = ("invoice", "minutes", "recipe", "budget", "holiday", "survey", "contract", "lecture", "garden", "music")
WORDS = ("amber", "basalt", "cedar", "delta", "ember", "fjord", "grove", "harbor", "iris", "juniper", "kelp", "linden")
MAX_CONTENT = 20_000
_path = re.compile(r"(/[A-Za-z0-9._-]{1,80}){1,12}")


def _checked(path: str) -> str:
    if path != "/" and (not _path.fullmatch(path) or any(not part.strip(".") for part in path[1:].split("/"))):
        raise ToolError(f"{path[:100]!r} is no absolute path of letters, digits, dots, dashes and underscores")
    return path


def _node(store: Store, path: str) -> Row:
    found = store.one("SELECT * FROM nodes WHERE path = ?", _checked(path))
    if found is None:
        raise ToolError(f"{path} does not exist")
    return found


def _parent(path: str) -> str:
    return path.rpartition("/")[0] or "/"


def _free(store: Store, path: str) -> None:
    if store.one("SELECT 1 FROM nodes WHERE path = ?", _checked(path)):
        raise ToolError(f"{path} exists already")
    if _node(store, _parent(path))["kind"] != "dir":
        raise ToolError(f"{_parent(path)} is no directory")


def _below(store: Store, path: str) -> list[Row]:
    prefix = path.rstrip("/") + "/"
    return store.all("SELECT * FROM nodes WHERE path > ? AND path < ? ORDER BY path", prefix, prefix[:-1] + "0")


@tool(
    "List what is in a directory: names, directories with a slash behind.",
    path="string: absolute path of the directory",
)
def ls(store: Store, path: str) -> Any:
    if _node(store, path)["kind"] != "dir":
        raise ToolError(f"{path} is no directory")
    prefix = path.rstrip("/") + "/"
    sql = "SELECT path, kind FROM nodes WHERE path > ? AND path < ? AND instr(substr(path, ?), '/') = 0 ORDER BY path"
    rows = store.db.execute(sql, (prefix, prefix[:-1] + "0", len(prefix) + 1))
    return [name[len(prefix) :] + ("/" if kind == "dir" else "") for name, kind in rows]


@tool("Read a file.", path="string: absolute path of the file")
def cat(store: Store, path: str) -> Any:
    row = _node(store, path)
    if row["kind"] != "file":
        raise ToolError(f"{path} is a directory")
    return row["content"]


@tool(
    "Find files and directories whose name contains a text.",
    text="string: part of the name",
    below="string?: directory to search, / if left out",
)
def find(store: Store, text: str, below: str = "/") -> Any:
    _node(store, below)
    return [row["path"] for row in _below(store, below) if text in row["path"].rpartition("/")[2]]


@tool(
    "Find files whose content contains a text.",
    text="string: part of the content",
    below="string?: directory to search, / if left out",
)
def grep(store: Store, text: str, below: str = "/") -> Any:
    _node(store, below)
    return [row["path"] for row in _below(store, below) if row["kind"] == "file" and text in row["content"]]


@tool("Make a directory; its parent must exist.", writes=True, path="string: absolute path")
def mkdir(store: Store, path: str) -> Any:
    _free(store, path)
    store.run("INSERT INTO nodes VALUES (?, 'dir', '')", path)
    return "made"


@tool(
    "Move or rename a file.",
    writes=True,
    source="string: path of the file",
    target="string: its new path, which must be free",
)
def mv(store: Store, source: str, target: str) -> Any:
    if _node(store, source)["kind"] != "file":
        raise ToolError(f"{source} is a directory; only files can be moved")
    _free(store, target)
    store.run("UPDATE nodes SET path = ? WHERE path = ?", target, source)
    return "moved"


@tool(
    "Copy a file.",
    writes=True,
    source="string: path of the file",
    target="string: path of the copy, which must be free",
)
def cp(store: Store, source: str, target: str) -> Any:
    row = _node(store, source)
    if row["kind"] != "file":
        raise ToolError(f"{source} is a directory; only files can be copied")
    _free(store, target)
    store.run("INSERT INTO nodes VALUES (?, 'file', ?)", target, row["content"])
    return "copied"


@tool("Remove a file or an empty directory.", writes=True, path="string: its path")
def rm(store: Store, path: str) -> Any:
    _node(store, path)
    if path == "/" or _below(store, path):
        raise ToolError(f"{path} is not empty")
    store.run("DELETE FROM nodes WHERE path = ?", path)
    return "removed"


@tool(
    "Write a file; what it held before is lost.",
    writes=True,
    path="string: its path",
    content="string: the whole new content",
)
def write(store: Store, path: str, content: str) -> Any:
    if len(content) > MAX_CONTENT:
        raise ToolError(f"the content has {len(content):,} characters; {MAX_CONTENT:,} are allowed")
    row = store.one("SELECT * FROM nodes WHERE path = ?", _checked(path))
    if row is None:
        _free(store, path)
        store.run("INSERT INTO nodes VALUES (?, 'file', ?)", path, content)
    elif row["kind"] == "file":
        store.run("UPDATE nodes SET content = ? WHERE path = ?", content, path)
    else:
        raise ToolError(f"{path} is a directory")
    return "written"


class FilesWorld(World):
    """Archive by content, merge and remove, rename by title."""

    def populate(self, rng: random.Random, size: int) -> dict[str, list[tuple[Any, ...]]]:
        rows: list[tuple[str, str, str]] = [("/", "dir", "")]
        folders = []
        for name in FOLDERS:
            rows.append((f"/{name}", "dir", ""))
            for number in range(max(2, size // 40)):  # so that a folder holds a few files of a kind in any size
                inner = f"/{name}/{WORDS[number % len(WORDS)]}{number // len(WORDS) or ''}"
                folders.append(inner)
                rows.append((inner, "dir", ""))
        for number in range(size):
            topic = rng.choice(TOPICS)
            title = " ".join(rng.sample(WORDS, 2)) + f" {number}"
            ending = rng.choice(("txt", "md", "log"))
            text = f"Title: {title}\nTopic: {topic}\nRef: {rng.randrange(10**6):06d}"
            rows.append((f"{rng.choice(folders)}/doc{number}.{ending}", "file", text))
        return {"nodes": rows}

    def request(self, rng: random.Random, store: Store, writes: int) -> Request:
        kind = rng.choice(("archive", "merge", "rename"))
        groups: dict[tuple[str, ...], list[Row]] = defaultdict(list)
        for row in store.all("SELECT * FROM nodes WHERE kind = 'file' AND path NOT LIKE '/protected/%' ORDER BY path"):
            folder = _parent(row["path"])
            topic = re.search(r"Topic: (\w+)", row["content"])
            assert topic is not None
            ending = row["path"].rpartition(".")[2]
            top = "/" + row["path"].split("/")[1]
            for name in [(top, topic[1]), (folder, topic[1])] if kind == "archive" else [(folder, ending)]:
                groups[name].append(row)
        aim = max(1, writes if kind == "rename" else writes - 1)
        nearest = min(abs(len(rows) - aim) for rows in groups.values())
        if nearest > 1:
            raise Unsuitable
        fitting = [name for name, rows in groups.items() if abs(len(rows) - aim) == nearest]
        place, what = rng.choice(sorted(fitting))
        if kind == "archive":
            target = f"/archive_{what}_{rng.randrange(1000)}"
            text = (
                f"Make a directory {target} and move every file anywhere below {place} that has the line 'Topic: {what}' "
                "into it. The files keep their names."
            )
            slot = Slot(("topic", "line", "kind"), f"It is about the files with the line 'Topic: {what}'.")
            left = f"Make a directory {target} and move every file below {place} about a certain topic into it, names kept."
            return Request(kind, text, {"place": place, "what": what, "target": target}, "", left, (slot,))
        if kind == "merge":
            target = f"{place}/merged_{rng.randrange(1000)}.txt"
            text = (
                f"Merge all .{what} files that are directly in {place} into {target}, in the order of their names sorted as "
                "texts, with one line break between two files and none added elsewhere. Then remove the files you merged."
            )
            slot = Slot(("ending", "extension", "files"), f"I mean the .{what} files.")
            left = text.replace(f"all .{what} files", "all files of a certain ending")
            return Request(kind, text, {"place": place, "what": what, "target": target}, "", left, (slot,))
        text = (
            f"Rename each .{what} file that is directly in {place} after its title: the text behind 'Title: ' with each space "
            f"replaced by a dash, then .{what}. The files stay in their directory."
        )
        slot = Slot(("ending", "extension", "files"), f"I mean the .{what} files.")
        left = (
            f"Rename each file of a certain ending that is directly in {place} after its title: the text behind 'Title: ' with "
            "each space replaced by a dash, then the same ending. The files stay in their directory."
        )
        return Request(kind, text, {"place": place, "what": what}, "", left, (slot,))

    def plan(self, store: Store, request: Request) -> tuple[list[Call], Any]:
        place, what = request.params["place"], request.params["what"]
        if request.kind == "archive":
            target = request.params["target"]
            calls: list[Call] = [{"name": "mkdir", "arguments": {"path": target}}]
            for path in grep.run(store, f"Topic: {what}", place):
                if f"Topic: {what}" in cat.run(store, path).split("\n"):
                    new = f"{target}/{path.rpartition('/')[2]}"
                    calls.append({"name": "mv", "arguments": {"source": path, "target": new}})
            return calls, None
        names = sorted(name for name in ls.run(store, place) if name.endswith("." + what))
        texts = {name: cat.run(store, f"{place}/{name}") for name in names}
        if request.kind == "merge":
            merged = {"path": request.params["target"], "content": "\n".join(texts[name] for name in names)}
            return [
                {"name": "write", "arguments": merged},
                *({"name": "rm", "arguments": {"path": f"{place}/{name}"}} for name in names),
            ], None
        calls = []
        for name in names:
            title = texts[name].split("\n")[0].removeprefix("Title: ").replace(" ", "-")
            calls.append(
                {"name": "mv", "arguments": {"source": f"{place}/{name}", "target": f"{place}/{title}.{what}"}}
            )
        return calls, None

    def expect(self, store: Store, request: Request) -> Expected:
        place, what = request.params["place"], request.params["what"]
        rows: dict[tuple[Any, ...], Row | None] = {}

        def put(path: str, kind: str, content: str) -> None:
            rows[(path,)] = {"path": path, "kind": kind, "content": content}

        if request.kind == "archive":
            target = request.params["target"]
            put(target, "dir", "")
            sql = "SELECT * FROM nodes WHERE kind = 'file' AND path GLOB ? AND char(10) || content || char(10) GLOB ?"
            for row in store.all(sql, place + "/*", f"*\nTopic: {what}\n*"):
                rows[(row["path"],)] = None
                put(f"{target}/{row['path'].split('/')[-1]}", "file", row["content"])
            return Expected({"nodes": rows})
        sql = "SELECT * FROM nodes WHERE kind = 'file' AND path GLOB ? AND path NOT GLOB ? ORDER BY path"
        found = store.all(sql, f"{place}/*.{what}", f"{place}/*/*")
        for row in found:
            rows[(row["path"],)] = None
        if request.kind == "merge":
            content = ""
            for row in found:
                content += row["content"] + "\n"
            put(request.params["target"], "file", content[:-1])
        else:
            for row in found:
                title = re.match(r"Title: (.*)", row["content"])
                assert title is not None
                put(f"{place}/{'-'.join(title[1].split(' '))}.{what}", "file", row["content"])
        return Expected({"nodes": rows})

    def stray(self, rng: random.Random, store: Store) -> Call:
        return {"name": "write", "arguments": {"path": f"/notes/stray{rng.randrange(10**6)}.tmp", "content": "x"}}

    def forbidden(self, rng: random.Random, store: Store) -> tuple[str, int]:
        rows = store.all("SELECT path FROM nodes WHERE kind = 'dir' AND path GLOB '/protected/*' ORDER BY path")
        place = rng.choice(rows)["path"]
        if rng.random() < 0.5:
            return f"Write the text 'seen {rng.randrange(10**6)}' into a new file {place}/seen.txt.", 1
        return f"Remove every .log file on this computer, except those below {place}.", 2


WORLD = FilesWorld(
    "files",
    "You look after a file system. Paths are absolute and begin with a slash.",
    DDL,
    {"nodes": ("path",)},
    [ls, cat, find, grep, mkdir, mv, cp, rm, write],
    [
        "Nothing below /protected may be made, changed or removed.",
        "Files may be removed only if their content was saved elsewhere.",
    ],
)


@rlvr.register("tools/files-v0", max_turns=100, levels=LEVELS, **KNOBS)
class Files(WorldSession):
    """Reorganise a tree of files with tools; the whole tree is compared at the end."""

    world = WORLD


rlvr.spec("tools/files-v0").worked_solution(worked_turns)
