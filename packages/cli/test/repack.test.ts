import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { writeSafetensors } from '@lowbit/formats'
import { quantizationConfig, writeGptq, type GroupedWeight } from '@lowbit/formats/checkpoints'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { sandbox, type Sandbox } from './support/sandbox.js'

let box: Sandbox
beforeEach(() => {
  box = sandbox()
  const weight: GroupedWeight = { shape: [32, 64], bits: 4, group: 32, codes: Uint8Array.from({ length: 2048 }, (_, i) => i & 15), scales: new Float32Array(64).fill(0.25), zeroPoints: new Int32Array(64).fill(7) }
  mkdirSync(box.path('gptq'))
  writeFileSync(box.path('gptq/model.safetensors'), writeSafetensors(Object.fromEntries(Object.entries(writeGptq(weight, 'gptq')).map(([role, t]) => [`l.${role}`, t]))))
  writeFileSync(box.path('gptq/config.json'), JSON.stringify({ quantization_config: quantizationConfig({ method: 'gptq', bits: 4, groupSize: 32, format: 'gptq', actOrder: false }) }))
})
afterEach(() => box.remove())

describe('lowbit repack', () => {
  it('writes a folder in another packing and says that it is exact', async () => {
    const { code, out, err } = await box.lowbit('repack', box.path('gptq'), box.path('awq'), '--to', 'awq')
    expect([code, err]).toEqual([0, ''])
    expect(out).toContain('1 weights as awq, exact')
    expect(JSON.parse(readFileSync(box.path('awq/config.json'), 'utf8'))).toMatchObject({ quantization_config: { quant_method: 'awq' } })
  })

  it.each([
    ['onto itself', ['gptq', 'gptq', '--to', 'awq'], 2],
    ['to what there is not', ['gptq', 'out', '--to', 'exl2'], 2],
    ['what cannot be three values', ['gptq', 'out', '--to', 'bitnet'], 1],
  ])('refuses a folder %s', async (_, [from = '', to = '', ...args], code) => {
    const done = await box.lowbit('repack', box.path(from), box.path(to), ...args)
    expect(done.code).toBe(code)
    expect(done.err).toMatch(/^LOWBIT_/)
  })
})
