"""The probes that undrift brings: texts written for it, in the strata in which changes of models show."""

from __future__ import annotations

from itertools import cycle, islice

from undrift.domain.probe import Probe

#: Grows when a text changes, because a baseline belongs to exactly these texts.
VERSION = 1

_WRITTEN: dict[str, tuple[str, ...]] = {
    "plain": (
        "The ferry leaves the northern pier at seven, and whoever misses it walks around the bay.",
        "Our support team answers within one working day; urgent cases are called back the same evening.",
        "Soil that has been frozen twice in a winter holds less water in the following spring.",
        "After the second rehearsal the conductor moved the cellos to the left of the stage.",
    ),
    "title": (
        "Night Shift at the Salt Works",
        "Quarterly Report on Bridge Maintenance",
        "How to Repair a Leaking Garden Hose",
    ),
    "short": ("lantern", "tax refund", "Quarry"),
    "lower": (
        "a glass of cold water on a wooden table in the shade",
        "the parcel was left with a neighbour who had already moved away",
        "how rivers change their beds when a dam upstream is opened",
    ),
    "upper": (
        "DO NOT OPEN THE VALVE WHILE THE PUMP IS RUNNING.",
        "FINAL NOTICE: YOUR MEMBERSHIP ENDS ON THE LAST DAY OF MARCH",
        "MEADOW",
        "PLEASE KEEP THE EMERGENCY EXIT CLEAR OF BOXES AND BICYCLES",
    ),
    "accented": (
        "Die Müllerin zählt übrige Körbe, während der Bär am Fluß Äpfel frißt.",
        "El niño soñó que la montaña caía despacio sobre el jardín de su tía.",
        "À l'aube, le pêcheur a relevé ses filets près de la forêt brûlée.",
        "Příliš žluťoučký kůň úpěl na konci říční stráně, než přišla zima.",
        "crème brûlée, piñata, naïve façade, smörgåsbord, café",
    ),
    "query": (
        "what should i do when my key breaks off in the lock",
        "cheapest way to ship a bicycle overseas",
        "does honey ever go bad?",
    ),
    "code": (
        "def rolling_mean(values, width):\n    total = sum(values[:width])\n    means = [total / width]\n"
        "    for left, right in zip(values, values[width:]):\n        total += right - left\n"
        "        means.append(total / width)\n    return means",
        "SELECT customer, SUM(amount) AS owed FROM invoices WHERE paid_at IS NULL GROUP BY customer",
        "for (const [key, value] of Object.entries(settings)) { if (value === null) delete settings[key]; }",
    ),
    "numeric": (
        "2031-04-17 | 1,204.50 EUR | -3.2 % | 0x7F3A | order 55810-B",
        "3.14159 2.71828 1.41421 1.61803 0.57721",
        "Room\tSeats\tRate\n101\t2\t89.00\n204\t4\t142.50\n305\t1\t61.25",
    ),
    "script": (
        "駅前の図書館は、雨の日だけ夜九時まで開いています。",
        "老桥修好以后集市又搬回了河边。",
        "Старый мост закрыт на ремонт до конца осени.",
        "يفتح السوق أبوابه قبل شروق الشمس في أيام الصيف.",
        "🚲🌧️ late again 😅 → see you at 9 🕘",
    ),
    "twin": (
        "The museum is open on every Monday except in August.",
        "The museum is closed on every Monday except in August.",
        "Version 4.1 of the driver supports printers of the 300 series.",
        "Version 4.7 of the driver supports printers of the 800 series.",
    ),
}

#: How many words the long probes have: just beyond what models commonly cut at (64, 128, 256, 512, 2,048 and 8,192
#: tokens), twice where the limit is a usual one.
_LENGTHS = (80, 150, 160, 300, 330, 600, 640, 1900, 7400)

_SUBJECTS = [
    "the harbour office",
    "a retired surveyor",
    "the night baker",
    "an apprentice glazier",
    "the choir's treasurer",
    "a visiting botanist",
    "the ferry's engineer",
    "a careful archivist",
    "the youngest beekeeper",
    "an elderly tram driver",
    "the clinic's porter",
    "a travelling printer",
    "the mountain rescue team",
]
_ACTS = [
    "repaired the lower gate",
    "counted the empty barrels",
    "translated a letter about debts",
    "sketched the ruined mill",
    "measured rainfall by hand",
    "planted two rows of currants",
    "argued over the price of slate",
    "sharpened every chisel",
    "filed a complaint about noise",
    "cooled the molten wax",
    "recorded an unfamiliar bird",
]
_PLACES = [
    "behind the customs house",
    "near the flooded quarry",
    "in the reading room",
    "on the eastern platform",
    "under the old viaduct",
    "beside the frozen canal",
    "at the edge of the orchard",
]
_TIMES = [
    "before sunrise",
    "during the strike",
    "in a dry September",
    "after the second bell",
    "while the power was off",
]


def shipped() -> tuple[Probe, ...]:
    """Return the shipped probes, always in the same order."""
    written = [
        Probe(text=text, stratum=stratum, as_query=stratum == "query")
        for stratum, texts in _WRITTEN.items()
        for text in texts
    ]
    return (*written, *(Probe(text=_chronicle(words, start), stratum="long") for start, words in enumerate(_LENGTHS)))


def _chronicle(words: int, start: int) -> str:
    """Return a text of so many words that never says the same thing twice running; it begins elsewhere with each start.

    The lists have lengths without a common divisor, so that it is thousands of sentences long before it repeats.
    """
    sentences = (
        f"{subject[0].upper()}{subject[1:]} {act} {place} {time}."
        for subject, act, place, time in zip(
            *(islice(cycle(parts), start * 3, None) for parts in (_SUBJECTS, _ACTS, _PLACES, _TIMES)), strict=False
        )
    )
    taken: list[str] = []
    while len(taken) < words:
        taken.extend(next(sentences).split())
    return " ".join(taken[:words])
