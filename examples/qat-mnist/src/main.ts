import { writeFile } from 'node:fs/promises'
import { parseArgs } from 'node:util'
import { prepare } from '@lowbit/backend-tfjs'
import { learningCurveSvg, type Curve } from '@lowbit/core'
import { deploy, type Deployed } from './deploy.js'
import { loadDigits } from './digits.js'
import { loadTf } from './load-tf.js'
import { network } from './network.js'
import { quantizeAfter } from './quantize-after.js'
import { rows, type DuringTraining } from './rows.js'
import { accuracy, train } from './training.js'

const { values: flags } = parseArgs({
  options: {
    seeds: { type: 'string', default: '1' },
    'first-seed': { type: 'string', default: '1' },
    epochs: { type: 'string', default: '8' },
    'learning-rate': { type: 'string', default: '2e-3' },
    'qat-epochs': { type: 'string', default: '3' },
    batch: { type: 'string', default: '64' },
    only: { type: 'string' },
    curves: { type: 'string' },
  },
})
const [seeds, firstSeed, epochs, learningRate, qatEpochs, batch] = [flags.seeds, flags['first-seed'], flags.epochs, flags['learning-rate'], flags['qat-epochs'], flags.batch].map(Number)

const began = performance.now()
const seconds = (): string => `${((performance.now() - began) / 1000).toFixed(0)} s`
const tf = await loadTf()
const { train: digits, test } = loadDigits()
console.log(`${digits.count} digits to learn from, ${test.count} to test with`)

const results = new Map<string, number[]>()
const deployments = new Map<string, Deployed[]>()
const curves = new Map<string, Curve>()
const note = <V>(map: Map<string, V[]>, key: string, value: V): void => void map.set(key, [...(map.get(key) ?? []), value])
const only = flags.only?.split(',')
const chosen = rows.filter((row) => only === undefined || only.some((name) => row.title.includes(name)))

for (let seed = firstSeed; seed < firstSeed + seeds; seed++) {
  const float = network(tf, seed)
  await train(tf, float, digits, { epochs, batch, learningRate, seed })
  const score = accuracy(tf, float, test)
  note(results, 'float', score)
  console.log(`seed ${seed}: float ${score.toFixed(2)} %, ${seconds()}`)
  for (const row of chosen) {
    for (const method of row.after) {
      const after = await quantizeAfter(tf, float, method, digits, test)
      note(results, `${row.title} / after / ${method.name}`, after)
      console.log(`seed ${seed}: ${row.title}, after training (${method.name}): ${after.toFixed(2)} %`)
    }
    for (const method of row.during) {
      const during = await quantizeDuring(method, float, seed, row.title)
      console.log(`seed ${seed}: ${row.title}, ${method.name}: ${during.toFixed(2)} %, ${seconds()}`)
    }
  }
  float.dispose()
}

async function quantizeDuring(method: DuringTraining, float: ReturnType<typeof network>, seed: number, title: string): Promise<number> {
  const key = `${title} / during / ${method.name}`
  const model = network(tf, seed, method.scratch !== undefined)
  if (method.scratch === undefined) model.setWeights(float.getWeights())
  const prepared = prepare(tf, model, method.recipe)
  const points: [number, number][] = []
  let mean = 0
  await train(tf, model, digits, {
    epochs: method.scratch?.epochs ?? qatEpochs,
    batch,
    learningRate: method.scratch?.learningRate ?? 1e-3,
    seed: seed + 1000,
    onStep: (step, loss) => {
      mean = step === 0 ? loss : 0.97 * mean + 0.03 * loss
      if (step % 5 === 0) points.push([step, mean])
    },
  })
  if (method.scratch === undefined) curves.set(key, { name: `${title}, ${method.name}`, points })
  const score = accuracy(tf, model, test)
  note(results, key, score)
  if (method.deploy === true) note(deployments, key, await deploy(tf, prepared, test))
  prepared.restore()
  model.dispose()
  return score
}

const mean = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0) / values.length
const cell = (key: string, name: string): string => {
  const scores = results.get(key)
  const deployed = deployments.get(key)
  if (scores === undefined) return ''
  const runtime = deployed === undefined ? '' : `; ONNX Runtime ${mean(deployed.map((d) => d.accuracy)).toFixed(2)}, ${deployed[0].bytes} bytes`
  return `${mean(scores).toFixed(2)} (${name}${runtime})`
}

console.log(`\nPercent of the test digits, mean of ${seeds} seed${seeds === 1 ? '' : 's'}. float: ${mean(results.get('float') ?? []).toFixed(2)}\n`)
console.log('| weights | quantized after training | trained for it |')
console.log('|---|---|---|')
for (const row of chosen) {
  const after = row.after.map((m) => cell(`${row.title} / after / ${m.name}`, m.name))
  const during = row.during.map((m) => cell(`${row.title} / during / ${m.name}`, m.name))
  console.log(`| ${row.title} | ${after.join('<br>')} | ${during.join('<br>')} |`)
}
if (flags.curves !== undefined) {
  await writeFile(flags.curves, learningCurveSvg([...curves.values()], { title: 'Loss while training in low precision', yLabel: 'loss (moving mean)', logarithmic: true }))
  console.log(`\nlearning curves: ${flags.curves}`)
}
console.log(`\n${seconds()}`)
