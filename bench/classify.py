"""How well and how fast the rule pack finds what it claims to find.

``python -m bench.classify [DIR]``: DIR (or GATEPOST_BENCH_DATA) holds labelled files in the
formats of ``bench.corpora``; without one the generated set of ``bench.labelled`` is used.
"""

from __future__ import annotations

import os
import random
import resource
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from bench import corpora, labelled
from bench.corpora import Document
from gateway.call import Segment
from gateway.classify.classifier import Analysis, Classifier, Finding
from gateway.io.packs import read_core_pack
from gateway.vocabulary import LEVEL_RANK

LATENCY_PROMPTS = 1_500


class Score(NamedTuple):
    """Counts of one entity: gold spans, findings, and gold spans found."""

    gold: int
    found: int
    right: int
    hit: int

    @property
    def precision(self) -> float:
        return self.right / self.found if self.found else 1.0

    @property
    def recall(self) -> float:
        return self.hit / self.gold if self.gold else 1.0

    @property
    def f2(self) -> float:
        p, r = self.precision, self.recall
        return 5 * p * r / (4 * p + r) if p + r else 0.0


def analyse(classifier: Classifier, text: str) -> Analysis:
    return classifier.analyse([Segment("/messages/0/content", "user", "text", text)], ())


def overlaps(a: tuple[int, int], b: tuple[int, int], share: float) -> bool:
    """Whether the shorter of both is covered to ``share`` of the longer; 1.0 is equality."""
    common = min(a[1], b[1]) - max(a[0], b[0])
    return common > 0 and common >= share * max(a[1] - a[0], b[1] - b[0])


def score(
    documents: Sequence[Document], found: Sequence[Sequence[Finding]], share: float
) -> dict[str, Score]:
    gold: Counter[str] = Counter()
    total: Counter[str] = Counter()
    right: Counter[str] = Counter()
    hit: Counter[str] = Counter()
    for document, findings in zip(documents, found, strict=True):
        spans = defaultdict(list)
        for finding in findings:
            spans[finding.entity].append((finding.start, finding.end))
        wanted = defaultdict(list)
        for entity, start, end in document.spans:
            wanted[entity].append((start, end))
        for entity in spans.keys() | wanted.keys():
            gold[entity] += len(wanted[entity])
            total[entity] += len(spans[entity])
            right[entity] += sum(
                any(overlaps(span, want, share) for want in wanted[entity])
                for span in spans[entity]
            )
            hit[entity] += sum(
                any(overlaps(span, want, share) for span in spans[entity])
                for want in wanted[entity]
            )
    return {e: Score(gold[e], total[e], right[e], hit[e]) for e in gold}


def report_spans(
    name: str, documents: Sequence[Document], classifier: Classifier, verbose: bool
) -> None:
    analyses = [analyse(classifier, document.text) for document in documents]
    # Findings on the lowest level (addresses that lead to nobody) are worth a category only.
    found = [[f for f in analysis.findings if f.level != "internal"] for analysis in analyses]
    loose, exact = score(documents, found, 0.5), score(documents, found, 1.0)
    print(f"\n{name}: {len(documents)} documents")
    print(f"  {'entity':20} {'gold':>5} {'found':>5} | {'P':>6} {'R':>6} {'F2':>6} | exact P, R")
    for entity in sorted(loose):
        if entity not in labelled.DECIDABLE and loose[entity].found == 0:
            print(f"  {entity:20} {loose[entity].gold:5} not covered by rules")
            continue
        a, b = loose[entity], exact[entity]
        print(
            f"  {entity:20} {a.gold:5} {a.found:5} | {a.precision:6.3f} {a.recall:6.3f}"
            f" {a.f2:6.3f} | {b.precision:.3f} {b.recall:.3f}"
        )
    under = decidable = wrong = empty = 0
    for document, analysis in zip(documents, analyses, strict=True):
        gold = [e for e, _, _ in document.spans if e in labelled.DECIDABLE]
        rank = LEVEL_RANK[analysis.label.level]
        if gold:
            decidable += 1
            under += rank < max(LEVEL_RANK[labelled.DECIDABLE[entity]] for entity in gold)
        else:
            empty += 1
            wrong += rank > LEVEL_RANK["internal"]
    print(
        f"  label below gold: {under}/{decidable} = {_share(under, decidable)};"
        f" label raised without gold: {wrong}/{empty} = {_share(wrong, empty)}"
    )
    if verbose:
        _print_differences(documents, found)


def _print_differences(documents: Sequence[Document], found: Sequence[Sequence[Finding]]) -> None:
    for document, findings in zip(documents, found, strict=True):
        for entity, start, end in document.spans:
            if entity in labelled.DECIDABLE and not any(
                f.entity == entity and overlaps((f.start, f.end), (start, end), 0.5)
                for f in findings
            ):
                around = document.text[max(0, start - 40) : end + 20]
                print(f"    missed {entity}: {document.text[start:end]!r} in {around!r}")
        for f in findings:
            if not any(
                f.entity == entity and overlaps((f.start, f.end), (start, end), 0.5)
                for entity, start, end in document.spans
            ):
                around = document.text[max(0, f.start - 40) : f.end + 20]
                print(f"    wrong {f.rule}: {document.text[f.start : f.end]!r} in {around!r}")


def report_cases(
    name: str, cases: Sequence[corpora.Case], classifier: Classifier, verbose: bool
) -> None:
    """Texts that hold something or not, without spans: recall on the first, alarms on the rest."""
    counts: Counter[tuple[str, bool, bool]] = Counter()
    for case in cases:
        found = [f for f in analyse(classifier, case.text).findings if case.counts(f)]
        counts[case.group, case.positive, bool(found)] += 1
        if verbose and bool(found) is not case.positive:
            print(f"    {case.group} {case.positive} {case.text[:100]!r} {[f.rule for f in found]}")
    print(f"\n{name}: {len(cases)} texts")
    for group in sorted({key[0] for key in counts}):
        hit, miss = counts[group, True, True], counts[group, True, False]
        alarm, quiet = counts[group, False, True], counts[group, False, False]
        print(
            f"  {group:34} found {hit:3}/{hit + miss:3}   alarms on negatives"
            f" {alarm:3}/{alarm + quiet:3}"
        )


def report_evasions(classifier: Classifier, verbose: bool) -> None:
    print("\nhidden forms: recall over the generated values")
    for name, documents in labelled.disguised():
        hits = 0
        for document in documents:
            entity = document.spans[0][0]
            found = any(f.entity == entity for f in analyse(classifier, document.text).findings)
            hits += found
            if verbose and not found:
                print(f"    {name}: {document.text!r}")
        print(f"  {name:24} {hits:3}/{len(documents):3}")


def report_latency(classifier: Classifier) -> None:
    chance = random.Random(7)
    for title, size, count in (("2 KB", 2_048, LATENCY_PROMPTS), ("200 KB", 204_800, 20)):
        for kind, make in (("clean", labelled.prose), ("with data", labelled.dense_prose)):
            prompts = [make(chance, size) for _ in range(count)]
            times = []
            for prompt in prompts:
                segments = [Segment("", "user", "text", prompt)]
                begin = time.perf_counter()
                classifier.classify(segments, ())
                times.append(time.perf_counter() - begin)
            times.sort()
            print(
                f"  {title:7} {kind:10} p50 {times[len(times) // 2] * 1e6:8.0f} us"
                f"   p99 {times[int(len(times) * 0.99)] * 1e6:8.0f} us"
                f"   max {times[-1] * 1e6:8.0f} us"
            )
    for kind, text in labelled.adversarial(204_800):
        begin = time.perf_counter()
        label = classifier.classify([Segment("", "user", "text", text)], ())
        elapsed = time.perf_counter() - begin
        print(f"  200 KB  {kind:24} {elapsed * 1e3:8.1f} ms   {label.completeness}")


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.1%}" if whole else "-"


def _arguments(arguments: Iterable[str]) -> tuple[str | None, bool]:
    plain = [argument for argument in arguments if not argument.startswith("-")]
    directory = plain[0] if plain else os.environ.get("GATEPOST_BENCH_DATA")
    return directory, "-v" in arguments


def main() -> int:
    directory, verbose = _arguments(sys.argv[1:])
    begin = time.perf_counter()
    classifier = Classifier.load(read_core_pack())
    print(f"{classifier.name}: compiled in {time.perf_counter() - begin:.2f} s")
    if directory is None:
        report_spans("generated", labelled.documents(400), classifier, verbose)
    else:
        for name, documents in corpora.span_files(directory):
            report_spans(name, documents, classifier, verbose)
        for name, cases in corpora.case_files(directory):
            report_cases(name, cases, classifier, verbose)
    report_evasions(classifier, verbose)
    print("\nlatency on texts not seen before")
    report_latency(classifier)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"\npeak memory of this process: {peak:.0f} MiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
