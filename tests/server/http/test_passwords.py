"""Password hashes: the right password verifies, any other does not, and equal passwords do not look equal."""

from __future__ import annotations

import time

import pytest

from server_under_test.passwords import DECOY, hash_password, verify_password


@pytest.mark.parametrize("password", ["correct horse", "p\u00e4ssw\u00f6rd \U0001f600", "", "lone \ud800 surrogate"])
def test_only_the_password_itself_verifies(password: str) -> None:
    stored = hash_password(password)
    assert verify_password(password, stored)
    assert not verify_password(password + " ", stored)
    assert stored.startswith("scrypt$14$8$1$")


def test_every_hash_has_a_salt_of_its_own() -> None:
    assert hash_password("same") != hash_password("same")


def test_the_decoy_costs_as_much_and_fits_nothing() -> None:
    started = time.process_time()
    assert not verify_password("", DECOY)
    assert time.process_time() - started > 0.002  # real work: an early return takes microseconds


def test_a_foreign_hash_is_an_error() -> None:
    with pytest.raises(ValueError, match="md5"):
        verify_password("x", "md5$1$1$1$eA==$eA==")
