"""Send a SIP OPTIONS over UDP and exit 0 when a 200 comes back: ``options.py HOST PORT``."""

import secrets
import socket
import sys
import time

host, port = sys.argv[1], int(sys.argv[2])
family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
with socket.socket(family, kind) as udp:
    udp.settimeout(1)
    udp.connect(address)
    literal = "[{}]" if family == socket.AF_INET6 else "{}"
    here = f"{literal.format(udp.getsockname()[0])}:{udp.getsockname()[1]}"
    # Max-Forwards 0: the balancer answers itself instead of asking a node (RFC 3261 section 11).
    request = "\r\n".join(
        [
            f"OPTIONS sip:{literal.format(address[0])}:{port} SIP/2.0",
            f"Via: SIP/2.0/UDP {here};rport;branch=z9hG4bK{secrets.token_hex(8)}",
            "Max-Forwards: 0",
            f"From: <sip:helm-test@{here}>;tag={secrets.token_hex(4)}",
            f"To: <sip:{literal.format(address[0])}:{port}>",
            f"Call-ID: {secrets.token_hex(8)}",
            "CSeq: 1 OPTIONS",
            "Content-Length: 0",
            "",
            "",
        ]
    )
    for _ in range(10):
        try:
            udp.send(request.encode())
            answer = udp.recv(65535).decode(errors="replace").splitlines()[0]
        except OSError as error:
            sys.stderr.write(f"{host}:{port}: {error}\n")
            time.sleep(1)
            continue
        sys.stderr.write(f"{host}:{port}: {answer}\n")
        sys.exit(not answer.startswith("SIP/2.0 200 "))
sys.exit(f"{host}:{port}: no answer")
