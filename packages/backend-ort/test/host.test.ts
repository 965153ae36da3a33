import { type Artifact, type Batch, difference, elementCount } from '@lowbit/core'
import { readOnnx, tensorBytes, tensorShape } from '@lowbit/formats'
import { hostSuite, type ReopenedModel } from '@lowbit/core/testkit'
import { describe, expect, it } from 'vitest'
import { toNumbers } from '../src/compare/values.js'
import { openOnnx, type OrtModule } from '../src/index.js'
import { convolutions, matrices, normed, type SmallModel, tied } from './support/models.js'
import { randomFloats } from './support/random.js'
import { RUNTIMES } from './support/runtimes.js'

/** The same shapes with other numbers. */
function another(batch: Batch, seed: number): Batch {
  return Object.fromEntries(Object.entries(batch).map(([name, t]) => [name, t.dtype === 'float32' ? { ...t, data: randomFloats(elementCount(t.shape), seed) } : t]))
}

async function reopened(artifact: Artifact, ort: OrtModule): Promise<ReopenedModel> {
  const bytes = artifact.bytes()
  const host = await openOnnx(bytes, { ort })
  const graph = readOnnx(bytes).graph
  const tensors = (graph?.initializer ?? []).map((t) => ({ shape: tensorShape(t), bytes: tensorBytes(t) }))
  const roundings = new Set((graph?.node ?? []).flatMap((n) => (n.opType === 'QuantizeLinear' ? [n.input[0]] : []))).size
  // Integer operators of the file itself round without saying so.
  return { run: (batch) => host.run(batch), floatSites: host.sites().map((s) => s.id), tensors, ...(artifact.format === 'qoperator' ? {} : { roundings }), dispose: () => host.dispose() }
}

const models: readonly SmallModel[] = [matrices(), normed(), tied(), convolutions()]

/**
 * Every case on one model, a part of them on the others, and on the slower runtime: what differs between models is which operators
 * there are, and between runtimes which kernels.
 */
function shareOf(small: SmallModel, runtime: string): (index: number) => boolean {
  if (runtime !== 'onnxruntime-node') return (index) => index % 6 === models.indexOf(small)
  return small === models.at(-1) ? () => true : (index) => index % 2 === models.indexOf(small) % 2
}

for (const { name, ort } of RUNTIMES) {
  for (const small of models) {
    describe(`${small.name} on ${name}`, () => {
      hostSuite({
        runner: { describe, it },
        factory: () => openOnnx(small.bytes, { ort }),
        batches: [small.batch, another(small.batch, 71)],
        reopen: (artifact: Artifact) => reopened(artifact, ort),
        cases: shareOf(small, name),
      })
    })
  }
}

describe('fold groups', () => {
  it('name what takes a scale', async () => {
    const host = await openOnnx(normed().bytes)
    const producers = Object.fromEntries(host.foldGroups().map((g) => [g.id, g.producer]))
    expect(producers).toEqual({ rms: 'norm', gated: 'linear', ln: 'norm', relu: 'linear', h3: 'linear', h5: 'none', h8: 'mul' })
    expect(host.foldGroups().find((g) => g.id === 'rms')?.sites).toEqual(['model/layers.0/q', 'model/layers.0/k'])
    expect(host.foldGroups().find((g) => g.id === 'h5')?.reason).toContain('Tanh')
    await host.dispose()
  })

  it('fold without adding an operator, or insert one', async () => {
    const { bytes, batch } = normed()
    const host = await openOnnx(bytes)
    const count = host.graphNow().nodes().length
    const scales = (channels: number): Float32Array => Float32Array.from({ length: channels }, (_, i) => 2 ** ((i % 5) - 2))
    const before = await host.run(batch)
    for (const group of host.foldGroups()) {
      const { how } = await host.apply(group.id, { kind: 'scale', scales: scales(group.channels) })
      expect([group.id, how]).toEqual([group.id, group.producer === 'none' ? 'inserted' : 'folded'])
    }
    expect(host.graphNow().nodes()).toHaveLength(count + 1)
    // Powers of two move no bit of a mantissa, but gelu-like products may round elsewhere.
    const after = await host.run(batch)
    expect(difference(toNumbers(before.y), toNumbers(after.y)).maxError).toBeLessThan(1e-4)
    await host.dispose()
  })

  it('refuse a scale that would reach a weight shared with another input', async () => {
    const host = await openOnnx(tied().bytes)
    const group = host.foldGroups().find((g) => g.sites.includes('output'))
    const result = await host.apply(group?.id ?? '', { kind: 'scale', scales: new Float32Array(36).fill(2) })
    expect(result.how).toBe('refused')
    expect(result.reason).toContain('embed')
    await host.dispose()
  })

  it('number blocks by the layers in names, and never against the order', async () => {
    const host = await openOnnx(normed().bytes)
    expect(host.sites().map((s) => s.block)).toEqual([0, 0, 0, 1, 1, 1, 2, 3])
    await host.dispose()
  })
})
