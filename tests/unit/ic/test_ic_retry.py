import pytest

from dfx_backup.errors import CertificateError, NetworkError, RejectError, UnknownOutcomeError
from dfx_backup.ic.outcome import UncertifiedOutcomeError
from dfx_backup.ic.retry import Backoff, RetryPolicy, passes, rejection_passes_for_reads
from dfx_backup.ic.transport import HttpStatusError, TransportError


def reject(code: str | None, text: str = "") -> RejectError:
    return RejectError("x", reject_code=2, reject_message=text, error_code=code)


def unknown(kind: type[UnknownOutcomeError] = UnknownOutcomeError) -> UnknownOutcomeError:
    return kind("x", request_id="00", expires_at=0.0)


PASSING = [
    TransportError("x", sent=True),
    TransportError("x", sent=False),
    HttpStatusError("x", status=429),
    HttpStatusError("x", status=500),
    HttpStatusError("x", status=503),
    reject("IC0210"),
    reject("IC0211"),
    reject("IC0504", "Error from Wasm chunk store: Canister is heap delta rate limited"),
    reject("IC0406", "Snapshot is not currently loadable by the canister"),
]
LASTING = [
    TransportError("x", sent=True, final=True),
    HttpStatusError("x", status=400),
    HttpStatusError("x", status=404),
    *(reject(code) for code in ("IC0207", "IC0305", "IC0408", "IC0409", "IC0512", "IC0101")),
    reject("IC0504", "Error from Wasm chunk store: Wasm chunk size exceeds the maximum"),
    reject("IC0406", "Canister x has reached the maximum number of snapshots allowed: 10."),
    reject(None),
    unknown(),
    CertificateError("x"),
    NetworkError("x"),
]


@pytest.mark.parametrize("error", PASSING)
def test_what_passes(error: NetworkError) -> None:
    assert passes(error)


@pytest.mark.parametrize("error", LASTING)
def test_what_does_not_pass(error: NetworkError) -> None:
    assert not passes(error)


def test_a_lost_answer_is_asked_for_again_by_reads_only() -> None:
    assert rejection_passes_for_reads(unknown())
    assert not rejection_passes_for_reads(unknown(UncertifiedOutcomeError))
    assert not rejection_passes_for_reads(reject("IC0207"))


def test_waits_grow_to_a_limit_and_are_spread() -> None:
    low = Backoff(first_s=1, factor=2, longest_s=10, rng=lambda: 0.0)
    high = Backoff(first_s=1, factor=2, longest_s=10, rng=lambda: 1.0)
    assert [high.wait_s(n) for n in range(6)] == [1, 2, 4, 8, 10, 10]
    assert [low.wait_s(n) for n in range(3)] == [0.5, 1, 2]
    assert high.wait_s(10**9) == 10


class Scene:
    def __init__(self, *errors: NetworkError) -> None:
        self.errors = list(errors)
        self.now = 0.0
        self.calls = 0

    def act(self) -> str:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return "done"

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def policy(self, attempts: int = 8, within_s: float = 60) -> RetryPolicy:
        return RetryPolicy(
            attempts=attempts,
            within_s=within_s,
            backoff=Backoff(rng=lambda: 1.0),
            sleep=self.sleep,
            monotonic=lambda: self.now,
        )


def test_passing_errors_are_outlasted() -> None:
    scene = Scene(reject("IC0210"), reject("IC0211"))
    assert scene.policy().run(scene.act) == "done"
    assert scene.now == pytest.approx(1 + 1.6)


def test_a_lasting_error_ends_it_at_once() -> None:
    scene = Scene(reject("IC0207"))
    with pytest.raises(RejectError):
        scene.policy().run(scene.act)
    assert (scene.calls, scene.now) == (1, 0)


def test_attempts_and_time_are_bounded() -> None:
    scene = Scene(*[reject("IC0210")] * 100)
    with pytest.raises(RejectError):
        scene.policy(attempts=4).run(scene.act)
    assert scene.calls == 4
    scene = Scene(*[reject("IC0210")] * 100)
    with pytest.raises(RejectError):
        scene.policy(attempts=1000, within_s=20).run(scene.act)
    assert scene.now <= 20


def test_a_server_that_asks_for_patience_gets_it() -> None:
    scene = Scene(HttpStatusError("x", status=429, retry_after_s=9))
    scene.policy().run(scene.act)
    assert scene.now == 9
