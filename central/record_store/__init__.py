"""The record store: verifies, sequences and keeps records; answers who did what.

It trusts no daemon: a record counts because of its signature, its certificate and its place in
the chain, never because of who delivered it.
"""
