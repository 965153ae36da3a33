import { dequantize, LowbitError, type HostTensor, type QTensor } from '@lowbit/core'
import type { Part } from '../../forward/parts.js'
import type { ModelMatrix } from '../../weights/matrix.js'
import type { WeightSource } from '../../weights/weight-source.js'
import type { TrainedModel } from './convert.js'

/** A trained model where weights are asked for: writers and loaders take it as they take a file. */
export function trainedSource(model: TrainedModel): WeightSource {
  const matrixOf = (part: Part): QTensor | HostTensor<'float32'> => {
    const q = model.codes.get(part.name)
    if (q !== undefined) return q
    const data = model.floats.get(part.name)
    if (data === undefined) throw new LowbitError('LOWBIT_NOT_FOUND', { thing: model.name, found: `no ${part.name}`, expected: 'a matrix of the model' })
    return { dtype: 'float32', shape: part.shape, data: new Float32Array(data) }
  }
  return {
    name: model.name, format: 'huggingface', config: model.config, notes: [],
    bytes: [...model.codes.values()].reduce((sum, q) => sum + q.codes.length, 0) + [...model.floats.values()].reduce((sum, f) => sum + f.byteLength, 0),
    typeOf: (part) => model.codes.get(part.name)?.scheme.dtype ?? 'F32',
    matrix: (part): Promise<ModelMatrix> => Promise.resolve(matrixOf(part)),
    rows(part, from, count) {
      const m = matrixOf(part)
      const { data } = 'scheme' in m ? dequantize(m) : m
      return Promise.resolve(data.slice(from * part.shape[1], (from + count) * part.shape[1]))
    },
    vector(part) {
      const found = model.vectors.get(part.name)
      return found === undefined ? Promise.reject(new LowbitError('LOWBIT_NOT_FOUND', { thing: model.name, found: `no ${part.name}`, expected: 'a vector of the model' })) : Promise.resolve(found)
    },
    fingerprint: () => JSON.stringify([model.name, [...model.codes.keys()]]),
    close: () => Promise.resolve(),
  }
}
