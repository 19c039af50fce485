"""Other balancers' tables into our documents: `opensips` is where one goes in and the other comes out.

Everything here is pure: text in, text and a report out. Knows the API package alone, and nothing of a running balancer.
"""
