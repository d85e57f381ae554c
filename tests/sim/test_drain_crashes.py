"""A drainer that dies at any moment: the next one finds everything, and the store has it once."""

from __future__ import annotations

from pathlib import Path

from tests.sim.disk import Faults
from tests.sim.loop import elapse
from tests.unit.sidecar.drain_world import Drain, Volume, play_volume


async def crash(volume: Volume, cut: int, keep: float) -> Drain:
    """A drainer whose machine loses power at its operation ``cut``."""
    volume.disk.faults = Faults(cut_at_operation=volume.disk.operations + cut)
    drain = await volume.drained()
    volume.disk = volume.disk.cut(keep) if volume.disk.dead else volume.disk.killed()
    return drain


def test_wherever_the_power_fails_nothing_is_lost_and_nothing_comes_twice(files: Path) -> None:
    """The records of each instance arrive once, whatever drainers died meanwhile; then all goes."""

    async def script(volume: Volume) -> None:
        crashed, cut = 0, 0
        while True:
            cut += 1
            await volume.leave(2)
            drain = await crash(volume, cut, keep=(cut % 3) / 2)
            if drain.code is not None:
                break
            crashed += 1
            if cut % 2:
                await crash(volume, 1 + cut // 2, keep=0.5)
            final = await volume.drained()
            left = final.told[-1].left
            # A record of a drainer that was torn, and that nobody was answered for, is kept.
            assert all("quarantine" in one.why for one in left), f"cut {cut}: {left}"
            assert final.code == (75 if left else 0), f"cut {cut}"
            assert not [path for path in volume.spooled() if "/seg-" in path], f"cut {cut}"
            volume.disk = volume.disk.killed()
            # The nonces of those that died end: an issuer keeps so many open, and no more.
            await elapse(60)
        assert crashed > 25
        stored = volume.stored()
        assert {name: stored[name] for name in volume.left} == volume.left

    play_volume(script, files)
