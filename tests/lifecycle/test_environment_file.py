from __future__ import annotations

import io

import pytest
from dotenv import dotenv_values
from hypothesis import given, settings
from hypothesis import strategies as st

from guardian_cli.lifecycle.environment_file import set_variables, variables_in

NAME = "NSFW_MODEL_ENDPOINT"


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"", b"NSFW_MODEL_ENDPOINT=new\n"),
        (b"A=1", b"A=1\nNSFW_MODEL_ENDPOINT=new\n"),
        (b"A=1\r\nB=2\r\n", b"A=1\r\nB=2\r\nNSFW_MODEL_ENDPOINT=new\r\n"),
        (b"A=1\r\nB=2", b"A=1\r\nB=2\r\nNSFW_MODEL_ENDPOINT=new\r\n"),
        (b"NSFW_MODEL_ENDPOINT=old\nA=1\n", b"NSFW_MODEL_ENDPOINT=new\nA=1\n"),
        (b"NSFW_MODEL_ENDPOINT=old", b"NSFW_MODEL_ENDPOINT=new"),
        (b"NSFW_MODEL_ENDPOINT=old\r\nA=1\r\n", b"NSFW_MODEL_ENDPOINT=new\r\nA=1\r\n"),
        (b"export NSFW_MODEL_ENDPOINT=old\n", b"export NSFW_MODEL_ENDPOINT=new\n"),
        (b"  NSFW_MODEL_ENDPOINT = old  # why\n", b"  NSFW_MODEL_ENDPOINT = new  # why\n"),
        (b'NSFW_MODEL_ENDPOINT="old" # x\n', b'NSFW_MODEL_ENDPOINT="new" # x\n'),
        (b"NSFW_MODEL_ENDPOINT='old'\n", b"NSFW_MODEL_ENDPOINT='new'\n"),
        (b"NSFW_MODEL_ENDPOINT=\n", b"NSFW_MODEL_ENDPOINT=new\n"),
        (b"NSFW_MODEL_ENDPOINT= # later\n", b"NSFW_MODEL_ENDPOINT=new # later\n"),
        (b"#NSFW_MODEL_ENDPOINT=old\n", b"#NSFW_MODEL_ENDPOINT=old\nNSFW_MODEL_ENDPOINT=new\n"),
        (b"NSFW_MODEL_ENDPOINT\n", b"NSFW_MODEL_ENDPOINT\nNSFW_MODEL_ENDPOINT=new\n"),
        (
            b"NSFW_MODEL_ENDPOINT=a\nNSFW_MODEL_ENDPOINT=b\n",
            b"NSFW_MODEL_ENDPOINT=a\nNSFW_MODEL_ENDPOINT=new\n",
        ),
        (
            b'TEXT="one\nNSFW_MODEL_ENDPOINT=inside\ntwo"\n',
            b'TEXT="one\nNSFW_MODEL_ENDPOINT=inside\ntwo"\nNSFW_MODEL_ENDPOINT=new\n',
        ),
        (b"\xef\xbb\xbfNSFW_MODEL_ENDPOINT=old\n", b"\xef\xbb\xbfNSFW_MODEL_ENDPOINT=new\n"),
        (b"CAF\xe9=1\nNSFW_MODEL_ENDPOINT=old\n", b"CAF\xe9=1\nNSFW_MODEL_ENDPOINT=new\n"),
        (b"MY_NSFW_MODEL_ENDPOINT=1\n", b"MY_NSFW_MODEL_ENDPOINT=1\nNSFW_MODEL_ENDPOINT=new\n"),
        (b"\n\n# end\n\n", b"\n\n# end\n\nNSFW_MODEL_ENDPOINT=new\n"),
        (b"this is = not ' a line\n", b"this is = not ' a line\nNSFW_MODEL_ENDPOINT=new\n"),
    ],
)
def test_one_variable_is_set_and_the_rest_stays_to_the_byte(before: bytes, after: bytes) -> None:
    assert set_variables(before, {NAME: "new"}) == after
    assert set_variables(after, {NAME: "new"}) == after


@pytest.mark.parametrize(
    "value", ["https://h:1/score", "a b", "a#b", "k'q", 'k"q', "$HOME", "a\\b"]
)
@pytest.mark.parametrize("before", ["", f"{NAME}=x\n", f'{NAME}="x"\n', f"{NAME}='x'\n"])
def test_dotenv_reads_back_what_was_written(value: str, before: str) -> None:
    written = set_variables(before.encode(), {NAME: value})
    found = dotenv_values(stream=io.StringIO(written.decode()), interpolate=True)
    assert found[NAME] == value


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("A=1\nNSFW_MODEL_ENDPOINT=x # y\nB=2\n", "A=1\nB=2\n"),
        ("A=1\n\n  export NSFW_MODEL_ENDPOINT='x\ny'\nB=2", "A=1\n\nB=2"),
        ("NSFW_MODEL_ENDPOINT=x\n# z\nNSFW_MODEL_ENDPOINT=y", "# z\n"),
        ("A=1\r\n\r\nNSFW_MODEL_ENDPOINT=x\r\n", "A=1\r\n\r\n"),
        ("#NSFW_MODEL_ENDPOINT=x\n", "#NSFW_MODEL_ENDPOINT=x\n"),
    ],
)  # fmt: skip
def test_one_variable_is_taken_out_and_the_rest_stays_to_the_byte(before: str, after: str) -> None:
    assert set_variables(before.encode(), {NAME: None}) == after.encode()


LINES = st.sampled_from(
    [
        "# a comment", "", "   ", "A=1", "export B='two words'", 'C="x\ny"', "D", "E = 3 # three",
        "F=é", f"{NAME}=old", f'export {NAME}="old" # here', f"# {NAME}=old", "G==", "=", "'H'=1",
    ]
)  # fmt: skip


@settings(deadline=None)
@given(st.lists(LINES, max_size=8), st.sampled_from(["\n", "\r\n"]), st.booleans())
def test_whatever_else_the_file_says_stays(lines: list[str], end: str, closed: bool) -> None:
    text = end.join(lines) + (end if closed else "")
    written = set_variables(text.encode(), {NAME: "https://h/score", "NEW_KEY": "k"}).decode()
    before, after = variables_in(text.encode()), variables_in(written.encode())
    assert after == {**before, NAME: "https://h/score", "NEW_KEY": "k"}
    kept = [line for line in text.split(end) if NAME not in line]
    assert [line for line in written.split(end) if line in kept][: len(kept) - 1] == kept[:-1]
