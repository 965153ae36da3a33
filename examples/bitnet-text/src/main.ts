import { writeFile } from 'node:fs/promises'
import { parseArgs } from 'node:util'
import { learningCurveSvg, type Curve } from '@lowbit/core'
import { checkpoints } from './checkpoint.js'
import { compareLayer, deploy } from './deploy.js'
import { loadTf } from './load-tf.js'
import type { Linear } from './model.js'
import { readText, split } from './text.js'
import { learnTokenizer, readTokenizer } from './tokenizer.js'
import { generate, perplexity, train } from './train.js'

const { values: flags } = parseArgs({
  options: {
    text: { type: 'string' },
    tokenizer: { type: 'string' },
    steps: { type: 'string', default: '400' },
    batch: { type: 'string', default: '8' },
    time: { type: 'string', default: '64' },
    'learning-rate': { type: 'string', default: '8e-3' },
    seed: { type: 'string', default: '1' },
    only: { type: 'string' },
    samples: { type: 'string', default: '80' },
    curves: { type: 'string' },
    checkpoint: { type: 'string' },
    json: { type: 'string' },
  },
})

const [steps, batch, time, learningRate, seed, sampleLength] = [flags.steps, flags.batch, flags.time, flags['learning-rate'], flags.seed, flags.samples].map(Number)
const text = await readText(flags.text)
const tokenizer = flags.tokenizer === undefined ? learnTokenizer(text, 512) : await readTokenizer(flags.tokenizer)
const tokens = tokenizer.encode(text)
const { train: trainTokens, valid } = split(tokens, 0.05)
console.log(`${text.length} characters, ${tokens.length} tokens of ${tokenizer.size}; ${valid.length} held out`)

const tf = await loadTf()
const shape = { vocabulary: tokenizer.size, width: 64, layers: 5, heads: 8, keyHeads: 4, hidden: 172 }
const kinds: readonly Linear[] = flags.only === 'float' || flags.only === 'bitnet' ? [flags.only] : ['float', 'bitnet']
const curves: Curve[] = []
const results = new Map<Linear, number>()

for (const linear of kinds) {
  const points: [number, number][] = []
  const began = performance.now()
  let mean = 0
  const model = await train(tf, shape, trainTokens, {
    steps, batch, time, learningRate, seed, linear,
    ...(flags.checkpoint === undefined ? {} : { checkpoints: await checkpoints(flags.checkpoint, { linear, shape, steps, batch, time, learningRate, seed, characters: text.length, tokens: tokens.length }) }),
    onStep(step, loss) {
      mean = step === 0 ? loss : 0.95 * mean + 0.05 * loss
      points.push([step, mean])
      if (step % Math.ceil(steps / 10) === 0 || step === steps - 1) console.log(`${linear} step ${step}: loss ${mean.toFixed(3)}, ${((performance.now() - began) / (step + 1)).toFixed(0)} ms a step`)
    },
  })
  curves.push({ name: linear, points })
  const score = perplexity(tf, model, valid, time, Math.min(200, Math.floor((valid.length - 1) / time)))
  results.set(linear, score)
  console.log(`${linear}: held-out perplexity ${score.toFixed(2)}, ${((performance.now() - began) / 1000).toFixed(0)} s`)
  if (sampleLength > 0) console.log(`  “${tokenizer.decode(generate(tf, model, valid.subarray(0, 8), sampleLength, 0.8, seed, time)).replace(/\s+/g, ' ')}”`)
  if (linear === 'bitnet') {
    const deployed = await deploy(tf, model)
    const [negative, zero, positive] = deployed.shares.map((s) => `${(100 * s).toFixed(0)}%`)
    console.log(`  linear layers: ${deployed.floatBytes} bytes in float32, ${deployed.bytes} packed (${((8 * deployed.bytes * 4) / deployed.floatBytes).toFixed(2)} bits a weight); -1: ${negative}, 0: ${zero}, 1: ${positive}`)
    const sample = Float32Array.from({ length: 4 * shape.width }, (_, i) => Math.sin(i * 1.7) * (1 + (i % 7)))
    const [name, weight] = [...deployed.weights][0]
    const latent = model.linears.get(name)
    if (latent !== undefined) console.log(`  ${name} in integers: off by ${(100 * (await compareLayer(tf, weight, latent, sample, 4))).toFixed(0)}% of what float32 rounding allows`)
  }
  tf.dispose([...model.variables])
}

const [float, bitnet] = [results.get('float'), results.get('bitnet')]
if (float !== undefined && bitnet !== undefined) console.log(`perplexity BitNet / float: ${(bitnet / float).toFixed(3)}`)
if (flags.json !== undefined) {
  const title = `${steps} steps of ${batch} × ${time} tokens, learning rate ${learningRate}`
  await writeFile(flags.json, JSON.stringify({ title, float, bitnet, ratio: float === undefined || bitnet === undefined ? undefined : bitnet / float }))
}
if (flags.curves !== undefined) {
  await writeFile(flags.curves, learningCurveSvg(curves, { title: 'BitNet from scratch', yLabel: 'training loss (mean of about 20 steps)' }))
  console.log(`learning curves: ${flags.curves}`)
}
