"""What a migration would have to do, found by reading every document of a field once."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from undrift.domain.cost import Work
from undrift.domain.record import ContentHash, Entry, canonical_text, content_hash
from undrift.domain.route import VectorField
from undrift.domain.space import Truncation
from undrift.domain.tokens import FEWEST_SAMPLED, Family, TokenEstimate, from_sample
from undrift.domain.wording import plural
from undrift.flow.embed import CONTROL_TEXT, EmbeddingDoor
from undrift.migrate.compare import is_ours
from undrift.migrate.preflight import Misfits
from undrift.ports.store import Part, StoreCapabilities, VectorStore

#: Documents read at a time.
_PAGE = 1000
#: Bytes beside vector and text that a record needs, roughly.
_RECORD_OVERHEAD = 200
#: Texts that are sampled of those whose vectors are in the cache.
_KEPT = 256
#: Texts that are sampled unless somebody says otherwise.
SAMPLED = 2000

#: Returns those of the hashes whose vectors are in the cache.
Kept = Callable[[Sequence[ContentHash]], Collection[ContentHash]]


def _none(_hashes: Sequence[ContentHash]) -> Collection[ContentHash]:
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a plan states.

    Attributes:
        documents: records in the serving field.
        unique_texts: texts that differ and have to be embedded; each is once.
        duplicates: documents with a text that another one has as well.
        cached: texts whose vectors are in the cache already, so that they are not among those to be embedded.
        cached_tokens: what those have, about, prefixes included: a verification embeds them again.
        text_bytes: bytes of the texts to be embedded, prefixes included.
        estimate: tokens of the texts to be embedded, prefixes included.
        prefix_tokens: how many of these are of the prefix.
        storage_bytes: what the target will need.
        warnings: what an operator should know.
    """

    documents: int
    unique_texts: int
    duplicates: int
    cached: int
    cached_tokens: int
    text_bytes: int
    estimate: TokenEstimate
    prefix_tokens: int
    storage_bytes: int
    warnings: tuple[str, ...]

    @property
    def work(self) -> Work:
        """What is to be embedded, in numbers."""
        return Work(inputs=self.unique_texts, tokens=self.estimate.tokens, bytes=self.text_bytes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Counter:
    """How tokens are counted.

    Attributes:
        door: the model.
        family: the kind of its tokenizer, where it cannot count by itself.
        sampled: texts of the sample; not fewer than 1,000.
        every: whether every text is counted where the model's own tokenizer is there.
        is_exact: whether the model's own tokenizer is on this machine; found out when it is made.
    """

    door: EmbeddingDoor
    family: Family
    sampled: int = SAMPLED
    every: bool = True
    is_exact: bool = field(init=False)

    def __post_init__(self) -> None:
        """Ask the model whether it counts."""
        object.__setattr__(self, "is_exact", self.door.count_tokens([CONTROL_TEXT])[1])

    def of(self, text: str) -> float:
        """Return the tokens of a text with the model's prefix in front."""
        if self.is_exact:
            return self.door.count_tokens([text])[0]
        return self.family.reckon(self.door.space.document_prefix + canonical_text(text))


@dataclass(slots=True, kw_only=True)
class _Tally:
    """What was seen so far.

    The sample are the texts with the smallest hashes. A hash is as good as a random number, so every text is as likely
    to be in it as any other, and the same collection gives the same sample again.
    """

    most: int
    seen: set[int] = field(default_factory=set)
    sample: list[tuple[int, str]] = field(default_factory=list)
    kept: list[tuple[int, str]] = field(default_factory=list)
    documents: int = 0
    blank: int = 0
    untagged: int = 0
    duplicates: int = 0
    size: int = 0
    unique: int = 0
    cached: int = 0
    characters: int = 0
    text_bytes: int = 0
    tokens: int = 0

    def draw(self, digest: int, text: str) -> None:
        """Take a text into the sample if it belongs there."""
        _draw(self.sample, self.most, digest, text)

    def draw_kept(self, digest: int, text: str) -> None:
        """The same for a text whose vector is in the cache."""
        _draw(self.kept, _KEPT, digest, text)


def _draw(sample: list[tuple[int, str]], most: int, digest: int, text: str) -> None:
    if len(sample) < most:
        heapq.heappush(sample, (-digest, text))
    elif -digest > sample[0][0]:
        heapq.heapreplace(sample, (-digest, text))


def survey(
    store: VectorStore,
    field: VectorField,
    counter: Counter,
    *,
    target: VectorField | None = None,
    into: StoreCapabilities | None = None,
    copies: bool = False,
    kept: Kept = _none,
) -> Facts:
    """Read every document of a field once and reckon up what it takes to have it in another field.

    Args:
        store: the store of the field.
        field: the field that will be read.
        counter: how tokens are counted.
        target: where the vectors would be put; in a collection of their own by default.
        into: what the store of the other field can do, if it is another one.
        copies: whether vectors are copied; then only texts are embedded that the tag of their record is not of.
        kept: tells which texts have a vector in the cache.
    """
    door, can = counter.door, into or store.capabilities
    prefix = door.space.document_prefix
    counts_all = counter.every and counter.is_exact
    tally, misfits = _Tally(most=max(FEWEST_SAMPLED, counter.sampled)), Misfits()
    after = ""
    while True:
        page = store.scan(field, after=after, limit=_PAGE, parts=Part.TEXT)
        fresh = _fresh([entry for entry in page if not (copies and is_ours(entry, field))], tally)
        for entry in page:
            _look(entry, tally)
            misfits.look(entry, can)
        found = set(kept(list(fresh))) if fresh else set()
        tally.cached += len(found)
        missing = {digest: text for digest, text in fresh.items() if digest not in found}
        for digest in found:
            tally.draw_kept(_number(digest), fresh[digest])
        texts = list(missing.values())
        for digest, text in missing.items():
            tally.draw(_number(digest), text)
            tally.characters += len(prefix) + len(text)
            tally.text_bytes += len((prefix + text).encode("utf-8", "surrogatepass"))
        tally.unique += len(texts)
        if texts and counts_all:
            tally.tokens += door.count_tokens(texts)[0]
        if len(page) < _PAGE:
            break
        after = page[-1].id
    estimate, too_long = _estimated(tally, counter, counts_all=counts_all)
    storage = tally.documents * can.footprint.bytes_of(door.space.dimensions)
    if target is None or not target.is_beside(field):
        # The texts are there once more.
        storage += tally.documents * _RECORD_OVERHEAD + tally.size
    return Facts(
        documents=tally.documents,
        unique_texts=tally.unique,
        duplicates=tally.duplicates,
        cached=tally.cached,
        cached_tokens=round(tally.cached * sum(counter.of(text) for _, text in tally.kept) / max(1, len(tally.kept))),
        text_bytes=tally.text_bytes,
        estimate=estimate,
        prefix_tokens=round(counter.of("")) * tally.unique if prefix else 0,
        storage_bytes=storage,
        warnings=(
            *_warnings(tally, store.capabilities.scans_lag_s),
            *_too_long(too_long, counter),
            *misfits.warnings(can),
        ),
    )


def _fresh(entries: Sequence[Entry], tally: _Tally) -> dict[ContentHash, str]:
    """Return the texts that were not seen before, in canonical form, by their hashes."""
    fresh: dict[ContentHash, str] = {}
    for entry in entries:
        text = canonical_text(entry.text or "")
        if not text:
            continue
        digest = content_hash(text)
        number = _number(digest)
        if number in tally.seen:
            tally.duplicates += 1
        else:
            tally.seen.add(number)
            fresh[digest] = text
    return fresh


def _look(entry: Entry, tally: _Tally) -> None:
    text = entry.text or ""
    tally.documents += 1
    tally.size += len(text.encode("utf-8", "surrogatepass"))
    tally.blank += not text.strip()
    tally.untagged += entry.tag is None


def _number(digest: ContentHash) -> int:
    """Return a hash as a small number: half the memory, and two of ten million texts meet once in a million times."""
    return int(digest[:16], 16)


def _estimated(tally: _Tally, counter: Counter, *, counts_all: bool) -> tuple[TokenEstimate, int]:
    """Return the tokens of all texts, and how many texts are longer than the model takes, scaled up from the sample."""
    texts = [text for _, text in tally.sample]
    counts = [counter.of(text) for text in texts]
    limit = counter.door.space.max_tokens
    long = sum(count > limit for count in counts) if limit is not None else 0
    too_long = round(long * tally.unique / len(texts)) if texts else 0
    if counts_all:
        rests_on = "every text, counted by the model's own tokenizer"
        whole = TokenEstimate(tokens=tally.tokens, low=tally.tokens, high=tally.tokens, exact=True, rests_on=rests_on)
        return whole, too_long
    exact = counter.is_exact
    prefix = len(counter.door.space.document_prefix)
    estimate = from_sample(
        [prefix + len(text) for text in texts],
        counts,
        total_size=tally.characters,
        population=tally.unique,
        rests_on="the model's own tokenizer" if exact else counter.family.basis,
        bias=0.0 if exact else counter.family.error,
    )
    return estimate, too_long


_FATES = {
    Truncation.REFUSE: "to be set aside",
    Truncation.CUT: "to be cut there",
    Truncation.SPLIT: "to be embedded in parts",
}


def _too_long(count: int, counter: Counter) -> tuple[str, ...]:
    if not count:
        return ()
    space = counter.door.space
    fate = _FATES[space.truncation]
    return (f"about {plural(count, 'text')} of more than the {space.max_tokens} tokens that the model takes: {fate}",)


def _warnings(tally: _Tally, scans_lag_s: float) -> tuple[str, ...]:
    said = []
    if not tally.documents:
        said.append("the collection is empty")
    if tally.documents and tally.blank == tally.documents:
        said.append(
            "re-embedding is impossible: no record has a text; say where the texts are with `text` of the alias"
        )
    if tally.blank:
        said.append(f"{plural(tally.blank, 'document')} without a text, to be set aside")
    if tally.untagged:
        what = plural(tally.untagged, "record")
        said.append(f"{what} without a tag: nothing is known about the model they were made with")
    if scans_lag_s:
        said.append(
            f"scans of this store may miss for {scans_lag_s:g} s what another process wrote: the back-fill begins so "
            "much later"
        )
    return tuple(said)
