"""Switchtender: a SIP load balancer that sends each call to the FreeSWITCH node with the most room."""
