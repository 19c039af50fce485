"""The driver for FreeSWITCH nodes, over their Event Socket (ESL, inbound mode).

`wire` cuts bytes into frames, `parse` reads load out of them, `session` holds the dialogue, `driver` does the I/O.
"""
