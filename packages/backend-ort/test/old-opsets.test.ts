import { int8, quantize } from '@lowbit/core'
import { readOnnx, writeOnnx } from '@lowbit/formats'
import { describe, expect, it } from 'vitest'
import { openOnnx } from '../src/index.js'
import { convolutions, matrices } from './support/models.js'
import { RUNTIMES } from './support/runtimes.js'

describe('a model that imports its operators twice', () => {
  it('is upgraded as what the runtime takes it for, the last', async () => {
    const { bytes, batch } = matrices(7, 3)
    const twice = readOnnx(bytes)
    twice.opsetImport = [...twice.opsetImport, ...twice.opsetImport]
    const host = await openOnnx(writeOnnx(twice))
    const { artifact } = await quantize(host, { format: 'dynamic', weights: int8() })
    const written = await openOnnx(artifact.bytes())
    expect(Object.keys(await written.run(batch))).toEqual(['y'])
    for (const h of [host, written]) await h.dispose()
  })
})

describe('static int8 of a model that was not prepared', () => {
  it.each([matrices(7, 3), matrices(8, 3), convolutions(8)])('$name: upgrades the opset, says so, and runs on both runtimes', async ({ bytes, batch }) => {
    for (const format of ['qdq', 'qoperator']) {
      const host = await openOnnx(bytes)
      const { artifact } = await quantize(host, { format, weights: int8(), activations: { dtype: 'uint8' }, calibration: [batch] })
      expect(artifact.notes.join()).toMatch(/opset [78] upgraded to 13/)
      for (const { ort } of RUNTIMES) {
        const written = await openOnnx(artifact.bytes(), { ort })
        expect(Object.keys(await written.run(batch))).toEqual(['y'])
        await written.dispose()
      }
      await host.dispose()
    }
  })
})
