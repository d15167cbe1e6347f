"""The five stages: generate, label, curate, train, eval. Each is one function from files to files."""
