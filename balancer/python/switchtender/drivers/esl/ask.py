"""A few api commands to a node, once: log in, ask in turn, hang up. For people's questions; watching is `driver`'s."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from switchtender.drivers.esl import wire
from switchtender.drivers.esl.wire import Credentials, Frame, FramingError

_READ = 65_536


class AskError(Exception):
    """The node cannot be asked: no connection, no login, no answer in time."""


async def ask(
    host: str, port: int, credentials: Credentials, questions: Callable[[list[str]], str | None], patience: float
) -> list[str]:
    """The outputs of api commands. ``questions`` gives the next command, without ``api``, from the outputs so far, and
    None at the end. What the node refuses has the empty output. Raises AskError after ``patience`` seconds or before.
    """
    outputs: list[str] = []
    try:
        async with asyncio.timeout(patience):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                frames = _Frames(reader)
                await frames.next({wire.AUTH_REQUEST})
                writer.write(wire.login_command(credentials))
                if not (await frames.next({wire.COMMAND_REPLY})).reply_text.startswith("+OK"):
                    raise AskError("the node refused the login")
                while (question := questions(outputs)) is not None:
                    writer.write(wire.command(f"api {question}"))
                    frame = await frames.next({wire.API_RESPONSE, wire.COMMAND_REPLY})
                    outputs.append(frame.text if frame.content_type == wire.API_RESPONSE else "")
            finally:
                writer.transport.abort()
    except TimeoutError:
        raise AskError(f"no answer within {patience:g} s") from None
    except (OSError, FramingError, UnicodeError) as error:
        raise AskError(str(error)) from None
    return outputs


class _Frames:
    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader
        self._framer = wire.Framer()
        self._ready: list[Frame] = []

    async def next(self, kinds: set[str]) -> Frame:
        """The next frame of one of these kinds; others are passed over. Raises AskError at the end of the stream."""
        while True:
            while self._ready:
                frame = self._ready.pop(0)
                if frame.content_type in kinds:
                    return frame
                if frame.content_type in {wire.RUDE_REJECTION, wire.DISCONNECT_NOTICE}:
                    raise AskError("the node hung up")
            data = await self._reader.read(_READ)
            if not data:
                raise AskError("the node hung up")
            self._ready += self._framer.feed(data)
