"""The control socket: every line gets one answer, and no client can do harm."""

import asyncio
import json
import os
import socket
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from engine.control import DIRECTIVES, Answer, Command, ControlServer, check, send, socket_path
from engine.control.directives import LONGEST_LINE, LONGEST_TEXT
from engine.control.place import LONGEST_PATH
from engine.control.server import MOST_CLIENTS
from engine.errors import BilevelError, InputError


class Session:
    """Remembers what it was asked, and answers."""

    def __init__(self) -> None:
        self.asked: list[Command] = []

    async def handle(self, command: Command) -> Answer:
        self.asked.append(command)
        if command.command == "kill_trial":
            raise RuntimeError("a defect")
        if command.command == "unfreeze":
            raise InputError("there is no such parameter")
        return Answer(True, f"{command.command} is done")


@asynccontextmanager
async def listening(path: Path, handle: Callable[[Command], Awaitable[Answer]]) -> AsyncIterator[ControlServer]:
    server = ControlServer(path, handle)
    await server.start()
    try:
        yield server
    finally:
        await server.close()


async def exchange(path: Path, *lines: bytes) -> list[dict[str, object]]:
    """The answers to these lines, sent at once on one connection, until the server has no more to say."""
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(b"".join(lines))
    writer.write_eof()
    try:
        said = await asyncio.wait_for(reader.read(), 10)
    finally:
        writer.close()
    return [json.loads(line) for line in said.splitlines()]


def line(**fields: object) -> bytes:
    return json.dumps({"id": 1, "args": {}, **fields}).encode() + b"\n"


def leave_a_socket(path: Path) -> None:
    """What a process that listened there and died leaves behind."""
    code = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen()"
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)


async def sent(path: Path, command: str, args: dict[str, object] | None = None, **more: object) -> Answer:
    return await asyncio.to_thread(send, path, command, args, **more)


async def test_a_command_reaches_the_session_complete_and_is_answered(tmp_path: Path) -> None:
    session = Session()
    async with listening(tmp_path / "s", session.handle):
        assert await sent(tmp_path / "s", "stop", {"now": True}) == Answer(True, "stop is done")
        assert await sent(tmp_path / "s", "veto", {"reason": "too slow"}, by="ann") == Answer(True, "veto is done")
    assert session.asked == [
        Command("stop", {"now": True}),
        Command("veto", {"hash": None, "reason": "too slow"}, by="ann"),
    ]


async def test_every_command_of_the_table_can_be_sent(tmp_path: Path) -> None:
    session = Session()
    async with listening(tmp_path / "s", session.handle):
        for directive in DIRECTIVES.values():
            args = {argument.name: "x" for argument in directive.arguments if argument.required}
            await sent(tmp_path / "s", directive.name, args)
    assert [command.command for command in session.asked] == list(DIRECTIVES)


@pytest.mark.parametrize(
    ("sent_line", "said"),
    [
        (b"not json\n", "this is no command"),
        (b"\xff\xfe\n", "this is no command"),
        (b"[1, 2]\n", "this is no command"),
        (b"[" * 30_000 + b"\n", "this is no command"),
        (b'{"id": 1}\n', "this is no command"),
        (b"\n", "this is no command"),
        (line(command="pause", extra=1), "this is no command"),
        (line(command="pause", args={"deep": {"er": 1}}), "this is no command"),
        (line(command="explode"), 'there is no command "explode"'),
        (line(command="freez"), 'did you mean "freeze"?'),
        (line(command="freeze"), "freeze needs name"),
        (line(command="freeze", args={"name": 3}), "name of freeze is a text"),
        (line(command="freeze", args={"nam": "X"}), 'no argument "nam"; did you mean "name"?'),
        (line(command="stop", args={"now": "yes"}), "now of stop is true or false"),
        (line(command="guide", args={"text": "a" * (LONGEST_TEXT + 1)}), f"at most {LONGEST_TEXT} fit"),
        (line(command="guide", args={"text": "\x1b[2J"}), "control character"),
        (line(command="unfreeze", args={"name": "X"}), "there is no such parameter"),
        (line(command="kill_trial"), "the engine failed on kill_trial"),
    ],
)
async def test_what_cannot_be_done_is_refused_with_a_sentence_and_the_next_line_is_heard(
    tmp_path: Path, sent_line: bytes, said: str
) -> None:
    session = Session()
    async with listening(tmp_path / "s", session.handle):
        refused, answered = await exchange(tmp_path / "s", sent_line, line(id="b", command="ping"))
    assert refused["applied"] is False
    assert said in str(refused["detail"])
    assert answered == {"id": "b", "applied": True, "detail": "ping is done"}


async def test_a_line_that_is_too_long_is_refused_without_being_kept(tmp_path: Path) -> None:
    session = Session()
    async with listening(tmp_path / "s", session.handle):
        reader, writer = await asyncio.open_unix_connection(str(tmp_path / "s"))
        writer.write(b"x" * (LONGEST_LINE + 2))
        assert "at most" in json.loads(await asyncio.wait_for(reader.readline(), 10))["detail"]
        writer.close()
        assert (await sent(tmp_path / "s", "ping")).applied
    assert [command.command for command in session.asked] == ["ping"]


async def test_a_client_that_leaves_in_the_middle_disturbs_nobody(tmp_path: Path) -> None:
    session = Session()
    async with listening(tmp_path / "s", session.handle):
        _, writer = await asyncio.open_unix_connection(str(tmp_path / "s"))
        writer.write(b'{"id": 1, "comm')
        writer.close()
        assert await exchange(tmp_path / "s", b'{"id": 1, "comm') == []
        assert (await sent(tmp_path / "s", "ping")).applied


async def test_two_clients_are_served_at_once(tmp_path: Path) -> None:
    entered, leave = asyncio.Event(), asyncio.Event()

    async def handle(command: Command) -> Answer:
        if command.command == "pause":
            entered.set()
            await leave.wait()
        return Answer(True, command.command)

    async with listening(tmp_path / "s", handle):
        slow = asyncio.create_task(sent(tmp_path / "s", "pause"))
        await asyncio.wait_for(entered.wait(), 10)
        assert (await sent(tmp_path / "s", "ping")).detail == "ping"
        leave.set()
        assert (await slow).detail == "pause"


async def test_more_clients_than_fit_are_told_so(tmp_path: Path) -> None:
    async with listening(tmp_path / "s", Session().handle):
        held = [await asyncio.open_unix_connection(str(tmp_path / "s")) for _ in range(MOST_CLIENTS)]
        for reader, writer in held:  # each has been heard, so that it counts
            writer.write(line(command="ping"))
            await asyncio.wait_for(reader.readline(), 10)
        assert "try again" in str((await exchange(tmp_path / "s"))[0]["detail"])
        for _, writer in held:
            writer.close()


async def test_a_dry_run_is_checked_and_not_handed_on(tmp_path: Path) -> None:
    session = Session()
    async with listening(tmp_path / "s", session.handle):
        assert (await sent(tmp_path / "s", "pause", dry_run=True)).applied
        assert not (await exchange(tmp_path / "s", line(command="freeze", dry_run=True)))[0]["applied"]
    assert session.asked == []


async def test_the_socket_is_its_users_alone_and_goes_with_the_server(tmp_path: Path) -> None:
    path = tmp_path / "s"
    async with listening(path, Session().handle):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not path.exists()


async def test_closing_ends_a_command_that_is_being_handled(tmp_path: Path) -> None:
    entered = asyncio.Event()

    async def handle(command: Command) -> Answer:
        entered.set()
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    async with listening(tmp_path / "s", handle):
        waiting = asyncio.create_task(sent(tmp_path / "s", "ping"))
        await asyncio.wait_for(entered.wait(), 10)
    with pytest.raises(InputError, match="does not answer"):
        await waiting


async def test_a_socket_whose_engine_was_killed_is_replaced_and_a_living_one_is_not(tmp_path: Path) -> None:
    path = tmp_path / "s"
    leave_a_socket(path)
    assert path.exists()
    async with listening(path, Session().handle):
        assert (await sent(path, "ping")).applied
        with pytest.raises(BilevelError, match="another engine listens"):
            await ControlServer(path, Session().handle).start()
    path.write_text("a file")
    with pytest.raises(BilevelError, match="in the way"):
        await ControlServer(path, Session().handle).start()
    assert path.read_text() == "a file"


def test_an_engine_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"the engine of session a-b does not answer; .*bilevel resume a-b"):
        send(tmp_path / "none", "ping", session="a-b")


@pytest.mark.parametrize("said", [b"", b"garbage\n", b'{"id": 1}\n', b"[]\n"])
async def test_an_engine_that_answers_nonsense_is_no_answer(tmp_path: Path, said: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(said)
        writer.close()

    server = await asyncio.start_unix_server(serve, tmp_path / "s")
    with pytest.raises(InputError, match="does not answer"):
        await sent(tmp_path / "s", "ping")
    server.close()


def test_an_engine_that_hangs_is_given_up(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        with pytest.raises(InputError, match="it took too long"):
            send(tmp_path / "s", "ping", timeout=0.05)


def test_a_wrong_command_is_not_even_sent(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="freeze needs name"):
        send(tmp_path / "none", "freeze")
    assert check("stop", {}) == {"now": False}


# --- where it lies ----------------------------------------------------------------------------------------------------
def test_the_socket_lies_in_the_runtime_directory_when_that_is_private(tmp_path: Path) -> None:
    runtime = tmp_path / "run"
    runtime.mkdir(mode=0o700)
    environ = {"XDG_RUNTIME_DIR": str(runtime)}
    path = socket_path(tmp_path / "x.db", "one", environ)
    assert path.parent == runtime / "bilevel"
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert path != socket_path(tmp_path / "x.db", "two", environ)
    assert path != socket_path(tmp_path / "y.db", "one", environ)
    runtime.chmod(0o777)
    assert socket_path(tmp_path / "x.db", "one", environ).parent == tmp_path / ".bilevel" / "one"


@pytest.mark.parametrize("runtime", ["", "relative", "/nonexistent"])
def test_without_a_runtime_directory_it_lies_beside_the_database(tmp_path: Path, runtime: str) -> None:
    path = socket_path(tmp_path / "x.db", "one", {"XDG_RUNTIME_DIR": runtime})
    assert path == tmp_path / ".bilevel" / "one" / "control.sock"
    assert path.parent.is_dir()


async def test_a_long_path_gives_way_to_a_short_private_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    path = socket_path(tmp_path / ("d" * 120) / "x.db", "one", {})
    assert path.parent == tmp_path / f"bilevel-{os.geteuid()}"
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert len(os.fsencode(path)) <= LONGEST_PATH
    async with listening(path, Session().handle):
        assert (await sent(path, "ping")).applied


def test_a_short_folder_that_others_may_use_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    folder = tmp_path / f"bilevel-{os.geteuid()}"
    folder.mkdir()
    folder.chmod(0o777)
    with pytest.raises(BilevelError, match="not private"):
        socket_path(tmp_path / ("d" * 120) / "x.db", "one", {})
    folder.rmdir()
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BilevelError, match="not private"):
        socket_path(tmp_path / ("d" * 120) / "x.db", "one", {})
