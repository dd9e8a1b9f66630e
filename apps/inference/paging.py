"""Pages of long lists, as quick at the end as at the beginning."""

from typing import TypeVar, cast

from django.core.paginator import Page, Paginator
from django.db.models import Model, QuerySet

T = TypeVar("T")


class BothEndsPaginator(Paginator[T]):
    """Reads a page from the end of the list that is nearer.

    To give the last page the database sorts everything that stands before it; sorted the other way
    round it keeps the few rows of that page. The order must name each row's place.
    """

    def page(self, number: int | str) -> Page[T]:
        number = self.validate_number(number)
        start = (number - 1) * self.per_page
        end = min(start + self.per_page, self.count)
        rows = cast("QuerySet[Model, T]", self.object_list)
        if start <= self.count // 2:
            return Page(list(rows[start:end]), number, self)
        mirrored = rows.reverse()[self.count - end : self.count - start]
        return Page(list(mirrored)[::-1], number, self)
