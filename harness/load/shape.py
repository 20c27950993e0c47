"""What a scenario says of itself: its options, its phases, what its members do in them, and which benchmarks judge it.

A scenario file makes one Shape and hands it to `install`. Nothing here knows Locust, and nothing here runs anything: the conductor calls
`conduct`, the members call `acts`, and the journal's header carries `judged` to the analysis.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from schemas import load_contract

if TYPE_CHECKING:
    from harness.load.caster import Caster
    from harness.load.conductor import Conductor
    from harness.load.member import Member
    from harness.load.settings import Settings
    from harness.load.station import PlanStart
    from harness.measure.plan import Plan
    from harness.target import Target

__all__ = ["CASTING", "COMMON", "USUAL", "Act", "Option", "Planning", "Shape", "Value", "announce", "announced", "steady"]

Value = int | float | str
Act = Callable[["Member", Mapping[str, Any]], None]
"""What a member does when the conductor calls for it by name, with what it was told."""

USUAL = ("latency", "latency_stamped", "connections", "broadcast_rate", "delivery", "memory", "misdirected", "duplicated", "reordered",
         "invalid_frames", "closes", "unmatched")  # fmt: skip
"""The benchmarks of the contract's own load test."""


@dataclass(frozen=True, slots=True)
class Option:
    """A long option without its dashes. The type of `default` is the option's; `least` is the smallest number allowed."""

    name: str
    default: Value
    help: str
    least: float | None = None

    @property
    def key(self) -> str:
        """Its name in `Settings.own` and in the journal."""
        return self.name.replace("-", "_")


def _common() -> tuple[Option, ...]:
    benchmark = load_contract().benchmark
    return (
        Option("viewers", benchmark.connections, "sockets, of all processes together", 1),
        Option("spawn-rate", 100.0, "connections opened per second", 1e-9),
        Option("seed", 1, "of everything that is drawn"),
    )


def _casting() -> tuple[Option, ...]:
    benchmark = load_contract().benchmark
    return (
        Option("rate", float(benchmark.broadcasts_per_second), "votes cast per second, all processes together", 1e-9),
        Option("duration", benchmark.steady, "seconds of the steady phase, which is judged", 1e-9),
        Option("warmup", 5.0, "seconds of the same load before it, which are not judged", 0),
        Option("features", 100, "features voted on in turn; more of them keep votes on one further apart", 1),
        Option("voters", 20, "users who vote in turn", 1),
        Option("drain", 10.0, "most seconds to wait for the last deliveries", 0),
    )


COMMON = _common()
"""Options of every scenario."""
CASTING = _casting()
"""Options of every scenario that casts votes."""


def steady(run: Conductor) -> None:
    """The plain course of a run: everybody comes, votes are cast, the last deliveries are waited for."""
    run.ramp()
    run.cast()


def _nothing(_: Member) -> None:
    pass


@dataclass(frozen=True, slots=True)
class Planning:
    """A plan that is not votes at an even rate.

    make: the plan of a run, the target being set for it (the conductor, before the first socket). read: the same plan from its parts.
    carry: a member begins with it, and says who casts its share; None where it is votes and nothing else.
    """

    make: Callable[[Settings, Target], Plan]
    read: Callable[[Mapping[str, Any]], Plan]
    carry: Callable[[Member, PlanStart], Caster] | None = None


@dataclass(frozen=True, slots=True)
class Shape:
    """One scenario. `options` are its own, beside COMMON and (with `casts`) CASTING, whose defaults `defaults` changes by name.

    judged: ids of `harness.analysis.judge.BENCHMARKS`. merges: the target may merge votes on one feature, because the plan asks for more
    than it may send; the bundled server then keeps the contract's cap, which is else raised with the rate.
    own_server: where no target is named it starts (and ends, and starts again) the bundled server itself.
    plan: what is cast, where that is not votes at an even rate.
    fit_by_step: the load grows until something gives; whether the generator was fit is then said of each step, and not of the run.
    start: what each member does before its first socket; acts: what it does when the conductor calls.
    """

    name: str
    about: str
    options: tuple[Option, ...] = ()
    defaults: Mapping[str, Value] = field(default_factory=dict)
    judged: tuple[str, ...] = USUAL
    casts: bool = True
    merges: bool = False
    plan: Planning | None = None
    fit_by_step: bool = False
    own_server: bool = False
    conduct: Callable[[Conductor], None] = steady
    start: Callable[[Member], None] = _nothing
    acts: Mapping[str, Act] = field(default_factory=dict)

    def all_options(self) -> tuple[Option, ...]:
        """Common ones first, each with this scenario's default."""
        shared = (*COMMON, *(CASTING if self.casts else ()))
        mine = tuple(Option(each.name, self.defaults.get(each.name, each.default), each.help, each.least) for each in shared)
        return (*mine, *self.options)


_announced: list[Shape] = []


def announce(shape: Shape) -> None:
    """Make it known which scenario this process's locustfile is."""
    _announced[:] = [shape]


def announced() -> Shape | None:
    """The scenario of this process; None while no locustfile has announced one."""
    return _announced[0] if _announced else None
