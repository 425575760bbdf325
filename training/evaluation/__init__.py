"""Measures alone, one a file; each is imported from its file, so that none brings what it does not need."""
