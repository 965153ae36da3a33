import { LowbitError, type HostTensor, type QTensor } from '@lowbit/core'
import { float, hostToTensor, node, type AttributeValue, type NodeProto, type TensorProto } from '@lowbit/formats'
import { ortNBits } from '@lowbit/formats/layouts'

export const MICROSOFT = 'com.microsoft'

/** Collects nodes and initializers of a graph; every method gives the name of what it makes. */
export class GraphBuilder {
  readonly nodes: NodeProto[] = []
  readonly initializers: TensorProto[] = []
  readonly #names = new Set<string>()

  op(type: string, name: string, inputs: readonly string[], attributes: Readonly<Record<string, AttributeValue>> = {}, domain = ''): string {
    return this.ops(type, name, inputs, [name], attributes, domain)[0]
  }

  ops<const O extends readonly [string, ...string[]]>(type: string, name: string, inputs: readonly string[], outputs: O, attributes: Readonly<Record<string, AttributeValue>> = {}, domain = ''): O {
    this.nodes.push(node(type, inputs, outputs, attributes, domain, `/${name}`))
    return outputs
  }

  constant(name: string, host: HostTensor): string {
    if (this.#names.has(name)) return name
    this.#names.add(name)
    this.initializers.push(hostToTensor(name, host))
    return name
  }

  floats(name: string, data: Float32Array, shape: readonly number[] = [data.length]): string {
    return this.constant(name, { dtype: 'float32', shape, data: data as Float32Array<ArrayBuffer> })
  }

  /** Whole numbers as int64: shapes, axes, ends. */
  ints(values: readonly number[]): string {
    return this.constant(`ints.${values.join('.').replaceAll('-', 'm')}`, { dtype: 'int64', shape: [values.length], data: BigInt64Array.from(values, BigInt) })
  }

  reshape(name: string, x: string, shape: readonly number[]): string {
    return this.op('Reshape', name, [x, this.ints(shape)])
  }

  /** `x · Wᵀ` over codes. @param out - what it makes */
  matMulNBits(name: string, x: string, q: QTensor, accuracyLevel: number, out: string): string {
    const { codes, scales, zeroPoints, bits, size } = this.#blocks(name, q)
    const [rows = 0, columns = 0] = q.shape
    return this.op('MatMulNBits', out, [x, codes, scales, ...zeroPoints], { K: columns, N: rows, bits, block_size: size, ...(accuracyLevel === 0 ? {} : { accuracy_level: accuracyLevel }) }, MICROSOFT)
  }

  /** Rows of codes: over the bytes that MatMulNBits has, where both are given one name. */
  gatherBlocks(name: string, ids: string, q: QTensor): string {
    const { codes, scales, zeroPoints, bits, size } = this.#blocks(name, q)
    const [rows = 0, columns = 0] = q.shape
    const blocks = columns / size
    const table = this.reshape(`${name}.codes.table`, codes, [rows, (columns * bits) / 8])
    const steps = this.reshape(`${name}.scales.table`, scales, [rows, blocks])
    const zeros = zeroPoints.map((z) => this.reshape(`${name}.zeros.table`, z, [rows, Math.ceil((blocks * bits) / 8)]))
    return this.op('GatherBlockQuantized', `${name}.rows`, [table, ids, steps, ...zeros], { gather_axis: 0, quantize_axis: 1, block_size: size, bits }, MICROSOFT)
  }

  #blocks(name: string, q: QTensor): { readonly codes: string; readonly scales: string; readonly zeroPoints: readonly string[]; readonly bits: number; readonly size: number } {
    const { granularity } = q.scheme
    if (granularity.kind !== 'group') throw new LowbitError('LOWBIT_INTERNAL', { thing: name, found: 'codes without groups' })
    const bits = Number(/\d/.exec(q.scheme.dtype)?.[0])
    const of = { codes: `${name}.weight_q${bits}`, scales: `${name}.weight_scale`, zeroPoints: `${name}.weight_zero_point`, bits, size: granularity.size }
    const hasZeros = !q.scheme.symmetric || q.params.zeroPoints !== undefined
    const names = { ...of, zeroPoints: hasZeros ? [of.zeroPoints] : [] }
    if (this.#names.has(of.codes)) return names
    const [rows = 0, columns = 0] = q.shape
    const blocks = Math.ceil(columns / granularity.size)
    const { codes, scales, zeroPoints } = ortNBits.pack(q).buffers
    if (!(codes instanceof Uint8Array) || !(scales instanceof Float32Array)) throw new LowbitError('LOWBIT_INTERNAL', { thing: 'layout ort-nbits', found: 'buffers of other types' })
    this.constant(of.codes, { dtype: 'uint8', shape: [rows, blocks, codes.length / (rows * blocks)], data: codes as Uint8Array<ArrayBuffer> })
    this.floats(of.scales, scales)
    if (hasZeros && zeroPoints instanceof Float32Array) this.floats(of.zeroPoints, zeroPoints)
    else if (hasZeros && zeroPoints instanceof Uint8Array) this.constant(of.zeroPoints, { dtype: 'uint8', shape: [zeroPoints.length], data: zeroPoints as Uint8Array<ArrayBuffer> })
    return names
  }

  /** RMSNorm over the last axis, in ONNX Runtime's own operator or in plain ones. */
  norm(name: string, x: string, gain: Float32Array, epsilon: number, isPlain: boolean): string {
    const weight = this.floats(`${name}.gain`, gain)
    if (!isPlain) return this.op('SimplifiedLayerNormalization', `${name}.out`, [x, weight], { axis: -1, epsilon: float(epsilon), stash_type: 1 })
    const squares = this.op('Mul', `${name}.squares`, [x, x])
    const mean = this.op('ReduceMean', `${name}.mean`, [squares, this.ints([-1])], { keepdims: 1 })
    const root = this.op('Sqrt', `${name}.root`, [this.op('Add', `${name}.shifted`, [mean, this.scalar(epsilon)])])
    return this.op('Mul', `${name}.out`, [this.op('Div', `${name}.normed`, [x, root]), weight])
  }

  scalar(value: number): string {
    return this.constant(`scalar.${value}`, { dtype: 'float32', shape: [], data: Float32Array.of(value) })
  }
}
