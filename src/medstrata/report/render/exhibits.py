"""Which tables and pictures a page shows, in its order: what is shown is what goes to files."""

from dataclasses import dataclass, field

from medstrata.report.render.figures import Picture
from medstrata.report.render.tables import DataTable, unlike


@dataclass(frozen=True, kw_only=True)
class ShownTable:
    """A table with its number in the page and the name of its files."""

    number: int
    file: str
    table: DataTable


@dataclass(frozen=True, kw_only=True)
class ShownPicture:
    """A picture with the number of its figure, 0 where it has none, and the name of its files."""

    number: int
    file: str
    picture: Picture


@dataclass(kw_only=True)
class Exhibits:
    """Filled while the page is made; `folder` is the name of the folder for files, or None."""

    folder: str | None
    tables: list[ShownTable] = field(default_factory=list)
    pictures: list[ShownPicture] = field(default_factory=list)

    def keep_table(self, number: int, table: DataTable) -> str:
        """Note a table and return the name of its files."""
        file = unlike(table.name, {shown.file for shown in self.tables})
        self.tables.append(ShownTable(number=number, file=file, table=table))
        return file

    def keep_picture(self, number: int, picture: Picture) -> str:
        """Note a picture and return the name of its files."""
        file = unlike(picture.name, {shown.file for shown in self.pictures})
        self.pictures.append(ShownPicture(number=number, file=file, picture=picture))
        return file
