import { spawnSync } from 'node:child_process'
import { mkdtemp, readdir, rm, symlink, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isLowbitError } from '@lowbit/core'
import { lockOutput } from '@lowbit/formats/node'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { processMark } from '../src/node/process-mark.js'

let folder: string
let path: string
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'lowbit-'))
  path = join(folder, 'out.onnx')
})
afterEach(() => rm(folder, { recursive: true }))

const code = (work: Promise<unknown>): Promise<string> => work.then(() => 'fine', (error: unknown) => (isLowbitError(error) ? error.code : String(error)))
const gone = spawnSync(process.execPath, ['-e', '']).pid
const lock = '.out.onnx.lowbit-lock'

describe('the lock of an output', () => {
  it('keeps others away until it is released, through links too', async () => {
    const held = await lockOutput(path)
    expect(await code(lockOutput(path))).toBe('LOWBIT_BUSY')
    await symlink('out.onnx', join(folder, 'link.onnx'))
    expect(await code(lockOutput(join(folder, 'link.onnx')))).toBe('LOWBIT_BUSY')
    expect(await code(lockOutput(join(folder, 'other.onnx')).then((other) => other.release()))).toBe('fine')
    await held.release()
    await (await lockOutput(path)).release()
    expect(await readdir(folder)).toEqual(['link.onnx'])
  })

  it.each([
    ['a dead process', JSON.stringify({ pid: gone, start: 'abc', host: processMark().host, since: '2020' })],
    ['an earlier process with a number that is taken again', JSON.stringify({ ...processMark(), start: 'abc', since: '2020' })],
    ['a process that did not finish writing it', ''],
    ['anything else', '[]'],
  ])('of %s is broken', async (_, content) => {
    await writeFile(join(folder, lock), content)
    const held = await lockOutput(path)
    await held.release()
    expect(await readdir(folder)).toEqual([])
  })

  it('of a dead process is broken by one of many', async () => {
    await writeFile(join(folder, lock), JSON.stringify({ pid: gone, start: 'abc', host: processMark().host, since: '2020' }))
    const outcomes = await Promise.all(Array.from({ length: 8 }, () => code(lockOutput(path))))
    expect(outcomes.sort()).toEqual([...Array<string>(7).fill('LOWBIT_BUSY'), 'fine'])
    expect(await readdir(folder)).toEqual([lock])
  })

  it('of another machine holds', async () => {
    await writeFile(join(folder, lock), JSON.stringify({ pid: gone, start: 'abc', host: 'ffffffff', since: '2020' }))
    await expect(lockOutput(path)).rejects.toThrow(/another machine.*2020/)
  })

  it('works for names near the longest', async () => {
    await (await lockOutput(join(folder, `${'n'.repeat(250)}.onnx`))).release()
    expect(await readdir(folder)).toEqual([])
  })
})
