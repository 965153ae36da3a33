import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { mkdir, mkdtemp, readdir, rm, utimes, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { atomicWrite, saveOnnx, sweepTemporaries, withTemporaryFolder } from '@lowbit/formats/node'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { processMark } from '../src/node/process-mark.js'
import { temporaryName } from '../src/node/temporaries.js'
import { richModel } from './models.js'

let folder: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lowbit-'))
})
afterEach(() => rm(folder, { recursive: true }))

const { pid, start, host } = processMark()
/** A number that no process has any more. */
const gone = spawnSync(process.execPath, ['-e', '']).pid

describe('temporary files', () => {
  it('of dead processes go, of living ones and of others stay', async () => {
    const dead = [`.lowbit-${gone}-abc-${host}-00000001.tmp`, `.lowbit-${pid}-zzz-${host}-00000002.tmp`, `lowbit-${gone}-abc-${host}-00000003.tmp`]
    const alive = [`.lowbit-${pid}-${start}-${host}-00000004.tmp`, `.lowbit-${gone}-abc-ffffffff-00000005.tmp`, `.lowbit-${gone}-abc-${host}.tmp`, '.other.tmp']
    for (const name of [...dead, ...alive]) await writeFile(join(folder, name), '')
    await mkdir(join(folder, `.lowbit-${gone}-abc-${host}-00000006.tmp`, 'inside'), { recursive: true })
    await sweepTemporaries(folder)
    expect((await readdir(folder)).sort()).toEqual(alive.sort())
  })

  it('of another machine go after a day', async () => {
    const path = join(folder, '.lowbit-1-abc-ffffffff-00000001.tmp')
    await writeFile(path, '')
    await utimes(path, new Date(), new Date(Date.now() - 25 * 3600 * 1000))
    await sweepTemporaries(folder)
    expect(await readdir(folder)).toEqual([])
  })

  it('go with the next file that is written there', async () => {
    await writeFile(join(folder, `.lowbit-${gone}-abc-${host}-00000001.tmp`), 'half')
    await atomicWrite(join(folder, 'file'), [new Uint8Array(3)])
    expect(await readdir(folder)).toEqual(['file'])
  })

  it('of a switch that was not finished take the data file along that no model refers to', async () => {
    const path = join(folder, 'm.onnx')
    const { files } = await saveOnnx(path, richModel(), { external: true })
    const orphan = `m.onnx.${createHash('sha256').update('x').digest('hex').slice(0, 16)}.data`
    const used = files[1].slice(folder.length + 1)
    for (const name of [orphan, 'm.onnx.data', 'other.onnx.0123456789abcdef.data']) await writeFile(join(folder, name), '')
    await writeFile(join(folder, `.lowbit-${gone}-abc-${host}-00000001.switch.tmp`), JSON.stringify({ model: 'm.onnx', data: [orphan, used, 'm.onnx.data', 'other.onnx.0123456789abcdef.data'] }))
    await writeFile(join(folder, `.lowbit-${gone}-abc-${host}-00000002.switch.tmp`), JSON.stringify({ model: '../m.onnx', data: ['../x'] }))
    await writeFile(join(folder, `.lowbit-${gone}-abc-${host}-00000003.switch.tmp`), '{ half')
    await sweepTemporaries(folder)
    expect((await readdir(folder)).sort()).toEqual(['m.onnx', 'm.onnx.data', used, 'other.onnx.0123456789abcdef.data'].sort())
  })

  it('have names that say whose they are', () => {
    expect(temporaryName(folder).slice(folder.length + 1)).toMatch(new RegExp(`^\\.lowbit-${pid}-${start}-${host}-[0-9a-f]{8}\\.tmp$`))
  })

  it('in a folder of their own are gone afterwards, also after a failure', async () => {
    let seen = ''
    await withTemporaryFolder(async (path) => {
      seen = path
      await writeFile(join(path, 'file'), '')
    })
    await expect(readdir(seen)).rejects.toThrow(/ENOENT/)
    await expect(withTemporaryFolder((path) => Promise.reject(new Error(path)))).rejects.toThrow(/lowbit-/)
  })
})
