"""The policy service: keeps every published bundle, and signs short-lived heads that pin one.

It never edits or signs policy: bundles come signed by the people whose keys the root names.
"""
