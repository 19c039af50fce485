"""What happens, as people follow it: a journal of events, rates of totals, traces of calls. Knows no node."""
