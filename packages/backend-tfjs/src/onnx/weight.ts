import type { SiteState } from '../host/site-state.js'
import type { GraphWriter } from './graph-writer.js'
import { codeTensor, storedCodes, type StoredCodes } from './stored-codes.js'

/** Which axes the operator wants: `[N, K]`, `[K, N]`, `[N, C, …offsets]`, or `[C, N, …offsets]`. */
export type WeightShape = 'NK' | 'KN' | 'conv' | 'transposed'

/**
 * The weight of a site as a float tensor of the graph: a constant, or a DequantizeLinear of its codes.
 * @param kernel kernel sizes of a convolution
 * @param notes told what had to stay in float
 */
export function writeWeight(writer: GraphWriter, site: SiteState, shape: WeightShape, kernel: readonly number[], notes: string[]): string {
  const { at } = site
  const [n, k] = [at.rows, at.columns]
  const channels = k / at.columnsPerChannel
  const spread = shape === 'conv' ? [n, channels, ...kernel] : shape === 'transposed' ? [channels, n, ...kernel] : shape === 'KN' ? [k, n] : [n, k]
  const stored = site.q === undefined ? undefined : storedCodes(site.q.tensor)
  const name = `${at.id}/weight`
  if (site.q === undefined || stored === undefined) {
    if (site.q !== undefined) notes.push(`${at.id}: ONNX has no type for ${site.q.tensor.scheme.dtype} with these zero points; its values are stored in float32`)
    return writer.floats(name, arranged(site.q?.values ?? site.weight, shape, n, k, at.columnsPerChannel), spread)
  }
  const g = site.q.tensor.scheme.granularity
  if (g.kind === 'group' && g.axis === 1) return blocked(writer, name, stored, shape, { n, k, size: g.size, spread, kernel, channels })
  const codes = arranged(stored.codes, shape, n, k, at.columnsPerChannel)
  const channelAxis = shape === 'KN' || shape === 'transposed' ? 1 : 0
  const per = g.kind === 'tensor' ? [] : [n]
  return writer.op('DequantizeLinear', name, [writer.constant(`${name}_codes`, codeTensor(stored, spread, codes), stored.type), ...params(writer, name, stored, per, (v) => v)], g.kind === 'tensor' ? {} : { axis: channelAxis })
}

interface Sizes {
  readonly n: number
  readonly k: number
  readonly size: number
  readonly spread: readonly number[]
  readonly kernel: readonly number[]
  readonly channels: number
}

/** Groups lie along K, which a convolution's operator sees as several axes: it is dequantized as a matrix and reshaped. */
function blocked(writer: GraphWriter, name: string, stored: StoredCodes, shape: WeightShape, { n, k, size, spread, kernel, channels }: Sizes): string {
  const groups = Math.ceil(k / size)
  const matrix = shape === 'KN' ? [k, n] : [n, k]
  const turn = <A extends Int32Array | Float32Array>(v: A): A => (shape === 'KN' ? arranged(v, 'KN', n, groups, 1) : v)
  const codes = writer.constant(`${name}_codes`, codeTensor(stored, matrix, shape === 'KN' ? arranged(stored.codes, 'KN', n, k, 1) : stored.codes), stored.type)
  const inputs = [codes, ...params(writer, name, stored, shape === 'KN' ? [groups, n] : [n, groups], turn)]
  const values = writer.op('DequantizeLinear', name, inputs, { axis: shape === 'KN' ? 0 : 1, block_size: size })
  if (shape === 'NK' || shape === 'KN') return values
  const image = writer.op('Reshape', `${name}_kernel`, [values, writer.integers(`${name}_shape`, [n, channels, ...kernel])])
  return shape === 'conv' ? image : writer.op('Transpose', `${name}_turned`, [image], { perm: spread.map((_, i) => (i < 2 ? 1 - i : i)) })
}

function params(writer: GraphWriter, name: string, stored: StoredCodes, shape: readonly number[], turn: <A extends Int32Array | Float32Array>(v: A) => A): string[] {
  const scales = writer.scales(`${name}_scale`, turn(stored.scales), shape)
  // int8 gets its zeros written out: ONNX Runtime's rewrite to uint8 (x64quantprecision) makes a scalar of absent ones, and fails.
  if (stored.zeroPoints === undefined && stored.type !== 'int8') return [scales]
  const zeroPoints = stored.zeroPoints ?? new Int32Array(stored.scales.length)
  return [scales, writer.constant(`${name}_zero_point`, codeTensor(stored, shape, turn(zeroPoints)), stored.type)]
}

/** `[N, K]` in another order of axes. */
function arranged<A extends Int32Array | Float32Array>(data: A, shape: WeightShape, n: number, k: number, offsets: number): A {
  if (shape === 'NK' || shape === 'conv') return data
  const out = data.slice() as A
  for (let row = 0; row < n; row++) {
    for (let column = 0; column < k; column++) {
      const to = shape === 'KN' ? column * n + row : (Math.floor(column / offsets) * n + row) * offsets + (column % offsets)
      out[to] = data[row * k + column]
    }
  }
  return out
}
