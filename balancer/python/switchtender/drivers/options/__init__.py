"""Probing of nodes by SIP OPTIONS (RFC 3261 §11): whether a node answers SIP, as every caller's INVITE will find it.

`message` writes requests and reads responses, `agenda` decides what is sent when and what it came to, `prober` does the
I/O.
"""
