"""A fake FreeSWITCH for the demo and the tests: Event Socket, SIP and session accounting as a real node shows them.

It imports nothing of the product, so that it can judge it.
"""
