import { bySeverity, type Finding } from '@lowbit/formats/doctor'
import { Graph } from '../graph/index.js'
import { embedExternal, type ModelData, type ModelInput, openSource } from '../model/index.js'
import { DoctorContext, type DoctorTarget } from './context.js'
import { castPairs, float16Overflow, wideMask } from './float16-rules.js'
import { accuracyLevel, floatHead, floatZeroPoints } from './language-model-rules.js'
import { convInteger, integersOnWebgpu, over2gb, tensorrt, unfusedPairs, webnn } from './runtime-rules.js'
import { duplicates, unread, weightsAsInputs } from './storage-rules.js'

const RULES: readonly ((context: DoctorContext) => readonly Finding[] | Promise<readonly Finding[]>)[] = [
  accuracyLevel, floatHead, floatZeroPoints, integersOnWebgpu, convInteger, float16Overflow, wideMask, over2gb, unfusedPairs, tensorrt, webnn, castPairs, unread, duplicates, weightsAsInputs,
]

export interface ExamineOnnxOptions {
  /** Where the model is going to run; TensorRT and WebNN are looked at only when named. Default: ONNX Runtime, native and in browsers. */
  readonly targets?: readonly DoctorTarget[]
  readonly externalData?: ModelData
  readonly signal?: AbortSignal
}

/**
 * What is wrong with an ONNX model, or costs its users something.
 * @throws LOWBIT_FILE, LOWBIT_FORMAT, LOWBIT_LIMIT: a file that cannot be read is no finding
 */
export async function examineOnnx(model: ModelInput, { targets = [], externalData, signal }: ExamineOnnxOptions = {}): Promise<readonly Finding[]> {
  const source = await openSource(model, externalData)
  try {
    if (source.file !== undefined) await embedExternal(source.file, 'constants')
    const context = new DoctorContext(new Graph(source.model), source.size, (t) => source.load(t), targets)
    const found: Finding[] = []
    for (const rule of RULES) {
      signal?.throwIfAborted()
      found.push(...(await rule(context)))
    }
    return bySeverity(found)
  } finally {
    await source.close()
  }
}
