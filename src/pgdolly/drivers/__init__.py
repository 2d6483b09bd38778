"""One module per tool: pure argv builders and parsers, and thin calls through a node's shell."""
