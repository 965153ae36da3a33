import { LowbitError, type Artifact } from '@lowbit/core'
import type { GgufMetadata } from '@lowbit/formats/gguf'
import { ggufFormat } from '../../export/gguf/write.js'
import type { TrainedModel } from './convert.js'
import { trainedSource } from './trained-source.js'

/**
 * A trained model as one GGUF file, with the codes of its training.
 * @throws LOWBIT_UNSUPPORTED for codes that no type of GGUF holds: rows that are no multiple of 32, widths that it has not
 */
export async function trainedGguf(model: TrainedModel, tokenizer?: GgufMetadata): Promise<Artifact> {
  const { config, codes, vectors, floats, name } = model
  return ggufFormat.write({
    name, config, codes, vectors, source: trainedSource(model), sites: [],
    isChanged: () => true,
    floats: (part) => {
      const values = floats.get(part.name)
      return values === undefined ? Promise.reject(new LowbitError('LOWBIT_INTERNAL', { thing: part.name, found: 'codes' })) : Promise.resolve(new Float32Array(values))
    },
    tokenizer: () => tokenizer,
  }, {})
}
