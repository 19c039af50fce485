"""``switchtender top``: groups and nodes on the whole screen, as they change.

``rows`` says what stands in the tables, ``feed`` reads the balancer in a thread of its own, ``app`` is the screen.
"""
