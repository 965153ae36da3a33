import { tokenizerFromFolder, type Tokenizer } from '@lowbit/causal-lm'
import { elementCount, LowbitError, type Batch, type HostTensor, type TensorRef } from '@lowbit/core'
import { writeNpz } from '@lowbit/formats'
import type { DataFiles } from './messages.js'

/** Tokens of a sample, where the model leaves it open. */
const LENGTH = 64
/** Samples at most. */
const MOST = 32
/** Bytes of text that are read: more than enough for them. */
const READ = 1 << 20

/** Inputs of models of text that follow from the tokens. */
const FOLLOWS: Readonly<Record<string, (i: number) => number>> = { attention_mask: () => 1, token_type_ids: () => 0, position_ids: (i) => i }

/** Texts as batches of token ids, and as a file that the command reads. */
export async function tokenBatches({ files, tokenizer: file }: DataFiles, inputs: readonly TensorRef[]): Promise<{ readonly batches: readonly Batch[]; readonly npz: Blob }> {
  if (file === undefined) throw new LowbitError('LOWBIT_DATA', { thing: 'texts', found: 'no tokenizer', expected: 'the model’s tokenizer.json', fix: 'choose tokenizer.json together with the texts' })
  const tokenizer = tokenizerFromFolder({ name: 'tokenizer.json', config: {}, generation: {}, tokenizer: await parse(file), tokenizerConfig: {}, chatTemplate: undefined })
  const texts = await Promise.all(files.filter((f) => !/\.json$/i.test(f.name)).map((f) => f.slice(0, READ).text()))
  const batches = batchesOf(texts, tokenizer, inputs)
  const names = inputs.map((i) => i.name)
  const arrays = Object.fromEntries(names.map((name) => [name, stacked(batches.map((b) => b[name]))]))
  return { batches, npz: new Blob([writeNpz(arrays)]) }
}

async function parse(file: Blob): Promise<Readonly<Record<string, unknown>>> {
  try {
    const value: unknown = JSON.parse(await file.text())
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Readonly<Record<string, unknown>>
  } catch {
    // Said below.
  }
  throw new LowbitError('LOWBIT_FORMAT', { thing: 'tokenizer.json', found: 'no JSON object', expected: 'a tokenizer of the tokenizers library' })
}

/** Pieces of the texts, all equally long. @throws LOWBIT_DATA for a model that takes something else than tokens. */
export function batchesOf(texts: readonly string[], tokenizer: Tokenizer, inputs: readonly TensorRef[]): readonly Batch[] {
  const ids = inputs.find((i) => !Object.hasOwn(FOLLOWS, i.name) && (i.dtype === 'int64' || i.dtype === 'int32') && i.shape?.length === 2)
  const other = inputs.find((i) => i !== ids && !Object.hasOwn(FOLLOWS, i.name))
  if (ids === undefined || other !== undefined) {
    const odd = other ?? inputs[0]
    throw new LowbitError('LOWBIT_DATA', { thing: `input ${odd?.name ?? '(none)'}`, found: `${odd?.dtype ?? 'unknown'} [${(odd?.shape ?? []).join(', ')}]`, expected: `token ids, and beside them only ${Object.keys(FOLLOWS).join(', ')}`, fix: 'give the samples as an .npz file with one array for each input' })
  }
  const fixed = ids.shape?.[1]
  const length = typeof fixed === 'number' && fixed > 0 ? fixed : LENGTH
  const tokens = texts.flatMap((text) => tokenizer.encode(text))
  const count = Math.min(MOST, Math.floor(tokens.length / length))
  if (count === 0) throw new LowbitError('LOWBIT_DATA', { thing: 'texts', found: `${tokens.length} tokens`, expected: `at least ${length}`, fix: 'choose longer texts' })
  return Array.from({ length: count }, (_, n) => {
    const own = tokens.slice(n * length, (n + 1) * length)
    return Object.fromEntries(inputs.map((input) => [input.name, integers(input, input === ids ? own : own.map((_, i) => FOLLOWS[input.name](i)))]))
  })
}

function integers({ name, dtype }: TensorRef, values: readonly number[]): HostTensor {
  const shape = [1, values.length]
  if (dtype === 'int64') return { dtype, shape, data: BigInt64Array.from(values, BigInt) }
  if (dtype === 'int32') return { dtype, shape, data: Int32Array.from(values) }
  throw new LowbitError('LOWBIT_DATA', { thing: `input ${name}`, found: dtype ?? 'no type', expected: 'int64 or int32' })
}

/** Samples of one input in one array. */
function stacked(tensors: readonly HostTensor[]): HostTensor {
  const [first] = tensors
  const shape = [tensors.length, ...first.shape.slice(1)]
  const all = first.data instanceof BigInt64Array ? new BigInt64Array(elementCount(shape)) : new Int32Array(elementCount(shape))
  tensors.forEach(({ data }, i) => {
    if (data instanceof BigInt64Array && all instanceof BigInt64Array) all.set(data, i * data.length)
    else if (data instanceof Int32Array && all instanceof Int32Array) all.set(data, i * data.length)
  })
  return { ...first, shape, data: all }
}
