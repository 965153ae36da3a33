import { prepare } from '@lowbit/backend-tfjs'
import type { LayersModel } from '@tensorflow/tfjs-layers'
import { deploy } from './deploy.js'
import type { Digits } from './digits.js'
import type { Tf } from './load-tf.js'
import { network } from './network.js'
import { quantizeAfter } from './quantize-after.js'
import type { Result, Results } from './results.js'
import type { DuringTraining, Row } from './rows.js'
import type { Settings } from './settings.js'
import { accuracy, train } from './training.js'

export interface Experiment {
  readonly tf: Tf
  readonly digits: { readonly train: Digits; readonly test: Digits }
  readonly settings: Settings
  readonly results: Results
  log(line: string): void
}

/** All that one seed gives: the float model, and by `row / after or during / method` every other one. */
export async function runSeed(experiment: Experiment, rows: readonly Row[], seed: number): Promise<ReadonlyMap<string, Result>> {
  const { results, settings, log } = experiment
  const scores = new Map<string, Result>()
  const note = async (name: string, key: readonly unknown[], measure: () => Promise<Result>): Promise<void> => {
    const result = (await results.get(key)) ?? (await results.set(key, await measure()))
    scores.set(name, result)
    log(`seed ${seed}: ${name}: ${result.accuracy.toFixed(2)} %`)
  }
  const base = { batch: settings.batch, float: settings.float, seed }
  const float = await floatModel(experiment, seed)
  await note('float', ['float', base], async () => ({ accuracy: accuracy(experiment.tf, float, experiment.digits.test) }))
  for (const row of rows) {
    for (const method of row.after) {
      await note(`${row.title} / after / ${method.name}`, ['after', base, method], async () => ({ accuracy: await quantizeAfter(experiment.tf, float, method, experiment.digits.train, experiment.digits.test) }))
    }
    for (const method of row.during) {
      const schedule = method.scratch === true ? settings.scratch : settings.during
      const key = ['during', method.scratch === true ? { batch: settings.batch, seed } : base, schedule, method.recipe ?? null, method.scratch === true, method.deploy === true ? 'ONNX Runtime, kernels' : false]
      await note(`${row.title} / during / ${method.name}`, key, () => quantizeDuring(experiment, method, float, seed))
    }
  }
  float.dispose()
  return scores
}

async function floatModel({ tf, digits, settings, results }: Experiment, seed: number): Promise<LayersModel> {
  const model = network(tf, seed)
  const key = ['weights', settings.batch, settings.float, seed]
  const kept = await results.weights(key)
  if (kept !== undefined) setAll(tf, model, kept)
  else {
    await train(tf, model, digits.train, { ...settings.float, batch: settings.batch, seed })
    await results.keepWeights(key, all(model))
  }
  return model
}

async function quantizeDuring({ tf, digits, settings }: Experiment, method: DuringTraining, float: LayersModel, seed: number): Promise<Result> {
  const scratch = method.scratch === true
  const model = network(tf, seed, scratch)
  if (!scratch) model.setWeights(float.getWeights())
  const prepared = method.recipe === undefined ? undefined : prepare(tf, model, method.recipe)
  const curve: [number, number][] = []
  let mean = 0
  await train(tf, model, digits.train, {
    ...(scratch ? settings.scratch : settings.during),
    batch: settings.batch,
    seed: seed + 1000,
    onStep: (step, loss) => {
      mean = step === 0 ? loss : 0.97 * mean + 0.03 * loss
      if (step % 10 === 0) curve.push([step, Number(mean.toPrecision(4))])
    },
  })
  const score = accuracy(tf, model, digits.test)
  const deployed = method.deploy === true && prepared !== undefined ? await deploy(tf, prepared, digits.test) : undefined
  prepared?.restore()
  model.dispose()
  return { accuracy: score, curve, ...(deployed === undefined ? {} : { deployed }) }
}

function all(model: LayersModel): Float32Array {
  return Float32Array.from(model.getWeights().flatMap((w) => Array.from(w.dataSync())))
}

function setAll(tf: Tf, model: LayersModel, values: Float32Array): void {
  let at = 0
  tf.tidy(() =>
    model.setWeights(
      model.getWeights().map((w) => {
        at += w.size
        return tf.tensor(values.subarray(at - w.size, at), w.shape)
      }),
    ),
  )
}
