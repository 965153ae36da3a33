import { isExternal, type OnnxSource, type ModelProto, type NodeProto, tensorBytes, type TensorProto, tensorsOf } from '@lowbit/formats'

/** Biases, limits, axes, shapes: what decisions about a model are made from. */
const SMALL = 1 << 16
/** Constants of attention masks are one row a position. */
const MASK = 1 << 24
/** Operators that masks go through. */
const MASKING = ['Add', 'Sub', 'Mul', 'Where', 'Max', 'Min', 'Cast']
/** Inputs that hold matrices: those are read one at a time, however small. */
const MATRICES: Readonly<Record<string, readonly number[]>> = {
  MatMul: [0, 1], Gemm: [0, 1], Conv: [1], ConvTranspose: [1], Gather: [0], DequantizeLinear: [0], Transpose: [0], Reshape: [0], Identity: [0], Squeeze: [0], Unsqueeze: [0],
}

/** Bytes of the tensors whose data stands in other files. */
export function externalBytes(model: ModelProto): number {
  let bytes = 0
  for (const t of tensorsOf(model)) if (isExternal(t)) bytes += tensorBytes(t)
  return bytes
}

/**
 * Reads external tensors into the model: all of them, or those that are no matrices. What a model is asked about (a bias, the
 * limits of a Clip, a mask) is then at hand, and weights stay where they are.
 */
export async function embedExternal(file: OnnxSource, which: 'all' | 'constants'): Promise<void> {
  const readers = which === 'all' ? new Map<string, Reader[]>() : readersOf(file.model.graph?.node ?? [])
  for (const tensor of tensorsOf(file.model)) {
    if (isExternal(tensor) && (which === 'all' || isConstant(tensor, readers.get(tensor.name) ?? []))) await embed(tensor, file)
  }
}

interface Reader {
  readonly op: string
  readonly input: number
}

function readersOf(nodes: readonly NodeProto[]): ReadonlyMap<string, Reader[]> {
  const readers = new Map<string, Reader[]>()
  for (const { opType, input } of nodes) {
    input.forEach((name, i) => {
      const known = readers.get(name)
      if (known === undefined) readers.set(name, [{ op: opType, input: i }])
      else known.push({ op: opType, input: i })
    })
  }
  return readers
}

function isConstant(tensor: TensorProto, readers: readonly Reader[]): boolean {
  const bytes = tensorBytes(tensor)
  if (bytes > SMALL) return bytes <= MASK && readers.some(({ op }) => MASKING.includes(op))
  return tensor.dims.length < 2 || !readers.some(({ op, input }) => Object.hasOwn(MATRICES, op) && MATRICES[op]?.includes(input))
}

async function embed(tensor: TensorProto, file: OnnxSource): Promise<void> {
  const bytes = new Uint8Array(tensorBytes(tensor))
  let at = 0
  for await (const piece of file.externalPieces(tensor)) {
    bytes.set(piece, at)
    at += piece.length
  }
  tensor.rawData = bytes
  tensor.externalData = []
  // Absent, as in a file that never had it: equal models are equal bytes.
  Reflect.deleteProperty(tensor, 'dataLocation')
}
