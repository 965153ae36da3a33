import { partsOf } from '../../forward/parts.js'
import { isQuantized } from '../../weights/matrix.js'
import type { TrainableParts } from './trainable-lm.js'

/** Bytes that a training needs at once, about: what it keeps, and what a step adds. */
export interface TrainingMemory {
  /** Values, the backend's copy, gradients and two moments of what is trained; values of the rest. */
  readonly parameters: number
  /** Frozen matrices as they are kept, and in float while they are used. */
  readonly frozen: number
  /** Inner values of the layers for the backward pass. */
  readonly activations: number
  /** Logits, and what their loss keeps. */
  readonly logits: number
  readonly total: number
}

/** Copies of logits that a loss and its gradient hold. */
const LOGITS = 4

/** An estimate from the sizes alone, to refuse what cannot be before it is begun: the operations of a backend hold more or less. */
export function trainingMemory<T>({ config, parameters, frozen, trained, recompute, logitRows }: Pick<TrainableParts<T>, 'config' | 'parameters' | 'frozen' | 'trained' | 'recompute' | 'logitRows'>, tokens: { readonly batch: number; readonly window: number }): TrainingMemory {
  const { width, heads, kvHeads, headSize, hidden, layers, vocabulary } = config
  const rows = tokens.batch * tokens.window
  const held = parameters.list().reduce((sum, { name, values }) => sum + values.byteLength * (trained.has(name) ? 5 : 2), 0)
  const floatsOf = (layer: number | undefined): number => partsOf(config).filter((part) => part.kind === 'matrix' && part.layer === layer && frozen.has(part.name)).reduce((sum, { shape }) => sum + 4 * shape[0] * shape[1], 0)
  const kept = [...frozen.values()].reduce((sum, m) => sum + (isQuantized(m) ? m.codes.byteLength + ('scheme' in m ? m.params.scales : m.scales).byteLength : m.data.byteLength), 0)
  const inUse = recompute === undefined ? partsOf(config).reduce((sum, part) => sum + (frozen.has(part.name) ? 4 * part.shape[0] * part.shape[1] : 0), 0) : Math.max(floatsOf(undefined), recompute * floatsOf(0))
  // Norms, projections and their sums; scores and their shares of each head; gate, up and what lies between.
  const layer = rows * (12 * width + 6 * (heads + kvHeads) * headSize + 3 * heads * tokens.window + 8 * hidden) * 4
  const activations = recompute === undefined ? layers * layer : Math.min(layers, recompute) * layer + layers * rows * width * 4
  const logits = Math.min(rows, logitRows ?? rows) * vocabulary * 4 * LOGITS
  const memory = { parameters: held, frozen: kept + inUse, activations, logits }
  return { ...memory, total: held + kept + inUse + activations + logits }
}
