import { CONTROL, CONTROL_START } from './control.js'

/** How often a thread looks for work before it sleeps: some 50 µs, longer than the gap between two layers of a model. */
const SPINS = 20000

/**
 * What a thread runs: classic JavaScript in a string, so that no bundler has to find a second file. A page that forbids workers from
 * `blob:` serves this text as a file and says where (`workerUrl`).
 * It waits for the sequence number to change and works as long as there are pieces left.
 */
export const WORKER_SOURCE = `
const run = ({ module, memory, index }) => {
  const { exports } = new WebAssembly.Instance(module, { env: { memory } })
  const words = new Int32Array(memory.buffer, ${CONTROL_START}, 64)
  let seen = 0
  Atomics.add(words, ${CONTROL.ready}, 1)
  for (;;) {
    let spins = ${SPINS}
    while (Atomics.load(words, ${CONTROL.sequence}) === seen && --spins > 0);
    while (Atomics.load(words, ${CONTROL.sequence}) === seen) {
      Atomics.add(words, ${CONTROL.asleep}, 1)
      Atomics.wait(words, ${CONTROL.sequence}, seen)
      Atomics.sub(words, ${CONTROL.asleep}, 1)
    }
    seen = Atomics.load(words, ${CONTROL.sequence})
    if (Atomics.load(words, ${CONTROL.stop})) break
    try {
      exports.work(${CONTROL_START}, index)
    } catch {
      Atomics.store(words, ${CONTROL.failed}, 1)
    }
  }
}
if (typeof require === 'function') run(require('node:worker_threads').workerData)
else self.onmessage = (event) => { run(event.data); self.close() }
`
