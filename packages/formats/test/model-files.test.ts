import { mkdir, mkdtemp, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { writeSafetensors } from '../src/index.js'
import { writeGguf, type GgufModel } from '../src/gguf/index.js'
import { atomicWrite, folderFiles, openGgufFile, openHuggingFaceFolder } from '../src/node.js'

let folder: string
beforeAll(async () => { folder = await mkdtemp(join(tmpdir(), 'lowbit-files-')) })
afterAll(() => rm(folder, { recursive: true }))

const model: GgufModel = { metadata: new Map([['general.architecture', { type: 'string', value: 'llama' }]]), tensors: [{ name: 'x', type: 'F32', shape: [2], data: async () => new Uint8Array(Float32Array.of(1, 2).buffer) }] }
const weights = writeSafetensors({ w: { dtype: 'float32', shape: [1], data: Float32Array.of(7) } })

describe('model files by path', () => {
  it('writes and opens a GGUF file', async () => {
    const path = join(folder, 'model.gguf')
    await atomicWrite(path, writeGguf(model))
    await using file = await openGgufFile(path)
    expect((await file.host('x')).data).toEqual(Float32Array.of(1, 2))
  })

  it('opens a snapshot of the hub, whose files are links into its blobs', async () => {
    const [blobs, snapshot] = [join(folder, 'cache', 'blobs'), join(folder, 'cache', 'snapshots', 'abc')]
    await mkdir(blobs, { recursive: true })
    await mkdir(snapshot, { recursive: true })
    for (const [name, content] of [['config.json', '{"model_type":"llama"}'], ['model.safetensors', weights]] as const) {
      await writeFile(join(blobs, name.slice(0, 5)), content)
      await symlink(join('..', '..', 'blobs', name.slice(0, 5)), join(snapshot, name))
    }
    await using open = await openHuggingFaceFolder(snapshot)
    expect([open.config, (await open.host('w')).data]).toEqual([{ model_type: 'llama' }, Float32Array.of(7)])
  })

  it('does not follow a link or a name out of a folder', async () => {
    const inside = join(folder, 'inside')
    await mkdir(inside)
    await writeFile(join(folder, 'outside.json'), '{}')
    await symlink(join(folder, 'outside.json'), join(inside, 'config.json'))
    await expect(folderFiles(inside).open('config.json')).rejects.toThrow('leads out of the folder')
    await expect(folderFiles(inside).open('../outside.json')).rejects.toThrow('climbs out')
    await expect(folderFiles(inside).open('nothing')).rejects.toThrow('LOWBIT_NOT_FOUND')
  })
})
