"""Ways to spoil a file, as strategies: a mutation is drawn as plain data, so that it can be shrunk and printed."""

from collections.abc import Callable

from hypothesis import strategies as st

Mutation = Callable[[bytes], bytes]

IMPOSTORS = (
    b"",
    b"\x00",
    b"<!DOCTYPE html><html><body>Sign in</body></html>",
    b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
    b"PK\x03\x04" + bytes(60),
    b"PK\x05\x06" + bytes(18),
    b"\x1f\x8b\x08\x00" + bytes(30),
    b"BZh91AY&SY",
    b"\xfd7zXZ\x00\x00\x04",
    b"(\xb5/\xfd\x04\x00",
    b"7z\xbc\xaf'\x1c\x00\x04",
    b"PAR1" + bytes(20) + b"PAR1",
    b"\x89PNG\r\n\x1a\n" + bytes(20),
    b"\xff\xd8\xff\xe0" + bytes(20),
    b"GIF89a\x01\x00\x01\x00\x00\x00\x00;",
    b"\x89HDF\r\n\x1a\n" + bytes(100),
    b"\x93NUMPY\x01\x00v\x00{'descr': '|O', 'fortran_order': False, 'shape': (3,), }",
    b"\x93NUMPY\x01\x00v\x00{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999,), }",
    b"\x80\x02cos\nsystem\nq\x00X\x02\x00\x00\x00idq\x01\x85q\x02Rq\x03.",
    b"\x00\x00\x08\x03\x7f\xff\xff\xff\x00\x00\x00\x1c\x00\x00\x00\x1c",
    b"\xff\xff\xff\xff\xff\xff\xff\x7f{}",
    b"\x02\x00\x00\x00\x00\x00\x00\x00{}",
    b"MATLAB 7.3 MAT-file, Platform: GLNXA64" + bytes(100),
    b"\xef\xbb\xbf",
    "größer".encode("latin-1"),
    "version = 1".encode("utf-16"),
)
"""What people have under a name that promises something else."""


def _cut(at: float) -> Mutation:
    return lambda raw: raw[: int(at * len(raw))]


def _written(at: float, what: bytes) -> Mutation:
    def mutate(raw: bytes) -> bytes:
        place = int(at * len(raw))
        return raw[:place] + what + raw[place + len(what) :]

    return mutate


def _inserted(at: float, what: bytes) -> Mutation:
    return lambda raw: raw[: int(at * len(raw))] + what + raw[int(at * len(raw)) :]


def _dropped(at: float, count: int) -> Mutation:
    return lambda raw: raw[: int(at * len(raw))] + raw[int(at * len(raw)) + count :]


def _replaced(what: bytes) -> Mutation:
    return lambda raw: what


def _twice(raw: bytes) -> bytes:
    return raw + raw


places = st.floats(0, 1)
heads = st.floats(0, 0.05)
"""Where formats keep what they say of themselves."""

spoiled: st.SearchStrategy[Mutation] = st.one_of(
    st.builds(_cut, places),
    st.builds(_written, places | heads, st.binary(min_size=1, max_size=16)),
    st.builds(_inserted, places | heads, st.binary(min_size=1, max_size=16)),
    st.builds(_dropped, places | heads, st.integers(1, 64)),
    st.builds(_replaced, st.sampled_from(IMPOSTORS) | st.binary(max_size=200)),
    st.just(_twice),
)
"""Bytes of any file: cut, overwritten, inserted, dropped, replaced or doubled."""

ODD = """
0 1 2 -1 1e999 -0.0 nan inf true false "" [] {} " null 1_000 99999999999999999999 0.5 3.7 "é" "../../etc/passwd"
'x' [[1]] ["crop","crop"] 1979-05-27 0x10 "atom" "small-cnn" "linf" "\\u0000"
"""

odd_values = st.one_of(
    st.sampled_from([*ODD.split(), "[1, 2", '"a b"']),
    st.integers(-300, 300).map(str),
    st.floats(allow_nan=True).map(str),
)
"""What somebody may write behind an equals sign or between two commas."""


def _edited(line: int, how: str, value: str) -> Mutation:
    def mutate(raw: bytes) -> bytes:
        lines = raw.decode("utf-8").splitlines()
        at = line % len(lines)
        name, equals, _ = lines[at].partition("=")
        changed = {
            "drop": [],
            "twice": [lines[at], lines[at]],
            "value": [f"{name}= {value}" if equals else value],
            "name": [f"{value}{equals}{lines[at].partition('=')[2]}"],
            "insert": [lines[at], f"{value} = {value}"],
        }[how]
        return "\n".join([*lines[:at], *changed, *lines[at + 1 :]]).encode() + b"\n"

    return mutate


def _encoded(encoding: str) -> Mutation:
    return lambda raw: raw.decode("utf-8").encode(encoding, errors="replace")


def _substituted(old: str, new: str) -> Mutation:
    return lambda raw: raw.decode("utf-8").replace(old, new).encode()


encodings = st.sampled_from(["utf-16", "utf-8-sig", "latin-1", "cp037", "utf-32"])

edited_toml: st.SearchStrategy[Mutation] = st.one_of(
    st.builds(_edited, st.integers(0, 60), st.sampled_from(["drop", "twice", "value", "name", "insert"]), odd_values),
    st.builds(_encoded, encodings),
    spoiled,
)


def _cell(row: int, column: int, value: str) -> Mutation:
    def mutate(raw: bytes) -> bytes:
        lines = raw.decode("utf-8").splitlines()
        at = row % len(lines)
        cells = lines[at].split(",")
        cells[column % len(cells)] = value.replace(",", ";")
        return "\n".join([*lines[:at], ",".join(cells), *lines[at + 1 :]]).encode() + b"\n"

    return mutate


edited_csv: st.SearchStrategy[Mutation] = st.one_of(
    st.builds(_cell, st.integers(0, 40), st.integers(0, 40), odd_values),
    st.builds(_substituted, st.sampled_from([",", "\n", "."]), st.sampled_from([";", "\t", "\r\n", ",", "", '"'])),
    st.builds(_encoded, encodings),
    spoiled,
)
