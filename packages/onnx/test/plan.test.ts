import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { int4, int8, type Plan, planToJson, quantize, type QuantizeOptions, roundToNearest } from '@lowbit/core'
import { readOnnx } from '@lowbit/formats'
import { describe, expect, it } from 'vitest'
import { convolutions, matrices, type SmallModel, tied } from './support/models.js'
import { openOnnxGraph } from '../src/index.js'

/** Plans as they were looked at and found right. `UPDATE_PLANS=1` writes them anew: look at what changes. */
const FOLDER = fileURLToPath(new URL('../../../testdata/plans', import.meta.url))

const CASES: readonly (readonly [string, SmallModel, QuantizeOptions])[] = [
  ['matmul-nbits-matrices', matrices(), { format: 'matmul-nbits', weights: int4({ group: 16 }), overrides: [{ match: 'second', weights: int4({ group: 20 }) }, { match: 'third', weights: null }] }],
  ['matmul-nbits-tied', tied(13, 64), { format: 'matmul-nbits', weights: int4({ group: 16 }) }],
  ['dequantize-convolutions', convolutions(21), { format: 'dequantize', weights: int4({ group: 16 }) }],
  ['dynamic-matrices', matrices(), { format: 'dynamic', weights: int8() }],
  ['dynamic-tied', tied(), { format: 'dynamic', weights: int8() }],
  ['qdq-weights-only', convolutions(13), { format: 'qdq', weights: int8() }],
]

function expectGolden(name: string, plan: Plan): void {
  const text = `${JSON.stringify(planToJson(plan), null, 1)}\n`
  const file = `${FOLDER}/${name}.json`
  if (process.env['UPDATE_PLANS'] !== undefined) {
    mkdirSync(dirname(file), { recursive: true })
    writeFileSync(file, text)
  }
  expect(existsSync(file), `${file} is missing`).toBe(true)
  expect(JSON.parse(text)).toEqual(JSON.parse(readFileSync(file, 'utf8')))
}

describe('a plan', () => {
  it.each(CASES)('%s is the golden one', async (name, { bytes }, options) => {
    const host = await openOnnxGraph(bytes)
    const { plan } = await quantize(host, options)
    if (plan === undefined) throw new Error('no plan')
    expectGolden(name, plan)
    await host.dispose()
  })

  it.each(['uint8', 'int8'])('of static activations, stored as %s, is the golden one', async (weightStorage) => {
    const host = await openOnnxGraph(convolutions(13).bytes)
    for (const site of host.sites()) {
      const { rows, columns } = site.weight
      if (host.accepts(site.id, int8(), 'qdq').ok && site.tiedTo === undefined) host.assign(site.id, roundToNearest((await host.readWeight(site.id)).data, rows, columns, int8()))
    }
    for (const [i, { id }] of host.activations().entries()) host.assignActivation(id, { dtype: 'int8', scale: 2 ** -(4 + (i % 3)), zeroPoint: i - 2 })
    host.capabilities.plans?.target('qdq', { weightStorage })
    expectGolden(`qdq-static-${weightStorage}`, host.plan())
    expect(host.plan().activations.map((a) => a.where)).toEqual(expect.arrayContaining(['written', 'read']))
    await host.dispose()
  })

  it.each(CASES)('%s lists the tensors that the file holds', async (_, { bytes }, options) => {
    const host = await openOnnxGraph(bytes)
    const { plan, artifact } = await quantize(host, options)
    const before = new Set(readOnnx(bytes).graph?.initializer.map((t) => t.name))
    const held = (readOnnx(artifact.bytes()).graph?.initializer ?? []).filter((t) => !before.has(t.name)).map((t) => `${t.dims.join('×')} ${t.rawData.length}`)
    for (const weight of plan?.weights ?? []) {
      for (const { role, shape, bytes: size } of weight.tensors) {
        const at = held.indexOf(`${shape.join('×')} ${size}`)
        expect(at, `${weight.name} ${role} [${shape.join(', ')}], ${size} bytes, among ${held.join('; ')}`).toBeGreaterThanOrEqual(0)
        held.splice(at, 1)
      }
    }
    await host.dispose()
  })

  it('is remade from the same decisions to the letter', async () => {
    const [, [, { bytes }, options]] = CASES
    const made = await Promise.all([0, 1].map(async () => {
      const host = await openOnnxGraph(bytes)
      const { plan } = await quantize(host, options)
      return JSON.stringify(plan === undefined ? null : planToJson(plan))
    }))
    expect(made[0]).toBe(made[1])
  })
})

describe('a model without a runtime', () => {
  it('refuses what takes running it, and says what to open it with', async () => {
    const { bytes, batch } = matrices()
    const host = await openOnnxGraph(bytes)
    await expect(host.run(batch)).rejects.toThrow(/@lowbit\/backend-ort/)
    await expect(host.observe([{ statistic: 'gram', target: { site: 'first' } }], [batch])).rejects.toThrow(/without a runtime/)
    expect(host.capabilities).not.toHaveProperty('operators')
    await expect(quantize(host, { format: 'qdq', weights: int8(), activations: { dtype: 'uint8' }, calibration: [batch] })).rejects.toThrow(/without a runtime/)
    await host.dispose()
  })
})
