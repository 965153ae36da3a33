import { describe, expect, it } from 'vitest'
import { checkPlugin, CONTRACT_VERSION, int4, int8, isLowbitError, quantize, rtn, Sha256, type RoundingAlgorithm } from '@lowbit/core'
import { toyHost } from '@lowbit/core/testkit'
import { expected, FROZEN_BATCHES, FROZEN_LAYERS, frozenBackend, frozenGptq, frozenHqq } from './frozen.js'

async function codesOf(rounding: RoundingAlgorithm, symmetric: boolean): Promise<string> {
  const { openMlp, writeMlp } = await frozenBackend()
  const { artifact } = await quantize(openMlp(writeMlp(FROZEN_LAYERS, {})), { weights: int4({ group: 4, symmetric }), rounding, calibration: FROZEN_BATCHES })
  const file: { readonly layers: readonly { readonly q: { readonly codes: readonly number[] } }[] } = JSON.parse(new TextDecoder().decode(artifact.bytes()))
  return new Sha256().update(JSON.stringify(file.layers.map((layer) => layer.q.codes))).hex()
}

describe('plugins that were published against contract v1', () => {
  it('state v1, whatever core is beside them', async () => {
    expect(CONTRACT_VERSION).toBe(2)
    const { gptq } = await frozenGptq()
    const { hqq } = await frozenHqq()
    const { openMlp, writeMlp } = await frozenBackend()
    expect([gptq(), hqq(), openMlp(writeMlp(FROZEN_LAYERS, {}))].map((p): number => p.apiVersion)).toEqual([1, 1, 1])
  })

  it('give the codes they gave on their own core: GPTQ on a third party’s backend', async () => {
    expect(await codesOf((await frozenGptq()).gptq(), true)).toBe(expected.gptq)
  })

  it('give the codes they gave on their own core: HQQ on a third party’s backend', async () => {
    expect(await codesOf((await frozenHqq()).hqq(), false)).toBe(expected.hqq)
  })

  it('round on hosts of today', async () => {
    const { report } = await quantize(toyHost(), { weights: int8({ symmetric: false }), rounding: (await frozenHqq()).hqq() })
    expect(report.sites.filter((s) => s.status === 'quantized').map((s) => s.algorithm)).toContain('@lowbit/algos-hqq@0.1.0')
  })

  it('come back as plugins of the contract in force, with name, version and settings', () => {
    const now = rtn()
    expect(checkPlugin(now, 'rounding')).toBe(now)
    const old = { ...now, apiVersion: 1 as number as 2 }
    expect(checkPlugin(old, 'rounding')).toMatchObject({ kind: 'rounding', name: now.name, version: now.version, config: now.config, apiVersion: 2 })
  })
})

describe('plugins of a contract that this core does not know', () => {
  const refusal = (apiVersion: number): string => {
    try {
      checkPlugin({ ...rtn(), name: 'their-rounding', apiVersion: apiVersion as 2 }, 'rounding')
    } catch (error) {
      if (isLowbitError(error, 'LOWBIT_API_VERSION')) return error.message
      throw error
    }
    return 'accepted'
  }

  it('are refused by name, with what to install', () => {
    expect(refusal(0)).toMatch(/their-rounding.*apiVersion 0.*npm install their-rounding@latest/s)
    expect(refusal(3)).toMatch(/their-rounding.*apiVersion 3.*npm install @lowbit\/core@latest/s)
  })
})
