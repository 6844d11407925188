"""A team of threads, which meet in a store as processes do: claims, waits, errors and the dead."""

import os
import threading
import time
from datetime import timedelta
from itertools import chain
from pathlib import Path

import polars as pl
import pytest
from torch.distributed import HashStore, TCPStore

from corrpo.cli.main import main
from corrpo.errors import BadInputError, CorrpoError, NonFiniteError, OutputFolderError
from corrpo.jobs.folder_lock import locked_by_team, locked_folder
from corrpo.jobs.process_team import Team
from corrpo.jobs.run_folder import Part, RunFolder
from corrpo.jobs.torchrun import current_team, device_of_process, launched

SIZE = 3


def outcomes(work, size: int = SIZE, patience: float = 30.0) -> list:
    """What `work(team)` returns or raises on each member of a team."""
    store, ended = HashStore(), [None] * size

    def member(rank: int) -> None:
        try:
            ended[rank] = work(Team(rank, size, store, patience=patience))
        except BaseException as error:
            ended[rank] = error

    threads = [threading.Thread(target=member, args=(rank,)) for rank in range(size)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    return ended


def test_every_piece_is_claimed_by_one_and_values_come_from_the_first():
    def work(team: Team):
        with team.together() as first:
            mine = [name for name in map(str, range(50)) if first.claim(name)]
        with team.together() as second:
            value = second.from_first(lambda: {"rank": team.rank})
            again = [name for name in map(str, range(50)) if second.claim(name)]
        return mine, value, again

    ended = outcomes(work)
    for claims in ([mine for mine, _, _ in ended], [again for _, _, again in ended]):
        assert sorted(chain(*claims), key=int) == [str(number) for number in range(50)]
    assert [value for _, value, _ in ended] == [{"rank": 0}] * SIZE


@pytest.mark.parametrize("failing", [(1,), (0,), (2, 1), (0, 1, 2)])
def test_an_error_is_that_of_all_and_reported_by_one(failing):
    def fails(team: Team) -> None:
        with team.together() as stretch:
            if team.rank in failing:
                raise NonFiniteError(f"process {team.rank} fails")
            stretch.wait("the others")

    def work(team: Team):
        errors = []
        for _ in range(2):
            with (
                pytest.raises(NonFiniteError, match="process [0-2] fails") as raised,
                team.together() as outer,
            ):
                fails(outer)
            errors.append(raised.value)
        with team.together() as stretch:
            return errors, stretch.from_first(lambda: "goes on")

    ended = outcomes(work)
    assert {after for _, after in ended} == {"goes on"}
    for turn in range(2):
        errors = [errors[turn] for errors, _ in ended]
        assert len({str(error) for error in errors}) == 1
        teller = int(str(errors[0]).split()[1])
        assert teller in failing
        assert [error.process for error in errors] == [None if n == teller else teller for n in range(SIZE)]


def test_an_error_in_a_longer_stretch_ends_those_within():
    """As where one process cannot load a model, and the others are at its samples already."""

    def work(team: Team):
        with team.together() as outer:
            if team.rank == 1:
                raise MemoryError("no room for the weights")
            with outer.together() as inner:
                inner.wait("parts")

    results = outcomes(work)
    assert isinstance(results[1], MemoryError)
    for ended in (results[0], results[2]):
        assert isinstance(ended, CorrpoError)
        assert str(ended) == "MemoryError: no room for the weights"
        assert ended.process == 1


def test_an_interrupt_stops_all_without_waiting():
    def work(team: Team):
        with team.together() as stretch:
            if team.rank == 2:
                raise KeyboardInterrupt
            stretch.wait("for ever")

    results = outcomes(work)
    assert isinstance(results[2], KeyboardInterrupt)
    assert [str(ended) for ended in results[:2]] == ["KeyboardInterrupt: "] * 2


@pytest.mark.parametrize("dead", [0, 2])
def test_the_dead_are_noticed(dead, monkeypatch):
    monkeypatch.setattr("corrpo.jobs.process_team.BEAT", 0.05)
    monkeypatch.setattr("corrpo.jobs.torchrun.BEAT", 0.05)

    def work(team: Team):
        stopping = threading.Event()
        if team.rank == dead:
            return "dead"
        beating = threading.Thread(target=beat, args=(team, stopping))
        beating.start()
        try:
            with team.together():
                pass
        finally:
            stopping.set()
            beating.join()

    from corrpo.jobs.torchrun import _beat as beat

    ended = outcomes(work, patience=0.5)
    for rank in {0, 1, 2} - {dead}:
        assert f"process {dead} of 3 has given no sign of life for 0 s" in str(ended[rank])


def test_a_store_that_has_gone_is_reported():
    store = TCPStore("localhost", 0, is_master=True, wait_for_workers=False)
    client = TCPStore("localhost", store.port, is_master=False, timeout=timedelta(seconds=2))
    team = Team(1, 2, client)
    assert team.claim("part")
    del store
    with pytest.raises(CorrpoError, match="the connection to the other processes is lost"):
        team.claim("another")


def table(number: int) -> pl.DataFrame:
    return pl.DataFrame({"number": [number]})


def parts(made: list, slow: int = -1) -> list[Part]:
    def make(number: int) -> pl.DataFrame:
        made.append(number)
        time.sleep(0.5 if number == slow else 0.002)
        return table(number)

    return [
        Part(f"part-{number:02d}", lambda number=number: make(number), 1 + number % 3) for number in range(20)
    ]


def test_parts_are_made_once_by_whoever_is_free(tmp_path):
    made = []
    (tmp_path / "parts").mkdir()
    (tmp_path / "settings.json").write_text('{"seed": 0}')
    table(7).write_parquet(tmp_path / "parts" / "part-07.parquet")
    (tmp_path / "parts" / ".part-08.parquet.3.tmp").write_text("half")

    def work(team: Team):
        mine, advanced = [], []
        with RunFolder(tmp_path, {"seed": 0}, team).claimed() as run:
            run.make(parts(mine, slow=2), advanced.append)
            made.append(mine)
            return pl.concat(run.read(parts(mine)))["number"].to_list(), sum(advanced)

    ended = outcomes(work)
    assert [numbers for numbers, _ in ended] == [list(range(20))] * SIZE
    assert ended[0][1] == sum(part.size for part in parts([]))
    assert sorted(chain(*made)) == [number for number in range(20) if number != 7]
    assert [2] in made  # who was busy with the slow one did little else
    assert not list(tmp_path.rglob("*.tmp"))
    assert not list(tmp_path.glob(".seen*"))


def test_an_error_keeps_the_parts_that_are_done(tmp_path):
    def work(team: Team):
        def fail() -> pl.DataFrame:
            raise NonFiniteError("sample 'bad'")

        with RunFolder(tmp_path, {}, team).claimed() as run:
            run.make([*parts([]), Part("part-20", fail, 1)], lambda size: None)

    for ended in outcomes(work):
        assert isinstance(ended, NonFiniteError)
    done = len(list((tmp_path / "parts").glob("part-*")))
    assert done >= 13  # the larger parts come first
    with locked_folder(tmp_path):
        pass


def test_other_settings_on_one_process_are_refused(tmp_path):
    def work(team: Team):
        with RunFolder(tmp_path, {"versions": {"torch": f"2.{team.rank // 2}"}}, team).claimed():
            pass

    for ended in outcomes(work):
        assert isinstance(ended, BadInputError)
        assert "process 2 was given another run than process 0: versions.torch was '2.0'" in str(ended)
    assert not (tmp_path / "settings.json").exists()


def test_a_folder_that_is_not_shared_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("corrpo.jobs.folder_lock._SHARED_WITHIN", 0.2)

    def work(team: Team):
        with locked_by_team(tmp_path / str(team.rank // 2), team):
            pass

    for ended in outcomes(work):
        assert isinstance(ended, OutputFolderError)
        assert "process 2 on" in str(ended)
        assert "need a folder that all of them share" in str(ended)


def test_a_held_folder_is_refused_to_all(tmp_path):
    def work(team: Team):
        with locked_by_team(tmp_path, team):
            pass

    with locked_folder(tmp_path):
        results = outcomes(work)
    assert {str(ended) for ended in results} == {
        f"{tmp_path}: another process is writing there; wait for it, or give another --output"
    }


def test_nothing_started_several_processes(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    with launched() as team:
        assert (team.rank, team.size, current_team().size) == (0, 1, 1)
    assert device_of_process("auto") == "auto"


def test_a_process_for_each_gpu(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("corrpo.jobs.torchrun.current_team", lambda: Team(5, 16, HashStore()))
    monkeypatch.setenv("LOCAL_RANK", "5")
    for gpus, device in ((8, "cuda:5"), (1, "cuda:0")):
        monkeypatch.setattr("torch.cuda.device_count", lambda gpus=gpus: gpus)
        assert device_of_process("auto") == device_of_process("cuda") == device
    assert device_of_process("cpu") == "cpu"
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    with pytest.raises(BadInputError, match="process 5 of this machine has no GPU, as there are 4"):
        device_of_process("auto")


def test_processes_that_cannot_be_met_are_reported(monkeypatch, capsys):
    monkeypatch.setattr("corrpo.jobs.torchrun._MEETING", timedelta(seconds=1))
    given = {
        "RANK": "1",
        "WORLD_SIZE": "2",
        "LOCAL_RANK": "1",
        "MASTER_ADDR": "localhost",
        "MASTER_PORT": "1",
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert main(["measure", "lab:qwen2/base", "--samples", "lab:base", "--output", os.devnull]) == 1
    assert "cannot meet the other processes at localhost:1" in capsys.readouterr().err
    assert Path(os.devnull).exists()
