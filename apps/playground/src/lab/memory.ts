import { LowbitError } from '@lowbit/core'

/** Times its size that a model takes while it is quantized and compared: its weights, a copy in the runtime, and what is rounded. */
const TIMES = 4
/** What WebAssembly of 32 bits can address, less what the runtime itself takes. */
const RUNTIME_ROOM = 3.5e9
const GIB = 2 ** 30

/**
 * Refuses a model that the tab could not hold, before it dies of it.
 * @throws LOWBIT_LIMIT
 */
export function expectRoom(name: string, bytes: number): void {
  const memory = 'deviceMemory' in navigator && typeof navigator.deviceMemory === 'number' ? navigator.deviceMemory * GIB : undefined
  const room = Math.min(RUNTIME_ROOM, memory ?? RUNTIME_ROOM)
  if (bytes * TIMES <= room * 2) return
  throw new LowbitError('LOWBIT_LIMIT', {
    thing: name,
    found: `${(bytes / 1e9).toFixed(1)} GB, which take about ${((bytes * TIMES) / 1e9).toFixed(0)} GB while they are quantized`,
    expected: `at most ${((room * 2) / TIMES / 1e9).toFixed(1)} GB in a tab of this browser`,
    fix: 'use the command, which reads weights from the disk one at a time: npx lowbit quantize',
  })
}
