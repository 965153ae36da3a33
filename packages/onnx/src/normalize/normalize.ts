import type { ModelProto } from '@lowbit/formats'
import type { LoadTensor } from '../sites/weights.js'
import { foldTrainedCodes } from './fold-trained-codes.js'
import { hoistWeights } from './hoist-weights.js'
import { inlineFunctions } from './inline-functions.js'

/**
 * Brings what a model may hold in several places to the one place where weights are looked for: bodies of functions into the graph,
 * weights of branches and loops beside its own, and fake-quantized weights into the codes they were trained to be. What the model
 * computes does not change, to the last bit.
 * @returns what was done, in sentences
 */
export async function normalizeModel(model: ModelProto, load: LoadTensor): Promise<readonly string[]> {
  return [...inlineFunctions(model), ...hoistWeights(model), ...(await foldTrainedCodes(model, load))]
}
