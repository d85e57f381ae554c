"""A witness of its own: it cosigns the checkpoints of logs that others keep, and sees hashes only.

It runs apart from every record store, with another operator and another key; a witness beside the
store that it watches proves nothing.
"""
