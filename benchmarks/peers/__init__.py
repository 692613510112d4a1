"""The tools a user would pick instead. None of these files imports omnitune; each takes a `Work` and gives the classes it says."""
