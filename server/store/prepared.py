"""Statements whose SQL is made once, for what every request and every batch of records asks.

Putting a statement of SQLAlchemy together, even one that it remembers, and wrapping its rows costs several times what
the database needs for it. A prepared one is written in the same language and compiled for the dialect of the connection
that it is first used with; after that only values travel. It runs in the transaction of the connection it is given.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from sqlalchemy import Connection, Dialect
from sqlalchemy.exc import DBAPIError

Processor = Callable[[Any], Any] | None


class _Compiled(NamedTuple):
    dialect: Dialect
    sql: str
    names: tuple[str, ...]  # of the parameters, in the order of their places
    fixed: Mapping[str, Any]  # values that stand in the statement itself
    into: tuple[tuple[int, Callable[[Any], Any]], ...]  # place of a parameter, and what makes it fit for the driver
    out: tuple[tuple[int, Callable[[Any], Any]], ...]  # place of a column, and what makes it what its type says
    row: Any  # class of the rows


class Prepared:
    """One statement with named parameters (``bindparam``).

    Args:
        statement: A select, insert, update or delete.
        columns: Of an insert: those that get values.
    """

    def __init__(self, statement: Any, *columns: str) -> None:
        self._statement = statement
        self._columns = columns
        self._compiled: _Compiled | None = None

    def first(self, connection: Connection, **values: Any) -> Any:
        """Return the first row, with its columns as attributes; None if there is none."""
        made = self._for(connection)
        cursor = self._run(connection, made, values)
        try:
            found = cursor.fetchone()
        finally:
            cursor.close()  # else its view of the database would stay open
        return None if found is None else _row(made, found)

    def all(self, connection: Connection, **values: Any) -> list[Any]:
        """Return all rows."""
        made = self._for(connection)
        cursor = self._run(connection, made, values)
        try:
            return [_row(made, found) for found in cursor.fetchall()]
        finally:
            cursor.close()

    def change(self, connection: Connection, **values: Any) -> int:
        """Change rows; return how many."""
        cursor = self._run(connection, self._for(connection), values)
        try:
            return int(cursor.rowcount)
        finally:
            cursor.close()

    def add(self, connection: Connection, rows: Iterable[Mapping[str, Any]]) -> None:
        """Insert rows."""
        made = self._for(connection)
        cursor = _driver(connection).cursor()
        try:
            cursor.executemany(made.sql, [_places(made, values) for values in rows])
        except made.dialect.loaded_dbapi.Error as error:
            raise _translated(made, error) from error
        finally:
            cursor.close()

    def _run(self, connection: Connection, made: _Compiled, values: Mapping[str, Any]) -> Any:
        cursor = _driver(connection).cursor()
        try:
            cursor.execute(made.sql, _places(made, values))
        except made.dialect.loaded_dbapi.Error as error:
            cursor.close()
            raise _translated(made, error) from error
        return cursor

    def _for(self, connection: Connection) -> _Compiled:
        made = self._compiled
        if made is None or made.dialect is not connection.dialect:
            made = self._compiled = _compile(self._statement, self._columns, connection.dialect)
        return made


def _compile(statement: Any, columns: tuple[str, ...], dialect: Dialect) -> _Compiled:
    compiled: Any = statement.compile(dialect=dialect, column_keys=list(columns) or None)
    names = tuple(compiled.positiontup)
    types = [compiled.binds[name].type.dialect_impl(dialect).bind_processor(dialect) for name in names]
    out: list[Processor] = []
    keys: list[str] = []
    if statement.is_select:
        for key, column in zip(statement.selected_columns.keys(), statement.selected_columns, strict=True):
            keys.append(key)
            out.append(column.type.dialect_impl(dialect).result_processor(dialect, None))
    fixed = {name: bind.effective_value for name, bind in compiled.binds.items() if not bind.required}
    row = namedtuple("Row", keys) if keys else None
    return _Compiled(dialect, compiled.string, names, fixed, _some(types), _some(out), row)


def _some(processors: list[Processor]) -> tuple[tuple[int, Callable[[Any], Any]], ...]:
    return tuple((place, processor) for place, processor in enumerate(processors) if processor is not None)


def _places(made: _Compiled, values: Mapping[str, Any]) -> list[Any]:
    given = {**made.fixed, **values} if made.fixed else values
    found = [given[name] for name in made.names]
    for place, processor in made.into:
        found[place] = processor(found[place])
    return found


def _row(made: _Compiled, found: tuple[Any, ...]) -> Any:
    if made.out:
        values = list(found)
        for place, processor in made.out:
            values[place] = processor(values[place])
        return made.row._make(values)
    return made.row._make(found)


def _driver(connection: Connection) -> Any:
    return connection.connection.dbapi_connection


def _translated(made: _Compiled, error: Exception) -> Exception:
    """Return what SQLAlchemy would have raised."""
    return DBAPIError.instance(made.sql, None, error, made.dialect.loaded_dbapi.Error)
