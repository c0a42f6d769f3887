"""What the ledger says to a wrong argument."""

import math

import pytest

from hpo_gn.errors import (
    ArgumentError,
)

_INTEGER = "must be an integer from 1 to 2147483647, got"
_NUMBER = "must be a finite number of seconds, 0 or more, got"


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
class TestBadArguments:
    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"limit": 0}, f"budget {_INTEGER} 0"),
            ({"limit": -1}, f"budget {_INTEGER} -1"),
            ({"limit": 2.0}, rf"budget {_INTEGER} 2\.0"),
            ({"limit": True}, f"budget {_INTEGER} True"),
            ({"limit": "9"}, f"budget {_INTEGER} '9'"),
            ({"limit": 2**31}, f"budget {_INTEGER} 2147483648"),
            ({"lease_s": 0}, "lease_s must be a finite number of seconds, more than 0, got 0"),
            ({"lease_s": math.nan}, "lease_s must be a finite number of seconds, more than 0, got nan"),
            ({"lease_s": math.inf}, "lease_s must be a finite number of seconds, more than 0, got inf"),
            ({"lease_s": "60"}, "lease_s must be a finite number of seconds, more than 0, got '60'"),
            ({"study": ""}, "study must be a text of 1 to 512 characters, got ''"),
            ({"study": None}, "study must be a text of 1 to 512 characters, got None"),
            ({"owner": ""}, "owner must be a text of 1 to 256 characters, got ''"),
            ({"owner": "o" * 257}, "owner must be a text of 1 to 256 characters, got 'o+'"),
        ],
    )
    def test_of_the_ledger(self, open_ledger, options, message):
        with pytest.raises(ArgumentError, match=f"^{message}$"):
            open_ledger(**({"limit": 1} | options))

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"epochs": 0}, f"epochs {_INTEGER} 0"),
            ({"epochs": 1.5}, rf"epochs {_INTEGER} 1\.5"),
            ({"epochs": None}, f"epochs {_INTEGER} None"),
            ({"gpus": 0}, f"gpus {_INTEGER} 0"),
            ({"gpus": False}, f"gpus {_INTEGER} False"),
            ({"measuring": -0.1}, r"measuring must be a number from 0 to 1024, got -0\.1"),
            ({"measuring": 1025}, "measuring must be a number from 0 to 1024, got 1025"),
            ({"measuring": math.nan}, "measuring must be a number from 0 to 1024, got nan"),
            ({"measuring": True}, "measuring must be a number from 0 to 1024, got True"),
            ({"measuring": "1"}, "measuring must be a number from 0 to 1024, got '1'"),
            ({"trial": -1}, "trial must be an integer from 0 to 2147483647, got -1"),
            ({"trial": True}, "trial must be an integer from 0 to 2147483647, got True"),
            ({"trial": "3"}, "trial must be an integer from 0 to 2147483647, got '3'"),
            ({"key": ""}, "key must be a text of 1 to 64 characters, got ''"),
            ({"key": "k" * 65}, "key must be a text of 1 to 64 characters, got 'k+'"),
        ],
    )
    def test_of_a_hold(self, ledger, options, message):
        with pytest.raises(ArgumentError, match=f"^{message}$"):
            ledger.hold(**({"trial": 0, "epochs": 1} | options))
        assert ledger.open_holds() == []

    @pytest.mark.parametrize("epoch", [0, -1, 1.0, "1", True, 2**31])
    def test_of_a_charge(self, ledger, epoch):
        hold = ledger.hold(0, epochs=8)
        with pytest.raises(ArgumentError, match=f"^epoch {_INTEGER} {epoch!r}$"):
            hold.charge(epoch)
        assert ledger.account().spent == 0

    @pytest.mark.parametrize("value", [-1, math.nan, math.inf, "1", None, True])
    @pytest.mark.parametrize("name", ["training_s", "measuring_s"])
    def test_of_a_record(self, ledger, name, value):
        hold = ledger.hold(0, epochs=8)
        hold.charge()
        with pytest.raises(ArgumentError, match=f"^{name} {_NUMBER} {value!r}$"):
            hold.record(1, **({"training_s": 1, "measuring_s": 1} | {name: value}))
        assert ledger.seconds() == (0, 0)

    @pytest.mark.parametrize("call", ["renew", "charge", "record", "settle"])
    def test_of_an_unknown_key(self, ledger, call):
        arguments = {
            "renew": {},
            "charge": {"epoch": 1},
            "record": {"epoch": 1, "training_s": 0, "measuring_s": 0},
            "settle": {"reason": ""},
        }
        with pytest.raises(ArgumentError, match=r"^key must be that of a hold of this account, got 'no'$"):
            getattr(ledger, call)("no", **arguments[call])

    def test_what_is_too_long_for_a_column_is_cut_where_nothing_depends_on_it(self, ledger, raw):
        ledger.hold(0, epochs=1).settle("r" * 1000)
        assert raw("SELECT reason FROM hpo_gn_holds") == [("r" * 256,)]
