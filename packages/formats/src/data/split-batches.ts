import { LowbitError, type Batch, type HostTensor, type TensorRef } from '@lowbit/core'
import type { ArrayFile, ArrayInfo } from '../tensors/array-file.js'

/**
 * Cuts the arrays of a file into batches for a model. The first axis holds samples: a batch takes as many as the model's own
 * first dim says, or `size` where the model leaves it open. An array with one axis more than the input holds whole batches. What is
 * there once (a state, a rate) goes with every batch.
 * @param size - `'whole'`: what stands in the file is one batch, where it is not too large for one
 * Only arrays that the model takes are looked at, and a batch is in memory at a time.
 *
 * @throws LOWBIT_DATA if names, dtypes or shapes do not fit the inputs.
 */
export async function* splitBatches(file: ArrayFile, inputs: readonly TensorRef[], size: number | 'whole'): AsyncGenerator<Batch> {
  const only = inputs.length === 1 && file.names.length === 1 ? file.names[0] : undefined
  const pieces: (Piece & { readonly name: string })[] = []
  for (const input of inputs) {
    const array = file.names.includes(input.name) ? input.name : only
    if (array === undefined) {
      throw new LowbitError('LOWBIT_DATA', { thing: file.name, found: `arrays ${listed(file.names)}`, expected: `one for each input: ${inputs.map((i) => i.name).join(', ')}` })
    }
    pieces.push({ name: input.name, ...splitArray(file, array, await file.info(array), input, size) })
  }
  const most = pieces.reduce<(typeof pieces)[number] | undefined>((a, b) => (a === undefined || b.count > a.count ? b : a), undefined)
  const count = most?.count ?? 0
  for (const piece of pieces) {
    if (piece.count !== count && piece.count !== 1) {
      throw new LowbitError('LOWBIT_DATA', { thing: file.name, found: `${piece.count} batches of ${piece.name} and ${count} of ${most?.name ?? ''}`, expected: 'as many samples of every input, or one for all' })
    }
  }
  for (let i = 0; i < count; i++) {
    const batch: [string, HostTensor][] = []
    let rows = 1
    for (const { name, count: own, isOpen, read } of pieces) {
      const part = await read(own === 1 ? 0 : i)
      if (isOpen) rows = Math.max(rows, part.shape[0] ?? 1)
      batch.push([name, part])
    }
    yield Object.fromEntries(batch.map(([name, part], at) => [name, count > 1 && pieces[at].count === 1 && pieces[at].isOpen ? repeated(part, rows) : part]))
  }
}

interface Piece {
  readonly count: number
  /** The model takes any number of samples. */
  readonly isOpen: boolean
  read(index: number): Promise<HostTensor>
}

/** One sample as often as there are of the others. */
function repeated(tensor: HostTensor, rows: number): HostTensor {
  if (tensor.shape[0] !== 1 || rows === 1) return tensor
  const { data } = tensor
  const copy: new (length: number) => typeof data = data.constructor as new (length: number) => typeof data
  const out = new copy(data.length * rows)
  for (let i = 0; i < out.length; i++) out[i] = data[i % data.length]
  return { ...tensor, shape: [rows, ...tensor.shape.slice(1)], data: out } as HostTensor
}

/** A file with more values is not one batch. */
const MOST_VALUES = 1 << 24

/** Names that a message shows. */
const SHOWN = 20

function listed(names: readonly string[]): string {
  if (names.length === 0) return '(none)'
  return names.slice(0, SHOWN).join(', ') + (names.length > SHOWN ? ` and ${names.length - SHOWN} more` : '')
}

function splitArray(file: ArrayFile, name: string, { dtype, shape }: ArrayInfo, input: TensorRef, wanted: number | 'whole'): Piece {
  const want = input.shape
  const fail = (found: string): never => {
    throw new LowbitError('LOWBIT_DATA', { thing: `${file.name}, input ${input.name}`, found, expected: `${input.dtype ?? 'float32'} [${(want ?? []).join(', ')}]` })
  }
  const whole = { count: 1, isOpen: false, read: () => file.read(name) }
  const size = wanted !== 'whole' ? wanted : shape.reduce((a, b) => a * b, 1) <= MOST_VALUES ? Math.max(1, shape[0] ?? 1) : 1
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
    isOpen: !wholeBatches && !(typeof own === 'number' && own > 0),
    async read(index) {
      const part = await file.rows(name, index * step, Math.min(samples, (index + 1) * step))
      return wholeBatches ? { ...part, shape: rest } : part
    },
  }
}
