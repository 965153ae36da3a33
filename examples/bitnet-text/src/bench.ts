import { cpus } from 'node:os'
import { parseArgs } from 'node:util'
import { adamW } from './adamw.js'
import { loadTf } from './load-tf.js'
import { createDecoder, crossEntropy, type Linear } from './model.js'

/** A training step of the BitNet decoder against one of the float decoder, interleaved, medians. */
const { values: flags } = parseArgs({ options: { steps: { type: 'string', default: '20' }, batch: { type: 'string', default: '8' }, time: { type: 'string', default: '64' } } })
const [steps, batch, time] = [flags.steps, flags.batch, flags.time].map(Number)

const tf = await loadTf()
const shape = { vocabulary: 512, width: 64, layers: 5, heads: 8, keyHeads: 4, hidden: 172 }
const kinds: readonly Linear[] = ['float', 'bitnet']
const sides = kinds.map((linear) => {
  const model = createDecoder(tf, shape, linear, 1)
  return { linear, model, optimizer: adamW(tf, model), times: [] as number[] }
})
const inputs = tf.tensor2d(Int32Array.from({ length: batch * time }, (_, i) => (i * 31) % 512), [batch, time], 'int32')
const targets = tf.tensor1d(Int32Array.from({ length: batch * time }, (_, i) => (i * 17) % 512), 'int32')

const WARM_UP = 3
for (let step = 0; step < steps + WARM_UP; step++) {
  for (const { model, optimizer, times } of sides) {
    const began = performance.now()
    const { value, grads } = tf.variableGrads(() => crossEntropy(tf, model.forward(inputs), targets), [...model.variables])
    value.dataSync()
    optimizer.update(grads, 1e-3, 0)
    value.dispose()
    if (step >= WARM_UP) times.push(performance.now() - began)
  }
}
const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)]
console.log(`${cpus()[0]?.model ?? 'unknown CPU'}, one thread, wasm backend; batch ${batch} × ${time} tokens, ${steps} steps of each, medians`)
for (const { linear, times } of sides) console.log(`${linear}: ${median(times).toFixed(1)} ms a step`)
console.log(`BitNet / float: ${(median(sides[1].times) / median(sides[0].times)).toFixed(2)}`)
