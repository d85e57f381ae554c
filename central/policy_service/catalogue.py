"""The published policy of each scope: accepting bundles, and locking.

Owns: what may be published and in which order, to all or as a canary. Refuses: HTTP (``api.py``),
signing heads (``heads.py``), bundle keys (people hold them), and a bundle that a daemon would not
accept: it is verified, compiled and self-tested first, exactly as a daemon does.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

import msgspec

from central.config import CentralConfig
from central.errors import Refused
from central.keys import RootFiles
from central.policy_service import canaries, proposals, publish_log
from central.policy_service.fleet import Wanted
from central.policy_service.heads import Heads
from central.policy_service.proposals import Proposal, Verdict
from central.served_head import ServedHead
from gateway import documents, policy, seal
from gateway.documents import BundlePin, Lock, PolicyHead
from gateway.errors import DocumentInvalid
from gateway.policy import Bundle
from gateway.selftest import run_self_tests
from gateway.table import compile_policy
from gateway.timestamp import time_micros


class Published(msgspec.Struct, frozen=True):
    """``new`` is False where the very same bundle was published before. ``pending``: it waits for
    another person's approval, and nothing is in force that was not before. ``percent``: of the
    fleet, where it is a canary."""

    scope: str
    version: int
    digest: str
    new: bool
    pending: bool = False
    percent: int | None = None


class Checked(msgspec.Struct, frozen=True):
    """A bundle that a daemon would accept, with the bytes it came in."""

    bundle: Bundle
    digest: str
    length: int
    envelope: bytes


def check_bundle(data: bytes, scope: str, root_files: RootFiles, now_us: int) -> Checked:
    """The bundle in ``data``. Raises Refused (``document_invalid``) with the reason."""
    keys = root_files.role("bundle")
    try:
        payload = seal.open_envelope(data, documents.BUNDLE, keys.keys, keys.threshold)
        bundle = policy.decode_bundle(payload)
        run_self_tests(compile_policy(bundle.policy))
        not_before_us, expires_us = time_micros(bundle.not_before), time_micros(bundle.expires)
    except (DocumentInvalid, ValueError) as error:
        raise Refused("document_invalid", str(error)) from error
    if bundle.scope != scope:
        raise Refused("document_invalid", "the bundle is for another scope")
    if not not_before_us <= now_us < expires_us:
        raise Refused("document_invalid", "the bundle is not valid now (not_before, expires)")
    return Checked(bundle, seal.sha256_text(payload), len(payload), data)


class Catalogue:
    """The service's work on its tables; each method inside a transaction of the caller.

    ``heads``: what is signed of it.
    """

    def __init__(self, config: CentralConfig, root_files: RootFiles, signer: seal.Signer) -> None:
        self._settings = config.policy
        self._root_files = root_files
        self.heads = Heads(config, root_files, signer)

    def publish(
        self,
        connection: sqlite3.Connection,
        checked: Checked,
        who: str,
        now_us: int,
        percent: int | None = None,
    ) -> Published:
        """Keep the bundle and pin it, or let it wait for another person's approval.

        ``percent``: begin a canary with it instead, beside what is in force. Raises Refused
        (``version_exists``, ``version_not_newer``, ``canary_running``, ``not_found``).
        Publishing the current bundle again changes nothing, unless the keys of the newest root had
        not signed what is kept of it: then the new signatures take its place. Going back means
        publishing the old content under a new version: versions never fall.
        """
        bundle = checked.bundle
        answer = Published(bundle.scope, bundle.version, checked.digest, new=True, percent=percent)
        if self._is_current(connection, checked):
            return msgspec.structs.replace(answer, new=False, percent=None)
        running = canaries.running(connection, bundle.scope)
        if running is not None:
            if (running.digest, running.percent) != (checked.digest, percent):
                raise Refused("canary_running")
            return msgspec.structs.replace(answer, new=False)
        if percent is not None:
            self._check_candidate(connection, bundle)
        pin = BundlePin(version=bundle.version, digest=checked.digest, length=checked.length)
        if self._settings.widening_needs_approval and self._may_widen(connection, bundle):
            new = proposals.keep(
                connection,
                bundle.scope,
                checked.digest,
                bundle.version,
                who,
                checked.envelope,
                now_us,
            )
            if new and percent is not None:
                canaries.propose(connection, bundle.scope, checked.digest, percent)
            if new:
                publish_log.add(connection, bundle.scope, "propose", pin, who, None, now_us)
            return msgspec.structs.replace(answer, new=new, pending=True)
        if percent is not None:
            self._begin_canary(connection, checked, percent, now_us)
            publish_log.add(connection, bundle.scope, "canary", pin, who, _share(percent), now_us)
            return answer
        self._put_in_force(connection, checked, pin, now_us)
        publish_log.add(connection, bundle.scope, "publish", pin, who, None, now_us)
        return answer

    def judge(
        self,
        connection: sqlite3.Connection,
        scope: str,
        verdict: Verdict,
        check: Callable[[bytes], Checked],
        who: str,
        now_us: int,
    ) -> Published:
        """Put a proposal in force, or drop it. ``check``: ``check_bundle`` at this moment, for keys
        and time went on since it was proposed.

        Raises Refused (``not_found``, ``same_person``, ``base_changed``, ``document_invalid``,
        ``version_exists``, ``version_not_newer``, ``canary_running``). Its author may drop it, and
        not approve it.
        """
        kept = proposals.find(connection, scope, verdict.digest)
        bundle = proposals.bundle_in(kept.envelope)
        length = len(seal.unbase64(seal.parse_envelope(kept.envelope).payload, "unreadable"))
        pin = BundlePin(version=bundle.version, digest=verdict.digest, length=length)
        answer = Published(scope, bundle.version, verdict.digest, new=verdict.verdict == "approve")
        proposals.drop(connection, scope, verdict.digest)
        percent = canaries.take_proposed(connection, scope, verdict.digest)
        reason = f"of {kept.who}"
        if verdict.verdict == "reject":
            publish_log.add(connection, scope, "reject", pin, who, reason, now_us)
            return answer
        if kept.who == who:
            raise Refused("same_person", f"{who} published it")
        if verdict.base != self._digest_in_force(connection, scope):
            raise Refused("base_changed", "look again at what it would change")
        if canaries.running(connection, scope) is not None:
            raise Refused("canary_running")
        checked = check(kept.envelope)
        self._is_current(connection, checked)
        if percent is not None:
            self._check_candidate(connection, bundle)
            self._begin_canary(connection, checked, percent, now_us)
            reason = f"{_share(percent)}, {reason}"
            publish_log.add(connection, scope, "canary", pin, who, reason, now_us)
            return msgspec.structs.replace(answer, percent=percent)
        self._put_in_force(connection, checked, pin, now_us)
        publish_log.add(connection, scope, "approve", pin, who, reason, now_us)
        return answer

    def set_percent(
        self, connection: sqlite3.Connection, scope: str, percent: int, who: str, now_us: int
    ) -> Published:
        """Offer the candidate to more or fewer daemons. Raises Refused (``no_canary``)."""
        found = canaries.one(connection, scope)
        new = found.percent != percent
        if new:
            canaries.set_percent(connection, scope, percent)
            self.heads.sign_again(connection, scope, now_us)
            publish_log.add(connection, scope, "canary", found, who, _share(percent), now_us)
        return Published(scope, found.version, found.digest, new=new, percent=percent)

    def promote(
        self,
        connection: sqlite3.Connection,
        scope: str,
        check: Callable[[bytes], Checked],
        who: str,
        now_us: int,
    ) -> Published:
        """Pin the candidate for all. Nothing else was published since it began, so what was
        approved then is what is promoted. Raises Refused (``no_canary``, ``document_invalid``)."""
        found = canaries.one(connection, scope)
        checked = check(self.blob(connection, found.digest))
        pin = BundlePin(version=found.version, digest=found.digest, length=found.length)
        canaries.end(connection, scope)
        lock = self.heads.lock_of(connection, scope)
        self.heads.sign(connection, scope, checked.bundle.epoch, pin, lock, now_us)
        publish_log.add(connection, scope, "promote", pin, who, None, now_us)
        return Published(scope, found.version, found.digest, new=True)

    def withdraw(
        self,
        connection: sqlite3.Connection,
        scope: str,
        who: str,
        reason: str | None,
        now_us: int,
    ) -> Published:
        """Go back to the pinned bundle everywhere. Raises Refused (``no_canary``)."""
        found = canaries.one(connection, scope)
        canaries.end(connection, scope)
        self.heads.sign_again(connection, scope, now_us)
        publish_log.add(connection, scope, "withdraw", found, who, reason, now_us)
        return Published(scope, found.version, found.digest, new=True)

    def _check_candidate(self, connection: sqlite3.Connection, bundle: Bundle) -> None:
        epoch, _ = self.heads.current(connection, bundle.scope)
        if bundle.epoch != epoch:
            raise Refused("document_invalid", f"a canary is of the epoch in force, {epoch}")
        canaries.check_newest(connection, bundle.scope, bundle.epoch, bundle.version)

    def _begin_canary(
        self, connection: sqlite3.Connection, checked: Checked, percent: int, now_us: int
    ) -> None:
        scope = checked.bundle.scope
        self._keep_bundle(connection, checked)
        canaries.begin(connection, scope, checked.digest, percent, now_us)
        self.heads.sign_again(connection, scope, now_us)

    def proposals(self, connection: sqlite3.Connection, scope: str) -> list[Proposal]:
        """What waits for approval, and what it would change."""
        base = self._digest_in_force(connection, scope)
        envelope = None if base is None else self.blob(connection, base)
        return proposals.waiting(connection, scope, base, envelope)

    def _digest_in_force(self, connection: sqlite3.Connection, scope: str) -> str | None:
        row = connection.execute(
            "SELECT digest FROM scope_state WHERE scope = ?", (scope,)
        ).fetchone()
        return None if row is None else str(row[0])

    def _may_widen(self, connection: sqlite3.Connection, bundle: Bundle) -> bool:
        base = self._digest_in_force(connection, bundle.scope)
        before = None if base is None else proposals.bundle_in(self.blob(connection, base))
        return proposals.may_widen(proposals.changes(before, bundle))

    def _is_current(self, connection: sqlite3.Connection, checked: Checked) -> bool:
        """Whether it is in force already; its signatures take the place of older ones then.

        Raises Refused (``version_exists``, ``version_not_newer``).
        """
        bundle = checked.bundle
        current = connection.execute(
            "SELECT b.epoch, b.version, b.digest FROM scope_state s"
            " JOIN bundle b ON b.digest = s.digest WHERE s.scope = ?",
            (bundle.scope,),
        ).fetchone()
        if current is not None:
            epoch, version, digest = current
            if digest == checked.digest:
                if not self._is_signed(self.blob(connection, digest)):
                    connection.execute(
                        "UPDATE bundle SET envelope = ? WHERE digest = ?",
                        (checked.envelope, digest),
                    )
                return True
            if (bundle.epoch, bundle.version) == (epoch, version):
                raise Refused("version_exists")
            if (bundle.epoch, bundle.version) < (epoch, version):
                raise Refused("version_not_newer", f"published is {version} of epoch {epoch}")
        return False

    def _put_in_force(
        self, connection: sqlite3.Connection, checked: Checked, pin: BundlePin, now_us: int
    ) -> None:
        bundle = checked.bundle
        self._keep_bundle(connection, checked)
        lock = self.heads.lock_of(connection, bundle.scope)
        self.heads.sign(connection, bundle.scope, bundle.epoch, pin, lock, now_us)

    def _keep_bundle(self, connection: sqlite3.Connection, checked: Checked) -> None:
        """Raises Refused (``version_exists``); a candidate that was withdrawn may come again."""
        bundle = checked.bundle
        known = connection.execute(
            "SELECT digest FROM bundle WHERE scope = ? AND epoch = ? AND version = ?",
            (bundle.scope, bundle.epoch, bundle.version),
        ).fetchone()
        if known is not None and known[0] != checked.digest:
            raise Refused("version_exists")
        connection.execute(
            "INSERT INTO bundle VALUES (?,?,?,?,?,?,?)"
            " ON CONFLICT (digest) DO UPDATE SET envelope = excluded.envelope",
            (
                checked.digest,
                bundle.scope,
                bundle.epoch,
                bundle.version,
                checked.length,
                time_micros(bundle.expires),
                checked.envelope,
            ),
        )

    def set_lock(
        self, connection: sqlite3.Connection, scope: str, lock: Lock | None, who: str, now_us: int
    ) -> ServedHead:
        """Stop every call of ``scope``, or let them go on. Raises Refused (``not_found``)."""
        epoch, pin = self.heads.current(connection, scope)
        head = self.heads.sign(connection, scope, epoch, pin, lock, now_us)
        what, reason = ("unlock", None) if lock is None else ("lock", lock.reason)
        publish_log.add(connection, scope, what, pin, who, reason, now_us)
        return head

    def follow_root(self, connection: sqlite3.Connection, now_us: int) -> list[str]:
        """Sign anew each head that names another root than the newest.

        Returns the scopes whose bundle the newest root's keys have not signed.
        """
        unsigned: list[str] = []
        for scope, envelope, digest in connection.execute(
            "SELECT scope, head_envelope, digest FROM scope_state ORDER BY scope"
        ).fetchall():
            candidate = canaries.running(connection, scope)
            in_use = [digest] if candidate is None else [digest, candidate.digest]
            if not all(self._is_signed(self.blob(connection, one)) for one in in_use):
                unsigned.append(scope)
            payload = seal.unbase64(seal.parse_envelope(envelope).payload, "unreadable")
            head = documents.decode_exact(payload, PolicyHead)
            if head.root_version != self._root_files.current.version:
                self.heads.sign_again(connection, scope, now_us)
        return unsigned

    def _is_signed(self, envelope: bytes) -> bool:
        """Whether keys of the newest root signed the bundle in ``envelope``."""
        held = self._root_files.role("bundle")
        try:
            seal.open_envelope(envelope, documents.BUNDLE, held.keys, held.threshold)
        except DocumentInvalid:
            return False
        return True

    def blob(self, connection: sqlite3.Connection, digest: str) -> bytes:
        """The envelope of the bundle whose payload has ``digest``. Raises ``not_found``."""
        row = connection.execute(
            "SELECT envelope FROM bundle WHERE digest = ?", (digest,)
        ).fetchone()
        if row is None:
            raise Refused("not_found")
        return bytes(row[0])

    def wanted(
        self, connection: sqlite3.Connection, scope: str, version: int | None = None
    ) -> Wanted:
        """What was published as ``version`` of the current epoch; None for the current one.

        Raises Refused (``not_found``).
        """
        epoch, pin = self.heads.current(connection, scope)
        row = connection.execute(
            "SELECT b.version, b.digest, min(p.time_us) FROM bundle b"
            " JOIN publication p ON p.scope = b.scope AND p.digest = b.digest"
            " AND p.what IN ('publish', 'approve', 'promote')"
            " WHERE b.scope = ? AND b.epoch = ? AND b.version = ? GROUP BY b.digest",
            (scope, epoch, pin.version if version is None else version),
        ).fetchone()
        if row is None:
            raise Refused("not_found", "this version was not published")
        return Wanted(*row)


def _share(percent: int) -> str:
    return f"{percent} %"
