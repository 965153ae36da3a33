import { LowbitError, type Batch, type HostTensor, type TensorRef } from '@lowbit/core'

/**
 * Cuts the arrays of a file into batches for a model. The first axis holds samples: a batch takes as many as the model's own
 * first dim says, or `size` where the model leaves it open. An array with one axis more than the input holds whole batches.
 *
 * @throws LOWBIT_DATA if names, dtypes or shapes do not fit the inputs.
 */
export function* splitBatches(arrays: ReadonlyMap<string, HostTensor>, inputs: readonly TensorRef[], size: number, thing: string): Generator<Batch> {
  const only = inputs.length === 1 && arrays.size === 1 ? [...arrays.values()][0] : undefined
  const pieces = inputs.map((input) => {
    const array = arrays.get(input.name) ?? only
    if (array === undefined) {
      throw new LowbitError('LOWBIT_DATA', { thing, found: `arrays ${[...arrays.keys()].join(', ') || '(none)'}`, expected: `one for each input: ${inputs.map((i) => i.name).join(', ')}` })
    }
    return { name: input.name, parts: splitArray(array, input, size, thing) }
  })
  const count = pieces[0]?.parts.length ?? 0
  for (const { name, parts } of pieces) {
    if (parts.length !== count) {
      throw new LowbitError('LOWBIT_DATA', { thing, found: `${parts.length} batches of ${name} and ${count} of ${pieces[0].name}`, expected: 'as many samples of every input' })
    }
  }
  for (let i = 0; i < count; i++) yield Object.fromEntries(pieces.map(({ name, parts }) => [name, parts[i]]))
}

function splitArray(array: HostTensor, input: TensorRef, size: number, thing: string): readonly HostTensor[] {
  const want = input.shape
  const fail = (found: string): never => {
    throw new LowbitError('LOWBIT_DATA', { thing: `${thing}, input ${input.name}`, found, expected: `${input.dtype ?? 'float32'} [${(want ?? []).join(', ')}]` })
  }
  if (input.dtype !== undefined && array.dtype !== input.dtype) fail(`dtype ${array.dtype}`)
  if (want === undefined) return [array]
  const [samples = 1, ...rest] = array.shape
  const wholeBatches = array.shape.length === want.length + 1
  if (!wholeBatches && array.shape.length !== want.length) fail(`shape [${array.shape.join(', ')}]`)
  const fits = (wholeBatches ? array.shape.slice(1) : rest).every((d, i) => {
    const dim = want[wholeBatches ? i : i + 1]
    return typeof dim !== 'number' || dim < 0 || dim === d
  })
  if (!fits) fail(`shape [${array.shape.join(', ')}]`)
  if (array.shape.length === 0) return [array]
  const own = want[0]
  const step = wholeBatches ? 1 : typeof own === 'number' && own > 0 ? own : size
  if (samples === 0) fail('no samples')
  if (!wholeBatches && typeof own === 'number' && own > 0 && samples % own !== 0) fail(`${samples} samples`)
  const stride = array.data.length / samples
  const parts: HostTensor[] = []
  for (let from = 0; from < samples; from += step) {
    const to = Math.min(samples, from + step)
    parts.push({ dtype: array.dtype, shape: wholeBatches ? rest : [to - from, ...rest], data: array.data.slice(from * stride, to * stride) })
  }
  return parts
}
