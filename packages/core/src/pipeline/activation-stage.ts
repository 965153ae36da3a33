import type { ActivationParams, BatchSource, ModelHost } from '../contract/v2/host.js'
import { LowbitError } from '../errors.js'
import { activationRangeParams } from '../observer/activation-params.js'
import { requireMemory, statisticCost } from '../observer/memory.js'
import type { StageContext } from './context.js'
import { nameMatcher } from './match.js'
import { observeRanges } from './observe-ranges.js'
import type { QuantizeOptions, StaticActivations } from './options.js'
import type { Calibrated } from './rescue-stage.js'

/** Fine enough that a bin is a small part of an 8-bit step: with 2048 the error found is mostly that of the bins. */
const DEFAULT_BINS = 8192

/** With a hundred batches this is as many values as a range can be told from; all of them take many times as long. */
const DEFAULT_SAMPLE = 4096

/** Fewer samples than this rarely show what an activation reaches. */
const FEW_SAMPLES = 10

/** What a rescue gives an activation that 8 bits ruin. */
const WIDE = { int8: 'int16', int16: 'int16', uint8: 'uint16', uint16: 'uint16' } as const

/** @throws LOWBIT_LIMIT for histograms that do not fit the memory, before anything is allocated */
export function requireActivationMemory({ bins = DEFAULT_BINS, sample = DEFAULT_SAMPLE }: StaticActivations, maxMemory: number): void {
  const values = sample === 'all' ? 0 : sample
  requireMemory('histogram', statisticCost('histogram', { columns: 1, groups: 1, values }, { bins }), maxMemory, `an activation in ${bins} bins`)
}

/**
 * Finds scale and zero point of every static activation from calibration data. Points of one group share the range of
 * the first that was observed with the widest limits.
 * @param stage - tells this state of the model from others
 */
export async function activationStage(host: ModelHost, wanted: StaticActivations, options: QuantizeOptions, context: StageContext, stage = 'activations'): Promise<Calibrated> {
  const points = host.activations()
  if (context.calibration === undefined) {
    throw new LowbitError('LOWBIT_CALIBRATION', { thing: 'static activations', found: 'no calibration data', fix: 'pass `calibration`, a few dozen typical inputs, or use the `dynamic` format' })
  }
  const { bins = DEFAULT_BINS, sample = DEFAULT_SAMPLE } = wanted
  const tensors = points.flatMap(({ id, within }) => (within === undefined ? [id] : []))
  const counted = countSamples(context.calibration)
  const seen = await observeRanges(host, stage, tensors, counted.source, wanted, { bins, sample }, context)
  const samples = counted.most()
  if (samples > 0 && samples < FEW_SAMPLES) warnOnce(context, `ranges of activations come from ${samples} ${samples === 1 ? 'sample' : 'samples'}: what others reach beyond them is cut off; give a few dozen typical inputs`)
  const overrides = (options.overrides ?? []).filter((o) => o.activation !== undefined).map((o) => ({ ...o, test: nameMatcher(o.match) }))

  const shared = new Map<string, { params: ActivationParams; wide: ActivationParams; min: number; max: number }>()
  for (const { id, group } of points) {
    const limits = seen.get(id)
    if (limits === undefined) continue
    const before = shared.get(group)
    if (before !== undefined && before.max - before.min >= limits.max - limits.min) continue
    const { min, max, range } = limits
    shared.set(group, { params: activationRangeParams(range, wanted.dtype, wanted), wide: activationRangeParams({ min, max }, WIDE[wanted.dtype], wanted), min, max })
  }
  const wide = new Map<string, ActivationParams>()
  const activations = points.map(({ id, group }): Calibrated['activations'][number] => {
    const override = overrides.findLast((o) => o.test(id))
    const found = shared.get(group)
    const params = override?.activation === undefined ? found?.params ?? null : override.activation
    context.decisions.assignActivation(id, params)
    // What a user decided is not for the rescue to change.
    if (found !== undefined && override === undefined) wide.set(id, found.wide)
    if (params === null) return { id, status: 'float', reason: override === undefined ? 'never computed during calibration' : 'override' }
    return { id, status: 'quantized', ...params, ...(found === undefined ? {} : { min: found.min, max: found.max }) }
  })
  return { activations, wide }
}

/** The same data, counting: samples are the length of the first dimension, and every pass counts anew. */
function countSamples(data: BatchSource): { readonly source: BatchSource; most(): number } {
  let most = 0
  return {
    source: {
      async *[Symbol.asyncIterator]() {
        let seen = 0
        for await (const batch of data) {
          seen += Object.values(batch)[0]?.shape[0] ?? 1
          most = Math.max(most, seen)
          yield batch
        }
      },
    },
    most: () => most,
  }
}

function warnOnce({ warnings }: StageContext, sentence: string): void {
  if (!warnings.includes(sentence)) warnings.push(sentence)
}
