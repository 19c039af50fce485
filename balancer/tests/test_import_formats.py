"""Reading OpenSIPS' tables: each format by hand, and any table through every format."""

import contextlib
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from switchtender.migrate.formats import read
from switchtender.migrate.tables import Row, Shape, Table, UnreadableError, records, select

SHAPE = Shape("dispatcher", ("setid", "destination"), {3: ("id", "setid", "destination")})


def cells(text):
    """The rows of the one table in a text, whatever its format."""
    _, [table] = read(text.encode())
    return [row.cells for row in table.rows]


def refused(text):
    """The message with which a text is refused."""
    with pytest.raises(UnreadableError) as refusal:
        read(text.encode() if isinstance(text, str) else text)
    return str(refusal.value)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("\n+----+\n| 1 |\n+----+\n", "box of mysql"),
        ("mysql> select 1;\n| 1 |\n1 row in set (0.00 sec)\n", "box of mysql"),
        ("id\tsetid\n1\t2\n", "tab-separated"),
        ("id(int,auto) setid(int) destination(string)\n1:2:sip\\:a\n", "db_text"),
        ("-- MySQL dump\nINSERT INTO t VALUES (1);\n", "SQL dump"),
        ("COPY public.t (a) FROM stdin;\n1\n\\.\n", "SQL dump"),
        ("\ufeffid\tsetid\n1\t2\n", "tab-separated"),
    ],
)
def test_the_format_is_recognized(text, name):
    assert read(text.encode())[0] == name


def test_what_is_no_table_is_refused_with_what_would_be():
    assert refused("hello\n") == (
        "its format is not known: an SQL dump (mysqldump, pg_dump, sqlite3 .dump), what mysql -B prints, the box that "
        "mysql draws, or a db_text file"
    )
    assert refused(" \n\n") == "it is empty"
    assert refused(b"id\tsetid\n1\t\xff\n") == "line 2: not UTF-8; dump this table alone"


def test_tabs_escape_what_would_break_the_line_and_null_has_two_spellings():
    assert cells("a\tb\tc\nNULL\t\\N\tx\\ty\\nz\\\\\\0\r\n") == [("a", "b", "c"), (None, None, "x\ty\nz\\\0")]


def test_a_box_may_lack_borders_and_be_followed_by_words():
    text = "+---+-----+\n| 1 |     |\n| 2 | NULL |   (a remark)\n+---+-----+\n2 rows in set (0.01 sec)\n\n"
    assert cells(text) == [("1", ""), ("2", None)]


def test_a_box_with_a_broken_line_is_refused_by_its_line():
    assert "line 2: neither a row" in refused("| 1 | first\nsecond |\n")


def test_db_text_escapes_colons_and_ends_with_an_empty_field():
    text = "id(int,auto) uri(string) attrs(string,null)\n1:sip\\:h\\:5060:\n2:a\\\\:b\n3::\\\\\n"
    assert cells(text) == [("1", "sip:h:5060", ""), ("2", "a\\", "b"), ("3", "", "\\")]


def test_mysqldump_strings_comments_and_types():
    text = r"""
    /*!40101 SET NAMES utf8 */; # nothing
    INSERT INTO `t` VALUES
    (1,'it''s \'so\' \\ \n \%',NULL,-5,0x41,_binary 'b',"c",TRUE,1.5),
    (2,'','--','/*','#',';','),(',X'4142','x');
    """
    assert cells(text) == [
        ("1", "it's 'so' \\ \n \\%", None, "-5", "A", "b", "c", "1", "1.5"),
        ("2", "", "--", "/*", "#", ";", "),(", "AB", "x"),
    ]


def test_an_insert_with_names_is_brought_into_the_order_of_the_table():
    text = """
    CREATE TABLE IF NOT EXISTS "t" ("a" int DEFAULT (1), b varchar(5), `key` int, PRIMARY KEY ("a"), KEY k (b));
    INSERT INTO t (b, a) VALUES ('x', 1);
    INSERT INTO t VALUES (2, 'y', 3);
    REPLACE INTO t (`key`) VALUES (9);
    """
    _, [table] = read(text.encode())
    assert table.columns == ("a", "b", "key")
    assert [row.cells for row in table.rows] == [("1", "x", None), ("2", "y", "3"), (None, None, "9")]


def test_a_backslash_is_itself_in_dumps_of_postgresql_and_sqlite():
    for head in ("-- PostgreSQL database dump\n", "PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\n"):
        assert cells(head + "INSERT INTO t VALUES('a\\', 'it''s', E'\\tb');") == [("a\\", "it's", "\tb")]
    text = "INSERT INTO public.t VALUES (1, 'x'::character varying, NULL::text);"
    assert cells(text) == [("1", "x", None)]


def test_copy_of_postgresql():
    text = "COPY public.t (a, b) FROM stdin;\n1\tx\\ty\\\\\n2\t\\N\n\\.\n\nSELECT 1;\n"
    _, [table] = read(text.encode())
    assert (table.name, table.columns) == ("t", ("a", "b"))
    assert table.rows == (Row(2, ("1", "x\ty\\")), Row(3, ("2", None)))
    assert "do not end" in refused("COPY t (a) FROM stdin;\n1\n")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("INSERT INTO t VALUES (1,\n'open", "line 2: not SQL"),
        ("INSERT INTO t VALUES (1,\nNOW());", "line 2: a value that is no literal"),
        ("INSERT INTO t (a, b) VALUES (1);", "line 1: 1 values for 2 columns"),
        ("INSERT INTO t SELECT 1;", "an INSERT without VALUES"),
        ("INSERT INTO t VALUES (1", "does not end"),
        ("INSERT INTO t VALUES (0xff);", "no UTF-8"),
        ("INSERT INTO t VALUES (_x", "no literal"),
    ],
)
def test_broken_sql_is_refused_by_its_line(text, said):
    assert said in refused(text)


def test_the_table_is_taken_by_name_or_because_it_is_alone():
    one, other = Table((Row(1, ("1",)),), "dispatcher"), Table((Row(2, ("2",)),), "address")
    assert select((other, one), SHAPE) is one
    assert select((Table((), "x"), other), SHAPE) is other
    with pytest.raises(UnreadableError, match="no table named dispatcher among its tables: address, other"):
        select((other, Table((Row(3, ("3",)),), "other")), SHAPE)
    with pytest.raises(UnreadableError, match="no rows of a table dispatcher"):
        select((Table((), "x"),), SHAPE)


def test_columns_come_from_the_table_the_first_row_or_the_width():
    row = Row(2, ("1", "5", "sip:h"))
    named = Table((row,), columns=("ID", "setid", "destination"))
    headed = Table((Row(1, (" id", "SETID", "destination")), row))
    for table in (named, headed, Table((row,))):
        assert [dict(record.values) for record in records(table, SHAPE)] == [
            {"id": "1", "setid": "5", "destination": "sip:h"}
        ]
    with pytest.raises(UnreadableError, match="line 1: 2 columns and no header; a table dispatcher without one has 3"):
        records(Table((Row(1, ("1", "2")),)), SHAPE)
    with pytest.raises(UnreadableError, match="has no column destination"):
        records(Table((Row(1, ("1", "2")),), columns=("id", "setid")), SHAPE)
    with pytest.raises(UnreadableError, match="line 2: 2 cells where the table has 3 columns"):
        records(Table((Row(1, ("id", "setid", "destination")), Row(2, ("1", "2")))), SHAPE)


COLUMNS = ("id", "setid", "destination", "attrs")
# What a box cannot hold, a bar and a line break, no OpenSIPS table needs; edges are trimmed there.
CELL = st.text(st.characters(blacklist_categories=("Cs", "Cc", "Zl", "Zp"), blacklist_characters="|\x85"), max_size=12)
TRIMMED = CELL.map(str.strip).filter(lambda text: text not in {"NULL", r"\N"} and not text.startswith("+-"))
TABLES = st.lists(st.tuples(*[TRIMMED] * len(COLUMNS)), min_size=1, max_size=6)


def as_box(rows):
    width = max(len(cell) for row in rows for cell in row) + 1
    line = "+" + "+".join("-" * (width + 1) for _ in COLUMNS) + "+\n"
    body = "".join("|" + "|".join(f" {cell:<{width}}" for cell in row) + "|\n" for row in [COLUMNS, *rows])
    return f"{line}{body}{line}"


def as_tabs(rows):
    return "".join("\t".join(cell.replace("\\", "\\\\") for cell in row) + "\n" for row in [COLUMNS, *rows])


def as_db_text(rows):
    head = "id(int,auto) setid(int) destination(string) attrs(string,null)\n"
    return head + "".join(":".join(re.sub(r"([\\:])", r"\\\1", cell) for cell in row) + "\n" for row in rows)


def as_mysqldump(rows):
    values = ",".join(
        "(" + ",".join("'" + re.sub(r"(['\\])", r"\\\1", cell) + "'" for cell in row) + ")" for row in rows
    )
    return f"CREATE TABLE `t` (`{'` int, `'.join(COLUMNS)}` int);\nINSERT INTO `t` VALUES {values};\n"


def as_pg_dump(rows):
    return "-- PostgreSQL database dump\n" + "".join(
        f"INSERT INTO t ({', '.join(COLUMNS)}) VALUES ("
        + ", ".join("'" + cell.replace("'", "''") + "'" for cell in row)
        + ");\n"
        for row in rows
    )


def as_copy(rows):
    body = "".join("\t".join(cell.replace("\\", "\\\\") for cell in row) + "\n" for row in rows)
    return f"COPY t ({', '.join(COLUMNS)}) FROM stdin;\n{body}\\.\n"


@settings(max_examples=40, deadline=None)
@given(TABLES)
def test_a_table_is_the_same_through_every_format(rows):
    expected = [dict(zip(COLUMNS, row, strict=True)) for row in rows]
    for written in (as_box, as_tabs, as_db_text, as_mysqldump, as_pg_dump, as_copy):
        if written in {as_tabs, as_copy} and any(not "".join(row).strip() for row in rows):
            continue  # a line of blanks alone is none
        if written is as_tabs and any(row[0].startswith("|") for row in rows):
            continue
        _, [table] = read(written(rows).encode())
        read_back = [dict(record.values) for record in records(table, SHAPE)]
        assert read_back == expected, written.__name__


WORDS = [
    "INSERT",
    "INTO",
    "dispatcher",
    "VALUES",
    "CREATE",
    "TABLE",
    "t",
    "COPY",
    "FROM",
    "stdin",
    "NULL",
    "setid",
    "destination",
    "weight",
    "id(int)",
    "1",
    "0x",
    "E'",
    "_b",
    ",",
    ";",
    "(",
    ")",
    "'",
    '"',
    "`",
    "\\",
    "\\.",
    "--",
    "/*",
    "*/",
    "::",
    ".",
    ":",
    "|",
    "+--",
    "sip:10.0.0.1",
    "fs://:p@10.0.0.1",
]
PIECES = st.sampled_from([*WORDS, "\t", "\n", " ", " "])


@settings(max_examples=100, deadline=None)
@given(st.one_of(st.binary(max_size=60), st.lists(PIECES, max_size=40).map(lambda pieces: " ".join(pieces).encode())))
def test_whatever_comes_is_read_or_refused_in_words(data):
    with contextlib.suppress(UnreadableError):
        for table in read(data)[1]:
            assert all(len(record.values) == len(table.columns or SHAPE.widths[3]) for record in records(table, SHAPE))


def test_statements_of_no_interest_may_hold_what_no_dump_of_a_table_does():
    text = "CREATE FUNCTION größe() AS $$ BEGIN RETURN 1 \\ 2; END $$;\nINSERT INTO t VALUES (1);\n"
    assert cells(text) == [("1",)]
