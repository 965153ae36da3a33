import { LowbitError, type Batch, type HostTensor, type TensorRef } from '@lowbit/core'
import type { ArrayFile, ArrayInfo } from '../tensors/array-file.js'

/**
 * Cuts the arrays of a file into batches for a model. The first axis holds samples: a batch takes as many as the model's own
 * first dim says, or `size` where the model leaves it open. An array with one axis more than the input holds whole batches.
 * Only arrays that the model takes are looked at, and a batch is in memory at a time.
 *
 * @throws LOWBIT_DATA if names, dtypes or shapes do not fit the inputs.
 */
export async function* splitBatches(file: ArrayFile, inputs: readonly TensorRef[], size: number): AsyncGenerator<Batch> {
  const only = inputs.length === 1 && file.names.length === 1 ? file.names[0] : undefined
  const pieces: { readonly name: string; readonly count: number; read(index: number): Promise<HostTensor> }[] = []
  for (const input of inputs) {
    const array = file.names.includes(input.name) ? input.name : only
    if (array === undefined) {
      throw new LowbitError('LOWBIT_DATA', { thing: file.name, found: `arrays ${listed(file.names)}`, expected: `one for each input: ${inputs.map((i) => i.name).join(', ')}` })
    }
    pieces.push({ name: input.name, ...splitArray(file, array, await file.info(array), input, size) })
  }
  const count = pieces[0]?.count ?? 0
  for (const piece of pieces) {
    if (piece.count !== count) {
      throw new LowbitError('LOWBIT_DATA', { thing: file.name, found: `${piece.count} batches of ${piece.name} and ${count} of ${pieces[0].name}`, expected: 'as many samples of every input' })
    }
  }
  for (let i = 0; i < count; i++) {
    const batch: [string, HostTensor][] = []
    for (const { name, read } of pieces) batch.push([name, await read(i)])
    yield Object.fromEntries(batch)
  }
}

/** Names that a message shows. */
const SHOWN = 20

function listed(names: readonly string[]): string {
  if (names.length === 0) return '(none)'
  return names.slice(0, SHOWN).join(', ') + (names.length > SHOWN ? ` and ${names.length - SHOWN} more` : '')
}

function splitArray(file: ArrayFile, name: string, { dtype, shape }: ArrayInfo, input: TensorRef, size: number): { readonly count: number; read(index: number): Promise<HostTensor> } {
  const want = input.shape
  const fail = (found: string): never => {
    throw new LowbitError('LOWBIT_DATA', { thing: `${file.name}, input ${input.name}`, found, expected: `${input.dtype ?? 'float32'} [${(want ?? []).join(', ')}]` })
  }
  const whole = { count: 1, read: () => file.read(name) }
  if (input.dtype !== undefined && dtype !== input.dtype) fail(`dtype ${dtype}`)
  if (want === undefined) return whole
  const [samples = 1, ...rest] = shape
  const wholeBatches = shape.length === want.length + 1
  if (!wholeBatches && shape.length !== want.length) fail(`shape [${shape.join(', ')}]`)
  const fits = rest.every((d, i) => {
    const dim = want[wholeBatches ? i : i + 1]
    return typeof dim !== 'number' || dim < 0 || dim === d
  })
  if (!fits) fail(`shape [${shape.join(', ')}]`)
  if (shape.length === 0) return whole
  const own = want[0]
  const step = wholeBatches ? 1 : typeof own === 'number' && own > 0 ? own : size
  if (samples === 0) fail('no samples')
  if (!wholeBatches && typeof own === 'number' && own > 0 && samples % own !== 0) fail(`${samples} samples`)
  return {
    count: Math.ceil(samples / step),
    async read(index) {
      const part = await file.rows(name, index * step, Math.min(samples, (index + 1) * step))
      return wholeBatches ? { ...part, shape: rest } : part
    },
  }
}
