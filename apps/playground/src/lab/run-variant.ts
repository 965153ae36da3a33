import { compareModels, openOnnx, type OpenOnnxOptions } from '@lowbit/backend-ort'
import { parseRecipe, quantize, resolveRecipe, type ProgressEvent } from '@lowbit/core'
import { comparedBatches } from '@lowbit/formats/data'
import { workerRunner } from '@lowbit/jobs'
import { reportDetails } from '@lowbit/report'
import { ALGORITHMS, isPrepared, UNION } from 'lowbit/recipes'
import { imageAnswers } from './answers.js'
import { openFiles } from './calibration.js'
import { isImage, isText } from './file-kinds.js'
import { bestLinAlg } from './linalg.js'
import type { LabRequest, Progress, VariantResult } from './messages.js'
import { loadRuntime } from './runtime.js'
import { THREADS } from './threads.js'

type Run = Extract<LabRequest, { readonly type: 'run' }>

/** Sites that are rounded at once, on workers of this one. */
const HELPERS = Math.max(1, Math.min(4, navigator.hardwareConcurrency - 1))

/** Makes a variant of a model as the command does, and looks at what it costs. */
export async function runVariant({ model, recipe, data }: Run, onProgress: (progress: Progress) => void): Promise<VariantResult> {
  const start = performance.now()
  onProgress({ step: 'opening', done: 0, total: 1 })
  const options = resolveRecipe(parseRecipe(recipe, UNION), ALGORITHMS)
  const ort = await loadRuntime()
  const open: OpenOnnxOptions = { ort, externalData: model.data }
  const host = await openOnnx(model.file, { ...open, prepare: isPrepared(recipe.format) })
  const runner = data === undefined ? undefined : workerRunner(() => new Worker(new URL('./rounding-worker.ts', import.meta.url), { type: 'module' }), { workers: HELPERS })
  try {
    const texts = data?.files.some((f) => isText(f.name)) === true ? await (await import('./texts.js')).tokenBatches(data, host.inputs()) : undefined
    const calibration = texts?.batches ?? (data === undefined ? undefined : openFiles(data, host.inputs()))
    const { artifact, report } = await quantize(host, {
      ...options,
      linalg: bestLinAlg(),
      ...(calibration === undefined ? {} : { calibration }),
      ...(runner === undefined ? {} : { runner }),
      onProgress: (event) => onProgress(stepOf(event)),
    })
    const bytes = artifact.bytes()
    const milliseconds = performance.now() - start
    onProgress({ step: 'looking closer', done: 0, total: 1 })
    const details = await reportDetails(host, report, calibration)
    const outputs = new Map(host.sites().map((site) => [site.id, site.output.name]))
    await host.dispose()
    const [before, after] = [await openOnnx(model.file, open), await openOnnx(bytes, { ort })]
    const compared = comparedBatches(before.inputs(), calibration)
    const comparison = await compareModels(before, after, compared, { onProgress: ({ done, total }) => onProgress({ step: 'comparing', done, total: Math.max(total, done) }) })
    const names = data?.files.every((f) => isImage(f.name)) === true ? [...data.files].map((f) => f.name).sort() : []
    const answers = await imageAnswers(before, after, compared, names)
    await before.dispose()
    await after.dispose()
    return { model: new Blob([bytes], { type: 'application/octet-stream' }), report: { ...report, comparison }, details, answers, ...(texts === undefined ? {} : { tokens: texts.npz }), outputs, milliseconds, threads: THREADS }
  } finally {
    runner?.close()
    await host.dispose()
  }
}

function stepOf({ phase, done, total }: ProgressEvent): Progress {
  const step = phase === 'open' || phase === 'prepare' ? 'opening' : phase === 'calibrate' ? 'calibrating' : phase === 'emit' ? 'writing' : phase === 'compare' ? 'comparing' : 'rounding'
  return { step, done, total }
}
