import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { readOnnx, tensorsOf, tensorToHost, writeOnnx } from '@lowbit/formats'
import { describe, expect, it } from 'vitest'
import { sameModel } from './models.js'

const shared = new URL('../../../../shared/', import.meta.url).pathname
const folders = ['data', 'goldens/onnx-node/models'].map((f) => join(shared, f)).filter((f) => existsSync(f))
const files = folders.flatMap((f) => readdirSync(f).filter((n) => n.endsWith('.onnx')).map((n) => join(f, n)))

describe.skipIf(files.length === 0)(`real models (${files.length === 0 ? 'skipped: no ../shared beside the checkout' : `${files.length} of ../shared`})`, () => {
  it.each(files.map((f) => f.slice(shared.length)))('%s comes out as it went in', (file) => {
    const bytes = readFileSync(join(shared, file))
    const model = readOnnx(bytes)
    for (const t of tensorsOf(model)) tensorToHost(t)
    expect(sameModel(readOnnx(writeOnnx(model)), model)).toBe(true)
  })
})
