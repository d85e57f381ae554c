"""Acts of people at a central service that runs apart from the record store: kept here in chains of
the service's own, durable before the act is done, and sent to the store, which puts them into its
log. Nothing that was kept is ever deleted here.
"""
