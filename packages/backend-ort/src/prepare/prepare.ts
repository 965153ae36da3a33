import { type Batch, type DeclarationsOf, type ErrorCode, isLowbitError, type OnProgress, QUANTIZE_OPTIONS } from '@lowbit/core'
import { writeOnnx } from '@lowbit/formats'
import { dropIdentities, dropInitializerInputs, foldIntoConv, type Graph, NEWEST_OPSET, upgradeOpset } from '@lowbit/onnx'
import type { OrtModule } from '../ort.js'
import { createSession } from '../session.js'
import { checkSame, makeBatch, ONE_RUN, runGraph } from './check.js'
import { foldConstants } from './fold-constants.js'

export interface PrepareOptions {
  /** Opset to upgrade to, at most 21. Default 13, the first with scales a channel: newer ones are refused by older engines. */
  readonly opset?: number
  /** A typical batch; without one, inputs are made up from the model's own shapes. */
  readonly sample?: Batch
  /** Run the model before and after each step and compare. Default true. */
  readonly check?: boolean
  readonly onProgress?: OnProgress
}

/** What {@link prepareGraph} takes. */
export const PREPARE_OPTIONS = {
  opset: { type: 'integer', minimum: 1, otherwise: '13', about: 'opset to upgrade to, at most 21' },
  sample: { type: 'object', has: [], otherwise: 'made up from the shapes of the model', about: 'a typical batch' },
  check: { type: 'boolean', default: true, about: 'run the model before and after, and compare' },
  onProgress: QUANTIZE_OPTIONS.onProgress,
} as const satisfies DeclarationsOf<PrepareOptions>

export interface Prepared {
  readonly graph: Graph
  /** What was done, in sentences. */
  readonly notes: readonly string[]
}

/** DequantizeLinear has an axis from here on. What needs more (int4 in blocks, 16-bit activations) is raised further when it is written. */
const LEAST_OPSET = 13

/** Sizes tried for symbolic dims: some models need even, others large ones. */
const SYMBOLIC_SIZES = [64, 32, 224, 16, 1]

/**
 * Makes a model ready to be quantized without changing what it computes: constants folded, normalizations folded into
 * convolutions, dead nodes gone, opset upgraded. Checked by running the model before and after; each step, where that shows a fault.
 * @param graph - left alone; the result is a clone
 * @throws LOWBIT_INTERNAL if a step changed the outputs, LOWBIT_UNSUPPORTED for what cannot be upgraded
 */
export async function prepareGraph(ort: OrtModule, graph: Graph, options: PrepareOptions = {}): Promise<Prepared> {
  const reference = options.check === false ? undefined : await referenceRun(ort, graph, options.sample)
  const unchecked = reference === undefined && options.check !== false ? ['not checked by running: no sample was given and none could be made up'] : []
  // One run checks all steps; which of them went wrong is looked for when one did.
  const { prepared, notes } = await takeSteps(ort, graph, options, () => Promise.resolve())
  if (reference !== undefined && notes.length > 0) {
    const check = async (step: string, changed: Graph): Promise<void> => checkSame(step, reference.outputs, await runGraph(ort, changed, reference.batch))
    try {
      await check('all steps', prepared)
    } catch (error) {
      await takeSteps(ort, graph, options, check)
      throw error
    }
  }
  prepared.removeDead()
  // Shapes noted for tensors that are gone, or that have changed, would only mislead.
  prepared.proto.valueInfo = []
  return { graph: prepared, notes: [...unchecked, ...notes] }
}

async function takeSteps(ort: OrtModule, graph: Graph, options: PrepareOptions, after: (step: string, changed: Graph) => Promise<void>): Promise<{ readonly prepared: Graph; readonly notes: readonly string[] }> {
  const target = Math.min(options.opset ?? LEAST_OPSET, NEWEST_OPSET)
  const prepared = graph.clone()
  const notes: string[] = []
  const steps: readonly (readonly [string, () => string | Promise<string>])[] = [
    ['inputs', () => counted(dropInitializerInputs(prepared), 'stored weights listed as inputs too')],
    ['opset', () => upgraded(upgradeOpset(prepared, target), target)],
    ['identities', () => counted(dropIdentities(prepared), 'operators that did nothing')],
    ['constants', async () => counted(await foldConstants(ort, prepared), 'constant operators folded')],
    ['convolutions', () => counted(foldIntoConv(prepared), 'operators folded into convolutions')],
  ]
  for (const [index, [step, apply]] of steps.entries()) {
    const note = await apply()
    options.onProgress?.({ phase: 'prepare', done: index + 1, total: steps.length, item: step })
    if (note === '') continue
    notes.push(note)
    await after(step, prepared)
  }
  return { prepared, notes }
}

async function referenceRun(ort: OrtModule, graph: Graph, sample: Batch | undefined): Promise<{ readonly batch: Batch; readonly outputs: Batch } | undefined> {
  if (sample !== undefined) return { batch: sample, outputs: await runGraph(ort, graph, sample) }
  const session = await createSession(ort, writeOnnx(graph.clone().toModel()), ONE_RUN)
  try {
    for (const size of SYMBOLIC_SIZES) {
      const batch = makeBatch(session.inputs, size)
      try {
        return { batch, outputs: await session.run(batch) }
      } catch (error) {
        if (!MADE_UP.some((code) => isLowbitError(error, code))) throw error
      }
    }
  } finally {
    await session.release()
  }
  return undefined
}

/** What a made-up batch may fail with: nothing is wrong with the model then. */
const MADE_UP: readonly ErrorCode[] = ['LOWBIT_RUNTIME', 'LOWBIT_DATA']

const counted = (count: number, what: string): string => (count === 0 ? '' : `${count} ${what}`)
const upgraded = (from: number, to: number): string => (from >= to ? '' : `opset ${from} upgraded to ${to}`)
