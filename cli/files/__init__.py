"""Files of hosts for commands: what is meant by a word, at which tier, and how bytes get there and back whole."""
