/**
 * Loaded before the command (`node --import`): counts file operations and ends the process, as `kill -9` does, right before the one
 * that LOWBIT_KILL_AT names. A write that is chosen is done by half first. LOWBIT_KILL_COUNT names a file for the number of them.
 */
import { writeFileSync, writeSync } from 'node:fs'
import fs from 'node:fs/promises'
import { syncBuiltinESMExports } from 'node:module'
import { isMainThread } from 'node:worker_threads'

const at = Number(process.env.LOWBIT_KILL_AT ?? 0)
const countFile = process.env.LOWBIT_KILL_COUNT
let operations = 0

function point(name, half) {
  if (++operations !== at) return
  half?.()
  process.kill(process.pid, 'SIGKILL')
  // The signal comes when it comes: nothing more happens until then.
  for (;;) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)
}

function wrap(object, name) {
  const original = object[name]
  object[name] = function (...args) {
    point(name, name === 'write' && typeof args[0] !== 'string' ? () => half(this, args) : undefined)
    return original.apply(this, args)
  }
}

/** Half of what a write would write, at the file's end. */
function half(handle, [bytes, offset = 0, length = bytes.length]) {
  writeSync(handle.fd, bytes, offset, length >> 1)
}

if (isMainThread) {
  const probe = await fs.open(process.execPath, 'r')
  const handle = Object.getPrototypeOf(probe)
  await probe.close()
  for (const name of ['open', 'rename', 'unlink', 'link', 'mkdir', 'rm', 'writeFile', 'readdir', 'stat', 'lstat']) wrap(fs, name)
  for (const name of ['write', 'writeFile', 'sync', 'close', 'chmod', 'chown']) wrap(handle, name)
  syncBuiltinESMExports()
  if (countFile !== undefined) process.on('exit', () => writeFileSync(countFile, String(operations)))
}
