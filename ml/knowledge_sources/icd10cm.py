"""The hierarchy of ICD-10-CM from the tabular list inside the package simple-icd-10-cm.

Chapters hold blocks, blocks hold categories, categories hold codes. The package's own module
builds its tree in four seconds and 190 MB when it is imported; its file is parsed here.
"""

import re
from html import unescape

from ml.icd10 import tabular_file
from ml.knowledge_graph import IS_A, Edge, KnowledgeGraph, Node

DIAGNOSIS = "diagnosis"
PREFIX = "ICD10CM:"
_TOKEN = re.compile(
    r"<(chapter)>|<section id=\"([^\"]+)\">|<(diag)[ >]|</(chapter|section|diag)>"
    r"|<name>([^<]*)</name>|<desc>([^<]*)</desc>|<(inclusionTerm)>(.*?)</inclusionTerm>",
    re.DOTALL,
)
_NOTE = re.compile(r"<note>([^<]*)</note>")


def icd10cm_node(code: str) -> str:
    """Identifier of the node of a code, a block or a chapter.

    >>> icd10cm_node("I63.9"), icd10cm_node("I60-I69"), icd10cm_node("chapter 9")
    ('ICD10CM:I63.9', 'ICD10CM:I60-I69', 'ICD10CM:chapter 9')
    """
    return PREFIX + code


def read_icd10cm() -> KnowledgeGraph:
    """Chapters, blocks, categories and codes, each `is_a` what it stands under.

    Codes that only add an encounter's seventh character (S06.0X0A) are not listed by the tabular
    list and have no node of their own; `ml.icd10.listed_icd10` gives the code they extend.

    Example:
        >>> read_icd10cm().ancestors("ICD10CM:I63.9")
        ('ICD10CM:I63', 'ICD10CM:I60-I69', 'ICD10CM:chapter 9')
    """
    text = tabular_file().read_text(encoding="utf-8")
    nodes: list[Node] = []
    edges: list[Edge] = []
    open_: list[_Open] = []
    for token in _TOKEN.finditer(text[text.index("<chapter>") :]):
        chapter, block, diagnosis, end, name, description, included, notes = token.groups()
        if chapter or block or diagnosis:
            # A block of one category has the category's name: `B10`, written B10-B10 here.
            open_.append(_Open(f"{block}-{block}" if block and "-" not in block else block or ""))
        elif end:
            closed = open_.pop()
            nodes.append(closed.node())
            if open_:
                edges.append((closed.id, IS_A, open_[-1].id))
        elif name is not None:
            open_[-1].code = f"chapter {name}" if len(open_) == 1 else name.strip()
        elif description is not None:
            open_[-1].name = unescape(description).strip()
        elif included:
            open_[-1].synonyms += [unescape(each).strip() for each in _NOTE.findall(notes)]
    return KnowledgeGraph(nodes, edges)


class _Open:
    """A chapter, block or code whose end has not been read yet."""

    def __init__(self, code: str) -> None:
        self.code = code
        self.name = ""
        self.synonyms: list[str] = []

    @property
    def id(self) -> str:
        return icd10cm_node(self.code)

    def node(self) -> Node:
        is_code = "-" not in self.code and " " not in self.code
        codes = (f"icd10:{self.code}",) if is_code else ()
        return Node(self.id, DIAGNOSIS, self.name, tuple(self.synonyms), codes)
