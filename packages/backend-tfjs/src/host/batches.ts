import { LowbitError, type Batch, type DType, type HostTensor, type TensorRef } from '@lowbit/core'
import { functional } from '../layers/functional.js'
import type { LayersModel, Tensor, TfCore } from '../tf.js'

const refs = (names: readonly string[], tensors: LayersModel['inputs']): TensorRef[] =>
  tensors.map((t, i) => ({ name: names[i], dtype: dtypeOf(t.dtype), shape: t.shape.map((s, axis) => s ?? (axis === 0 ? 'batch' : `${names[i]}.${axis}`)) }))

const dtypeOf = (dtype: string): DType => (dtype === 'int32' ? 'int32' : 'float32')

export function modelInputs(model: LayersModel): TensorRef[] {
  const { inputNames, inputs } = functional(model)
  return refs(inputNames, inputs)
}

export function modelOutputs(model: LayersModel): TensorRef[] {
  const { outputNames, outputs } = functional(model)
  return refs(outputNames, outputs)
}

/** The inputs of a batch, in the model's order. @throws LOWBIT_DATA naming what is missing or does not fit. */
export function inputTensors(tf: TfCore, model: LayersModel, batch: Batch): Tensor[] {
  return modelInputs(model).map(({ name, dtype, shape = [] }) => {
    const given = batch[name]
    if (given === undefined) throw new LowbitError('LOWBIT_DATA', { thing: `batch with ${Object.keys(batch).join(', ') || 'nothing'}`, found: `no input '${name}'`, expected: functional(model).inputNames.join(', ') })
    const fits = given.shape.length === shape.length && shape.every((s, i) => typeof s === 'string' || s === given.shape[i])
    if (!fits) throw new LowbitError('LOWBIT_DATA', { thing: `input '${name}'`, found: `[${given.shape.join(', ')}]`, expected: `[${shape.join(', ')}]` })
    return tf.tensor(numbersOf(given, name, dtype === 'int32'), [...given.shape], dtype === 'int32' ? 'int32' : 'float32')
  })
}

function numbersOf({ dtype, data }: HostTensor, name: string, whole: boolean): Float32Array | Int32Array {
  if (dtype === 'float16' || dtype === 'bfloat16' || dtype.startsWith('float8')) throw new LowbitError('LOWBIT_DTYPE', { thing: `input '${name}'`, found: dtype, expected: 'float32 or int32' })
  return whole ? Int32Array.from(data, Number) : Float32Array.from(data, Number)
}
