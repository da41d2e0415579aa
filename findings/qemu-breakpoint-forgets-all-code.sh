#!/bin/sh
# What a stop by QEMU's gdbstub costs a guest of TCG: which of its translated code
# is thrown away when it hits a breakpoint, and when it hits a watchpoint.
#
# Guess: a breakpoint costs the code around its address, once, when it is set. A
# watchpoint costs more, since TCG has to look at each access to its page.
#
# Seen (2026-11-30, QEMU 7.2.22 of Debian 12): each of twenty stops at a breakpoint
# throws away all translated code (`info jit`, TB flush count), at a hardware
# breakpoint as at a software one. Twenty stops at a watchpoint throw away none. A
# debugger that stops a kernel a hundred times while it boots has the same code
# translated a hundred times; one that has the kernel write to a watched byte has not.
set -eu
command -v qemu-system-x86_64 >/dev/null || {
  echo "this needs qemu-system-x86 of Debian 12"
  exit 3
}
qemu=0
work=$(mktemp -d)
trap '[ "$qemu" = 0 ] || kill "$qemu"; rm -rf "$work"' EXIT
cd "$work"
# A boot sector: incw 0x7000, and a jump back to it.
printf '\377\006\000\160\353\372' >sector
truncate -s 510 sector
printf '\125\252' >>sector
cat >stops.mjs <<'END'
import { connect } from 'node:net'
const socket = connect('gdb').setEncoding('latin1')
let text = ''
let wake = () => {}
socket.on('data', chunk => {
  text += chunk
  wake()
})
const reply = async () => {
  for (;;) {
    const found = /\$([^#]*)#../.exec(text)
    if (found) {
      text = text.slice(found.index + found[0].length)
      return found[1]
    }
    await new Promise(resolve => (wake = resolve))
  }
}
const ask = async packet => {
  const sum = [...packet].reduce((all, c) => (all + c.charCodeAt(0)) & 255, 0)
  socket.write(`$${packet}#${sum.toString(16).padStart(2, '0')}`)
  return reply()
}
const flushes = async () => {
  let said = await ask(`qRcmd,${Buffer.from('info jit').toString('hex')}`)
  let all = ''
  for (; said !== 'OK'; said = await reply()) all += Buffer.from(said.slice(1), 'hex')
  return Number(/TB flush count +(\d+)/.exec(all)[1])
}
await ask('?')
// Registers can be written when they were described once.
await ask('qXfer:features:read:target.xml:0,ffb')
for (const [what, point, isBreak] of [
  ['software breakpoint', '0,7c00,1', true],
  ['hardware breakpoint', '1,7c00,1', true],
  ['watchpoint', '2,7000,2', false],
]) {
  await ask(`Z${point}`)
  await ask('c')
  const before = await flushes()
  for (let i = 0; i < 20; i++) {
    // From a breakpoint on behind its instruction.
    if (isBreak) await ask('P10=047c000000000000')
    await ask('c')
  }
  const after = await flushes()
  // The last one may still be on its way.
  const [all, none] = [after - before >= 19, after === before]
  console.log(`${what}: ${all ? 'each' : none ? 'none' : 'some'}`)
  await ask(`z${point}`)
}
process.exit()
END
qemu-system-x86_64 -nodefaults -display none -machine pc -accel tcg -m 16M -S \
  -gdb unix:gdb,server=on,wait=off -drive file=sector,format=raw,if=floppy \
  -monitor none -daemonize -pidfile pid
qemu=$(cat pid)
timeout 60 node stops.mjs | tee seen
if printf 'software breakpoint: each\nhardware breakpoint: each\nwatchpoint: none\n' | cmp -s - seen; then
  echo "Seen: breakpoints throw away all translated code, watchpoints none"
else
  echo "this has changed"
  exit 1
fi
