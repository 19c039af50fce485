"""The SIP side of a node: transactions, dialogs and the answers a FreeSWITCH gives, without sockets or clocks."""
