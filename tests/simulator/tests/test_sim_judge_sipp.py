"""SIPp as an outside judge of the simulator's user agent."""

import csv
import json
import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import pytest

SIPP = shutil.which("sipp")
pytestmark = [
    pytest.mark.judge,
    pytest.mark.skipif(SIPP is None and os.environ.get("CI") != "true", reason="SIPp is not installed"),
]


@contextmanager
def simulator(*arguments: str):
    command = [
        sys.executable, "-m", "switchtender_simulator", "--http", "127.0.0.1:0",
        "--node", "name=fs1,sip=127.0.0.61:0,esl=127.0.0.61:0", "--max-sessions", "10000",
        "--sessions-per-second", "10000", "--max-requests-per-second", "0", *arguments,
    ]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield json.loads(process.stdout.readline())["ready"]
        finally:
            process.terminate()
            process.wait(10)


def counters(ready: dict) -> dict:
    with urlopen(f"{ready['http']}/nodes/fs1", timeout=10) as answer:
        return json.load(answer)


def sipp(folder: Path, target: str, *arguments: str) -> dict[str, str]:
    """Run SIPp to its end; the last line of its statistics."""
    assert SIPP is not None, "SIPp is missing (apt-get install sip-tester)"
    command = [
        SIPP, target, *arguments, "-i", "127.0.0.1", "-p", "0", "-nostdin", "-trace_stat",
        "-stf", str(folder / "stat.csv"), "-fd", "1", "-timeout", "60",
        "-trace_err", "-error_file", str(folder / "errors.log"),
    ]  # fmt: skip
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    errors = (folder / "errors.log").read_text() if (folder / "errors.log").exists() else ""
    assert done.returncode == 0, errors[-3000:] or done.stderr[-2000:]
    return list(csv.DictReader((folder / "stat.csv").read_text().splitlines(), delimiter=";"))[-1]


def test_500_calls_a_second_none_failed(tmp_path: Path) -> None:
    with simulator() as ready:
        target = ready["nodes"]["fs1"]["sip"]
        stat = sipp(tmp_path, target, "-sn", "uac", "-r", "500", "-m", "2500", "-d", "200")
        seen = counters(ready)
    assert (stat["SuccessfulCall(C)"], stat["FailedCall(C)"]) == ("2500", "0")
    assert (seen["counters"]["answered"], seen["counters"]["byes_received"]) == (2500, 2500)
    assert (seen["sessions"], seen["live_calls"], seen["counters"]["malformed"]) == (0, 0, 0)


CALLEE_HANGS_UP = """<?xml version="1.0" encoding="UTF-8"?>
<scenario name="the node hangs up">
  <send retrans="500"><![CDATA[
    INVITE sip:1000@[remote_ip]:[remote_port] SIP/2.0
    Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
    Record-Route: <sip:[local_ip]:[local_port];lr>
    From: <sip:sipp@[local_ip]:[local_port]>;tag=[call_number]
    To: <sip:1000@[remote_ip]:[remote_port]>
    Call-ID: [call_id]
    CSeq: 1 INVITE
    Contact: <sip:sipp@[local_ip]:[local_port]>
    Max-Forwards: 70
    Content-Length: 0

  ]]></send>
  <recv response="100" optional="true"/>
  <recv response="180"/>
  <recv response="200" rrs="true"/>
  <send><![CDATA[
    ACK sip:1000@[remote_ip]:[remote_port] SIP/2.0
    Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
    From: <sip:sipp@[local_ip]:[local_port]>;tag=[call_number]
    To: <sip:1000@[remote_ip]:[remote_port]>[peer_tag_param]
    Call-ID: [call_id]
    CSeq: 1 ACK
    Max-Forwards: 70
    Content-Length: 0

  ]]></send>
  <recv request="BYE"/>
  <send><![CDATA[
    SIP/2.0 200 OK
    [last_Via:]
    [last_From:]
    [last_To:]
    [last_Call-ID:]
    [last_CSeq:]
    Content-Length: 0

  ]]></send>
</scenario>
"""


def test_the_node_hangs_up(tmp_path: Path) -> None:
    (tmp_path / "callee.xml").write_text(CALLEE_HANGS_UP)
    with simulator("--call-duration", "0.5", "--answer-delay", "0.1") as ready:
        target = ready["nodes"]["fs1"]["sip"]
        stat = sipp(tmp_path, target, "-sf", str(tmp_path / "callee.xml"), "-r", "100", "-m", "200")
        seen = counters(ready)
    assert (stat["SuccessfulCall(C)"], stat["FailedCall(C)"]) == ("200", "0")
    assert (seen["counters"]["byes_sent"], seen["counters"]["byes_unanswered"], seen["sessions"]) == (200, 0, 0)
