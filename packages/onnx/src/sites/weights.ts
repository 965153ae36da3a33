import { fromBfloat16, fromFloat16, type HostTensor, LowbitError, toFloat16 } from '@lowbit/core'
import { hostToTensor, node, type TensorProto } from '@lowbit/formats'
import type { Graph } from '../graph/index.js'
import { type ConstantChain, constantChain } from './constant-chain.js'
import { fromRows, toRows, transpose } from './matrix.js'
import { operandName, type SiteRecord, siteNode } from './site-record.js'

/** Reads a stored tensor, wherever its data stands. */
export type LoadTensor = (tensor: TensorProto) => Promise<HostTensor>

/**
 * The weight of a site as `[N, K]` float32, a copy.
 * @throws LOWBIT_NONFINITE if it holds NaN or infinity
 */
export async function readRows(graph: Graph, record: SiteRecord, load: LoadTensor): Promise<HostTensor<'float32'>> {
  const { rows, columns } = record.matrix
  const chain = weightChain(graph, record)
  const stored = toFloat32(await load(chain.tensor), record)
  const data = toRows(throughChain(stored, chain), record.matrix)
  checkFinite(data, record)
  // What came out of the file may be the file's own memory.
  return { dtype: 'float32', shape: [rows, columns], data: data.buffer === stored.buffer ? data.slice() : data }
}

/**
 * Gives sites that share a weight a new one. The stored tensor is replaced where only they read it; else they get their own.
 * @param tied - the owner and every site tied to it
 */
export function writeRows(graph: Graph, tied: readonly SiteRecord[], rows: Float32Array<ArrayBuffer>): void {
  const [owner] = tied
  if (owner === undefined) return
  const operand = fromRows(rows, owner.matrix)
  const shape = owner.matrix.shape
  const host: HostTensor = owner.floatType === 'float16' ? { dtype: 'float16', shape, data: toFloat16(operand) } : { dtype: 'float32', shape, data: operand }
  const before = operandName(graph, owner, 'weight')
  if (tied.every((r) => r.matrix.orientation === owner.matrix.orientation) && isOnlyReadBy(graph, before, tied) && graph.constant(before) !== undefined) {
    graph.setConstant(before, hostToTensor(before, host))
    return
  }
  const name = graph.addInitializer(hostToTensor(graph.freshName(`${before}_lowbit`), host))
  pointWeightAt(graph, tied, name)
}

/**
 * Makes sites read their weight from another tensor, and removes what nothing reads any more.
 * @param sites - the first says how the tensor lies; those that take it the other way round get a Transpose
 */
export function pointWeightAt(graph: Graph, sites: readonly SiteRecord[], name: string): void {
  const orientation = sites[0]?.matrix.orientation
  let turned: string | undefined
  for (const record of sites) {
    const operator = siteNode(graph, record)
    const before = operator.input[record.weightInput] ?? ''
    let now = name
    if (record.matrix.orientation !== orientation) {
      if (turned === undefined) {
        turned = graph.freshName(`${name}_transposed`)
        graph.addNode(node('Transpose', [name], [turned], { perm: [1, 0] }))
      }
      now = turned
    }
    graph.setInput(operator, record.weightInput, now)
    if (before !== now) graph.removeIfUnread(before)
  }
}

/** The stored tensor behind a site's weight and the way from it to the operator. */
export function weightChain(graph: Graph, record: SiteRecord): ConstantChain {
  const chain = constantChain(graph, operandName(graph, record, 'weight'))
  if (chain === undefined) throw new LowbitError('LOWBIT_INTERNAL', { thing: `site '${record.site.id}'`, found: 'its weight is not stored in the model any more' })
  return chain
}

function isOnlyReadBy(graph: Graph, name: string, sites: readonly SiteRecord[]): boolean {
  const readers = new Set(sites.map((record) => siteNode(graph, record)))
  return !graph.isOutput(name) && graph.consumers(name).every((reader) => readers.has(reader) && !graph.captures(reader).has(name))
}

function toFloat32({ dtype, data }: HostTensor, record: SiteRecord): Float32Array<ArrayBuffer> {
  if (data instanceof Float32Array) return data
  if (dtype === 'float16' && data instanceof Uint16Array) return fromFloat16(data)
  // Behind a Cast to what the operator takes.
  if (dtype === 'bfloat16' && data instanceof Uint16Array) return fromBfloat16(data)
  if (data instanceof Float64Array) return Float32Array.from(data)
  throw new LowbitError('LOWBIT_DTYPE', { thing: `weight of site '${record.site.id}'`, found: dtype, expected: 'float32 or float16' })
}

function throughChain(data: Float32Array<ArrayBuffer>, { tensor, steps }: ConstantChain): Float32Array<ArrayBuffer> {
  let shape: readonly number[] = tensor.dims.map(Number)
  for (const step of steps) {
    if (step.kind === 'transpose') data = permute(data, shape, step.perm)
    shape = step.kind === 'reshape' ? step.shape : step.perm.map((axis) => shape[axis] ?? 0)
  }
  return data
}

function permute(data: Float32Array<ArrayBuffer>, shape: readonly number[], perm: readonly number[]): Float32Array<ArrayBuffer> {
  const [rows = 0, columns = 0] = shape
  if (shape.length === 2) return perm[0] === 0 ? data : transpose(data, rows, columns)
  const strides = shape.map((_, axis) => shape.slice(axis + 1).reduce((a, b) => a * b, 1))
  const sizes = perm.map((axis) => shape[axis] ?? 0)
  const steps = perm.map((axis) => strides[axis] ?? 0)
  const out = new Float32Array(data.length)
  const index = sizes.map(() => 0)
  let source = 0
  for (let i = 0; i < out.length; i++) {
    out[i] = data[source]
    for (let axis = sizes.length - 1; axis >= 0; axis--) {
      index[axis]++
      source += steps[axis]
      if (index[axis] < sizes[axis]) break
      source -= steps[axis] * sizes[axis]
      index[axis] = 0
    }
  }
  return out
}

function checkFinite(data: Float32Array, record: SiteRecord): void {
  // NaN and the infinities are the values whose difference with themselves is not 0: one sum needs no branch.
  let sum = 0
  for (let i = 0; i < data.length; i++) sum += data[i] - data[i]
  if (sum === 0) return
  const at = data.findIndex((value) => !Number.isFinite(value))
  const { columns } = record.matrix
  throw new LowbitError('LOWBIT_NONFINITE', {
    thing: `weight of site '${record.site.id}'`,
    found: `${data[at]} in row ${Math.floor(at / columns)}, column ${at % columns}`,
    expected: 'finite numbers',
    fix: 'check the training or the export, or exclude the site',
  })
}

