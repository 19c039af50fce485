"""What the reports of a node mean: how old they are, what part of the node's calls is ours, how much to keep free,
and the node's state.

Pure: values in, values out, time as an argument. Must not know sockets, the packet core, or any protocol. The
arithmetic of effective load, capacity and room is not here: it lives once, in the packet core. docs/load.md explains
the model and shows what it was measured to do.
"""
