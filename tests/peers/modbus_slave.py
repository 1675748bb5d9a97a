"""A relay board of another project: pymodbus as a Modbus RTU slave behind a pseudo-terminal.

Two pseudo-terminals act as the cable: a pump copies bytes between their masters. The program under test
opens one terminal, pymodbus the other.

Output, one item a line: `terminal PATH` (the terminal to open; at the start, and after `another`),
`coil N on|off` (a coil changes), `walk N` (a worker enters the sensor after a release), `ok COMMAND`.

Input, one command a line:
`input N on|off`
`coil N on|off`   another hand switches a coil
`refuse F X N`    the next N requests of function F get the exception X
`cut`, `mend`     the cable
`closed`          the program that had the terminal open is dead
`another`         a foreign program has the terminal, so the board changes to another terminal
`walks MS`        from now on a worker walks this long after each release; the sensor is the input with
                  the coil's number
`quit`
It also ends when its input ends.

Arguments: `--coil-on N` leaves a coil on from the start, as a crash would. `--second` adds a board at
address 2. Its number has the prefix `2:` in input and output. `--echo` makes the adapter receive what
the program sends.
"""

import argparse
import asyncio
import fcntl
import os
import sys
import termios
import tty

from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusSerialServer
from pymodbus.simulator import DataType, SimData, SimDevice

BAUD = 9600
READ_COILS, READ_INPUTS, WRITE_COIL = 1, 2, 5
# A worker stands in the passage sensor for WALK_S, and longer until WALK_LOOKS polls have seen it,
# because a busy machine polls slowly. WALK_AT_MOST_S is the maximum.
WALK_S, WALK_LOOKS, WALK_AT_MOST_S = 0.2, 2, 1.0


def say(line):
    print(line, flush=True)


class Board:
    def __init__(self, address, coils_on):
        self.address = address
        self.name = "" if address == 1 else f"{address}:"
        self.coils = {n: True for n in coils_on}
        self.inputs = 0
        self.coils_at_start = sum(1 << n for n in coils_on)
        self.walk_after_s = None
        self.looks = 0
        self.walkers = set()
        self.refuses = {}

    async def action(self, function, _start, address, _count, registers, values):
        exception, times = self.refuses.get(function, (None, 0))
        if times > 0:
            self.refuses[function] = (exception, times - 1)
            return exception
        if function == READ_COILS:
            registers[0] = sum(1 << n for n, on in self.coils.items() if on)
        elif function == READ_INPUTS:
            registers[0] = self.inputs
            self.looks += 1
        elif function == WRITE_COIL and values:  # pymodbus also reads the coil after a write
            on = bool(values[0])
            if self.coils.get(address, False) != on:
                self.coils[address] = on
                say(f"coil {self.name}{address} {'on' if on else 'off'}")
                if on and self.walk_after_s is not None:
                    walker = asyncio.create_task(self.walk(address))
                    self.walkers.add(walker)
                    walker.add_done_callback(self.walkers.discard)

    def input(self, number, on):
        bit = 1 << number
        self.inputs = self.inputs | bit if on else self.inputs & ~bit

    async def walk(self, number):
        await asyncio.sleep(self.walk_after_s)
        say(f"walk {self.name}{number}")
        self.input(number, True)
        looked = self.looks
        for _ in range(int(WALK_AT_MOST_S / WALK_S)):
            await asyncio.sleep(WALK_S)
            if self.looks >= looked + WALK_LOOKS:
                break
        self.input(number, False)

    def device(self):
        def bits(start):
            return [SimData(0, values=[bool(start >> n & 1) for n in range(16)], datatype=DataType.BITS)]

        none = [SimData(0, count=1, values=0, datatype=DataType.REGISTERS)]
        return SimDevice(
            self.address, simdata=(bits(self.coils_at_start), bits(0), none, none), action=self.action
        )


class Cable:
    def __init__(self, loop, echoes):
        self.echoes = echoes
        self.whole = True
        self.loop = loop
        self.ends = [self.terminal() for _ in range(2)]
        self.join()

    def terminal(self):
        master, terminal = os.openpty()
        tty.setraw(terminal)
        os.set_blocking(master, False)
        return master, terminal

    def join(self):
        (left, _), (right, _) = self.ends
        self.loop.add_reader(left, self.carry, left, right)
        self.loop.add_reader(right, self.carry, right, left)

    def another(self):
        # The old terminal stays open and silent, so that the program that has it does not get the
        # next one.
        self.loop.remove_reader(self.ends[0][0])
        self.ends[0] = self.terminal()
        self.join()

    def path(self, end):
        return os.ttyname(self.ends[end][1])

    def closed(self):
        # A real port is no longer exclusive after its last user has died. This terminal stays open
        # here.
        fcntl.ioctl(self.ends[0][1], termios.TIOCNXCL)

    def carry(self, source, sink):
        data = os.read(source, 4096)
        if self.echoes and source == self.ends[0][0]:
            os.write(source, data)
        if self.whole:
            os.write(sink, data)


async def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--coil-on", type=int, action="append", default=[])
    arguments.add_argument("--second", action="store_true")
    arguments.add_argument("--echo", action="store_true")
    arguments = arguments.parse_args()
    boards = {"": Board(1, arguments.coil_on)}
    if arguments.second:
        boards["2"] = Board(2, [])
    loop = asyncio.get_running_loop()
    cable = Cable(loop, arguments.echo)
    server = ModbusSerialServer(
        [board.device() for board in boards.values()], port=cable.path(1), baudrate=BAUD, bytesize=8, parity="N", stopbits=1
    )
    await server.serve_forever(background=True)
    commands = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    say(f"terminal {cable.path(0)}")
    while line := (await commands.readline()).decode().split():
        match line:
            case ["input", number, level]:
                board, _, number = number.rpartition(":")
                boards[board].input(int(number), level == "on")
            case ["coil", number, level]:
                board, _, number = number.rpartition(":")
                boards[board].coils[int(number)] = level == "on"
            case ["refuse", function, exception, times]:
                for board in boards.values():
                    board.refuses[int(function)] = (ExcCodes(int(exception)), int(times))
            case ["walks", after_ms]:
                for board in boards.values():
                    board.walk_after_s = int(after_ms) / 1000
            case ["cut"]:
                cable.whole = False
            case ["mend"]:
                cable.whole = True
            case ["closed"]:
                cable.closed()
            case ["another"]:
                cable.another()
                say(f"terminal {cable.path(0)}")
                continue
            case ["quit"]:
                break
            case _:
                sys.exit(f"unknown command: {line}")
        say("ok " + " ".join(line))
    await server.shutdown()


asyncio.run(main())
