"""``gatepost verify``: exported records, checked offline by somebody who trusts nobody.

Owns: reading the export, progress, the report as table or JSON, the exit code. Refuses: any
network, store or spool, and any default for the root: it is given, or nothing is verified. The
checks themselves are ``gateway.evidence``; this command needs ``pynacl`` and ``msgspec`` for them.
"""

from __future__ import annotations
