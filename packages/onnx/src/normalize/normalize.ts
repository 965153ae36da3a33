import type { ModelProto } from '@lowbit/formats'
import { isOp, subgraphs } from '../graph/index.js'
import type { LoadTensor } from '../sites/weights.js'

/**
 * Brings what a model may hold in several places to the one place where weights are looked for: bodies of functions into the graph,
 * weights of branches and loops beside its own, and fake-quantized weights into the codes they were trained to be. What the model
 * computes does not change, to the last bit.
 * @returns what was done, in sentences, and the bytes that codes in the place of floats saved
 */
export async function normalizeModel(model: ModelProto, load: LoadTensor): Promise<{ readonly notes: readonly string[]; readonly saved: number }> {
  const notes: string[] = []
  // Most models hold none of it: a page loads what it needs.
  if (model.functions.length > 0) notes.push(...(await import('./inline-functions.js')).inlineFunctions(model))
  if (model.graph?.node.some((n) => subgraphs(n).length > 0) === true) notes.push(...(await import('./hoist-weights.js')).hoistWeights(model))
  if (model.graph?.node.some((n) => isOp(n, 'QuantizeLinear')) !== true) return { notes, saved: 0 }
  const { foldTrainedCodes } = await import('./fold-trained-codes.js')
  const { notes: folded, saved } = await foldTrainedCodes(model, load)
  return { notes: [...notes, ...folded], saved }
}
