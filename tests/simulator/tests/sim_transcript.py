"""Reads the SIP transcripts under data/ and masks what may differ between two honest nodes."""

import re
from dataclasses import dataclass
from pathlib import Path

DATA = Path(__file__).parent / "data"
_MARK = re.compile(r"^ {1,3}\d+\.\d{4} ([<>])$")


@dataclass(frozen=True)
class Spoken:
    sent_by_node: bool
    text: str  # CRLF line ends

    @property
    def start(self) -> str:
        return self.text.partition("\r\n")[0]

    def header(self, name: str) -> str:
        found = re.search(rf"^{name}: (.*?)\r$", self.text, re.MULTILINE)
        return found[1] if found else ""


def read(name: str) -> dict[str, list[Spoken]]:
    """Sections of a transcript (by the text after #####, '' before the first) as lists of messages in order."""
    sections: dict[str, list[Spoken]] = {"": []}
    current = sections[""]
    direction, lines = "", []

    def close() -> None:
        if direction:
            # The transcript adds one empty line behind each message; a head without body keeps its own.
            text = "\r\n".join(lines[:-1])
            head, _, body = text.partition("\r\n\r\n")
            current.append(
                Spoken(direction == "<", f"{head.rstrip()}\r\n\r\n{body.strip()}" + ("\r\n" if body.strip() else ""))
            )

    for line in (DATA / name).read_text().split("\n"):
        mark = _MARK.match(line)
        if mark or line.startswith(("####", "===")):
            close()
            direction, lines = (mark[1], []) if mark else ("", [])
            if line.startswith("####"):
                current = sections.setdefault(line.strip("# "), [])
        else:
            lines.append(line)
    close()
    return sections


_MASKS = [
    (r"^(To: .*;tag=)[0-9A-Za-z]{13}", r"\1TAG"),
    (r"^(From: .*;tag=)[0-9A-Za-z]{13}$", r"\1TAG"),
    (r"^(Via: .*branch=z9hG4bK)[0-9A-Za-z]{13}$", r"\1BRANCH"),
    (r"^o=FreeSWITCH .*", "o=MASKED"),
    (r"^m=audio \d+ ", "m=audio PORT "),
    (r"^CSeq: \d{9} ", "CSeq: NUMBER "),
    (r"^Date: .*", "Date: DATE"),
    (r"^Content-Length: [1-9]\d*", "Content-Length: SDP"),
]


def mask(text: str) -> list[str]:
    """The message as lines with tags, branches, dates and SDP numbers made equal."""
    lines = text.split("\r\n")
    for pattern, replacement in _MASKS:
        lines = [re.sub(pattern, replacement, line) for line in lines]
    return lines
