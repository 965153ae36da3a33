import type { ModelProto } from '@lowbit/formats'
import type { LoadTensor } from '../sites/weights.js'
import { foldTrainedCodes } from './fold-trained-codes.js'
import { hoistWeights } from './hoist-weights.js'
import { inlineFunctions } from './inline-functions.js'

/**
 * Brings what a model may hold in several places to the one place where weights are looked for: bodies of functions into the graph,
 * weights of branches and loops beside its own, and fake-quantized weights into the codes they were trained to be. What the model
 * computes does not change, to the last bit.
 * @returns what was done, in sentences, and the bytes that codes in the place of floats saved
 */
export async function normalizeModel(model: ModelProto, load: LoadTensor): Promise<{ readonly notes: readonly string[]; readonly saved: number }> {
  const notes = [...inlineFunctions(model), ...hoistWeights(model)]
  const { notes: folded, saved } = await foldTrainedCodes(model, load)
  return { notes: [...notes, ...folded], saved }
}
