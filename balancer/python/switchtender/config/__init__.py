"""From validated documents to what the packet core takes: settings, snapshot, and the state that outlives a restart."""
