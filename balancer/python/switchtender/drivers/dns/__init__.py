"""Where SIP hosts are that are given by name. `names` is what is asked and answered, `rfc3263` asks DNS."""
