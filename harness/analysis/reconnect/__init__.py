"""What came of a reconnect study: read from its journal, held against what each client model would do with a perfect server, judged."""
