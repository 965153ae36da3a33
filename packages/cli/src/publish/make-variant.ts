import { openOnnx } from '@lowbit/backend-ort'
import { isLowbitError, LowbitError, quantize, resolveRecipe, RUINED, type BatchSource, type Comparison } from '@lowbit/core'
import { float16Model, type TensorRange } from '@lowbit/onnx'
import { bestLinAlg } from '../jobs/linalg.js'
import { compareFiles } from '../output/compare-files.js'
import type { Terminal } from '../output/terminal.js'
import { ALGORITHMS } from '../recipes/algorithms.js'
import { recipeOfValues } from '../recipes/recipe-of-values.js'
import { VARIANTS, type PublishedDtype } from './dtypes.js'

/** What all variants of a model are made from. */
export interface PublishSource {
  /** Path of the float32 model. */
  readonly model: string
  /** What variants are compared on. */
  readonly data: BatchSource
  /** The data is the user's: it may also choose codes. */
  readonly calibrated: boolean
  readonly ranges?: ReadonlyMap<string, TensorRange>
}

/** A variant that was loaded and compared, or why there is none. */
export interface Variant {
  readonly dtype: PublishedDtype
  readonly bytes?: Uint8Array
  readonly comparison?: Comparison
  /** Why it was not made. */
  readonly refused?: string
  readonly notes: readonly string[]
}

/** Makes a variant, loads it and compares it with the float model. What fails says why; what was stopped throws. */
export async function makeVariant(dtype: PublishedDtype, source: PublishSource, terminal: Terminal): Promise<Variant> {
  try {
    const { bytes, notes } = await variantBytes(dtype, source, terminal)
    const comparison = await compareFiles(source.model, bytes, source.data, terminal, { saturation: false })
    const worst = comparison.outputs.reduce((low, o) => Math.min(low, o.sqnr), Infinity)
    if (worst < RUINED) return { dtype, refused: `ruined: ${worst.toFixed(1)} dB signal over noise, at least ${RUINED} dB expected`, notes }
    if (Number.isNaN(worst)) return { dtype, refused: 'its outputs are NaN', notes }
    return { dtype, bytes, comparison, notes }
  } catch (error) {
    if (!isLowbitError(error) || error.code === 'LOWBIT_ABORTED') throw error
    return { dtype, refused: `${error.parts.found}${error.parts.fix === undefined ? '' : `; ${error.parts.fix}`}`, notes: [] }
  }
}

async function variantBytes(dtype: PublishedDtype, { model, data, calibrated, ranges }: PublishSource, { signal, onProgress }: Terminal): Promise<{ readonly bytes: Uint8Array; readonly notes: readonly string[] }> {
  const { values, half, float } = VARIANTS[dtype]
  const host = await openOnnx(model)
  const notes: string[] = []
  try {
    let bytes: Uint8Array | undefined
    if (values !== undefined) {
      const exclude = float === undefined ? [] : host.sites().filter((site) => float.operators.includes(site.op)).map((site) => site.id)
      if (exclude.length > 0 && float !== undefined) notes.push(float.reason)
      const isBelow8 = values.weights?.every((w) => !w.endsWith('8')) === true
      const options = resolveRecipe(recipeOfValues(values), ALGORITHMS)
      const { artifact } = await quantize(host, { ...options, ...(exclude.length === 0 ? {} : { exclude: exclude.map(literally) }), ...(calibrated && isBelow8 ? { calibration: data } : {}), linalg: bestLinAlg(), signal, onProgress })
      bytes = artifact.bytes()
    }
    if (half === true) {
      const converted = await float16Model(bytes ?? model, { ...(ranges === undefined || bytes !== undefined ? {} : { ranges }), signal, onProgress })
      bytes = converted.artifact.bytes()
      if (converted.wide.length > 0) notes.push(`${converted.wide.length} operators stay float32`)
      await converted.close()
    }
    if (bytes === undefined) throw new LowbitError('LOWBIT_INTERNAL', { thing: dtype, found: 'a variant that changes nothing' })
    return { bytes, notes }
  } finally {
    await host.dispose()
  }
}

/** Ids are patterns elsewhere: what means something there stands for itself here. */
function literally(id: string): string {
  return id.replace(/[*?[\]\\{}]/g, '?')
}
