/** Words of the control block that the threads share. */
export const CONTROL = { sequence: 0, done: 1, job: 2, floats: 3, blocks: 4, scratch: 5, scratchStride: 6, threads: 7, stop: 8, failed: 9, ready: 10, words: 16 } as const

/** How often a thread looks for work before it sleeps: some 50 µs, longer than the gap between two layers of a model. */
const SPINS = 20000

/**
 * What a thread runs: classic JavaScript in a string, so that no bundler has to find a second file.
 * It waits for the sequence number to change, multiplies its share of the blocks, and counts itself as done.
 */
export const WORKER_SOURCE = `
const run = ({ module, memory, control, index }) => {
  const { exports } = new WebAssembly.Instance(module, { env: { memory } })
  const words = new Int32Array(control)
  let seen = 0
  Atomics.add(words, ${CONTROL.ready}, 1)
  Atomics.notify(words, ${CONTROL.ready})
  for (;;) {
    let spins = ${SPINS}
    while (Atomics.load(words, ${CONTROL.sequence}) === seen && --spins > 0);
    while (Atomics.load(words, ${CONTROL.sequence}) === seen) Atomics.wait(words, ${CONTROL.sequence}, seen)
    seen = Atomics.load(words, ${CONTROL.sequence})
    if (Atomics.load(words, ${CONTROL.stop})) break
    try {
      const blocks = words[${CONTROL.blocks}], threads = words[${CONTROL.threads}]
      const from = Math.floor((blocks * index) / threads), to = Math.floor((blocks * (index + 1)) / threads)
      const scratch = words[${CONTROL.scratch}] + index * words[${CONTROL.scratchStride}]
      const kernel = words[${CONTROL.floats}] ? exports.multiplyByFloats : exports.multiply
      kernel(words[${CONTROL.job}], from, to, scratch)
    } catch (error) {
      Atomics.store(words, ${CONTROL.failed}, 1)
    }
    Atomics.add(words, ${CONTROL.done}, 1)
  }
}
if (typeof require === 'function') run(require('node:worker_threads').workerData)
else self.onmessage = (event) => { run(event.data); self.close() }
`
