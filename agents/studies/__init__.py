"""Studies: questions about learning that anyone can ask again with one command each."""
