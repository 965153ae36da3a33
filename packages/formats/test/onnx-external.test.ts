import { mkdir, mkdtemp, open, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isLowbitError } from '@lowbit/core'
import { create, DataLocation, isExternal, readOnnx, StringStringEntryProtoSchema, tensorsOf, tensorToHost, withFields, writeOnnx, type OnnxModel } from '@lowbit/formats'
import { openOnnxFile, saveOnnx } from '@lowbit/formats/node'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { realModel, richModel } from './models.js'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lowbit-'))
})
afterEach(() => rm(folder, { recursive: true }))

/** A model whose initializer 'w' (40,000 floats) points at a place in another file. */
function pointing(entries: Record<string, string>, weights = 40_000): OnnxModel {
  const made = richModel(weights)
  const w = made.graph?.initializer[0]
  if (w === undefined || made.graph === undefined) throw new Error('no initializer')
  const externalData = Object.entries(entries).map(([key, value]) => create(StringStringEntryProtoSchema, { key, value }))
  const pointer = withFields(w, { externalData, dataLocation: DataLocation.EXTERNAL })
  Reflect.deleteProperty(pointer, 'rawData')
  made.graph.initializer[0] = pointer
  return made
}
const save = (made: OnnxModel): Promise<void> => writeFile(join(folder, 'm.onnx'), writeOnnx(made))
const code = async (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'fine',
    (error: unknown) => (isLowbitError(error) ? error.code : String(error)),
  )
const openCode = async (entries: Record<string, string>): Promise<string> => {
  await save(pointing(entries))
  return code(openOnnxFile(join(folder, 'm.onnx')).then((file) => file.close()))
}
const weights = Float32Array.from({ length: 40_000 }, (_, i) => i)

describe('external data, read', () => {
  it('comes from the range that the model names', async () => {
    await writeFile(join(folder, 'w.bin'), new Uint8Array([1, 2, 3, ...new Uint8Array(weights.buffer)]))
    await save(pointing({ location: 'w.bin', offset: '3', length: '160000' }))
    await using file = await openOnnxFile(join(folder, 'm.onnx'))
    const [w] = [...tensorsOf(file.model)]
    expect(isExternal(w)).toBe(true)
    expect(Buffer.compare(new Uint8Array((await file.readTensor(w)).data.buffer), new Uint8Array(weights.buffer))).toBe(0)
    expect(file.size).toBe((await readFile(file.path)).length + 160_000)
    expect(() => tensorToHost(w)).toThrow('LOWBIT_FILE')
  })

  it('comes from beyond 4 GiB of a file, without reading what stands before', async () => {
    const offset = 4.5 * 2 ** 30
    const handle = await open(join(folder, 'w.bin'), 'w')
    await handle.write(new Uint8Array(weights.buffer), 0, 160_000, offset)
    await handle.close()
    await save(pointing({ location: 'w.bin', offset: String(offset) }))
    await using file = await openOnnxFile(join(folder, 'm.onnx'))
    const read = await file.readTensor([...tensorsOf(file.model)][0])
    expect([read.data[0], read.data[39_999]]).toEqual([0, 39_999])
  })

  it('comes from memory where there are no files', () => {
    const bytes = writeOnnx(pointing({ location: 'sub/w.bin' }))
    const data = new Uint8Array(weights.buffer)
    for (const externalData of [{ 'sub/w.bin': data }, new Map([['sub/w.bin', data]])]) {
      const [w] = [...tensorsOf(readOnnx(bytes, { externalData }))]
      expect(isExternal(w)).toBe(false)
      expect(w.rawData.buffer).toBe(data.buffer)
    }
    expect(() => readOnnx(bytes, { externalData: {} })).toThrow('LOWBIT_NOT_FOUND')
    expect(() => readOnnx(bytes, { externalData: { 'sub/w.bin': data.subarray(1) } })).toThrow('LOWBIT_FORMAT')
  })

  it('never climbs out of the folder', async () => {
    const outside = await mkdtemp(join(tmpdir(), 'lowbit-outside-'))
    await writeFile(join(outside, 'w.bin'), new Uint8Array(weights.buffer))
    await mkdir(join(folder, 'sub'))
    await symlink(join(outside, 'w.bin'), join(folder, 'link.bin'))
    await symlink(outside, join(folder, 'linked'))
    for (const location of ['../w.bin', 'sub/../../w.bin', '..\\w.bin', join(outside, 'w.bin'), '/etc/passwd', 'C:\\w.bin', '\\\\host\\w.bin', 'link.bin', 'linked/w.bin', 'sub', '.', 'missing.bin', 'a\0b']) {
      expect([location, await openCode({ location })]).toEqual([location, 'LOWBIT_FILE'])
    }
    await save(pointing({ location: 'link.bin' }))
    const trusted = await openOnnxFile(join(folder, 'm.onnx'), { trustedFolders: [outside] })
    await trusted.close()
    await rm(outside, { recursive: true })
  })

  it('is refused where the numbers cannot be', async () => {
    await writeFile(join(folder, 'w.bin'), new Uint8Array(weights.buffer))
    expect(await openCode({ location: 'w.bin' })).toBe('fine')
    expect(await openCode({ location: 'w.bin', offset: '1' })).toBe('LOWBIT_FORMAT')
    expect(await openCode({ location: 'w.bin', offset: '-1' })).toBe('LOWBIT_FORMAT')
    expect(await openCode({ location: 'w.bin', offset: '1e3' })).toBe('LOWBIT_FORMAT')
    expect(await openCode({ location: 'w.bin', offset: '9007199254740993' })).toBe('LOWBIT_FORMAT')
    expect(await openCode({ location: 'w.bin', length: '8' })).toBe('LOWBIT_SHAPE')
    expect(await openCode({ offset: '0' })).toBe('LOWBIT_FORMAT')
    expect(await code(openOnnxFile(join(folder, 'none.onnx')))).toBe('LOWBIT_FILE')
    expect(await code(openOnnxFile(folder))).toBe('LOWBIT_FILE')
  })
})

describe('external data, written', () => {
  it('goes to one file beside the model and comes back the same', async () => {
    const made = richModel()
    const path = join(folder, 'out.onnx')
    const { files, size } = await saveOnnx(path, made, { external: true })
    expect(files.length).toBe(2)
    expect((await readFile(files[0])).length + (await readFile(files[1])).length).toBe(size)
    await using file = await openOnnxFile(path)
    const wanted = [...tensorsOf(made)].map((t) => tensorToHost(t))
    for (const [i, t] of [...tensorsOf(file.model)].entries()) expect(Buffer.compare(Buffer.from((await file.readTensor(t)).data.buffer), Buffer.from(wanted[i].data.buffer))).toBe(0)
    expect([...tensorsOf(file.model)].filter(isExternal).map((t) => t.name)).toEqual(['w', 'inner', 'inner'])
  })

  it('streams from one file into another, and the same model gives the same bytes', async () => {
    await saveOnnx(join(folder, 'a.onnx'), richModel(), { external: true })
    await using source = await openOnnxFile(join(folder, 'a.onnx'))
    expect(await code(saveOnnx(join(folder, 'b.onnx'), source.model))).toBe('LOWBIT_ARGUMENT')
    const first = await saveOnnx(join(folder, 'b.onnx'), source.model, { source })
    const before = await readFile(first.files[1])
    expect(await saveOnnx(join(folder, 'b.onnx'), source.model, { source })).toEqual(first)
    expect(Buffer.compare(await readFile(first.files[1]), before)).toBe(0)
    expect((await readdir(folder)).length).toBe(4)
  })

  it('removes the data file that only the replaced model used, and no other', async () => {
    const path = join(folder, 'a.onnx')
    const [, old] = (await saveOnnx(path, richModel(), { external: true })).files
    const bystander = join(folder, 'a.onnx.0000000000000000.data')
    await writeFile(bystander, 'mine')
    const [, now] = (await saveOnnx(path, richModel(50_000), { external: true })).files
    expect(now).not.toBe(old)
    expect((await readdir(folder)).sort()).toEqual(['a.onnx', 'a.onnx.0000000000000000.data', now.slice(folder.length + 1)].sort())
  })

  it('leaves the old pair alone when it fails', async () => {
    const path = join(folder, 'a.onnx')
    const { files } = await saveOnnx(path, richModel(), { external: true })
    const before = await Promise.all(files.map((f) => readFile(f)))
    const failing = { externalPieces: async function* () { yield new Uint8Array(8); await Promise.reject(new Error('disk gone')) } }
    await using source = await openOnnxFile(path)
    expect(await code(saveOnnx(path, source.model, { source: failing }))).toBe('LOWBIT_FILE')
    for (const [i, path] of files.entries()) expect(Buffer.compare(await readFile(path), before[i])).toBe(0)
    expect((await readdir(folder)).length).toBe(2)
  })

  it('a model that fits stays one file', async () => {
    const bytes = realModel('ch_ppocr_mobile_v2.0_cls_infer.onnx')
    const { files } = await saveOnnx(join(folder, 'a.onnx'), readOnnx(bytes))
    expect(files.length).toBe(1)
    expect(Buffer.compare(await readFile(files[0]), writeOnnx(readOnnx(bytes)))).toBe(0)
  })
})
