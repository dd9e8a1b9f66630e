"""Who trains and who tests, and whether a cohort can be trained on at all."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import combinations

from ml.concepts import Concept, dictionary, schema
from ml.config import Profile
from ml.data.cohort import Cohort, CohortError, split_by_person, split_hash

FRACTIONS = {"train": 0.75, "test": 0.25}
LEAST_SCANNED = 5
"""Scanned training people of each class."""
LEAST_TESTED = 2
"""Test people of each class, without whom there is no AUC."""
LEAST_OF_CLASS = 2
"""Labelled people of each class that are left when two folds are taken away."""
FEW = 30
"""Fewer test people of a class than this are worth a warning: intervals of AUC exceed +-.1."""


@dataclass(frozen=True, slots=True)
class Parts:
    """Who is in which part, by participant id."""

    train: tuple[str, ...]
    test: tuple[str, ...]

    @property
    def hash(self) -> str:
        """The same for the same people in the same parts."""
        return split_hash(asdict(self))


@dataclass(frozen=True, slots=True, kw_only=True)
class CohortCheck:
    """Whether a cohort can be trained on, and what it holds.

    Attributes:
        people: persons; somebody with two visits is one.
        visits: rows of participants.tsv.
        with_record, with_scan: visits that have one.
        ad, cn, unlabelled: visits with that diagnosis, and with none.
        train, test: visits in each part.
        train_ad, train_cn: scanned and labelled visits of the training part.
        test_ad, test_cn: visits of the test part.
        columns: inputs of the model that somebody of the training part has a value for.
        split: hash of who is in which part.
        problems: why a training would fail, with what to do; none if it can begin.
        warnings: what makes it worse.
    """

    people: int
    visits: int
    with_record: int
    with_scan: int
    ad: int
    cn: int
    unlabelled: int
    train: int
    test: int
    train_ad: int
    train_cn: int
    test_ad: int
    test_cn: int
    columns: int
    split: str
    problems: tuple[str, ...]
    warnings: tuple[str, ...]


def split_people(cohort: Cohort, seed: int) -> Parts:
    """Training people need a record, and a scan or a label; test people a record and a label.

    Raises:
        CohortError: there are too few of a class.
    """
    parts = _parts(cohort, seed)
    problem = _too_few(cohort, parts)
    if problem:
        raise CohortError(problem)
    return parts


def check_cohort(cohort: Cohort, settings: Profile, seed: int) -> CohortCheck:
    """Count a cohort and look for what a training of it would stumble over, before it begins.

    Args:
        cohort: without people who must not take part (`Cohort.without`).
        settings: of the training.
        seed: of the split.
    """
    parts, labels, scanned = _parts(cohort, seed), cohort.labels, set(cohort.ids_with_scan())
    known = [labels[each] for each in cohort.ids]
    trained = [labels[each] for each in parts.train if each in scanned]
    tested = [labels[each] for each in parts.test]
    empty = _columns_without_values(cohort, parts)
    return CohortCheck(
        people=len(set(cohort.persons.values())),
        visits=len(cohort.ids),
        with_record=sum(each in cohort.records for each in cohort.ids),
        with_scan=len(scanned),
        ad=known.count(1),
        cn=known.count(0),
        unlabelled=known.count(None),
        train=len(parts.train),
        test=len(parts.test),
        train_ad=trained.count(1),
        train_cn=trained.count(0),
        test_ad=tested.count(1),
        test_cn=tested.count(0),
        columns=len(model_concepts()) - len(empty),
        split=parts.hash,
        problems=tuple(_problems(cohort, parts, settings, seed, empty)),
        warnings=tuple(_warnings(parts, labels, empty)),
    )


def folds_of(cohort: Cohort, parts: Parts, folds: int, seed: int) -> dict[str, int]:
    """Fold of each visit of the training part; all visits of a person are in one."""
    persons = {each: cohort.persons[each] for each in parts.train}
    shares = {str(fold): 1 / folds for fold in range(folds)}
    dealt = split_by_person(persons, seed=seed + 1, fractions=shares)
    return {each: int(fold) for fold, ids in dealt.items() for each in ids}


def model_concepts() -> tuple[Concept, ...]:
    """What the model reads: the schema without what is nearly the diagnosis (method.md trap 6)."""
    known = dictionary()
    return tuple(known[name] for name in schema() if not known[name].label_proximal)


def _parts(cohort: Cohort, seed: int) -> Parts:
    parts = split_by_person(cohort.persons, seed=seed, fractions=FRACTIONS)
    scanned = set(cohort.ids_with_scan())
    labels = cohort.labels
    return Parts(
        tuple(
            each
            for each in parts["train"]
            if each in cohort.records and (each in scanned or labels[each] is not None)
        ),
        tuple(
            each for each in parts["test"] if each in cohort.records and labels[each] is not None
        ),
    )


def _too_few(cohort: Cohort, parts: Parts) -> str:
    """What is wrong with the sizes of the parts; empty if nothing."""
    scanned, labels = set(cohort.ids_with_scan()), cohort.labels
    trained = [labels[each] for each in parts.train if each in scanned]
    tested = [labels[each] for each in parts.test]
    enough = min(trained.count(0), trained.count(1)) >= LEAST_SCANNED
    if enough and min(tested.count(0), tested.count(1)) >= LEAST_TESTED:
        return ""
    return (
        f"The training part has {trained.count(1)} scanned people with AD and {trained.count(0)} "
        f"without, the test part {tested.count(1)} with AD and {tested.count(0)} without. Training "
        f"needs {LEAST_SCANNED} of each and {LEAST_TESTED} of each to test on: add people, or take "
        "another seed."
    )


def _problems(
    cohort: Cohort, parts: Parts, settings: Profile, seed: int, empty: list[str]
) -> list[str]:
    problems = []
    if not cohort.ids_with_scan():
        return [
            f"None of the {len(cohort.ids)} people of the cohort has a T1 scan; the autoencoder "
            "learns from scans. Add scans, registered to MNI152, or choose a cohort that has some."
        ]
    values = len(model_concepts()) - len(empty)
    if values < settings.diagnosis.min_inputs:
        problems.append(
            f"{values} of {len(model_concepts())} inputs of the model have a value in the training "
            f"part; a patient needs {settings.diagnosis.min_inputs} to get an answer, so the model "
            "would answer nobody. Check which columns of the EHR file were recognised."
        )
    if too_few := _too_few(cohort, parts):
        return [*problems, too_few]
    return [*problems, *_folds_without_a_class(cohort, parts, settings.distill.folds, seed)]


def _folds_without_a_class(cohort: Cohort, parts: Parts, folds: int, seed: int) -> list[str]:
    """The first two folds without which too few scanned people of a class are left.

    Two, because the teacher of each fold's training people is itself fitted out of fold.
    """
    scanned, fold = set(cohort.ids_with_scan()), folds_of(cohort, parts, folds, seed)
    labels = {each: cohort.labels[each] for each in parts.train if each in scanned}
    for first, second in combinations(range(folds), 2):
        rest = [label for each, label in labels.items() if fold[each] not in {first, second}]
        if min(rest.count(0), rest.count(1)) < LEAST_OF_CLASS:
            return [
                f"Without folds {first + 1} and {second + 1} of {folds}, {rest.count(1)} scanned "
                f"training people with AD and {rest.count(0)} without are left; training needs "
                f"{LEAST_OF_CLASS} of each. Add labelled people with scans, or take another seed."
            ]
    return []


def _warnings(parts: Parts, labels: Mapping[str, int | None], empty: list[str]) -> list[str]:
    warnings = []
    if empty:
        shown = ", ".join(empty[:5]) + (f" and {len(empty) - 5} more" if len(empty) > 5 else "")
        warnings.append(
            f"Nobody of the training part has a value for {len(empty)} inputs: {shown}. The model "
            "will learn nothing of them."
        )
    fewest = min(sum(labels[each] == value for each in parts.test) for value in (0, 1))
    if fewest < FEW:
        warnings.append(
            f"The smaller class of the test part has {fewest} people; with fewer than {FEW} the "
            "figures of the card have wide intervals."
        )
    return warnings


def _columns_without_values(cohort: Cohort, parts: Parts) -> list[str]:
    """Inputs of the model that are missing for everybody who trains."""
    seen = {name for each in parts.train for name in cohort.records[each].values}
    return [concept.id for concept in model_concepts() if concept.id not in seen]
