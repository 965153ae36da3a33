import { partsOf, rotationTables, type ModelMatrix, type WeightSource } from '@lowbit/causal-lm'

export interface Bindings {
  readonly matrices: Readonly<Record<string, ModelMatrix>>
  readonly vectors: Readonly<Record<string, Float32Array>>
}

/** All weights of a small model, and its rotations. */
export async function bindingsOf(source: WeightSource, context: number): Promise<Bindings> {
  const matrices: Record<string, ModelMatrix> = {}
  const vectors: Record<string, Float32Array> = { ...rotationTables(source.config, context) }
  for (const part of partsOf(source.config)) {
    if (part.kind === 'matrix') matrices[part.name] = await source.matrix(part)
    else vectors[part.name] = await source.vector(part)
  }
  return { matrices, vectors }
}
