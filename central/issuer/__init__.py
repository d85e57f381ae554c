"""The issuer: certifies instance keys, so that records can be held against somebody.

In production a process of its own: it never runs with the record store's keys.
"""
