"""Text segments of a call in, one Label out.

Owns: the order of the steps (join, scan, judge, read again what was hidden, join the labels), and
the caps that make a label ``partial``. Refuses: reading packs or caches from disk, taking text out
of bodies, and what a label is worth (policy says). A fault of a detector raises; it is never
"nothing found".

A value split over two segments is not seen here: joining the parts of one message is the
extraction's work.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

import msgspec

from gateway import limits
from gateway.call import Label, Segment
from gateway.classify.candidates import Found, Matcher, without_overlaps
from gateway.classify.pack import BREAK, Pack, Rule, read_pack
from gateway.classify.scanner import (
    DatabaseCache,
    Pattern,
    Scanner,
    compile_scanner,
    engine_identity,
    load_scanner,
)
from gateway.classify.views import (
    NORMALISED,
    PLAIN,
    TRIGGER_CONTROL,
    TRIGGERS,
    Joined,
    Piece,
    identity,
    is_disguised,
    join,
    other_views,
    scanned_bytes,
)
from gateway.errors import ConfigInvalid
from gateway.vocabulary import LEVEL_RANK, LEVEL_WITHOUT_FINDING, LEVELS, Completeness, Level

DEPTH_MAX: Final = 2
"""How often a decoded text is decoded again."""
_ENGINE_REVISION: Final = 1
"""Raised when what a cached database vouches for changes: a pack is tested only when it is
compiled."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """What a rule found. ``start`` and ``end``: characters of the segment's text; for a decoded
    text, of the encoded run. ``disguised``: seen only once invisible or look-alike characters
    were undone, which raises the level by one. Never the value itself."""

    rule: str
    entity: str
    category: str
    level: Level
    pointer: str
    segment: int
    start: int
    end: int
    view: str
    disguised: bool


class Analysis(msgspec.Struct, frozen=True):
    """The label of a call with everything it rests on. For benchmarks, tests and redaction."""

    label: Label
    findings: tuple[Finding, ...]


class Classifier:
    """One loaded rule pack. May be used from several threads at once."""

    def __init__(self, pack: Pack, scanner: Scanner) -> None:
        """Use ``Classifier.load``."""
        self.name: Final = f"{pack.name}@{pack.version}"
        self._rules = pack.rules
        self._matchers = tuple(Matcher(rule) for rule in pack.rules)
        self._scanner = scanner
        self._clean = Label(
            level=LEVEL_WITHOUT_FINDING,
            categories=(),
            completeness="full",
            classifier=self.name,
        )

    @classmethod
    def load(cls, pack_bytes: bytes, cache: DatabaseCache | None = None) -> Classifier:
        """The classifier of the pack in ``pack_bytes`` (TOML).

        Compiles it and runs its own tests, or takes the compiled database from ``cache``, where
        only packs are kept that passed. Takes 0.3 s or so without a cached database: run it in a
        thread. Raises ConfigInvalid, naming rule and reason.
        """
        pack, digest = read_pack(pack_bytes)
        key = _cache_key(digest)
        dumped = None if cache is None else cache.read(key)
        scanner = None if dumped is None else load_scanner(dumped)
        if scanner is not None:
            return cls(pack, scanner)
        patterns = (*TRIGGERS, *(Pattern(rule.find, rule.caseless) for rule in pack.rules))
        scanner = compile_scanner(patterns)
        classifier = cls(pack, scanner)
        for rule in pack.rules:
            classifier._run_tests(rule)
        if cache is not None:
            cache.write(key, scanner.dump())
        return classifier

    def classify(self, segments: Sequence[Segment], opaque: Sequence[str]) -> Label:
        """The label of a call's texts. ``opaque``: pointers of parts that cannot be scanned.

        CPU only, no awaits; see ``prefers_thread``. Whatever it raises means that nothing is
        known about the text: the caller takes the strictest label.
        """
        return self.analyse(segments, opaque).label

    def analyse(self, segments: Sequence[Segment], opaque: Sequence[str]) -> Analysis:
        """``classify`` with the findings."""
        texts = [segment.text for segment in segments]
        data = join(texts)
        cut = len(data) > limits.SCAN_BYTES_MAX
        if cut:
            texts, data = _bounded(texts)
        hits, saturated = self._scanner.scan(data)
        separators = max(0, len(texts) - 1)
        if not hits and not cut and data.count(b"\0") == separators:
            return self._without_finding(opaque)
        pieces = [Piece(text, index, PLAIN, identity) for index, text in enumerate(texts)]
        work = _Work(self._rules, self._matchers, segments)
        work.partial = cut or saturated
        triggers = work.judge(Joined(pieces, data), hits)
        if data.count(b"\0") != separators:
            triggers |= {TRIGGER_CONTROL}
        self._read_again(work, Joined(pieces, data), triggers)
        return self._analysis(work, opaque)

    def _read_again(self, work: _Work, joined: Joined, triggers: frozenset[int]) -> None:
        room = limits.SCAN_BYTES_MAX
        for _ in range(DEPTH_MAX):
            if not triggers:
                return
            decoded = other_views(joined, triggers, room)
            work.opaque = work.opaque or decoded.opaque
            work.partial = work.partial or decoded.cut
            if not decoded.pieces:
                return
            data = join([piece.text for piece in decoded.pieces])
            room -= len(data)
            hits, saturated = self._scanner.scan(data)
            work.partial = work.partial or saturated
            joined = Joined(decoded.pieces, data)
            triggers = work.judge(joined, hits)

    def _without_finding(self, opaque: Sequence[str]) -> Analysis:
        if not opaque:
            return Analysis(self._clean, ())
        return Analysis(msgspec.structs.replace(self._clean, completeness="opaque"), ())

    def _analysis(self, work: _Work, opaque: Sequence[str]) -> Analysis:
        completeness: Completeness = "full"
        if opaque or work.opaque:
            completeness = "opaque"
        elif work.partial:
            completeness = "partial"
        levels = [finding.level for finding in work.findings]
        levels += [self._rules[rule].level for rule in work.saturated]
        categories = {finding.category for finding in work.findings}
        categories |= {self._rules[rule].category for rule in work.saturated}
        label = Label(
            level=max([LEVEL_WITHOUT_FINDING, *levels], key=LEVEL_RANK.__getitem__),
            categories=tuple(sorted(categories)),
            completeness=completeness,
            classifier=self.name,
        )
        return Analysis(label, tuple(work.findings))

    def _run_tests(self, rule: Rule) -> None:
        for texts, wanted in ((rule.tests.match, True), (rule.tests.no_match, False)):
            for index, text in enumerate(texts):
                segment = Segment("", "", "text", text.replace(BREAK, ""))
                found = self.analyse([segment], ()).findings
                if any(finding.rule == rule.id for finding in found) is not wanted:
                    member = "match" if wanted else "no_match"
                    raise ConfigInvalid(
                        f"rule {rule.id!r} fails its own test {member}[{index}]: pack refused"
                    )


class _Work:
    """What one analysis has gathered so far."""

    def __init__(
        self, rules: Sequence[Rule], matchers: Sequence[Matcher], segments: Sequence[Segment]
    ) -> None:
        self._rules = rules
        self._matchers = matchers
        self._segments = segments
        self.findings: list[Finding] = []
        self._places: dict[tuple[str, int], list[tuple[int, int]]] = {}
        self.saturated: set[int] = set()
        self.partial = False
        self.opaque = False

    def judge(self, joined: Joined, hits: Sequence[tuple[int, int]]) -> frozenset[int]:
        """Turn ``hits`` into findings; the triggers among them are returned."""
        triggers: set[int] = set()
        ends: dict[int, list[int]] = {}
        for pattern, end in hits:
            rule = pattern - len(TRIGGERS)
            if rule < 0:
                triggers.add(pattern)
            else:
                ends.setdefault(rule, []).append(end)
        found: list[Found] = []
        for rule, where in ends.items():
            spans, saturated = self._matchers[rule].find(joined.data, where)
            found += [Found(rule, start, end) for start, end in spans]
            if saturated:
                # What was not looked at may hold one; a flood of near misses must not hide it.
                self.saturated.add(rule)
                self.partial = True
        for one in without_overlaps(found, self._rules):
            self._add(joined, one)
        return frozenset(triggers)

    def _add(self, joined: Joined, found: Found) -> None:
        rule = self._rules[found.rule]
        piece, start, end = joined.place(found.start, found.end)
        if piece.view != PLAIN and self._is_known(rule, piece.segment, start, end):
            return
        self._places.setdefault((rule.id, piece.segment), []).append((start, end))
        segment = self._segments[piece.segment]
        disguised = piece.view == NORMALISED and is_disguised(segment.text[start:end])
        self.findings.append(
            Finding(
                rule=rule.id,
                entity=rule.entity,
                category=rule.category,
                level=_raised(rule.level) if disguised else rule.level,
                pointer=segment.pointer,
                segment=piece.segment,
                start=start,
                end=end,
                view=piece.view,
                disguised=disguised,
            )
        )

    def _is_known(self, rule: Rule, segment: int, start: int, end: int) -> bool:
        """Whether another view already showed this: a decoded text may hold what stands beside
        it in the clear."""
        places = self._places.get((rule.id, segment), ())
        return any(low < end and start < high for low, high in places)


def prefers_thread(segments: Sequence[Segment]) -> bool:
    """Whether there is so much text that scanning it would hold up an event loop."""
    texts = [segment.text for segment in segments]
    return scanned_bytes(texts) > limits.SCAN_ON_LOOP_BYTES_MAX


def _raised(level: Level) -> Level:
    return LEVELS[min(LEVEL_RANK[level] + 1, len(LEVELS) - 1)]


def _bounded(texts: Sequence[str]) -> tuple[list[str], bytes]:
    """The first SCAN_BYTES_MAX bytes of ``texts``, cut between characters."""
    room = limits.SCAN_BYTES_MAX
    kept: list[str] = []
    for text in texts:
        encoded = text.encode("utf-8", "surrogatepass")
        if len(encoded) > room:
            kept.append(encoded[:room].decode("utf-8", "ignore"))
            break
        kept.append(text)
        room -= len(encoded) + 1
        if room <= 0:
            break
    return kept, join(kept)


def _cache_key(pack_digest: str) -> str:
    described = f"{_ENGINE_REVISION}\0{pack_digest}\0{engine_identity()}\0{TRIGGERS!r}"
    return hashlib.sha256(described.encode()).hexdigest()
